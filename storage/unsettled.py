"""Sessions that may cost more than the ledger says. Written down before anything can go wrong, so that whoever comes next
asks for them; what they cost is added by `storage.ledger`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, and_, delete, exists, func, select, text, update

from storage.clock import read_clock
from storage.ledger import DAY_SECONDS
from storage.rows import table
from storage.sessions import last_use, standing_of
from storage.spend_tables import UnsettledRow
from storage.statements import Fixed
from storage.states import RUN_ACTIVE, RUN_TERMINAL
from storage.tables import RunRow

LOOK_BACK: Final = 7 * DAY_SECONDS
"""How long what a session cost is asked for."""


@dataclass(frozen=True, slots=True)
class Unsettled:
    """A session to be asked for, and a run that it belongs to."""

    session_id: str
    run_id: str


def mark(connection: Connection, session_id: str, *, run_id: str) -> None:
    """As of now the session may cost more than the ledger says."""
    _MARK.run(connection, session=session_id, run=run_id, now=read_clock(connection))


def mark_at_work(connection: Connection, working: Mapping[str, str]) -> None:
    """Mark those of the sessions (with the run that each was made for) that work and that no run follows.

    Sessions that were made for runs of other hubs are left out.
    """
    uses, ours = last_use(connection, working), standing_of(connection, sorted(set(working.values())))
    for session_id, run_id in sorted(working.items()):
        # None: a run is active in it, which charges what it costs.
        if run_id in ours and uses.get(session_id, 0.0) is not None:
            mark(connection, session_id, run_id=run_id)


def unknown(connection: Connection) -> list[Unsettled]:
    """Sessions that are not marked, of runs that ended without anybody knowing what they cost."""
    rows, marks = table(RunRow), table(UnsettledRow)
    query = (
        select(rows.c.session_id, func.max(rows.c.id))
        .where(
            and_(
                rows.c.status.in_(sorted(status.value for status in RUN_TERMINAL)),
                rows.c.session_id.is_not(None),
                rows.c.started_at.is_not(None),
                rows.c.cost_cents.is_(None),
                rows.c.ended_at > read_clock(connection) - LOOK_BACK,
                ~exists().where(marks.c.session_id == rows.c.session_id),
            )
        )
        .group_by(rows.c.session_id)
    )
    return [Unsettled(row[0], row[1]) for row in connection.execute(query)]


def unsettled(connection: Connection, *, limit: int) -> list[Unsettled]:
    """Those in which no run is active, which would charge them itself; those asked for longest ago first."""
    rows, runs = table(UnsettledRow), table(RunRow)
    followed = and_(
        runs.c.session_id == rows.c.session_id, runs.c.status.in_(sorted(s.value for s in RUN_ACTIVE))
    )
    query = (
        select(rows.c.session_id, rows.c.run_id)
        .where(~exists().where(followed))
        .order_by(rows.c.looked_at, rows.c.since, rows.c.session_id)
        .limit(limit)
    )
    return [Unsettled(row.session_id, row.run_id) for row in connection.execute(query)]


def looked(connection: Connection, session_ids: Collection[str]) -> None:
    """They were asked for: others come first the next time. What is too old is given up."""
    rows = table(UnsettledRow)
    now = read_clock(connection)
    connection.execute(update(rows).where(rows.c.session_id.in_(sorted(session_ids))).values(looked_at=now))
    connection.execute(delete(rows).where(rows.c.since < now - LOOK_BACK))


def settled(connection: Connection, session_ids: Collection[str], *, until: float) -> None:
    """They were seen at rest at this time (the database's) or later, and are charged."""
    rows = table(UnsettledRow)
    here = and_(rows.c.session_id.in_(sorted(session_ids)), rows.c.since <= until)
    connection.execute(delete(rows).where(here))


_MARK: Final = Fixed(
    lambda: text(
        "INSERT INTO unsettled (session_id, run_id, since, looked_at) VALUES (:session, :run, :now, 0) "
        "ON CONFLICT (session_id) DO UPDATE SET since = excluded.since"
    )
)
