"""Messages that have to reach a consumer: publish, sweep, settle.

A row lives from the transaction that made it to the consumer's own transaction, which deletes it. Until then the sweep
publishes it again, with growing distance, so neither a crash nor a broker that forgets can lose it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from pydantic import ValidationError
from sqlalchemy import Connection, Delete, Insert, and_, bindparam, case, delete, func, select, tuple_, update
from sqlmodel import SQLModel

from schemas.event import Event
from schemas.topics import DISPATCHES, EVENTS, MAX_MESSAGE_BYTES, RESULTS, TOPICS
from storage.clock import db_now, read_clock
from storage.deliveries import FIRST_SWEEP_SECONDS
from storage.rows import plain, table
from storage.statements import Fixed
from storage.tables import DeadLetterRow, DispatchRow, EventRow, OutboxRow, ResultRow

SWEEP_DELAYS: Final = (5.0, 15.0, 60.0, 300.0)
"""Seconds until a message is published again, by the number of times it was swept."""

MAX_PAGES: Final = 20
"""Of messages that are on their way already, looked at in one sweep."""

_BODIES: Final[dict[str, type[SQLModel]]] = {
    EVENTS.name: EventRow,
    DISPATCHES.name: DispatchRow,
    RESULTS.name: ResultRow,
}
_RETRIES: Final = {spec.dead_letter: spec.name for spec in TOPICS}
"""Rows of these names are dead letters on their way back to the topic they died on."""


@dataclass(frozen=True, slots=True)
class Message:
    """A record to publish."""

    topic: str
    ref: str
    key: str
    value: bytes
    repeated: Repeated | None = None
    """Set where the record repeats one that died. `ref` is the dead letter then, and `key` is not used."""


@dataclass(frozen=True, slots=True)
class Repeated:
    """What a dead letter had beside its bytes."""

    key: bytes | None
    ref: str | None
    """Of the event, dispatch or result, where the producer named it."""


def _put() -> Insert:
    rows = table(OutboxRow)
    return rows.insert().values({column.name: bindparam(f"new_{column.name}") for column in rows.columns})


def _settle() -> Delete:
    rows = table(OutboxRow)
    return delete(rows).where(
        and_(rows.c.topic == bindparam("the_topic"), rows.c.ref == bindparam("the_ref"))
    )


_PUT: Final = Fixed(_put)
_SETTLE: Final = Fixed(_settle)


def put(
    connection: Connection, topic: str, *, ref: str, key: str, now: float, due_at: float | None = None
) -> None:
    """Add a message in the caller's transaction. Its value is the body of the row `ref` names.

    The sweep publishes it from `due_at` on: by default after the time that the caller's own process needs for it.
    """
    _PUT.run(
        connection,
        new_topic=topic,
        new_ref=ref,
        new_key=plain(key, limit=500),
        new_created_at=now,
        new_due_at=now + FIRST_SWEEP_SECONDS if due_at is None else due_at,
        new_attempts=0,
    )


def settle(connection: Connection, topic: str, ref: str) -> None:
    """The consumer has it: called in the consumer's own transaction."""
    _SETTLE.run(connection, the_topic=topic, the_ref=ref)


def sweep(
    connection: Connection,
    *,
    limit: int = 200,
    on_its_way: Callable[[str, str, float], bool] = lambda _topic, _ref, _age: False,
) -> list[Message]:
    """Take up to `limit` messages that are due, set their next due time, and return them for publishing.

    Where more are due than that, `on_its_way` is asked with topic, ref and age in seconds: what the broker is known to
    have is not returned then, since its consumer is behind and would be put further behind. It comes round again as if it
    had been. A few are returned whatever is known: the broker may have lost them.
    """
    rows = table(OutboxRow)
    now = read_clock(connection)
    query = (
        select(rows.c.topic, rows.c.ref, rows.c.key, rows.c.attempts, rows.c.created_at)
        .where(rows.c.due_at <= now)
        .order_by(rows.c.due_at)
        .limit(limit)
    )
    if connection.dialect.name == "postgresql":
        query = query.with_for_update(skip_locked=True)
    delay = case(
        *((rows.c.attempts == number, seconds) for number, seconds in enumerate(SWEEP_DELAYS)),
        else_=SWEEP_DELAYS[-1],
    )
    for _ in range(MAX_PAGES):
        due = connection.execute(query).all()
        if not due:
            break
        connection.execute(
            update(rows)
            .where(tuple_(rows.c.topic, rows.c.ref).in_([(row.topic, row.ref) for row in due]))
            .values(due_at=now + delay, attempts=rows.c.attempts + 1)
        )
        is_backlog = len(due) == limit
        wanted = [
            (row.topic, row.ref, row.key)
            for row in due
            if not (is_backlog and on_its_way(row.topic, row.ref, now - row.created_at))
        ]
        if wanted or not is_backlog:
            return _with_values(connection, wanted)
    return []


def make_all_due(connection: Connection) -> int:
    """The broker has forgotten everything (it restarted): everything unconsumed is published again. Return how many."""
    rows = table(OutboxRow)
    change = update(rows).values(due_at=db_now(), attempts=0)
    if connection.dialect.name == "postgresql":
        # Whoever holds a row is sweeping or settling it just now: waiting for it here would be a deadlock's half.
        free = select(rows.c.topic, rows.c.ref).with_for_update(skip_locked=True)
        change = change.where(tuple_(rows.c.topic, rows.c.ref).in_(free))
    return connection.execute(change).rowcount


def depth(connection: Connection) -> tuple[int, float]:
    """How many messages wait, and the age of the oldest in seconds (0 when none waits)."""
    rows = table(OutboxRow)
    count, oldest = connection.execute(select(func.count(), func.min(rows.c.created_at))).one()
    return count, (read_clock(connection) - oldest) if oldest is not None else 0.0


def oldest(connection: Connection) -> dict[str, float]:
    """Age in seconds of the oldest message that waits, by the topic it goes to. Topics with none are left out."""
    rows = table(OutboxRow)
    query = select(rows.c.topic, func.min(rows.c.created_at)).group_by(rows.c.topic)
    now, found = read_clock(connection), dict[str, float]()
    for name, created_at in connection.execute(query):
        topic = _RETRIES.get(name, name)
        found[topic] = max(found.get(topic, 0.0), now - created_at)
    return found


def _with_values(connection: Connection, due: Sequence[tuple[str, str, str]]) -> list[Message]:
    messages: list[Message] = []
    for topic, model in _BODIES.items():
        wanted = {ref: key for name, ref, key in due if name == topic}
        if not wanted:
            continue
        rows = table(model)
        found = connection.execute(select(rows.c.id, rows.c.body).where(rows.c.id.in_(list(wanted))))
        messages += [Message(topic, ref, wanted[ref], _fitting(topic, body)) for ref, body in found]
    retries = [ref for name, ref, _ in due if name in _RETRIES]
    if retries:
        letters = table(DeadLetterRow)
        messages += [
            Message(row["topic"], row["id"], "", row["value"], Repeated(row["key"], row["ref"]))
            for row in connection.execute(select(letters).where(letters.c.id.in_(retries))).mappings()
        ]
    return messages


def _fitting(topic: str, body: bytes) -> bytes:
    """An event too large for Kafka travels without its payload, and says where that is."""
    if topic != EVENTS.name or len(body) <= MAX_MESSAGE_BYTES:
        return body
    try:
        return Event.model_validate_json(body).without_payload().model_dump_json().encode()
    except ValidationError:  # of a newer version: its own process publishes it, and a sweep must not end here
        return body
