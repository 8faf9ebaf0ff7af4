"""Jira bodies that nobody should send: none raises anything but UnreadableError."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jira_requests import read, sample

from connectors.base import Outcome, UnreadableError


@pytest.mark.parametrize("body", [b"{", b"[]", b'"x"', b"null", b'{"a": 1, "a": 2}', b"\xff", b"[" * 100_000])
def test_unreadable_bodies(body: bytes) -> None:
    with pytest.raises(UnreadableError):
        read(body)


def damaged(value: object, replacement: object) -> list[object]:
    """Every copy of a payload in which one part, at any depth, is replaced."""
    copies: list[object] = [replacement]
    if isinstance(value, dict):
        for key, part in value.items():
            copies += [{**value, key: other} for other in damaged(part, replacement)]
    elif isinstance(value, list):
        for place, part in enumerate(value):
            copies += [[*value[:place], other, *value[place + 1 :]] for other in damaged(part, replacement)]
    return copies


@pytest.mark.parametrize("replacement", [None, 7, "x" * 3, [], {}, True, -1.5e300, ["\x00"], {"type": "doc"}])
@pytest.mark.parametrize(
    "name",
    [
        "cloud_issue_several_changes",
        "datacenter_issue_commented",
        "cloud_comment_edited",
        "automation_bare_issue",
    ],
)
def test_any_part_may_be_of_another_type(name: str, replacement: object) -> None:
    for body in damaged(sample(name), replacement):
        if not isinstance(body, dict):
            continue
        for fact in read(body).facts:
            assert 0 < len(fact.subject.key) <= 500
            assert fact.key
            json.dumps(dict(fact.changed))


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
EVENTS = st.sampled_from(
    [
        "jira:issue_created",
        "jira:issue_updated",
        "jira:issue_deleted",
        "comment_created",
        "comment_deleted",
        "x",
        "",
    ]
)


@settings(max_examples=150)
@given(
    body=st.fixed_dictionaries(
        {},
        optional={
            "webhookEvent": EVENTS | JSON,
            "issue_event_type_name": st.sampled_from(
                ["issue_commented", "issue_comment_deleted", "issue_closed"]
            ),
            "issue": JSON | st.fixed_dictionaries({"id": JSON, "key": JSON, "fields": JSON, "self": JSON}),
            "comment": JSON
            | st.fixed_dictionaries({"id": JSON, "author": JSON, "body": JSON, "updated": JSON}),
            "changelog": st.fixed_dictionaries({"id": JSON, "items": st.lists(JSON, max_size=3)}),
            "user": JSON,
            "transition": JSON,
            "timestamp": JSON,
            "key": JSON,
        },
    )
)
def test_no_object_raises(body: dict[str, Any]) -> None:
    first, second = read(body), read(body)
    assert [fact.key for fact in first.facts] == [fact.key for fact in second.facts]
    assert first.outcome is not Outcome.HANDLED or first.facts
