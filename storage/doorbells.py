"""Who hears that something happened to a session: the run that has it. A ring carries no news; whoever hears it looks.

Rings are counted on the run, so that one which comes while its runner looks already is not lost.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, and_, or_, select, update

from storage import unsettled
from storage.clock import read_clock
from storage.rows import table
from storage.states import RUN_ACTIVE
from storage.tables import RunRow, RunStatus

FOLLOWED: Final = (RunStatus.RUNNING, RunStatus.STOPPING)
"""Statuses in which a runner follows the session by a stream, which may have lost something."""


@dataclass(frozen=True, slots=True)
class Rung:
    """What a ring found."""

    run_id: str
    status: str
    active: bool


def ring(connection: Connection, session_id: str, *, at_rest: bool = True) -> Rung | None:
    """Ring for a session: a run that waits is due at once, one that is followed is told. None: no run here has it.

    `at_rest`: False where what happened is of no use to a run that follows the session anyway. A session without a run
    at work may cost more than is known.
    """
    rows = table(RunRow)
    query = (
        select(rows.c.id, rows.c.status)
        .where(rows.c.session_id == session_id)
        .order_by(rows.c.status.in_(_values(RUN_ACTIVE)).desc(), rows.c.created_at.desc())
        .limit(1)
    )
    found = connection.execute(query).one_or_none()
    if found is None:
        return None
    run_id, status = found
    if RunStatus(status) in RUN_ACTIVE:
        wake(connection, [run_id])
        if at_rest:
            followed = and_(rows.c.id == run_id, rows.c.status.in_(_values(FOLLOWED)))
            connection.execute(update(rows).where(followed).values(rung=rows.c.rung + 1))
    else:
        unsettled.mark(connection, session_id, run_id=run_id)
    return Rung(run_id, status, RunStatus(status) in RUN_ACTIVE)


def wake(connection: Connection, run_ids: Collection[str]) -> int:
    """Those of the runs that wait are due at once. Return how many."""
    rows = table(RunRow)
    waiting = and_(rows.c.id.in_(sorted(run_ids)), rows.c.status == RunStatus.WAITING.value)
    due = {"due_at": read_clock(connection), "rung": rows.c.rung + 1}
    return connection.execute(update(rows).where(waiting).values(**due)).rowcount


def wake_again(connection: Connection, run_id: str, *, seen: int) -> None:
    """A run that begins to wait is due at once where it was rung for more often than it has `seen`."""
    rows = table(RunRow)
    news = and_(rows.c.id == run_id, rows.c.status == RunStatus.WAITING.value, rows.c.rung > seen)
    connection.execute(update(rows).where(news).values(due_at=read_clock(connection)))


def rung(connection: Connection, run_ids: Collection[str]) -> dict[str, int]:
    """How often each of these runs was rung for; runs that never were are left out."""
    rows = table(RunRow)
    query = select(rows.c.id, rows.c.rung).where(and_(rows.c.id.in_(list(run_ids)), rows.c.rung > 0))
    return {run_id: count for run_id, count in connection.execute(query)}  # noqa: C416 - rows are not tuples


@dataclass(frozen=True, slots=True)
class Waiting:
    """A run that waits, and what was last seen of its session."""

    run_id: str
    session_id: str
    seen_as: str | None
    """How the session was when somebody last looked; None: nobody did since the run waits."""
    is_due: bool
    """Whether it is time for a look of its own."""
    distance: float
    """Seconds between the last look and this one."""


def waiting(connection: Connection, *, limit: int) -> list[Waiting]:
    """Runs that wait and that nobody holds, those whose look is due for longest first."""
    rows = table(RunRow)
    now = read_clock(connection)
    free = or_(rows.c.lease_until.is_(None), rows.c.lease_until < now)
    query = (
        select(rows.c.id, rows.c.session_id, rows.c.seen_as, rows.c.looked_at, rows.c.look_at)
        .where(and_(rows.c.status == RunStatus.WAITING.value, free, rows.c.session_id.is_not(None)))
        .order_by(rows.c.look_at.is_(None).desc(), rows.c.look_at, rows.c.id)
        .limit(limit)
    )
    return [
        Waiting(
            run_id=row.id,
            session_id=row.session_id,
            seen_as=row.seen_as,
            is_due=row.look_at is None or row.look_at <= now,
            distance=max(0.0, (row.look_at or 0.0) - (row.looked_at or 0.0)),
        )
        for row in connection.execute(query)
    ]


@dataclass(frozen=True, slots=True)
class Look:
    """A look at a waiting run's session: how it is, after how many seconds to look again, and whether to wake the run."""

    run_id: str
    seen_as: str
    again: float
    wakes: bool


def looked(connection: Connection, looks: Iterable[Look]) -> int:
    """Keep what was seen, and wake those who have something to see. Return how many were woken."""
    rows = table(RunRow)
    now = read_clock(connection)
    woken = []
    for look in sorted(
        looks, key=lambda one: one.run_id
    ):  # in one order: two writers do not wait for each other
        here = and_(rows.c.id == look.run_id, rows.c.status == RunStatus.WAITING.value)
        values = {"seen_as": look.seen_as, "looked_at": now, "look_at": now + look.again}
        if connection.execute(update(rows).where(here).values(**values)).rowcount and look.wakes:
            woken.append(look.run_id)
    return wake(connection, woken) if woken else 0


def _values(statuses: Iterable[RunStatus]) -> list[str]:
    return sorted(status.value for status in statuses)
