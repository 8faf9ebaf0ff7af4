"""Read-only queries for people: events, runs, deliveries and their story, newest first, page by page.

Rows come back as plain mappings of column values. Nothing here writes, and lists never read a body.
"""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Table, and_, case, func, or_, select

from schemas.event import CANARY
from storage.rows import table
from storage.tables import (
    DeadLetterRow,
    Delivery,
    DispatchRow,
    EventRow,
    ReplayRow,
    ResultRow,
    ResultStatus,
    RunRow,
    VerdictRow,
)

Row = Mapping[str, Any]

NEAR: Final = 5
"""Most ids that a failed look-up names."""
SHORTER: Final = (24, 16, 12, 10, 8, 6)
"""Lengths of the beginnings that a failed look-up tries: a shorter one than `evt_ab` is not near."""
_WITHOUT: Final = {"body", "usage", "final_text", "value"}
"""Columns that may hold megabytes: lists leave them out."""


class CursorError(ValueError):
    """A cursor that was not made here."""


@dataclass(frozen=True, slots=True)
class Page:
    """One page. `following` is the position after its last row; None at the end."""

    rows: list[Row]
    following: Position | None


@dataclass(frozen=True, slots=True)
class Position:
    """A place in a list ordered by time and id, newest first."""

    at: float
    id: str

    def encode(self) -> str:
        """Opaque text for a URL."""
        return base64.urlsafe_b64encode(f"{self.at!r} {self.id}".encode()).decode().rstrip("=")


def decode_cursor(text: str) -> Position:
    """The position that `encode` wrote. Raises CursorError."""
    msg = "the cursor is not one that this API gave; leave it out to begin with the newest"
    try:
        padded = text.encode("ascii") + b"=" * (-len(text) % 4)
        at, _, identifier = base64.b64decode(padded, altchars=b"-_", validate=True).decode().partition(" ")
        position = Position(float(at), identifier)
    except (UnicodeError, binascii.Error, ValueError):
        raise CursorError(msg) from None
    if not identifier or "\x00" in identifier or not math.isfinite(position.at):
        raise CursorError(msg)
    return position


@dataclass(frozen=True, slots=True)
class Found:
    """A look-up by an id or by the beginning of one."""

    id: str | None
    near: tuple[str, ...] = ()
    """Where `id` is None: ids that begin like the one asked for, the longest agreement first."""


def find_event(connection: Connection, given: str) -> Found:
    """The event of that id, or the only one whose id begins so."""
    return _find(connection, table(EventRow), "received_at", given)


def find_run(connection: Connection, given: str) -> Found:
    """The run of that id, or the only one whose id begins so."""
    return _find(connection, table(RunRow), "created_at", given)


def find_letter(connection: Connection, given: str) -> Found:
    """The dead letter of that id, or the only one whose id begins so."""
    return _find(connection, table(DeadLetterRow), "at", given)


def list_events(
    connection: Connection,
    *,
    limit: int,
    after: Position | None = None,
    connection_name: str | None = None,
    kind: str | None = None,
    subject: str | None = None,
) -> Page:
    """Events, newest first. `kind` is exact or ends in `.*`."""
    rows = table(EventRow)
    wanted: list[ColumnElement[bool]] = []
    if connection_name is not None:
        wanted.append(rows.c.connection == connection_name)
    if kind is not None:
        wanted.append(_begins(rows.c.kind, kind[:-1]) if kind.endswith(".*") else rows.c.kind == kind)
    if subject is not None:
        wanted.append(rows.c.subject == subject)
    if not wanted:
        wanted.append(
            rows.c.connector != CANARY
        )  # whoever wants to see them asks for their connection or kind
    return _page(connection, rows, "received_at", wanted, limit=limit, after=after)


def list_runs(
    connection: Connection,
    *,
    limit: int,
    after: Position | None = None,
    status: str | None = None,
    rule: str | None = None,
    connection_name: str | None = None,
    subject: str | None = None,
) -> Page:
    """Runs, newest first. `connection_name` and `subject` are those of the event that started the run."""
    rows, events = table(RunRow), table(EventRow)
    wanted: list[ColumnElement[bool]] = []
    if status is not None:
        wanted.append(rows.c.status == status)
    if rule is not None:
        wanted.append(rows.c.rule == rule)
    about = [
        column == value
        for column, value in ((events.c.connection, connection_name), (events.c.subject, subject))
        if value is not None
    ]
    if about:
        wanted.append(rows.c.event_id.in_(select(events.c.id).where(and_(*about))))
    return _page(connection, rows, "created_at", wanted, limit=limit, after=after)


def list_deliveries(
    connection: Connection,
    *,
    limit: int,
    after: Position | None = None,
    connection_name: str | None = None,
    outcome: str | None = None,
) -> Page:
    """Deliveries, newest first; unreadable ones among them."""
    rows = table(Delivery)
    wanted: list[ColumnElement[bool]] = []
    if connection_name is not None:
        wanted.append(rows.c.connection == connection_name)
    if outcome is not None:
        wanted.append(rows.c.outcome == outcome)
    return _page(connection, rows, "received_at", wanted, limit=limit, after=after)


def list_letters(
    connection: Connection,
    *,
    limit: int,
    after: Position | None = None,
    status: str | None = None,
    topic: str | None = None,
) -> Page:
    """Dead letters, newest first, without their bytes."""
    rows = table(DeadLetterRow)
    wanted: list[ColumnElement[bool]] = []
    if status is not None:
        wanted.append(rows.c.status == status)
    if topic is not None:
        wanted.append(rows.c.topic == topic)
    return _page(connection, rows, "at", wanted, limit=limit, after=after)


