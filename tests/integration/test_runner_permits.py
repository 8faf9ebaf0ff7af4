"""The service's limits per minute hold over all processes, and waiting for one holds up nobody else."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from runner_samples import dispatch_of
from runner_world import bench
from sqlalchemy import Connection, and_, func, select, update

from runner.permits import Permit, Permits
from storage.database import Database
from storage.rows import table
from storage.tables import RateUse

Open = Callable[[str], Database]


async def a_minute_passes(database: Database) -> None:
    """Every permit was taken 61 seconds earlier than it was."""
    rows = table(RateUse)
    moved = update(rows).where(rows.c.second > 0).values(second=rows.c.second - 61)

    def execute(connection: Connection) -> None:
        connection.execute(moved)

    await database.write(execute)


async def taken(database: Database, permit: Permit) -> int:
    rows = table(RateUse)
    query = select(func.coalesce(func.sum(rows.c.used), 0)).where(
        and_(rows.c.name == permit, rows.c.second > 0)
    )
    return int(await database.read(lambda connection: connection.execute(query).scalar_one()))


async def test_two_processes_share_one_limit(database_url: str, open_database_at: Open) -> None:
    permits = [
        Permits(open_database_at(database_url), creates_per_minute=5, reads_per_minute=100) for _ in range(2)
    ]
    database = open_database_at(database_url)
    async with asyncio.TaskGroup() as tasks:
        waiting = [tasks.create_task(permits[n % 2].take("creates")) for n in range(12)]
        await asyncio.sleep(0.7)
        assert await taken(database, "creates") == 5
        assert sum(task.done() for task in waiting) == 5
        async with asyncio.timeout(2):
            await asyncio.gather(*(one.take("reads") for one in permits))  # another limit, not held up
        for task in waiting:
            task.cancel()
    await a_minute_passes(database)
    again = [permits[n % 2].take("creates") for n in range(5)]
    async with asyncio.timeout(10):
        await asyncio.gather(*again)


async def test_who_came_first_is_served_first_and_may_leave_the_queue(
    database_url: str, open_database_at: Open
) -> None:
    database = open_database_at(database_url)
    permits = Permits(database, creates_per_minute=2, reads_per_minute=1)
    served: list[int] = []

    async def one(n: int) -> None:
        await permits.take("creates")
        served.append(n)

    async with asyncio.TaskGroup() as tasks:
        queue = [tasks.create_task(one(n)) for n in range(5)]
        await asyncio.sleep(0.5)
        assert served == [0, 1]
        queue[2].cancel()  # the one that asks for all of them
        await a_minute_passes(database)
        async with asyncio.timeout(10):
            await asyncio.gather(queue[3], queue[4])
    assert served == [0, 1, 3, 4]


async def test_a_run_that_waits_for_its_create_holds_up_no_other(
    sqlite_template: Path, tmp_path: Path
) -> None:
    async with bench(sqlite_template, tmp_path, creates=4) as runner:
        runner.worker()  # agent, environment and two sessions
        run_ids = await runner.take(
            *(dispatch_of(n, scenario="scenario=slow seconds=1") for n in range(1, 5))
        )
        ended: list[str] = []
        async with asyncio.timeout(20):
            while len(ended) < 2:
                await asyncio.sleep(0.01)
                ended = [one for one in run_ids if (await runner.row(one))["session_id"] is not None]
        for run_id in ended:
            assert (await runner.ended(run_id))["status"] == "succeeded"
        rows = [await runner.row(run_id) for run_id in run_ids]
        assert sorted(row["status"] for row in rows) == ["creating", "creating", "succeeded", "succeeded"]
        assert len(runner.agents.sessions) == 2
        await a_minute_passes(runner.database)
        for run_id in run_ids:
            assert (await runner.ended(run_id))["status"] == "succeeded"


async def test_reserved_permits_count_and_are_used_at_once_or_never(
    database_url: str, open_database_at: Open
) -> None:
    database = open_database_at(database_url)
    permits = Permits(database, creates_per_minute=3, reads_per_minute=1)
    loop = asyncio.get_running_loop()
    assert await database.write(lambda connection: permits.reserve(connection, "creates", 2)) == 2
    permits.give("creates", 2, since=loop.time())
    for _ in range(2):
        await permits.take("creates")
    assert await taken(database, "creates") == 2  # nothing was taken beside them
    assert await database.write(lambda connection: permits.reserve(connection, "creates", 5)) == 1
    permits.give("creates", 1, since=loop.time() - 1.1)  # the transaction took so long
    async with asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(permits.take("creates"))
        await asyncio.sleep(0.2)
        assert not waiting.done()
        assert await database.write(lambda connection: permits.reserve(connection, "creates", 1)) == 0
        waiting.cancel()
