"""Canaries: begun, come through, told of, forgotten. The row comes before the event, so that none is lost unnoticed."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, and_, delete, exists, func, select, update

from schemas.topics import EVENTS
from storage.canary_tables import CanaryRow
from storage.clock import read_clock
from storage.rows import insert_new, table
from storage.tables import Delivery, EventRow, OutboxRow, ReplayRow, VerdictRow

KEPT_SECONDS: Final = 3600.0
"""Canaries older than this are deleted, with their events and verdicts."""
RESEND_SECONDS: Final = 5.0
"""A canary whose event is not there after so long is stored by whoever looks: its process may have died."""
DELETED_AT_ONCE: Final = 200


@dataclass(frozen=True, slots=True)
class Canary:
    """One canary. Times are seconds on the database's clock."""

    connection: str
    event_id: str
    sent_at: float
    came_at: float | None = None


@dataclass(frozen=True, slots=True)
class Standing:
    """How the canaries of one connection fare. Ages in seconds."""

    connection: str
    came_ago: float | None
    """Since the newest that came through was sent. None: none came in the last hour."""
    waits: float
    """How long the oldest has waited that is newer than that one; 0 where none waits."""
    stored: bool
    """Whether that one got as far as the database."""


def delivery_of(event_id: str) -> str:
    """Id of the delivery that carries a canary's event."""
    return f"-canary:{event_id}"


def begin(connection: Connection, names: Collection[str], *, interval: float) -> list[Canary]:
    """Begin the canaries of this interval, and take up those whose event was never stored."""
    now = read_clock(connection)
    slot = int(now // interval * interval)
    rows = [
        {
            "connection": name,
            "slot": slot,
            "event_id": _event_id(name, slot),
            "sent_at": now,
            "came_at": None,
        }
        for name in sorted(names)
    ]
    fresh = insert_new(connection, CanaryRow, rows) if rows else set()
    begun = [
        Canary(str(row["connection"]), str(row["event_id"]), now)
        for row in rows
        if row["connection"] in fresh
    ]
    canaries, events = table(CanaryRow), table(EventRow)
    lost = select(canaries).where(
        and_(
            canaries.c.connection.in_(sorted(names)),
            canaries.c.came_at.is_(None),
            canaries.c.sent_at < now - RESEND_SECONDS,
            canaries.c.sent_at > now - KEPT_SECONDS,
            ~exists().where(events.c.id == canaries.c.event_id),
        )
    )
    return begun + [
        Canary(row["connection"], row["event_id"], row["sent_at"])
        for row in connection.execute(lost).mappings()
    ]


def came(connection: Connection, event_id: str) -> bool:
    """A router has it. False: it had come before, or was forgotten."""
    rows = table(CanaryRow)
    here = and_(rows.c.event_id == event_id, rows.c.came_at.is_(None))
    return connection.execute(update(rows).where(here).values(came_at=read_clock(connection))).rowcount == 1


def arrived(connection: Connection, event_ids: Collection[str]) -> list[Canary]:
    """Those of these that came through."""
    rows = table(CanaryRow)
    query = select(rows).where(and_(rows.c.event_id.in_(list(event_ids)), rows.c.came_at.is_not(None)))
    return [
        Canary(row["connection"], row["event_id"], row["sent_at"], row["came_at"])
        for row in connection.execute(query).mappings()
    ]


def standing(connection: Connection) -> list[Standing]:
    """Every connection that had a canary in the last hour, by name."""
    rows, events = table(CanaryRow), table(EventRow)
    now = read_clock(connection)
    recent = rows.c.sent_at > now - KEPT_SECONDS
    came = (
        select(rows.c.connection, func.max(rows.c.sent_at))
        .where(and_(recent, rows.c.came_at.is_not(None)))
        .group_by(rows.c.connection)
    )
    newest: dict[str, float] = {name: at for name, at in connection.execute(came)}  # noqa: C416 - rows are not tuples
    names = connection.execute(select(rows.c.connection).where(recent).distinct().order_by(rows.c.connection))
    found: list[Standing] = []
    for name in names.scalars().all():
        waiting = (
            select(rows.c.sent_at, exists().where(events.c.id == rows.c.event_id))
            .where(
                and_(
                    recent,
                    rows.c.connection == name,
                    rows.c.came_at.is_(None),
                    rows.c.sent_at > newest.get(name, 0.0),
                )
            )
            .order_by(rows.c.sent_at)
            .limit(1)
        )
        row = connection.execute(waiting).one_or_none()
        last = newest.get(name)
        found.append(
            Standing(
                connection=name,
                came_ago=None if last is None else now - last,
                waits=0.0 if row is None else now - row[0],
                stored=True if row is None else bool(row[1]),
            )
        )
    return found


def forget(connection: Connection) -> int:
    """Delete old canaries with everything that was made of them, some at a time. Return how many."""
    canaries = table(CanaryRow)
    old = (
        select(canaries.c.event_id)
        .where(canaries.c.sent_at < read_clock(connection) - KEPT_SECONDS)
        .limit(DELETED_AT_ONCE)
    )
    ids = list(connection.execute(old).scalars())
    if ids:
        outbox, deliveries = table(OutboxRow), table(Delivery)
        connection.execute(delete(outbox).where(and_(outbox.c.topic == EVENTS.name, outbox.c.ref.in_(ids))))
        for model in (VerdictRow, ReplayRow):
            connection.execute(delete(table(model)).where(table(model).c.event_id.in_(ids)))
        events = table(EventRow)
        connection.execute(delete(events).where(events.c.id.in_(ids)))
        connection.execute(delete(deliveries).where(deliveries.c.id.in_([delivery_of(one) for one in ids])))
        connection.execute(delete(canaries).where(canaries.c.event_id.in_(ids)))
    return len(ids)


def _event_id(name: str, slot: int) -> str:
    return f"evt_canary_{hashlib.sha256(name.encode()).hexdigest()[:16]}_{slot}"
