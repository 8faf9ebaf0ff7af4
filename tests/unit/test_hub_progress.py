"""Readiness: a process is unready for what its own roles leave lying, not for others' work, and not for idleness."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from services.facts import make_delivery, make_event, make_result
from sqlalchemy import update

from hub import progress as module
from hub.checks import Check
from hub.metrics import Metrics
from hub.progress import Progress
from hub.settings import STUCK_SECONDS
from storage import workers
from storage.database import Database
from storage.deliveries import store_deliveries
from storage.results import want_result
from storage.rows import table
from storage.tables import OutboxRow


class Broker:
    poisoned: str | None = None

    async def ping(self) -> bool:
        return True


async def checked(database: Database, *roles: str, beaten: float | None = None) -> dict[str, Check]:
    """The checks of a process with these roles, after its first look. `beaten`: seconds since the router took events."""
    broker: Any = Broker()
    late = [0.0]
    progress = Progress(
        database,
        broker,
        Metrics(),
        instance="box",
        roles=frozenset(roles),
        now=lambda: time.monotonic() + late[0],
    )
    progress.started = True
    if beaten is not None:
        await progress.taking("router", _nothing)([])
        late[0] = beaten
    progress.held_back = lambda: {"acme-jira": 12.3}
    async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
        running = tasks.create_task(progress.run())
        while not all(one.ok for one in progress.checks() if one.name in {"database", "broker"}):
            await asyncio.sleep(0.01)
        running.cancel()
    return {one.name: one for one in progress.checks()}


async def _nothing(_batch: Any) -> None:
    pass


async def leave_lying(database: Database, topic: str) -> None:
    """Something on that topic that nobody took for a long time."""
    if topic.endswith("events"):
        await database.write(store_deliveries, [make_delivery("d-1", make_event("evt_1"))])
    else:
        await database.write(want_result, make_result("run_1"), tool_use_id=None)
    rows = table(OutboxRow)
    old = update(rows).values(created_at=rows.c.created_at - 10 * STUCK_SECONDS)
    await database.write(lambda c: c.execute(old).rowcount)


@pytest.mark.parametrize(
    ("topic", "roles", "ok"),
    [
        ("triggerhub.events", ("router",), False),
        ("triggerhub.events", ("ingress", "web", "runner", "poster"), True),
        ("triggerhub.results", ("poster", "web"), False),
        ("triggerhub.results", ("ingress", "router", "runner"), True),
    ],
)
async def test_messages_are_the_business_of_who_consumes_them(
    sqlite_database: Database, topic: str, roles: tuple[str, ...], *, ok: bool
) -> None:
    await leave_lying(sqlite_database, topic)
    check = (await checked(sqlite_database, *roles))["messages"]
    assert check.ok is ok
    assert (topic in check.detail) is not ok


async def test_a_router_that_has_nothing_to_do_is_well(sqlite_database: Database) -> None:
    idle = (await checked(sqlite_database, "router", beaten=10 * STUCK_SECONDS))["router"]
    assert idle.ok
    assert "nothing waits for it" in idle.detail
    [worker] = await sqlite_database.read(workers.living)
    assert worker.progress_ago < 10


async def test_a_router_that_leaves_events_lying_is_not(sqlite_database: Database) -> None:
    await leave_lying(sqlite_database, "triggerhub.events")
    found = await checked(sqlite_database, "router", beaten=10 * STUCK_SECONDS)
    assert not found["router"].ok
    assert not found["messages"].ok
    at_work = await checked(sqlite_database, "router", beaten=1)
    assert at_work["router"].ok


async def test_a_vendor_that_is_down_is_told_and_fails_nothing(sqlite_database: Database) -> None:
    found = await checked(sqlite_database, "poster")
    assert found["vendors"] == Check(
        "vendors", ok=True, detail="posts wait for acme-jira (tried again in 12 s)"
    )
    assert "vendors" not in await checked(sqlite_database, "router")


def test_every_topic_has_its_consumer() -> None:
    from schemas.topics import TOPICS  # noqa: PLC0415 - needed here only

    assert set(module.CONSUMERS) == {spec.name for spec in TOPICS}
