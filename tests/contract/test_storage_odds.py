"""Dead letters, workers and remote objects on both databases, and the bell."""

from __future__ import annotations

import asyncio
import time

import pytest
from services.facts import make_delivery, make_event
from sqlalchemy import select, update

from schemas.topics import EVENTS
from storage import outbox, remote_objects, workers
from storage.bell import Bell
from storage.database import Database
from storage.dead_letters import DeadLetter, bury
from storage.deliveries import store_deliveries
from storage.remote_objects import Remote
from storage.rows import table
from storage.tables import DeadLetterRow, WorkerRow

LETTER = DeadLetter(
    id="triggerhub.events/3/17/0a0b0c0d",
    topic=EVENTS.name,
    key=b"\xff\x00",
    value=b"\x00{nonsense",
    reason="not\x00 JSON",
)


async def test_a_dead_letter_is_kept_once_with_its_bytes(database: Database) -> None:
    assert await database.write(bury, LETTER)
    assert not await database.write(bury, LETTER)
    row = await database.read(lambda c: c.execute(select(table(DeadLetterRow))).mappings().one())
    assert (row["key"], row["value"]) == (LETTER.key, LETTER.value)
    assert (row["reason"], row["status"], row["topic"]) == ("not\ufffd JSON", "dead", EVENTS.name)


async def test_what_is_dead_is_not_announced_any_more(database: Database) -> None:
    await database.write(store_deliveries, [make_delivery("d-1", make_event("evt_1"), make_event("evt_2"))])
    await database.write(
        bury, DeadLetter(id="t/0/0/x", topic=EVENTS.name, key=b"k", value=b"{}", reason="no", ref="evt_1")
    )
    await database.write(outbox.make_all_due)
    assert [message.ref for message in await database.write(outbox.sweep)] == ["evt_2"]


async def test_a_worker_reports_life_and_progress_apart(database: Database) -> None:
    await database.write(workers.report, role="router", instance="a", progressed=True, note="fine")
    rows = table(WorkerRow)
    await database.write(
        lambda c: (
            c.execute(
                update(rows).values(seen_at=rows.c.seen_at - 50, progress_at=rows.c.progress_at - 50)
            ).rowcount
        )
    )
    await database.write(workers.report, role="router", instance="a", progressed=False, note="stuck\x00")
    [worker] = await database.read(workers.living)
    assert (worker.role, worker.instance, worker.note) == ("router", "a", "stuck\ufffd")
    assert worker.seen_ago < 10
    assert 50 <= worker.progress_ago < 60


async def test_a_worker_that_left_or_was_silent_for_an_hour_is_not_living(database: Database) -> None:
    for instance in ("a", "b", "c"):
        for role in ("router", "runner"):
            await database.write(workers.report, role=role, instance=instance, progressed=True)
    await database.write(workers.leave, instance="a")
    rows = table(WorkerRow)
    await database.write(
        lambda c: (
            c.execute(
                update(rows).where(rows.c.instance == "b").values(seen_at=rows.c.seen_at - 3601)
            ).rowcount
        )
    )
    assert [(one.role, one.instance) for one in await database.read(workers.living)] == [
        ("router", "c"),
        ("runner", "c"),
    ]


async def remember(database: Database, before: Remote | None, after: Remote) -> Remote:
    return await database.write(
        remote_objects.replace, kind="agent", name="fixer", before=before, after=after
    )


async def known(database: Database) -> Remote | None:
    return await database.read(remote_objects.find, kind="agent", name="fixer")


FIRST = Remote(content_hash="h1", remote_id="agent_1", version=1)
SECOND = Remote(content_hash="h2", remote_id="agent_1", version=2)


async def test_a_remote_object_is_remembered_as_it_last_stood(database: Database) -> None:
    assert await known(database) is None
    assert await remember(database, None, FIRST) == FIRST
    assert await known(database) == FIRST
    assert await remember(database, FIRST, SECOND) == SECOND
    assert await known(database) == SECOND
    assert await database.read(remote_objects.find, kind="environment", name="fixer") is None


async def test_processes_that_made_the_same_object_at_once_agree_on_one(
    database: Database, other_database: Database
) -> None:
    made = [Remote(content_hash="h1", remote_id=f"agent_{n}", version=1) for n in range(8)]
    agreed = await asyncio.gather(
        *(remember(where, None, one) for where, one in zip([database, other_database] * 4, made, strict=True))
    )
    assert len(set(agreed)) == 1
    assert await known(database) == agreed[0]


async def test_a_remote_object_that_is_gone_is_forgotten_unless_it_was_replaced(database: Database) -> None:
    await remember(database, None, FIRST)
    await database.write(remote_objects.forget, kind="agent", name="fixer", remote_id="agent_0")
    assert await known(database) == FIRST
    await database.write(remote_objects.forget, kind="agent", name="fixer", remote_id="agent_1")
    assert await known(database) is None


async def test_a_ring_wakes_the_waiter_or_the_next_one() -> None:
    bell = Bell()
    bell.ring()
    bell.ring()
    assert await bell.wait(5)
    assert not await bell.wait(0.01)
    began = time.monotonic()
    async with asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(bell.wait(30))
        await asyncio.sleep(0)
        bell.ring()
    assert waiting.result()
    assert time.monotonic() - began < 5


async def test_a_waiter_that_is_cancelled_stays_cancelled() -> None:
    bell = Bell()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await bell.wait(30)
