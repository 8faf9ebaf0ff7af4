"""What storage says when the database fails: StorageUnavailableError, nothing kept, and work again when it is back."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from services.facts import make_delivery, make_event
from services.lines import child
from services.need import OutOfReachError, without
from services.postgres import Postgres
from sqlalchemy import Connection, func, select

from storage.database import BUSY_TIMEOUT_SECONDS, Database, StorageUnavailableError, open_database
from storage.deliveries import store_deliveries
from storage.rows import table
from storage.tables import EventRow


def event_count(connection: Connection) -> int:
    count: int = connection.execute(select(func.count()).select_from(table(EventRow))).scalar_one()
    return count


async def store(database: Database, *ids: str, size: int = 10) -> set[str]:
    return await database.write(
        store_deliveries, [make_delivery(f"d-{one}", make_event(one, text="x" * size)) for one in ids]
    )


# -- SQLite ------------------------------------------------------------------------------------------------------------

FILL = """
import asyncio, resource, signal, sys
from services.facts import make_delivery, make_event
from storage.database import StorageUnavailableError, open_database
from storage.deliveries import store_deliveries

async def main():
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)   # writing beyond the limit fails with an error instead of a signal
    database = open_database(sys.argv[1])
    batch = lambda n, size: [make_delivery(f"d-{n}", make_event(f"evt_{n}", text="x" * size))]
    stored = []
    resource.setrlimit(resource.RLIMIT_FSIZE, (3_000_000, resource.RLIM_INFINITY))
    refused = 0
    for n in range(40):
        # Four at once share a group.
        four = (database.write(store_deliveries, batch(f"{n}-{m}", 200_000)) for m in range(4))
        done = await asyncio.gather(*four, return_exceptions=True)
        for m, one in enumerate(done):
            if isinstance(one, StorageUnavailableError):
                refused += 1
            elif isinstance(one, BaseException):
                raise one
            else:
                stored.append(f"evt_{n}-{m}")
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    await database.write(store_deliveries, batch("after", 200_000))
    stored.append("evt_after")
    await database.close()
    print(refused)
    print(" ".join(stored))

asyncio.run(main())
"""


async def test_sqlite_without_room_keeps_what_it_promised_and_recovers(sqlite_url: str) -> None:
    """A child process may write no more than 3 MB to one file, tries 32 MB, and is then given room again."""
    path = sqlite_url.removeprefix("sqlite:///")
    async with child(FILL, sqlite_url) as filler:
        refused = int(await filler.line(seconds=60))
        stored = (await filler.line()).split()
        assert await filler.ended() == 0
    assert refused > 50
    assert stored[-1] == "evt_after"
    with sqlite3.connect(path) as connection:
        assert {row[0] for row in connection.execute("SELECT id FROM event")} == set(stored)
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()


async def test_sqlite_locked_by_another_process_is_unavailable_and_then_works(
    sqlite_url: str, open_database_at: Callable[[str], Database]
) -> None:
    path = sqlite_url.removeprefix("sqlite:///")
    database = open_database_at(sqlite_url)
    await store(database, "evt_1")
    holder = sqlite3.connect(path, isolation_level=None)
    try:
        holder.execute("BEGIN IMMEDIATE")
        async with asyncio.timeout(BUSY_TIMEOUT_SECONDS + 10):
            ended = await asyncio.gather(
                store(database, "evt_2"), store(database, "evt_3"), return_exceptions=True
            )
        assert all(isinstance(one, StorageUnavailableError) for one in ended)
        assert await database.read(event_count) == 1  # reading goes on meanwhile
        holder.execute("ROLLBACK")
    finally:
        holder.close()
    assert await store(database, "evt_2") == {"evt_2"}
    assert await database.read(event_count) == 2


async def test_sqlite_locked_for_a_moment_is_waited_for(
    sqlite_url: str, open_database_at: Callable[[str], Database]
) -> None:
    path = sqlite_url.removeprefix("sqlite:///")
    database = open_database_at(sqlite_url)
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    async with asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(store(database, "evt_1"))
        await asyncio.sleep(0.3)
        assert not waiting.done()
        holder.execute("COMMIT")
    holder.close()
    assert await waiting == {"evt_1"}


async def test_a_file_that_is_no_database_is_unavailable(
    tmp_path: Path, open_database_at: Callable[[str], Database]
) -> None:
    path = tmp_path / "hub.db"
    path.write_bytes(b"this is no database at all" * 100)
    database = open_database_at(f"sqlite:///{path}")
    async with asyncio.timeout(20):
        for _ in range(2):
            with pytest.raises(StorageUnavailableError):
                await store(database, "evt_1")
            with pytest.raises(StorageUnavailableError):
                await database.read(event_count)


KILLED = """
import asyncio, sys
from services.facts import make_delivery, make_event
from storage.database import open_database
from storage.deliveries import store_deliveries

