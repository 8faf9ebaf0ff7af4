"""The switch that stops a rule, a team or everything, kept in the database so that every process obeys it.

What is paused starts nothing: events are recorded as suppressed, queued runs are held. Runs at work go on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from sqlalchemy import Connection, Select, and_, delete, select, update

from storage.clock import read_clock
from storage.rows import insert_new, plain, table
from storage.spend_tables import PauseRow
from storage.statements import Fixed
from storage.tables import RunRow, RunStatus

Scope = Literal["rule", "team", "all"]
PAUSED: Final = "paused"
"""By what a queued run is held."""

COVERS_RUN: Final = (
    "EXISTS (SELECT 1 FROM pause WHERE pause.scope = 'all' OR (pause.scope = 'rule' AND pause.name = {run}.rule) "
    "OR (pause.scope = 'team' AND pause.name = {run}.team))"
)
"""SQL: whether a run, by its alias, is paused."""


@dataclass(frozen=True, slots=True)
class Pause:
    """What is stopped, by whom and since when."""

    scope: str
    name: str
    by: str
    reason: str | None
    at: float


def _in_force() -> Select[Any]:
    rows = table(PauseRow)
    return select(rows.c.scope, rows.c.name, rows.c.by, rows.c.reason, rows.c.at).order_by(
        rows.c.scope, rows.c.name
    )


_IN_FORCE: Final = Fixed(_in_force)


def in_force(connection: Connection) -> Sequence[Pause]:
    """Everything that is paused."""
    return [Pause(*row) for row in _IN_FORCE.run(connection).all()]


def pause(connection: Connection, scope: Scope, name: str, *, by: str, reason: str | None) -> Pause:
    """Stop it. What is paused already stays as it was; return what is in force."""
    row = {
        "scope": scope,
        "name": name,
        "by": plain(by, limit=200),
        "reason": plain(reason, limit=1000),
        "at": read_clock(connection),
    }
    insert_new(connection, PauseRow, [row])
    return next(one for one in in_force(connection) if (one.scope, one.name) == (scope, name))


def resume(connection: Connection, scope: Scope, name: str) -> bool:
    """Let it go on: runs that were held are looked at again at once. False: it was not paused."""
    rows, runs = table(PauseRow), table(RunRow)
    mine = and_(rows.c.scope == scope, rows.c.name == name)
    if not connection.execute(delete(rows).where(mine)).rowcount:
        return False
    held = and_(runs.c.status == RunStatus.QUEUED.value, runs.c.held == PAUSED)
    connection.execute(update(runs).where(held).values(due_at=read_clock(connection)))
    return True
