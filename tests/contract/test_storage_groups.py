"""Groups of every size are stored whole and once, with copies among them, on both databases."""

from __future__ import annotations

import pytest
from services.facts import make_delivery, make_event
from sqlalchemy import Connection, func, select

from storage.database import Database
from storage.deliveries import store_deliveries
from storage.rows import MAX_ROWS_PER_STATEMENT, STEP, table
from storage.tables import Delivery, EventRow, OutboxRow


def counts(connection: Connection) -> list[int]:
    return [
        int(connection.execute(select(func.count()).select_from(table(model))).scalar_one())
        for model in (Delivery, EventRow, OutboxRow)
    ]


@pytest.mark.parametrize(
    "size", [1, 2, STEP - 1, STEP, STEP + 1, MAX_ROWS_PER_STATEMENT - 1, MAX_ROWS_PER_STATEMENT + 1]
)
async def test_a_group_of_any_size(database: Database, size: int) -> None:
    group = [make_delivery(f"d-{n}", make_event(f"evt_{n}")) for n in range(size)]
    fresh = {f"evt_{n}" for n in range(size)}
    assert await database.write(store_deliveries, group) == fresh
    assert await database.read(counts) == [size] * 3
    assert await database.write(store_deliveries, group) == set()
    more = [*group, make_delivery("d-new", make_event("evt_new"), make_event("evt_0")), group[-1]]
    assert await database.write(store_deliveries, more) == {"evt_new"}
    assert await database.read(counts) == [size + 1] * 3
