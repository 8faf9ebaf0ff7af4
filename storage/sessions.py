"""Which remote sessions the runs in this database know, and which of those are in use."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import Connection, and_, select

from storage.clock import read_clock
from storage.rows import table
from storage.states import RUN_ACTIVE, RUN_TERMINAL
from storage.tables import RunRow, RunStatus


@dataclass(frozen=True, slots=True)
class Standing:
    """Where the run that a session names stands."""

    session_id: str | None
    """The session the run recorded as its own."""
    terminal: bool
    ended_ago: float
    """Seconds since its end; 0 while it has none."""


def standing_of(connection: Connection, run_ids: Collection[str]) -> dict[str, Standing]:
    """Those of the runs that this database has."""
    rows = table(RunRow)
    now = read_clock(connection)
    query = select(rows.c.id, rows.c.session_id, rows.c.status, rows.c.ended_at).where(
        rows.c.id.in_(list(run_ids))
    )
    return {
        row.id: Standing(
            session_id=row.session_id,
            terminal=RunStatus(row.status) in RUN_TERMINAL,
            ended_ago=max(0.0, now - row.ended_at) if row.ended_at is not None else 0.0,
        )
        for row in connection.execute(query)
    }


def last_use(connection: Connection, session_ids: Collection[str]) -> dict[str, float | None]:
    """By session: seconds since the last run in it ended, None while one is active. Unknown sessions are absent."""
    rows = table(RunRow)
    now = read_clock(connection)
    query = select(rows.c.session_id, rows.c.status, rows.c.ended_at).where(
        and_(rows.c.session_id.is_not(None), rows.c.session_id.in_(list(session_ids)))
    )
    found: dict[str, float | None] = {}
    for row in connection.execute(query):
        ago = max(0.0, now - row.ended_at) if row.ended_at is not None else 0.0
        earlier = found.get(row.session_id, ago)
        if RunStatus(row.status) in RUN_ACTIVE or earlier is None:
            found[row.session_id] = None
        else:
            found[row.session_id] = min(earlier, ago)
    return found
