"""The database's own clock as a SQL expression, in seconds since the epoch.

Leases and schedules of several processes are only comparable on one clock. SQLite's is this machine's own, so
`read_clock` asks the machine there.
"""

from __future__ import annotations

import time
from typing import Any

from sqlalchemy import Connection, Double, select
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement


class db_now(FunctionElement[float]):  # noqa: N801 - reads as the SQL function it is
    """`db_now()`: the current time on the database's clock, with at least millisecond resolution."""

    inherit_cache = True
    type = Double()
    name = "db_now"


@compiles(db_now, "sqlite")
def _sqlite(_element: db_now, _compiler: Any, **_options: Any) -> str:
    return "((julianday('now') - 2440587.5) * 86400.0)"


@compiles(db_now, "postgresql")
def _postgresql(_element: db_now, _compiler: Any, **_options: Any) -> str:
    return "extract(epoch from clock_timestamp())::double precision"


def read_clock(connection: Connection) -> float:
    """The database's time, now, in seconds since the epoch. SQLite's is this machine's own."""
    if connection.dialect.name == "sqlite":
        return time.time()
    value: float = connection.execute(select(db_now())).scalar_one()
    return value
