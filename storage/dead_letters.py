"""Messages no consumer can take: kept with their bytes and the reason until a person retries or drops them.

A retry is a row of the outbox, under the name of the dead-letter topic. So it is published until it was consumed, by
whichever process sweeps, whatever crashes in between; and whoever consumes it settles it, whether it lives or dies again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, and_, select, update

from schemas.topics import TOPICS
from storage import outbox
from storage.clock import read_clock
from storage.rows import insert_new, plain, table
from storage.tables import DeadLetterRow, LetterStatus

_RETRIES: Final = {spec.name: spec.dead_letter for spec in TOPICS}
"""Under which name of the outbox a letter of a topic is published again."""


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
    repeats: str | None = None
    """The dead letter that this message was a retry of."""


class LetterResolvedError(RuntimeError):
    """It was retried or dropped before, or belongs to a topic that is no more."""


def bury(connection: Connection, letter: DeadLetter) -> bool:
    """Keep a dead letter and stop announcing it: a person decides what comes next. False: it was kept before.

    A broker that forgets uses a position again. A letter that was resolved there and is dead once more is dead again.
    """
    ref = plain(letter.ref, limit=500)
    repeats = plain(letter.repeats, limit=500)
    if ref:
        outbox.settle(connection, letter.topic, ref)
    if repeats:
        settle_retry(connection, repeats)
    row = {
        "id": letter.id,
        "topic": letter.topic,
        "key": letter.key,
        "value": letter.value,
        "reason": plain(letter.reason, limit=1000),
        "ref": ref,
        "repeats": repeats,
        "status": LetterStatus.DEAD.value,
        "note": None,
        "resolved_at": None,
        "at": read_clock(connection),
    }
    if insert_new(connection, DeadLetterRow, [row]):
        return True
    rows = table(DeadLetterRow)
    resolved = [LetterStatus.RETRIED.value, LetterStatus.DROPPED.value]
    revived = update(rows).where(and_(rows.c.id == letter.id, rows.c.status.in_(resolved))).values(row)
    return connection.execute(revived).rowcount == 1


def retry(connection: Connection, letter_id: str) -> LetterStatus | None:
    """Have the original bytes published on the original topic. Return the status before; None when there is no such
    letter. Asking twice is asking once. Raises LetterResolvedError.
    """
    row = _locked(connection, letter_id)
    if row is None:
        return None
    before = LetterStatus(row["status"])
    name = _RETRIES.get(row["topic"])
    if name is None:
        msg = f"the dead letter {letter_id} is of {row['topic']}, which nobody consumes any more; drop it"
        raise LetterResolvedError(msg)
    if before in {LetterStatus.RETRIED, LetterStatus.DROPPED}:
        msg = f"the dead letter {letter_id} was {before.value} before; only a letter that is dead can be retried"
        raise LetterResolvedError(msg)
    if before is LetterStatus.DEAD:
        _set(connection, letter_id, status=LetterStatus.RETRYING)
        now = read_clock(connection)
        outbox.put(connection, name, ref=letter_id, key="", now=now, due_at=now)
    return before


def drop(connection: Connection, letter_id: str, *, reason: str) -> LetterStatus | None:
    """Give a letter up. Its bytes stay. Return the status before; None when there is no such letter.

    Raises LetterResolvedError.
    """
    row = _locked(connection, letter_id)
    if row is None:
        return None
    before = LetterStatus(row["status"])
    if before in {LetterStatus.RETRIED, LetterStatus.DROPPED}:
        msg = f"the dead letter {letter_id} was {before.value} before; there is nothing left to drop"
        raise LetterResolvedError(msg)
    _set(
        connection,
        letter_id,
        status=LetterStatus.DROPPED,
        note=plain(reason, limit=1000),
        resolved_at=read_clock(connection),
    )
    outbox.settle(connection, _RETRIES.get(row["topic"], ""), letter_id)
    return before


def settle_retry(connection: Connection, letter_id: str) -> None:
    """A consumer had the letter again: RETRYING → RETRIED, and it is published no more."""
    rows = table(DeadLetterRow)
    topic = connection.execute(
        select(rows.c.topic).where(and_(rows.c.id == letter_id, rows.c.status == LetterStatus.RETRYING.value))
    ).scalar_one_or_none()
    if topic is None:
        return
    _set(connection, letter_id, status=LetterStatus.RETRIED, resolved_at=read_clock(connection))
    outbox.settle(connection, _RETRIES.get(topic, ""), letter_id)


def _locked(connection: Connection, letter_id: str) -> dict[str, Any] | None:
    rows = table(DeadLetterRow)
    query = select(rows.c.topic, rows.c.status).where(rows.c.id == letter_id)
    found = (
        connection.execute(query.with_for_update()).mappings().one_or_none()
    )  # SQLite has one writer anyway
    return dict(found) if found is not None else None


def _set(connection: Connection, letter_id: str, *, status: LetterStatus, **values: Any) -> None:
    rows = table(DeadLetterRow)
    connection.execute(update(rows).where(rows.c.id == letter_id).values(status=status.value, **values))
