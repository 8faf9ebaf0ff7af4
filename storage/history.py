"""What happened in a conversation so far, from our own tables: for a new session that takes over, and for people."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, and_, select

from schemas.dispatch import Dispatch
from schemas.event import Event
from schemas.result import Receipt
from storage.rows import table
from storage.states import RUN_TERMINAL
from storage.tables import DispatchRow, ResultRow, RunRow

MOST: Final = 40
"""Runs that are read: the first, and the latest of the others."""


@dataclass(frozen=True, slots=True)
class Posted:
    """Something that was posted."""

    output: str
    url: str | None


@dataclass(frozen=True, slots=True)
class Chapter:
    """One event that went into a conversation, and what came of it."""

    run_id: str
    status: str
    error: str | None
    final_text: str | None
    joined_to: str | None
    event: Event | None
    posted: tuple[Posted, ...]


def chapters_before(connection: Connection, conversation: str, run_id: str) -> list[Chapter]:
    """Ended runs of a conversation that came before this one, in order; not what this one itself tells."""
    rows, dispatches = table(RunRow), table(DispatchRow)
    own = connection.execute(select(rows.c.created_at).where(rows.c.id == run_id)).scalar_one()
    query = (
        select(
            rows.c.id, rows.c.status, rows.c.error, rows.c.final_text, rows.c.joined_to, rows.c.dispatch_id
        )
        .where(
            and_(
                rows.c.conversation == conversation,
                rows.c.created_at < own,
                rows.c.status.in_([status.value for status in RUN_TERMINAL]),
            )
        )
        .order_by(rows.c.created_at.desc(), rows.c.id.desc())
    )
    found = list(connection.execute(query.limit(MOST)).all())
    first = connection.execute(
        query.order_by(None).order_by(rows.c.created_at, rows.c.id).limit(1)
    ).one_or_none()
    if first is not None and first.id not in {row.id for row in found}:
        found = [*found[: MOST - 1], first]
    found.reverse()
    bodies = {
        row.id: row.body
        for row in connection.execute(
            select(dispatches.c.id, dispatches.c.body).where(
                dispatches.c.id.in_([row.dispatch_id for row in found])
            )
        )
    }
    posts = _posts(connection, [row.id for row in found])
    return [
        Chapter(
            run_id=row.id,
            status=row.status,
            error=row.error,
            final_text=row.final_text,
            joined_to=row.joined_to,
            event=Dispatch.model_validate_json(bodies[row.dispatch_id]).event
            if row.dispatch_id in bodies
            else None,
            posted=tuple(posts.get(row.id, ())),
        )
        for row in found
    ]


def _posts(connection: Connection, run_ids: list[str]) -> dict[str, list[Posted]]:
    rows = table(ResultRow)
    query = (
        select(rows.c.run_id, rows.c.output, rows.c.receipt)
        .where(and_(rows.c.run_id.in_(run_ids), rows.c.receipt.is_not(None)))
        .order_by(rows.c.created_at, rows.c.id)
    )
    found: dict[str, list[Posted]] = {}
    for row in connection.execute(query):
        url = Receipt.model_validate_json(row.receipt).url
        found.setdefault(row.run_id, []).append(Posted(row.output, url))
    return found
