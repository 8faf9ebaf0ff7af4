"""Dead letters in the shapes of the JSON API, for the API and the command line.

Every function takes an open connection and may be passed to `Database.read`. `retry` and `drop` write.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from hub.api_models import LetterChange, LetterDetail, LetterPage, LetterSummary
from hub.api_values import UnknownIdError, cursor_of, only, time_of, time_or_none
from storage import dead_letters, queries
from storage.queries import Position, Row
from storage.tables import LetterStatus


@dataclass(frozen=True, slots=True)
class LetterFilter:
    """Which dead letters. None: any."""

    status: str | None = None
    topic: str | None = None


def letters(
    connection: Connection, wanted: LetterFilter, *, limit: int, after: Position | None
) -> LetterPage:
    """One page of dead letters."""
    page = queries.list_letters(
        connection, limit=limit, after=after, status=wanted.status, topic=wanted.topic
    )
    items = tuple(LetterSummary(**_fields(row)) for row in page.rows)
    return LetterPage(items=items, next_cursor=cursor_of(page))


def letter(connection: Connection, given: str) -> LetterDetail:
    """A dead letter by its id or an unmistakable beginning of it. Raises UnknownIdError."""
    row = queries.letter_row(connection, _id(connection, given))
    if row is None:
        raise UnknownIdError("dead letter", given, ())
    return LetterDetail(
        **_fields(row),
        size=len(row["value"]),
        key_base64=None if row["key"] is None else base64.b64encode(row["key"]).decode(),
        value_base64=base64.b64encode(row["value"]).decode(),
    )


def retry(connection: Connection, given: str) -> LetterChange:
    """Have a letter's bytes published again. Raises UnknownIdError, LetterResolvedError. Writes."""
    letter_id = _id(connection, given)
    before = dead_letters.retry(connection, letter_id)
    return _changed(given, letter_id, before, LetterStatus.RETRYING)


def drop(connection: Connection, given: str, *, reason: str) -> LetterChange:
    """Give a letter up. Raises UnknownIdError, LetterResolvedError. Writes."""
    letter_id = _id(connection, given)
    before = dead_letters.drop(connection, letter_id, reason=reason)
    return _changed(given, letter_id, before, LetterStatus.DROPPED)


def _id(connection: Connection, given: str) -> str:
    return only("dead letter", given, queries.find_letter(connection, given))


def _changed(given: str, letter_id: str, before: LetterStatus | None, after: LetterStatus) -> LetterChange:
    if before is None:
        raise UnknownIdError("dead letter", given, ())
    topic = letter_id.partition("/")[0]
    return LetterChange(id=letter_id, topic=topic, status_before=before.value, status=after.value)


def _fields(row: Row) -> dict[str, Any]:
    plain = ("id", "topic", "status", "reason", "ref", "repeats", "note")
    times = {"at": time_of(row["at"]), "resolved_at": time_or_none(row["resolved_at"])}
    return {**{name: row[name] for name in plain}, **times}
