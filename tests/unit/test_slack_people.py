"""Who acts in Slack: our own bot, other bots, members, guests of other companies, and people nobody can
place.
"""

from __future__ import annotations

from typing import Any

import pytest
from slack_requests import BOT, NOBODY, event, message, only, read

from connectors.base import Identity, Outcome


@pytest.mark.parametrize(
    ("inner", "outer", "identity", "is_self", "trust"),
    [
        ({}, {}, NOBODY, False, "member"),
        ({"user": None}, {}, NOBODY, False, "unknown"),
        ({"user": "UBOT"}, {"authorizations": BOT}, NOBODY, True, "bot"),
        ({"user": "UX", "bot_id": "B9"}, {"authorizations": BOT}, NOBODY, False, "bot"),
        ({"user": "UX", "bot_profile": {"id": "B9", "app_id": "A2"}}, {}, NOBODY, False, "bot"),
        ({"user": "UX", "bot_profile": {"id": "B9", "app_id": "A1"}}, {}, NOBODY, True, "bot"),
        ({"user": "UX", "bot_id": "B9", "app_id": "A1"}, {}, NOBODY, True, "bot"),
        (
            {"user": None, "bot_id": "B1", "subtype": "bot_message"},
            {},
            Identity(frozenset({"B1"})),
            True,
            "bot",
        ),
        (
            {"user": None, "bot_id": "B2", "subtype": "bot_message"},
            {},
            Identity(frozenset({"B1"})),
            False,
            "bot",
        ),
        ({"user": "USLACKBOT"}, {}, NOBODY, False, "bot"),
        (
            {"user": "U1", "username": "triggerhub"},
            {},
            Identity(logins=frozenset({"triggerhub"})),
            False,
            "member",
        ),
    ],
)
def test_who_spoke(
    inner: dict[str, Any],
    outer: dict[str, Any],
    identity: Identity,
    is_self: bool,  # noqa: FBT001 - a column of the table
    trust: str,
) -> None:
    actor = only(read(event(message(**inner), **outer), identity=identity)).actor
    assert (actor.is_self, actor.trust) == (is_self, trust)
    assert actor.is_bot == (trust == "bot")


@pytest.mark.parametrize(
    ("inner", "outer", "trust"),
    [
        ({"user_team": "T2"}, {"is_ext_shared_channel": True}, "outsider"),
        ({"source_team": "T2"}, {"is_ext_shared_channel": True}, "outsider"),
        ({"team": "T2"}, {"is_ext_shared_channel": True}, "outsider"),
        ({"team": "T1", "user_team": "T2"}, {"is_ext_shared_channel": True}, "outsider"),
        ({"user_profile": {"team": "T2"}}, {"is_ext_shared_channel": True}, "outsider"),
        ({"team": "T2"}, {}, "outsider"),
        ({"team": "T2"}, {"team_id": "T2", "authorizations": BOT}, "outsider"),
        ({"team": "T1"}, {"is_ext_shared_channel": True}, "member"),
        ({}, {"is_ext_shared_channel": True}, "unknown"),
        ({}, {"team_id": "T2", "authorizations": BOT}, "unknown"),
        ({"team": "T2"}, {"is_ext_shared_channel": False, "enterprise_id": "E1"}, "member"),
        ({"team": "T2"}, {"is_ext_shared_channel": True, "enterprise_id": "E1"}, "outsider"),
        ({"user_team": "E1"}, {"is_ext_shared_channel": True, "enterprise_id": "E1"}, "member"),
        ({"team": "T1"}, {"team_id": "T2", "context_team_id": "T1"}, "member"),
    ],
)
def test_trust_across_companies(inner: dict[str, Any], outer: dict[str, Any], trust: str) -> None:
    assert only(read(event(message(**inner), **outer))).actor.trust == trust


def test_a_guest_who_clicks_is_an_outsider() -> None:
    body = {
        "type": "block_actions",
        "api_app_id": "A1",
        "team": {"id": "T9"},
        "user": {"id": "U9", "team_id": "T9"},
    }
    ours = {"app_id": "A1", "team": "T1", "ts": "5.1"}
    assert only(read({**body, "message": ours})).actor.trust == "outsider"
    assert (
        only(read({**body, "user": {"id": "U1", "team_id": "T1"}, "team": {"id": "T1"}})).actor.trust
        == "member"
    )
    assert only(read({"type": "block_actions", "user": {"id": "U1"}})).actor.trust == "unknown"


def test_our_own_reaction_is_ours() -> None:
    item = {"type": "message", "channel": "C1", "ts": "5.1"}
    inner = {"type": "reaction_added", "user": "UBOT", "reaction": "eyes", "item": item, "event_ts": "6.1"}
    reading = read(event(inner, authorizations=BOT))
    assert reading.outcome is Outcome.UNSUPPORTED
    fact = only(reading)
    assert (fact.kind, fact.actor.is_self, fact.subject.key) == ("other", True, "T1/C1/5.1")
    assert fact.artefact == "reaction:C1/5.1/eyes"
