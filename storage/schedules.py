"""What is remembered of schedules: up to which time each was dealt with, so that a firing is made once and none twice."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Generic, TypeVar

from sqlalchemy import Connection, and_, delete, select, update

from storage.clock import read_clock
from storage.deliveries import IncomingEvent, store_events
from storage.rows import insert_new, table
from storage.tables import ScheduleRow

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Firing(Generic[T]):
    """One firing as it is stored. `what` is the caller's own."""

    at: float
    missed: int
    event: IncomingEvent
    what: T


def fire(
    connection: Connection, rule: str, spec: str, *, decide: Callable[[float, float], Firing[T] | None]
) -> tuple[Firing[T] | None, float]:
    """Store the firing that `decide(since, now)` finds due; return it, and the time on the database's clock.

    None: nothing is due, or another process was first. A schedule that is new or was changed begins now: nothing
    before that is made up for.
    """
    rows = table(ScheduleRow)
    now = read_clock(connection)
    fresh = {"rule": rule, "spec": spec, "checked_at": now, "fired_at": None, "missed": 0}
    if insert_new(connection, ScheduleRow, [fresh]):
        return None, now
    standing = connection.execute(
        select(rows.c.spec, rows.c.checked_at).where(rows.c.rule == rule)
    ).one_or_none()
    if standing is None:
        return None, now
    if standing.spec != spec:
        connection.execute(update(rows).where(rows.c.rule == rule).values(**fresh))
        return None, now
    found = decide(standing.checked_at, now)
    if found is None:
        return None, now
    changed = connection.execute(
        update(rows)
        .where(and_(rows.c.rule == rule, rows.c.spec == spec, rows.c.checked_at == standing.checked_at))
        .values(checked_at=now, fired_at=found.at, missed=rows.c.missed + found.missed)
    ).rowcount
    if not changed:
        return None, now
    return (found if store_events(connection, [(None, found.event)], now=now) else None), now


def forget_others(connection: Connection, rules: Collection[str]) -> None:
    """Rules that have no schedule any more: one that gets it back begins anew."""
    rows = table(ScheduleRow)
    connection.execute(delete(rows).where(rows.c.rule.not_in(list(rules))))
