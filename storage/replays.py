"""Replays: a person wants the rules asked about a stored event once more. Each is recorded before anything is done.

A replay is a row and a message of the event, in one transaction; the router finds the row when the message comes. What
it decides is kept beside the first verdicts, under the replay's number.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, and_, func, select, union, update

from schemas.topics import EVENTS
from storage import outbox
from storage.clock import read_clock
from storage.rows import plain, table
from storage.tables import DispatchRow, EventRow, ReplayRow, RunRow

MAX_REASON: Final = 1000


@dataclass(frozen=True, slots=True)
class Replay:
    """One replay of an event. `number` counts from 1."""

    event_id: str
    number: int
    again: bool
    """Rules that were dispatched before are dispatched once more."""


class NotReplayableError(RuntimeError):
    """The event was not routed yet, or a replay of it waits already."""


def ask_replay(
    connection: Connection, event_id: str, *, again: bool, by: str, reason: str | None
) -> Replay | None:
    """Record a replay and put the event's message, for any router. None: there is no such event.

    Raises NotReplayableError.
    """
    events, rows = table(EventRow), table(ReplayRow)
    # Locked: of two who ask at once the second sees the first one's row (SQLite has one writer anyway).
    query = select(events.c.subject, events.c.routed_at).where(events.c.id == event_id).with_for_update()
    event = connection.execute(query).one_or_none()
    if event is None:
        return None
    if event.routed_at is None:
        msg = (
            f"the event {event_id} was not routed a first time yet: it waits for the router, "
            "or its message is dead (`triggerhub dlq list`)"
        )
        raise NotReplayableError(msg)
    waits = waiting(connection, event_id)
    if waits is not None:
        msg = f"replay {waits.number} of the event {event_id} still waits for the router; is a hub running?"
        raise NotReplayableError(msg)
    last = connection.execute(select(func.max(rows.c.number)).where(rows.c.event_id == event_id)).scalar()
    now = read_clock(connection)
    replay = Replay(event_id, (last or 0) + 1, again)
    connection.execute(
        rows.insert().values(
            event_id=event_id,
            number=replay.number,
            asked_at=now,
            by=plain(by, limit=200),
            again=again,
            reason=plain(reason, limit=MAX_REASON),
            routed_at=None,
        )
    )
    # Of an event that was routed no message is left, but for one that another program put there.
    outbox.settle(connection, EVENTS.name, event_id)
    outbox.put(connection, EVENTS.name, ref=event_id, key=event.subject, now=now, due_at=now)
    return replay


def waiting(connection: Connection, event_id: str) -> Replay | None:
    """The replay of the event that no router has done yet."""
    rows = table(ReplayRow)
    query = (
        select(rows.c.number, rows.c.again)
        .where(and_(rows.c.event_id == event_id, rows.c.routed_at.is_(None)))
        .order_by(rows.c.number)
        .limit(1)
    )
    row = connection.execute(query).one_or_none()
    return None if row is None else Replay(event_id, row.number, row.again)


def finish(connection: Connection, replay: Replay, *, now: float) -> bool:
    """The router has asked the rules. False: another did so first."""
    rows = table(ReplayRow)
    changed = connection.execute(
        update(rows)
        .where(
            and_(
                rows.c.event_id == replay.event_id,
                rows.c.number == replay.number,
                rows.c.routed_at.is_(None),
            )
        )
        .values(routed_at=now)
    ).rowcount
    return changed == 1


def dispatched(connection: Connection, event_id: str) -> dict[str, str]:
    """The first dispatch of each rule that was dispatched for the event. Runs remember what retention deleted."""
    rows, runs = table(DispatchRow), table(RunRow)
    query = union(
        select(rows.c.rule, rows.c.id, rows.c.created_at).where(rows.c.event_id == event_id),
        select(runs.c.rule, runs.c.dispatch_id, runs.c.created_at).where(runs.c.event_id == event_id),
    )
    found: dict[str, str] = {}
    for rule, dispatch_id, _ in sorted(connection.execute(query), key=lambda row: row[2]):
        found.setdefault(rule, dispatch_id)
    return found