def letter_row(connection: Connection, letter_id: str) -> Row | None:
    """The whole row of a dead letter, its bytes included."""
    return _one(connection, table(DeadLetterRow), letter_id)


def event_row(connection: Connection, event_id: str) -> Row | None:
    """The whole row of an event, its body included."""
    return _one(connection, table(EventRow), event_id)


def delivery_row(connection: Connection, delivery_id: str) -> Row | None:
    """The delivery that brought an event, without the body of an unreadable one."""
    rows = table(Delivery)
    found = (
        connection.execute(select(*_columns(rows)).where(rows.c.id == delivery_id)).mappings().one_or_none()
    )
    return dict(found) if found is not None else None


def verdict_rows(connection: Connection, event_id: str) -> list[Row]:
    """What every candidate rule said of an event, the first time and at each replay; those that matched first."""
    rows = table(VerdictRow)
    query = (
        select(rows)
        .where(rows.c.event_id == event_id)
        .order_by(rows.c.replay, rows.c.dispatch_id.is_(None), rows.c.rule)
    )
    return [dict(row) for row in connection.execute(query).mappings()]


def replay_rows(connection: Connection, event_id: str) -> list[Row]:
    """The replays of an event, in order."""
    rows = table(ReplayRow)
    query = select(rows).where(rows.c.event_id == event_id).order_by(rows.c.number)
    return [dict(row) for row in connection.execute(query).mappings()]


def waiting_dispatches(connection: Connection, event_id: str) -> list[Row]:
    """Dispatches of an event that no runner has taken yet: id, rule, conversation, created_at."""
    rows, runs = table(DispatchRow), table(RunRow)
    query = (
        select(rows.c.id, rows.c.rule, rows.c.conversation, rows.c.created_at)
        .where(
            and_(
                rows.c.event_id == event_id,
                ~select(runs.c.id).where(runs.c.dispatch_id == rows.c.id).exists(),
            )
        )
        .order_by(rows.c.created_at, rows.c.id)
    )
    return [dict(row) for row in connection.execute(query).mappings()]


def run_row(connection: Connection, run_id: str) -> Row | None:
    """The whole row of a run."""
    return _one(connection, table(RunRow), run_id)


def runs_of_event(connection: Connection, event_id: str) -> list[Row]:
    """Runs that an event started or fed, in order."""
    rows = table(RunRow)
    query = select(rows).where(rows.c.event_id == event_id).order_by(rows.c.created_at, rows.c.id)
    return [dict(row) for row in connection.execute(query).mappings()]


def result_rows(connection: Connection, run_ids: Sequence[str]) -> list[Row]:
    """Results of these runs, in the order they were wanted; `body` is None but for those that are staged."""
    rows = table(ResultRow)
    if not run_ids:
        return []
    body = case((rows.c.status == ResultStatus.STAGED.value, rows.c.body))
    query = (
        select(*_columns(rows), body.label("body"))
        .where(rows.c.run_id.in_(list(run_ids)))
        .order_by(rows.c.created_at, rows.c.id)
    )
    return [dict(row) for row in connection.execute(query).mappings()]


def _columns(rows: Table) -> list[Any]:
    return [column for column in rows.c if column.name not in _WITHOUT]


def _one(connection: Connection, rows: Table, identifier: str) -> Row | None:
    found = connection.execute(select(rows).where(rows.c.id == identifier)).mappings().one_or_none()
    return dict(found) if found is not None else None


def _page(
    connection: Connection,
    rows: Table,
    time_column: str,
    wanted: Sequence[ColumnElement[bool]],
    *,
    limit: int,
    after: Position | None,
) -> Page:
    at = rows.c[time_column]
    conditions = list(wanted)
    if after is not None:
        conditions.append(or_(at < after.at, and_(at == after.at, rows.c.id < after.id)))
    query = select(*_columns(rows)).order_by(at.desc(), rows.c.id.desc()).limit(limit + 1)
    if conditions:
        query = query.where(and_(*conditions))
    found: list[Row] = [dict(row) for row in connection.execute(query).mappings()]
    page = found[:limit]
    more = len(found) > limit
    return Page(page, Position(page[-1][time_column], page[-1]["id"]) if more else None)


def _find(connection: Connection, rows: Table, time_column: str, given: str) -> Found:
    exact = connection.execute(select(rows.c.id).where(rows.c.id == given)).scalar_one_or_none()
    if exact is not None:
        return Found(exact)
    for length in sorted({len(given), *(step for step in SHORTER if step < len(given))}, reverse=True):
        beginning = given[:length]
        query = (
            select(rows.c.id)
            .where(_begins(rows.c.id, beginning, indexed=connection.dialect.name == "sqlite"))
            .order_by(rows.c[time_column].desc(), rows.c.id)
            .limit(NEAR)
        )
        near = tuple(connection.execute(query).scalars())
        if len(near) == 1 and length == len(given):
            return Found(near[0])
        if near:
            return Found(None, near)
    return Found(None)


def _begins(column: ColumnElement[str], beginning: str, *, indexed: bool = False) -> ColumnElement[bool]:
    """A comparison by code points: LIKE ignores letter case on SQLite.

    `indexed` adds a range that an index can serve, right only where text is ordered by code points.
    """
    exact = func.substr(column, 1, len(beginning)) == beginning
    if not indexed:
        return exact
    return and_(column >= beginning, column <= beginning + "\U0010ffff", exact)
