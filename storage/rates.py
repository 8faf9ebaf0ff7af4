"""Limits per minute that all processes share: a sliding window over seconds, kept in the database."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Connection, and_, delete, func, select, update

from storage.clock import read_clock
from storage.rows import insert_new, table
from storage.tables import RateUse

WINDOW_SECONDS: Final = 60


def acquire(connection: Connection, name: str, *, limit: int, count: int = 1) -> float:
    """Take `count` calls of the limit `name` and return 0.0, or take none and return the seconds to wait.

    Never more than `limit` calls fall into any 60 seconds: the window covers 61 whole seconds to be on the safe side.
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
    inside = and_(rows.c.name == name, rows.c.second > second - WINDOW_SECONDS - 1)
    used, oldest = connection.execute(
        select(func.coalesce(func.sum(rows.c.used), 0), func.min(rows.c.second)).where(inside)
    ).one()
    if used + count > limit:
        return max(0.05, float(oldest or second) + WINDOW_SECONDS + 1 - now) if oldest else 1.0
    changed = connection.execute(
        update(rows)
        .where(and_(rows.c.name == name, rows.c.second == second))
        .values(used=rows.c.used + count)
    )
    if changed.rowcount == 0:
        connection.execute(rows.insert().values(name=name, second=second, used=count))
        connection.execute(
            delete(rows).where(
                and_(rows.c.name == name, rows.c.second > 0, rows.c.second < second - 2 * WINDOW_SECONDS)
            )
        )
    return 0.0
