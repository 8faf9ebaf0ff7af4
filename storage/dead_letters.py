"""Messages no consumer can take: kept with their bytes and the reason until a person retries or drops them."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, and_, select, update

from storage import outbox
from storage.clock import read_clock
from storage.rows import insert_new, plain, table
from storage.tables import DeadLetterRow


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A message and why it is here. `id` is `<topic>/<partition>/<offset>/<digest of the value>`."""

    id: str
    topic: str
    key: bytes | None
    value: bytes
    reason: str
    ref: str | None = None
    """The row that the message announces, where it is one of ours."""


def bury(connection: Connection, letter: DeadLetter) -> bool:
    """Keep a dead letter and stop announcing it: a person decides what comes next. False: it was kept before."""
    if letter.ref:
        outbox.settle(connection, letter.topic, plain(letter.ref, limit=500) or "")
    row = {
        "id": letter.id,
        "topic": letter.topic,
        "key": letter.key,
        "value": letter.value,
        "reason": plain(letter.reason, limit=1000),
        "status": "dead",
        "at": read_clock(connection),
    }
    return bool(insert_new(connection, DeadLetterRow, [row]))


def resolve(connection: Connection, letter_id: str, *, status: str) -> DeadLetter | None:
    """Mark a dead letter `retried` or `dropped` and return it; None when it is not there or not dead any more."""
    rows = table(DeadLetterRow)
    changed = connection.execute(
        update(rows).where(and_(rows.c.id == letter_id, rows.c.status == "dead")).values(status=status)
    ).rowcount
    if not changed:
        return None
    row = connection.execute(select(rows).where(rows.c.id == letter_id)).mappings().one()
    return DeadLetter(
        id=row["id"], topic=row["topic"], key=row["key"], value=row["value"], reason=row["reason"]
    )