async def main():
    database = open_database(sys.argv[1])
    n = 0
    while True:
        ids = [f"evt_{n + m}" for m in range(8)]
        await asyncio.gather(*(database.write(store_deliveries, [make_delivery(one, make_event(one))]) for one in ids))
        print(" ".join(ids))
        n += 8

asyncio.run(main())
"""


async def test_what_was_acknowledged_survives_sigkill(
    database_url: str, open_database_at: Callable[[str], Database]
) -> None:
    """Whatever the child said was stored is there after SIGKILL at any moment."""
    said: list[str] = []
    async with child(KILLED, database_url) as writer:
        while len(said) < 80:
            said += (await writer.line()).split()
        writer.process.kill()
        assert writer.process.stdout is not None
        said += (await writer.process.stdout.read()).decode().rpartition("\n")[0].split()
    database = open_database_at(database_url)
    kept = set(await database.read(lambda c: c.execute(select(table(EventRow).c.id)).scalars().all()))
    assert set(said) <= kept


# -- PostgreSQL --------------------------------------------------------------------------------------------------------


@pytest.mark.postgres
async def test_postgres_killed_and_restarted(
    postgres: Postgres, postgres_template: str, open_database_at: Callable[[str], Database]
) -> None:
    url = await postgres.create_database(template=postgres_template)
    database = open_database_at(url)
    assert await store(database, "evt_1") == {"evt_1"}
    try:
        postgres.kill()
    except OutOfReachError as error:
        without(error)
    try:
        for one in ("evt_2", "evt_3"):
            with pytest.raises(StorageUnavailableError):
                await store(database, one)
        with pytest.raises(StorageUnavailableError):
            await database.read(event_count)
    finally:
        await asyncio.to_thread(postgres.restart)
        await postgres.wait_until_ready()
    assert await store(database, "evt_2") == {"evt_2"}
    assert await store(database, "evt_1") == set()
    assert await database.read(event_count) == 2


@pytest.mark.postgres
async def test_postgres_killed_in_the_middle_of_writes(
    postgres: Postgres, postgres_template: str, open_database_at: Callable[[str], Database]
) -> None:
    """Sixty writers, killed half way: whoever was told that it is stored is there, everybody gets an answer."""
    url = await postgres.create_database(template=postgres_template)
    database = open_database_at(url)
    told: list[str] = []
    refused: list[str] = []
    enough = asyncio.Event()

    async def keep_storing(name: int) -> None:
        for n in range(400):
            one = f"evt_{name}_{n}"
            try:
                await store(database, one)
            except StorageUnavailableError:
                refused.append(one)
                return
            told.append(one)
            if len(told) > 100:
                enough.set()

    async def kill() -> None:
        await enough.wait()
        await asyncio.to_thread(postgres.kill)

    try:
        async with asyncio.TaskGroup() as tasks:
            for name in range(60):
                tasks.create_task(keep_storing(name))
            killing = tasks.create_task(kill())
        await killing
    except* OutOfReachError as group:
        without(OutOfReachError(str(group.exceptions[0])))
    finally:
        await asyncio.to_thread(postgres.restart)
        await postgres.wait_until_ready()
    assert refused
    kept = set(await database.read(lambda c: c.execute(select(table(EventRow).c.id)).scalars().all()))
    assert set(told) <= kept


@pytest.mark.postgres
async def test_postgres_that_nobody_answers_for_is_unavailable_soon() -> None:
    database = open_database("postgresql://nobody@127.0.0.1:9/none")
    try:
        async with asyncio.timeout(15):
            with pytest.raises(StorageUnavailableError):
                await store(database, "evt_1")
            with pytest.raises(StorageUnavailableError):
                await database.read(event_count)
    finally:
        await database.close()
