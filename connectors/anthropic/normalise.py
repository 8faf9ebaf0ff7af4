"""Reading Anthropic's webhooks into facts. Each says which object changed and nothing else: whoever wants to know more
asks the service.

Pure. Raises UnreadableError and nothing else.
"""

from __future__ import annotations

import re
from typing import Any, Final

from connectors.base import Fact, Identity, Normalised, Outcome, Request, UnreadableError
from connectors.body import get, id_at, read_object, text_at, time_at
from schemas.event import Actor, Subject

MAX_ID: Final = 200
SESSION_TYPES: Final = frozenset(
    {
        "session.created",
        "session.pending",
        "session.running",
        "session.idled",
        "session.requires_action",
        "session.archived",
        "session.deleted",
        "session.updated",
        "session.budget_reached",
        "session.outcome_evaluation_ended",
        "session.status_idled",
        "session.status_rescheduled",
        "session.status_run_started",
        "session.status_terminated",
        "session.thread_created",
        "session.thread_idled",
        "session.thread_terminated",
    }
)
VAULT_TYPES: Final = frozenset(
    {
        "vault.created",
        "vault.archived",
        "vault.deleted",
        "vault_credential.created",
        "vault_credential.archived",
        "vault_credential.deleted",
        "vault_credential.refresh_failed",
    }
)
ELSEWHERE: Final = ("agent", "environment", "deployment", "deployment_run", "memory_store")
"""What sessions are made of and from: changes to them concern no session at work."""
OTHERS: Final = ("external_key", "user_profile")
"""Of the organization, not of a workspace."""

_TYPE: Final = re.compile(r"[a-z][a-z_]{0,40}\.[a-z][a-z_.]{0,60}")


def normalise(request: Request, *, identity: Identity) -> Normalised:
    """Read one verified webhook. `webhook-id` is the event's own id, and the same on every attempt."""
    del identity  # a webhook names no actor
    body = read_object(request.body)
    data = get(body, "data")
    event_id, kind, subject = text_at(body, "id"), text_at(data, "type"), id_at(data, "id")
    if event_id is None or kind is None or subject is None:
        msg = "not a webhook of Managed Agents: `id`, `data.type` and `data.id` are wanted"
        raise UnreadableError(msg)
    event_id = event_id[:MAX_ID]
    family = kind.partition(".")[0]
    if _TYPE.fullmatch(kind) is None:
        return _read(body, data, event_id, subject, kind=None, reason="a type that is no name")
    if family in ELSEWHERE or family in OTHERS:
        return Normalised(
            Outcome.IGNORED, event_id, payload=body, reason=f"{kind} concerns no session and no credential"
        )
    known = kind in SESSION_TYPES or kind in VAULT_TYPES
    return _read(
        body, data, event_id, subject, kind=kind, reason=None if known else f"the type {kind} is unknown"
    )


def _read(
    body: dict[str, Any], data: object, event_id: str, subject: str, *, kind: str | None, reason: str | None
) -> Normalised:
    family = kind.partition(".")[0] if kind is not None else "object"
    address = {
        "vault": id_at(data, "vault_id") or (subject if family == "vault" else None),
        "thread": id_at(data, "session_thread_id"),
    }
    fact = Fact(
        kind="other",
        type=kind,
        actor=Actor(trust="system"),
        subject=Subject(kind=family, key=subject[:MAX_ID]),
        key=event_id,
        account=(id_at(data, "workspace_id") or id_at(data, "organization_id") or "")[:MAX_ID],
        occurred_at=time_at(body, "created_at"),
        address={name: value[:MAX_ID] for name, value in address.items() if value},
    )
    outcome = Outcome.HANDLED if reason is None else Outcome.UNSUPPORTED
    return Normalised(outcome, event_id, (fact,), body, reason=reason)
