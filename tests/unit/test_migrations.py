"""Migrations on both databases: they make exactly the tables of the models, once, whoever runs them at the same time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest
from alembic.script import ScriptDirectory
from services.facts import make_delivery, make_event
from services.lines import child
from services.schema import differences
from sqlalchemy import Connection, inspect, text
from sqlmodel import SQLModel

from storage import migrate
from storage.database import Database
from storage.deliveries import store_deliveries
from storage.outbox import depth


def shape(connection: Connection) -> dict[str, Any]:
    """Columns, keys and indexes of every table, as the database tells them."""
    found: dict[str, Any] = {}
    look = inspect(connection)
    for name in sorted(look.get_table_names()):
        if name == "alembic_version":
            continue
        found[name] = (
            [(one["name"], str(one["type"]), one["nullable"]) for one in look.get_columns(name)],
            look.get_pk_constraint(name)["constrained_columns"],
            sorted(
                (one["name"] or "", tuple(one["column_names"]), bool(one["unique"]))
                for one in look.get_indexes(name)
            ),
            sorted(tuple(one["column_names"]) for one in look.get_unique_constraints(name)),
        )
    return found


async def test_a_fresh_upgrade_equals_the_models(
    empty_url: str, open_database_at: Callable[[str], Database]
) -> None:
    database = open_database_at(empty_url)
    assert await database.read(migrate.current) is None
    await migrate.upgrade(database)
    assert await database.read(migrate.current) == migrate.head()
    assert await database.read(differences) == []


async def test_what_migrations_make_is_what_the_models_would_make(
    empty_url: str, database: Database, open_database_at: Callable[[str], Database]
) -> None:
    """Alembic does not compare primary keys and partial indexes: the two databases are compared by their own words."""
    direct = open_database_at(empty_url)
    await direct.write(SQLModel.metadata.create_all)
    assert await direct.read(shape) == await database.read(shape)
    partial = {
        "sqlite": "SELECT sql FROM sqlite_master WHERE name = 'ux_run_active_conversation'",
        "postgresql": "SELECT indexdef FROM pg_indexes WHERE indexname = 'ux_run_active_conversation'",
    }
    both = [
        await one.read(lambda c: c.execute(text(partial[c.dialect.name])).scalar_one())
        for one in (direct, database)
    ]
    assert " ".join(both[0].split()) == " ".join(both[1].split())
    assert "WHERE" in both[0]


async def test_a_difference_would_be_seen(database: Database) -> None:
    await database.write(lambda c: c.execute(text("DROP INDEX ix_run_event_id")))
    assert [kind for kind, *_ in await database.read(differences)] == ["add_index"]


async def test_upgrading_again_changes_nothing(database: Database) -> None:
    await database.write(store_deliveries, [make_delivery("d-1", make_event("evt_1"))])
    before = await database.read(shape)
    await migrate.upgrade(database)
    assert await database.read(shape) == before
    assert (await database.read(depth))[0] == 1


def test_there_is_one_head_and_one_root() -> None:
    script = ScriptDirectory.from_config(migrate.configuration())
    assert script.get_heads() == [migrate.head()]
    assert len(script.get_bases()) == 1


UPGRADE = """
import asyncio, sys
from storage.database import open_database
from storage.migrate import current, head, upgrade

async def main():
    print("ready")
    sys.stdin.readline()
    database = open_database(sys.argv[1])
    await upgrade(database)
    assert await database.read(current) == head()
    await database.close()
    print("done")

asyncio.run(main())
"""


async def test_processes_that_upgrade_at_once_all_succeed(
    empty_url: str, open_database_at: Callable[[str], Database]
) -> None:
    """Three processes on an empty database, started by the same signal."""
    async with AsyncExitStack() as stack:
        upgrading = [await stack.enter_async_context(child(UPGRADE, empty_url)) for _ in range(3)]
        for one in upgrading:
            assert await one.line() == "ready"
        for one in upgrading:
            assert one.process.stdin is not None
            one.process.stdin.write(b"go\n")
        assert await asyncio.gather(*(one.line() for one in upgrading)) == ["done"] * 3
        assert await asyncio.gather(*(one.ended() for one in upgrading)) == [0] * 3
    database = open_database_at(empty_url)
    assert await database.read(differences) == []


async def test_tasks_of_one_process_that_upgrade_at_once_all_succeed(
    empty_url: str, open_database_at: Callable[[str], Database]
) -> None:
    one, two = open_database_at(empty_url), open_database_at(empty_url)
    await asyncio.gather(migrate.upgrade(one), migrate.upgrade(two), migrate.upgrade(one))
    assert await two.read(differences) == []


async def test_an_upgrade_that_fails_leaves_nothing(
    empty_url: str, open_database_at: Callable[[str], Database]
) -> None:
    """A table that is there already, from somebody else: the upgrade fails whole, and works once it is gone."""
    database = open_database_at(empty_url)
    await database.write(lambda c: c.execute(text("CREATE TABLE verdict (id INTEGER)")))
    with pytest.raises(Exception, match="verdict"):
        await migrate.upgrade(database)
    assert await database.read(lambda c: inspect(c).get_table_names()) == ["verdict"]
    await database.write(lambda c: c.execute(text("DROP TABLE verdict")))
    await migrate.upgrade(database)
    assert await database.read(differences) == []
