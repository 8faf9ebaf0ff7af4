"""What Anthropic's webhooks become: every type that the SDK knows is read or ignored by name, and nothing is guessed."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any, Final, get_args

import pytest
from anthropic.types.beta import BetaWebhookEventData

from connectors.anthropic.normalise import ELSEWHERE, OTHERS, SESSION_TYPES, VAULT_TYPES, normalise
from connectors.base import Fact, Identity, Normalised, Outcome, Request, UnreadableError, seal

MEMBERS: Final = get_args(get_args(BetaWebhookEventData)[0])
TYPES: Final = sorted(get_args(member.model_fields["type"].annotation)[0] for member in MEMBERS)


def read(kind: object, identifier: object = "sesn_1", **data: Any) -> Normalised:
    body = {"type": "event", "id": "whe_1", "created_at": "2026-11-22T08:00:00Z"}
    whole = {**body, "data": {"type": kind, "id": identifier, "workspace_id": "wrkspc_1", **data}}
    return normalise(Request({}, json.dumps(whole).encode()), identity=Identity())


def only(found: Normalised) -> Fact:
    (fact,) = found.facts
    return fact


@pytest.mark.parametrize("kind", TYPES)
def test_every_type_of_the_sdk_is_known(kind: str) -> None:
    found = read(kind)
    if kind.partition(".")[0] in {*ELSEWHERE, *OTHERS}:
        assert found.outcome is Outcome.IGNORED
        assert kind in (found.reason or "")
    else:
        assert kind in SESSION_TYPES | VAULT_TYPES
        assert found.outcome is Outcome.HANDLED
        assert (only(found).kind, only(found).type) == ("other", kind)


def test_no_type_is_listed_that_the_sdk_does_not_have() -> None:
    assert sorted(SESSION_TYPES | VAULT_TYPES) == [
        kind for kind in TYPES if kind.startswith(("session.", "vault"))
    ]


def test_a_type_of_tomorrow_is_stored_and_counted_as_unsupported() -> None:
    found = read("session.hibernated")
    assert found.outcome is Outcome.UNSUPPORTED
    assert only(found).type == "session.hibernated"
    assert only(found).subject.kind == "session"


def test_the_event_names_type_subject_and_workspace() -> None:
    fact = only(read("vault_credential.refresh_failed", "vcrd_1", vault_id="vlt_1"))
    now = datetime(2026, 1, 2, tzinfo=UTC)
    event = seal(fact, source="anthropic", connection="acme", payload={}, received_at=now)
    assert event.type == "anthropic.vault_credential.refresh_failed"
    assert event.source == "anthropic/wrkspc_1"
    assert event.data.subject.key == "vcrd_1"
    assert event.data.address == {"vault": "vlt_1"}
    assert event.data.actor.trust == "system"


def test_the_same_webhook_is_the_same_fact_whenever_it_comes() -> None:
    assert only(read("session.updated")).key == only(read("session.updated")).key == "whe_1"
    assert read("session.updated").delivery_key == "whe_1"


@pytest.mark.parametrize("kind", ["Session.Idled", "session", "session.", "a b.c", "session.x\n", "x" * 300])
def test_a_type_that_is_no_name_never_becomes_part_of_the_events_type(kind: str) -> None:
    found = read(kind)
    assert found.outcome is Outcome.UNSUPPORTED
    assert only(found).type is None


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b'{"hello": "world"}',
        b'{"type": "event", "id": "whe_1"}',
        b'{"id": "whe_1", "data": {"type": "session.updated"}}',
        b'{"id": "whe_1", "data": {"type": 7, "id": "sesn_1"}}',
        b'{"id": "whe_1", "data": "session.updated"}',
    ],
)
def test_what_is_no_webhook_is_unreadable(body: bytes) -> None:
    with pytest.raises(UnreadableError):
        normalise(Request({}, body), identity=Identity())
