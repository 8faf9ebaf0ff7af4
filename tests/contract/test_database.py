"""Transactions on both databases: durable or nothing, no lost update, one caller's fault is not another's, no waiting."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import pytest
from services.facts import make_delivery, make_event
from sqlalchemy import Connection, text
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from storage import workers
from storage.clock import read_clock
from storage.database import GROUP_LIMIT, Database, StorageUnavailableError, open_database
from storage.deliveries import store_deliveries


def make_counter(connection: Connection) -> None:
    connection.execute(
        text("CREATE TABLE counter (id INTEGER PRIMARY KEY, value INTEGER NOT NULL, note TEXT)")
    )
    connection.execute(text("INSERT INTO counter (id, value) VALUES (1, 0)"))


def increment_by_reading(connection: Connection) -> int:
    """The pattern that loses updates where reading does not lock what is written next."""
    locked = " FOR UPDATE" if connection.dialect.name == "postgresql" else ""
    value: int = connection.execute(text(f"SELECT value FROM counter WHERE id = 1{locked}")).scalar_one()  # noqa: S608
    connection.execute(text("UPDATE counter SET value = :value WHERE id = 1"), {"value": value + 1})
    return value + 1


def value_of(connection: Connection) -> int:
    value: int = connection.execute(text("SELECT value FROM counter WHERE id = 1")).scalar_one()
    return value


def insert(connection: Connection, number: int) -> int:
    connection.execute(text("INSERT INTO counter (id, value) VALUES (:number, 0)"), {"number": number})
    return number


def numbers(connection: Connection) -> list[int]:
    return list(connection.execute(text("SELECT id FROM counter WHERE id > 1 ORDER BY id")).scalars())


@pytest.fixture
async def counter(database: Database) -> Database:
    await database.write(make_counter)
    return database


async def test_forty_increments_are_forty(counter: Database, other_database: Database) -> None:
    """Four tasks of ten read-then-write increments each, in two processes' databases: deferred transactions leave 10."""

    async def ten(where: Database) -> list[int]:
        return [await where.write(increment_by_reading) for _ in range(10)]

    seen = await asyncio.gather(*(ten(where) for where in [counter, other_database] * 2))
    assert await counter.read(value_of) == 40
    assert sorted(value for part in seen for value in part) == list(range(1, 41))


async def test_concurrent_increments_of_one_group_are_all_kept(counter: Database) -> None:
    seen = await asyncio.gather(*(counter.write(increment_by_reading) for _ in range(40)))
    assert sorted(seen) == list(range(1, 41))
    assert await counter.read(value_of) == 40


async def test_a_write_is_seen_by_others_when_it_returns(counter: Database, other_database: Database) -> None:
    await counter.write(insert, 7)
    assert await other_database.read(numbers) == [7]


async def test_one_failing_caller_does_not_spoil_the_others(counter: Database) -> None:
    """All in one group on SQLite: each has a savepoint of its own."""

    def half_done(connection: Connection, number: int) -> None:
        insert(connection, number)
        msg = f"no {number}"
        raise ValueError(msg)

    jobs = [counter.write(half_done if n % 3 == 0 else insert, n) for n in range(2, 32)]
    ended = await asyncio.gather(*jobs, return_exceptions=True)
    failed = [n for n in range(2, 32) if n % 3 == 0]
    assert [str(one) for one in ended if isinstance(one, ValueError)] == [f"no {n}" for n in failed]
    assert await counter.read(numbers) == [n for n in range(2, 32) if n % 3]


async def test_a_constraint_is_the_callers_own_error(counter: Database) -> None:
    ended = await asyncio.gather(*(counter.write(insert, n) for n in (2, 3, 3, 4)), return_exceptions=True)
    assert sum(isinstance(one, IntegrityError) for one in ended) == 1
    assert await counter.read(numbers) == [2, 3, 4]


async def test_a_lone_failing_write_leaves_nothing_and_the_next_one_works(counter: Database) -> None:
    def half_done(connection: Connection) -> None:
        insert(connection, 5)
        raise KeyError

    with pytest.raises(KeyError):
        await counter.write(half_done)
    assert await counter.read(numbers) == []
    assert await counter.write(insert, 5) == 5


async def test_a_failing_commit_fails_everybody_in_it(counter: Database) -> None:
    """A deferred constraint fails at COMMIT: on SQLite that takes the whole group, on PostgreSQL its own transaction."""

    def orphan(connection: Connection) -> None:
        connection.execute(text("INSERT INTO child (id, parent) VALUES (1, 999)"))

    await counter.write(
        lambda c: c.execute(
            text(
                "CREATE TABLE child (id INTEGER PRIMARY KEY,"
                " parent INTEGER REFERENCES counter (id) DEFERRABLE INITIALLY DEFERRED)"
            )
        )
    )
    ended = await asyncio.gather(counter.write(orphan), counter.write(insert, 2), return_exceptions=True)
    assert isinstance(ended[0], SQLAlchemyError | StorageUnavailableError)
    kept = await counter.read(numbers)
    assert kept == (
        [2] if ended[1] == 2 else []
    )  # whoever was told that it is durable finds it, nobody else does
    assert await counter.read(lambda c: c.execute(text("SELECT count(*) FROM child")).scalar_one()) == 0
    assert await counter.write(insert, 3) == 3


