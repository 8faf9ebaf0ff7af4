"""Storing what came in: delivery, events and outbox rows in the caller's one transaction, before any 2xx."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import Connection, select

from schemas.event import Event
from schemas.topics import EVENTS
from storage.clock import read_clock
from storage.rows import insert_many, insert_new, plain, table
from storage.tables import Delivery, DeliveryOrigin, EventRow, OutboxRow

FIRST_SWEEP_SECONDS: Final = 5.0
"""The process that stored a message publishes it at once; the sweep is for when it died before."""


@dataclass(frozen=True, slots=True)
class IncomingEvent:
    """An event as it is stored. `body` is the CloudEvents JSON."""

    id: str
    connection: str
    connector: str
    kind: str
    subject: str
    time: float
    body: bytes

    @classmethod
    def of(cls, event: Event, body: bytes) -> IncomingEvent:
        """`event`, whose JSON is `body`."""
        return cls(
            id=event.id,
            connection=event.connection,
            connector=event.connector,
            kind=event.data.kind,
            subject=event.subject,
            time=event.time.timestamp(),
            body=body,
        )


@dataclass(frozen=True, slots=True)
class Incoming:
    """One delivery and its events."""

    id: str
    connection: str
    outcome: str
    body_hash: str
    body_size: int
    reason: str | None = None
    body: bytes | None = None
    origin: DeliveryOrigin = DeliveryOrigin.DELIVERED
    events: Sequence[IncomingEvent] = field(default_factory=tuple)

    @property
    def size(self) -> int:
        """Bytes that it keeps in memory while it waits."""
        return sum(len(event.body) for event in self.events) + len(self.body or b"")


def store_deliveries(connection: Connection, batch: Sequence[Incoming]) -> set[str]:
    """Store a batch. Return the ids of the events that are new; all others were known facts."""
    now = read_clock(connection)
    rows: list[dict[str, Any]] = [
        {
            "id": plain(item.id, limit=500),
            "connection": item.connection,
            "outcome": item.outcome,
            "reason": plain(item.reason, limit=500),
            "received_at": now,
            "body_hash": item.body_hash,
            "body_size": item.body_size,
            "body": item.body,
            "origin": item.origin.value,
        }
        for item in batch
    ]
    fresh = insert_new(connection, Delivery, rows)
    events = [
        (row["id"], one)
        for row, item in zip(rows, batch, strict=True)
        if row["id"] in fresh
        for one in item.events
    ]
    return store_events(connection, events, now=now) if events else set()


def store_events(
    connection: Connection, events: Sequence[tuple[str | None, IncomingEvent]], *, now: float
) -> set[str]:
    """Store (delivery id, event) pairs with their outbox rows. Return the ids that are new."""
    rows: list[dict[str, Any]] = [
        {
            "id": one.id,
            "connection": one.connection,
            "connector": one.connector,
            "kind": one.kind,
            "subject": plain(one.subject, limit=500),
            "delivery_id": delivery_id,
            "time": one.time,
            "received_at": now,
            "body": one.body,
            "routed_at": None,
            "matched": 0,
        }
        for delivery_id, one in events
    ]
    fresh = insert_new(connection, EventRow, rows)
    if fresh:
        outbox = [
            {
                "topic": EVENTS.name,
                "ref": one.id,
                "key": plain(one.subject, limit=500),
                "created_at": now,
                "due_at": now + FIRST_SWEEP_SECONDS,
                "attempts": 0,
            }
            for one in {pair[1].id: pair[1] for pair in events}.values()
            if one.id in fresh
        ]
        insert_many(connection, table(OutboxRow), outbox)
    return fresh


def event_body(connection: Connection, event_id: str) -> bytes | None:
    """The stored CloudEvents JSON, whole."""
    rows = table(EventRow)
    body: bytes | None = connection.execute(
        select(rows.c.body).where(rows.c.id == event_id)
    ).scalar_one_or_none()
    return body
