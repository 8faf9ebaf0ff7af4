"""The ledger: what each session has cost so far, by run and day. Whole cents of list cost.

A session's entries add up to the highest cost that was seen of it, so charging twice, late or after a crash adds only
what is new. Written in the transaction that stores a run's end.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, and_, func, select, text, update

from storage.clock import read_clock
from storage.rows import table
from storage.spend_tables import SpendRow
from storage.statements import Fixed
from storage.states import RUN_ACTIVE, RUN_TERMINAL
from storage.tables import ConversationRow, RunRow

DAY_SECONDS: Final = 86_400


@dataclass(frozen=True, slots=True)
class Entry:
    """What the runs of one rule cost on one day."""

    day: int
    """Days since the epoch, UTC."""
    rule: str
    team: str | None
    cents: int
    runs: int


@dataclass(frozen=True, slots=True)
class Reserved:
    """What runs at work may spend still."""

    rule: str
    team: str | None
    cents: int
    runs: int


@dataclass(frozen=True, slots=True)
class HeldBack:
    """Queued runs of one rule that one cap or pause holds."""

    by: str
    rule: str
    team: str | None
    runs: int


def day_of(moment: float) -> int:
    """The day, UTC, that seconds since the epoch fall into."""
    return int(moment // DAY_SECONDS)


def charge(
    connection: Connection, *, session_id: str, total: int, run_id: str, rule: str, team: str | None
) -> int:
    """The session has cost `total` in all: what is not in the ledger yet goes to this run, today. Return that.

    The caller holds the conversation's row, so that nobody else charges the same session in between.
    """
    known = _KNOWN.run(connection, session=session_id).scalar_one()
    added = total - int(known)
    if added <= 0:
        return 0
    key = {"session_id": session_id, "run_id": run_id, "day": day_of(read_clock(connection))}
    _ADD.run(connection, **key, rule=rule, team=team, cents=added)
    return added


def seen(connection: Connection, session_ids: Collection[str]) -> dict[str, int]:
    """What is in the ledger of these sessions; those of which nothing is are missing."""
    rows = table(SpendRow)
    query = (
        select(rows.c.session_id, func.sum(rows.c.cents))
        .where(rows.c.session_id.in_(list(session_ids)))
        .group_by(rows.c.session_id)
    )
    return {session: int(cents) for session, cents in connection.execute(query)}


def settle_late(connection: Connection, session_id: str, *, total: int, made_for: str) -> int:
    """A session that no run is active in was seen to have cost `total`. What is new is charged to its last run.

    `made_for`: the run that made the session, where no run has it any more. Return what was added; 0 while a run is
    active, which charges it itself.
    """
    runs, conversations = table(RunRow), table(ConversationRow)
    columns = (runs.c.id, runs.c.rule, runs.c.team, runs.c.status, runs.c.conversation)
    query = (
        select(*columns)
        .where(runs.c.session_id == session_id)
        .order_by(runs.c.created_at.desc(), runs.c.id.desc())
    )
    found = (
        connection.execute(query).all()
        or connection.execute(select(*columns).where(runs.c.id == made_for)).all()
    )
    if not found or any(row.status in _ACTIVE for row in found):
        return 0
    last = found[0]
    key = conversations.c.key == last.conversation
    mine = and_(key, conversations.c.session_id == session_id)
    lock = select(conversations.c.key).where(key)
    connection.execute(lock.with_for_update() if connection.dialect.name == "postgresql" else lock)
    added = charge(
        connection, session_id=session_id, total=total, run_id=last.id, rule=last.rule, team=last.team
    )
    change = func.coalesce(runs.c.cost_cents, 0) + added
    connection.execute(update(runs).where(runs.c.id == last.id).values(cost_cents=change))
    if added:
        connection.execute(update(conversations).where(mine).values(session_cost_cents=total))
    return added


def give_up(connection: Connection, session_id: str) -> None:
    """The session is gone: what is not known of its ended runs cannot be known any more."""
    rows = table(RunRow)
    ended = rows.c.status.in_(sorted(status.value for status in RUN_TERMINAL))
    mine = and_(rows.c.session_id == session_id, ended, rows.c.cost_cents.is_(None))
    connection.execute(update(rows).where(mine).values(cost_cents=0))


def entries(connection: Connection, *, since: int) -> list[Entry]:
    """What was spent from this day on, by day, rule and team; the newest first."""
    rows = table(SpendRow)
    query = (
        select(
            rows.c.day,
            rows.c.rule,
            rows.c.team,
            func.sum(rows.c.cents),
            func.count(rows.c.run_id.distinct()),
        )
        .where(rows.c.day >= since)
        .group_by(rows.c.day, rows.c.rule, rows.c.team)
        .order_by(rows.c.day.desc(), rows.c.rule)
    )
    return [Entry(row[0], row[1], row[2], int(row[3]), int(row[4])) for row in connection.execute(query)]


def reserved(connection: Connection) -> Sequence[Reserved]:
    """What runs at work may spend, by rule."""
    found = connection.execute(_RESERVED)
    return [Reserved(row[0], row[1], int(row[2]), int(row[3])) for row in found]


def held(connection: Connection) -> dict[str, int]:
    """How many queued runs are held, by what."""
    found: dict[str, int] = {}
    for one in held_back(connection):
        found[one.by] = found.get(one.by, 0) + one.runs
    return found


def held_back(connection: Connection) -> list[HeldBack]:
    """The same by rule."""
    rows = table(RunRow)
    columns = (rows.c.held, rows.c.rule, rows.c.team)
    query = (
        select(*columns, func.count())
        .where(and_(rows.c.status == "queued", rows.c.held.is_not(None)))
        .group_by(*columns)
        .order_by(*columns)
    )
    return [HeldBack(row[0], row[1], row[2], int(row[3])) for row in connection.execute(query)]


_KNOWN: Final = Fixed(lambda: text("SELECT coalesce(sum(cents), 0) FROM spend WHERE session_id = :session"))
_ADD: Final = Fixed(
    lambda: text(
        "INSERT INTO spend (session_id, run_id, day, rule, team, cents) "
        "VALUES (:session_id, :run_id, :day, :rule, :team, :cents) "
        "ON CONFLICT (session_id, run_id, day) DO UPDATE SET cents = spend.cents + excluded.cents"
    )
)
_ACTIVE: Final = frozenset(status.value for status in RUN_ACTIVE)
_RESERVED: Final[Any] = text(
    "SELECT rule, team, sum(coalesce(budget_cents, reserved_cents, 0)), count(*) FROM run "
    "WHERE status IN ('creating','sending','running','stopping','waiting') GROUP BY rule, team ORDER BY rule"
)