async def test_more_callers_than_a_group_holds_all_get_their_own_answer(counter: Database) -> None:
    count = GROUP_LIMIT + 200
    got = await asyncio.gather(*(counter.write(insert, n) for n in range(2, count)))
    assert got == list(range(2, count))
    assert len(await counter.read(numbers)) == count - 2


async def test_a_cancelled_caller_disturbs_nobody(counter: Database) -> None:
    async with asyncio.TaskGroup() as tasks:
        waiting = [tasks.create_task(counter.write(insert, n)) for n in range(2, 12)]
        await asyncio.sleep(0)
        waiting[3].cancel()
    done = [n for n, task in enumerate(waiting, start=2) if not task.cancelled()]
    assert len(done) == 9
    assert set(done) <= set(await counter.read(numbers))


async def test_a_read_sees_one_moment(counter: Database, other_database: Database) -> None:
    """A writer commits between the two statements of one read: both see the world before."""
    started, goes_on = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def two_looks(connection: Connection) -> tuple[list[int], list[int]]:
        before = numbers(connection)
        loop.call_soon_threadsafe(started.set)
        connection.execute(
            text("SELECT pg_sleep(0.5)")
        ) if connection.dialect.name == "postgresql" else time.sleep(0.5)
        return before, numbers(connection)

    async def meanwhile() -> None:
        await started.wait()
        await other_database.write(insert, 2)
        goes_on.set()

    (before, after), _ = await asyncio.gather(counter.read(two_looks), meanwhile())
    assert goes_on.is_set()
    assert before == after == []
    assert await counter.read(numbers) == [2]


async def test_a_write_that_waits_for_a_lock_does_not_block_the_loop(
    counter: Database, other_database: Database
) -> None:
    held = asyncio.Event()
    loop = asyncio.get_running_loop()

    def hold(connection: Connection) -> None:
        increment_by_reading(connection)
        loop.call_soon_threadsafe(held.set)
        connection.execute(
            text("SELECT pg_sleep(1)")
        ) if connection.dialect.name == "postgresql" else time.sleep(1)

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(other_database.write(hold))
        await held.wait()
        waiting = tasks.create_task(counter.write(increment_by_reading))
        rounds = 0
        while not waiting.done():
            await asyncio.sleep(0.005)
            rounds += 1
    assert await waiting == 2
    assert rounds > 50


async def test_two_hundred_writes_leave_the_loop_free(database: Database) -> None:
    """Most rounds of the loop are short while 200 bodies of 200 kB are stored, and none takes as long as a commit may."""
    lags: list[float] = []

    async def watch() -> None:
        while True:
            began = time.perf_counter()
            await asyncio.sleep(0)
            lags.append(time.perf_counter() - began)

    batches = [[make_delivery(f"d-{n}", make_event(f"evt_{n}", text="x" * 200_000))] for n in range(200)]
    async with asyncio.TaskGroup() as tasks:
        watcher = tasks.create_task(watch())
        await asyncio.gather(*(database.write(store_deliveries, batch) for batch in batches))
        watcher.cancel()
    assert len(lags) > 100
    assert sorted(lags)[len(lags) * 95 // 100] < 0.05
    assert max(lags) < 1


async def test_the_clock_is_the_databases_and_counts_milliseconds(database: Database) -> None:
    first = await database.write(read_clock)
    await asyncio.sleep(0.02)
    second = await database.write(read_clock)
    assert 0.015 <= second - first < 5
    assert abs(second - time.time()) < 60


async def test_a_closed_database_refuses_instead_of_hanging(database_url: str) -> None:
    database = open_database(database_url)
    await database.write(workers.leave, instance="nobody")
    await database.close()
    await database.close()
    if database_url.startswith("sqlite"):
        async with asyncio.timeout(5):
            with pytest.raises(StorageUnavailableError, match="closed"):
                await database.write(workers.leave, instance="nobody")


async def test_an_error_text_holds_no_parameters(counter: Database) -> None:
    """An exception's text ends up in logs: no body may be in it."""

    def clash(connection: Connection) -> None:
        for _ in range(2):
            connection.execute(
                text("INSERT INTO counter (id, value, note) VALUES (2, 0, :note)"),
                {"note": "very-secret-body"},
            )

    with pytest.raises(IntegrityError) as caught:
        await counter.write(clash)
    assert "very-secret-body" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "why"),
    [("mysql://host/name", "mysql"), ("sqlite://", "needs a file"), ("sqlite:///:memory:", "needs a file")],
)
def test_other_databases_are_refused_with_the_remedy(url: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        open_database(url)


async def test_a_folder_that_is_missing_is_made(
    tmp_path: object, open_database_at: Callable[[str], Database]
) -> None:
    database = open_database_at(f"sqlite:///{tmp_path}/a/b/hub.db")
    await database.write(make_counter)
    assert await database.read(value_of) == 0
