"""Slack bodies that nobody should send: none raises anything but UnreadableError."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from slack_requests import event, message, read

from connectors.base import Outcome, UnreadableError

FORM = "application/x-www-form-urlencoded"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"nonsense",
        b"[]",
        b"{",
        b'{"a":1,"a":2}',
        b'{"no":"type"}',
        b'{"type":"event_callback"}',
        b'{"type":"event_callback","event":[]}',
        b'{"type":"url_verification"}',
        b'{"type":5}',
        b"\xff\xfe",
        b"payload=nonsense",
        b"payload=[]",
        b"a=1&a=2",
        b"text=hi",
    ],
)
@pytest.mark.parametrize("content_type", ["application/json", "application/x-www-form-urlencoded", ""])
def test_unreadable(body: bytes, content_type: str) -> None:
    with pytest.raises(UnreadableError):
        read(body, content_type=content_type)


def test_identifiers_of_absurd_size() -> None:
    long = "C" * 100_000
    for body in (
        event(message(channel=long, ts=long, thread_ts=long, user=long), team_id=long),
        event(message(thread_ts=long, user=long, text=("<@" + "U" * 60 + "> ") * 5000)),
        {"type": "shortcut", "callback_id": long, "trigger_id": long, "user": {"id": long}},
    ):
        reading = read(body)
        assert len(reading.delivery_key) <= 500
        for fact in reading.facts:
            assert 0 < len(fact.subject.key) <= 500
            assert len(fact.key) <= 500


BITS = st.sampled_from(["T1", "5.1", "C1", "message", "im"])
JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | BITS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["id", "type", "text", "ts"]), inner, max_size=3)
    ),
    max_leaves=6,
)
ENVELOPE = (
    "team_id",
    "event_id",
    "authorizations",
    "is_ext_shared_channel",
    "enterprise_id",
    "context_team_id",
)
CLICK = ("team", "user", "channel", "container", "message", "view", "actions", "trigger_id", "submission")
REST = ("callback_id", "response_url", "state", "is_enterprise_install", "action_ts", "message_ts")
WHERE = ("channel", "channel_type", "ts", "thread_ts", "event_ts", "item", "hidden", "subtype")
WHO = ("user", "bot_id", "bot_profile", "app_id", "team", "user_team", "username", "user_profile")
WHAT = ("text", "blocks", "attachments", "reaction", "tokens", "team_ids", "metadata")
OUTER_KINDS = ("event_callback", "block_actions", "view_submission", "shortcut", "message_action", "odd")
INNER_KINDS = ("message", "app_mention", "reaction_added", "tokens_revoked", "team_access_granted", "odd")


@settings(max_examples=300)
@given(
    st.dictionaries(st.sampled_from((*ENVELOPE, *CLICK, *REST)), JUNK, max_size=10),
    st.dictionaries(st.sampled_from((*WHERE, *WHO, *WHAT)), JUNK, max_size=12),
    st.sampled_from(OUTER_KINDS),
    st.sampled_from(INNER_KINDS),
)
def test_no_shape_crashes(outer: dict[str, Any], inner: dict[str, Any], kind: str, inner_kind: str) -> None:
    reading = read({**outer, "event": {**inner, "type": inner_kind}, "type": kind})
    assert reading.delivery_key
    assert (reading.facts == ()) == (reading.outcome in {Outcome.IGNORED, Outcome.CHALLENGE})
    for fact in reading.facts:
        assert 0 < len(fact.subject.key) <= 500


@given(st.binary(max_size=200), st.sampled_from(["application/json", FORM, "text/plain", ""]))
def test_no_bytes_crash(body: bytes, content_type: str) -> None:
    try:
        reading = read(body, content_type=content_type)
    except UnreadableError:
        return
    assert reading.delivery_key
