"""What is due and has not been taken: the head of each queue that a role works through by itself. Reads only.

The conditions are those of claiming and sweeping; a test compares them.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from sqlalchemy import Connection, Select, and_, exists, or_, select

from storage.clock import db_now
from storage.rows import table
from storage.states import RUN_ACTIVE
from storage.tables import OutboxRow, ResultRow, ResultStatus, RunRow, RunStatus

_ACTIVE = [status.value for status in RUN_ACTIVE]


def first_run(connection: Connection) -> str | None:
    """The run that a runner with room would claim next: an orphan, or a queued one whose conversation is free."""
    runs, other = table(RunRow), table(RunRow).alias("other")
    orphans = (
        select(runs.c.id)
        .where(
            and_(runs.c.lease_until < db_now(), runs.c.due_at <= db_now(), runs.c.status.in_(_ACTIVE)),
        )
        .order_by(runs.c.lease_until)
        .limit(1)
    )
    orphan = _id(connection, orphans)
    if orphan is not None:
        return orphan
    busy = and_(other.c.conversation == runs.c.conversation, other.c.status.in_(_ACTIVE))
    earlier = and_(
        other.c.conversation == runs.c.conversation,
        other.c.status == RunStatus.QUEUED.value,
        or_(
            other.c.created_at < runs.c.created_at,
            and_(other.c.created_at == runs.c.created_at, other.c.id < runs.c.id),
        ),
    )
    fresh = (
        select(runs.c.id)
        .where(
            and_(
                runs.c.status == RunStatus.QUEUED.value,
                runs.c.due_at <= db_now(),
                ~exists().where(busy),
                ~exists().where(earlier),
            )
        )
        .order_by(runs.c.due_at)
        .limit(1)
    )
    return _id(connection, fresh)


def first_result(connection: Connection, *, without: Collection[str] = ()) -> str | None:
    """The result that a poster with room would claim next, leaving out connections whose vendor is down."""
    rows = table(ResultRow)
    due = and_(
        rows.c.due_at <= db_now(),
        or_(
            rows.c.status == ResultStatus.READY.value,
            and_(rows.c.status == ResultStatus.POSTING.value, rows.c.lease_until < db_now()),
        ),
        rows.c.connection.not_in(list(without)),
    )
    return _id(connection, select(rows.c.id).where(due).order_by(rows.c.due_at).limit(1))


def first_message(connection: Connection) -> str | None:
    """The message that a sweep would publish next."""
    rows = table(OutboxRow)
    query = (
        select(rows.c.topic, rows.c.ref, rows.c.attempts)
        .where(rows.c.due_at <= db_now())
        .order_by(rows.c.due_at)
        .limit(1)
    )
    row = connection.execute(query).one_or_none()
    return None if row is None else f"{row.topic} {row.ref}"


def _id(connection: Connection, query: Select[Any]) -> str | None:
    found: str | None = connection.execute(query).scalar()
    return found
