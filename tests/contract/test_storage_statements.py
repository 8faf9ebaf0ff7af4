"""Statements that are compiled once: the same on both databases, and refused where their text would depend on values."""

from __future__ import annotations

import pytest
from sqlalchemy import Connection, bindparam, select, update

from storage.database import Database
from storage.rows import table
from storage.statements import Fixed
from storage.tables import RateUse


async def test_a_fixed_statement_takes_its_values_by_name_each_time(database: Database) -> None:
    rows = table(RateUse)
    change = Fixed(
        lambda: (
            update(rows)
            .where(rows.c.name == bindparam("limit"))
            .values(used=rows.c.used + bindparam("more"), second=7)
        )
    )
    found = Fixed(lambda: select(rows.c.second, rows.c.used).where(rows.c.name == bindparam("limit")))

    def work(connection: Connection) -> list[tuple[int, ...]]:
        connection.execute(
            rows.insert(), [{"name": name, "second": 1, "used": 0} for name in ("a", "it's; b")]
        )
        assert change.run(connection, more=2, limit="a").rowcount == 1
        assert change.run(connection, limit="it's; b", more=5).rowcount == 1
        assert change.run(connection, limit="c", more=5).rowcount == 0
        return [tuple(found.run(connection, limit=name).one()) for name in ("a", "it's; b")]

    assert await database.write(work) == [(7, 2), (7, 5)]


async def test_a_missing_value_and_a_list_are_refused(database: Database) -> None:
    rows = table(RateUse)
    one = Fixed(lambda: select(rows.c.used).where(rows.c.name == bindparam("limit")))
    many = Fixed(lambda: select(rows.c.used).where(rows.c.name.in_(bindparam("limits", expanding=True))))
    with pytest.raises(KeyError, match="limit"):
        await database.read(lambda connection: one.run(connection).all())
    with pytest.raises(ValueError, match="list"):
        await database.read(lambda connection: many.run(connection, limits=["a"]).all())
