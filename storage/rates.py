"""Limits per minute that all processes share: a sliding window over seconds, kept in the database."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import Connection, Select, Update, and_, bindparam, delete, func, select, update

from storage.clock import read_clock
from storage.rows import insert_new, table
from storage.statements import Fixed
from storage.tables import RateUse

WINDOW_SECONDS: Final = 60


def _used() -> Select[Any]:
    rows = table(RateUse)
    inside = and_(rows.c.name == bindparam("limit"), rows.c.second > bindparam("after"))
    return select(func.coalesce(func.sum(rows.c.used), 0), func.min(rows.c.second)).where(inside)


def _use() -> Update:
    rows = table(RateUse)
    change = update(rows).where(and_(rows.c.name == bindparam("limit"), rows.c.second == bindparam("now")))
    return change.values(used=rows.c.used + bindparam("more"))


_USED: Final = Fixed(_used)
_USE: Final = Fixed(_use)


def acquire(connection: Connection, name: str, *, limit: int, count: int = 1, ahead: int = 0) -> float:
    """Take `count` calls of the limit `name` and return 0.0, or take none and return the seconds to wait.

    `ahead`: the calls may be made so many whole seconds later, and are counted there. Never more than `limit` calls
    fall into any 60 seconds: the window covers 61 whole seconds to be on the safe side.
    """
    rows = table(RateUse)
    if connection.dialect.name == "postgresql":
        # One caller at a time per limit, as SQLite's writer is anyway.
        insert_new(connection, RateUse, [{"name": name, "second": 0, "used": 0}])
        connection.execute(
            select(rows.c.used).where(and_(rows.c.name == name, rows.c.second == 0)).with_for_update()
        )
    now = read_clock(connection)
    second = int(now)
    used, oldest = _USED.run(connection, limit=name, after=second - WINDOW_SECONDS - 1).one()
    if used + count > limit:
        return max(0.05, float(oldest or second) + WINDOW_SECONDS + 1 - now) if oldest else 1.0
    place = second + ahead
    if _USE.run(connection, limit=name, now=place, more=count).rowcount == 0:
        connection.execute(rows.insert().values(name=name, second=place, used=count))
        connection.execute(
            delete(rows).where(
                and_(rows.c.name == name, rows.c.second > 0, rows.c.second < second - 2 * WINDOW_SECONDS)
            )
        )
    return 0.0
