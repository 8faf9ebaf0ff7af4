"""What the router writes: events of other programs, verdicts, dispatches; and what it asks about conversations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, and_, select, update

from schemas.dispatch import Dispatch
from schemas.topics import DISPATCHES, EVENTS
from storage import outbox, replays
from storage.clock import read_clock
from storage.replays import Replay
from storage.rows import insert_new, plain, table
from storage.tables import (
    ConversationRow,
    ConversationSubject,
    DispatchRow,
    EventRow,
    ResultRow,
    RunRow,
    VerdictRow,
)


@dataclass(frozen=True, slots=True)
class RecordedVerdict:
    """One rule's verdict as it is kept."""

    rule: str
    outcome: str
    reason: str
    clause: str | None = None
    expected: str | None = None
    seen: str | None = None
    dispatch: Dispatch | None = None


@dataclass(frozen=True, slots=True)
class Ownership:
    """A conversation that owns a subject."""

    conversation: str
    rule: str
    session_id: str | None


def is_routed(connection: Connection, event_id: str) -> bool:
    """True when the event was routed before: a copy of its message stops here."""
    rows = table(EventRow)
    return (
        connection.execute(
            select(rows.c.id).where(and_(rows.c.id == event_id, rows.c.routed_at.is_not(None)))
        ).first()
        is not None
    )


def record_routing(
    connection: Connection,
    event_id: str,
    verdicts: Sequence[RecordedVerdict],
    *,
    replay: Replay | None = None,
) -> list[Dispatch] | None:
    """Keep verdicts and dispatches, put the dispatches' messages, settle the event's. None: routed before.

    A replay's verdicts are kept under its number, beside those of the first time.
    """
    events = table(EventRow)
    now = read_clock(connection)
    outbox.settle(connection, EVENTS.name, event_id)
    if replay is not None:
        if not replays.finish(connection, replay, now=now):
            return None
        known = set(replays.dispatched(connection, event_id))
        fed = {verdict.rule for verdict in verdicts if verdict.dispatch is not None} - known
        matched = update(events).where(events.c.id == event_id).values(matched=events.c.matched + len(fed))
        connection.execute(matched)
    else:
        count = sum(verdict.dispatch is not None for verdict in verdicts)
        changed = connection.execute(
            update(events)
            .where(and_(events.c.id == event_id, events.c.routed_at.is_(None)))
            .values(routed_at=now, matched=count)
        ).rowcount
        if not changed:
            return None
    if verdicts:
        insert_new(
            connection,
            VerdictRow,
            [
                {
                    "event_id": event_id,
                    "replay": replay.number if replay is not None else 0,
                    "rule": verdict.rule,
                    "outcome": verdict.outcome,
                    "clause": verdict.clause,
                    "expected": plain(verdict.expected, limit=500),
                    "seen": plain(verdict.seen, limit=500),
                    "reason": plain(verdict.reason, limit=1000),
                    "dispatch_id": verdict.dispatch.id if verdict.dispatch else None,
                    "at": now,
                }
                for verdict in verdicts
            ],
        )
    made: list[Dispatch] = []
    for dispatch in (verdict.dispatch for verdict in verdicts if verdict.dispatch):
        row = {
            "id": dispatch.id,
            "event_id": event_id,
            "rule": dispatch.rule,
            "conversation": dispatch.conversation,
            "body": dispatch.model_dump_json().encode(),
            "created_at": now,
        }
        if insert_new(connection, DispatchRow, [row]):
            outbox.put(connection, DISPATCHES.name, ref=dispatch.id, key=dispatch.conversation, now=now)
            made.append(dispatch)
    return made


def owners_of(connection: Connection, *, connection_name: str, subject: str) -> list[Ownership]:
    """Conversations that own the subject, the most recently used first."""
    links, conversations = table(ConversationSubject), table(ConversationRow)
    query = (
        select(conversations.c.key, conversations.c.rule, conversations.c.session_id)
        .join(links, links.c.conversation == conversations.c.key)
        .where(and_(links.c.connection == connection_name, links.c.subject == plain(subject, limit=500)))
        .order_by(conversations.c.updated_at.desc())
    )
    return [Ownership(*row) for row in connection.execute(query)]


def made_by_us(connection: Connection, *, connection_name: str, artefact: str) -> str | None:
    """The result that made this artefact, if one of our posts did."""
    rows = table(ResultRow)
    query = (
        select(rows.c.id)
        .where(and_(rows.c.connection == connection_name, rows.c.artefact == artefact))
        .limit(1)
    )
    found: str | None = connection.execute(query).scalar_one_or_none()
    return found


def run_exists(connection: Connection, run_id: str) -> bool:
    """True for a run of ours: a marker that names it is genuine enough to stop a loop."""
    rows = table(RunRow)
    return connection.execute(select(rows.c.id).where(rows.c.id == run_id)).first() is not None
