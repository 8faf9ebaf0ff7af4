"""Dead letters back on their topic: one contract for the embedded broker and Apache Kafka."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from services import records
from services.facts import make_event
from services.worlds import Collector, World, publish
from sqlalchemy import select

from hub.broker import Taken
from schemas.topics import EVENTS
from storage import dead_letters, outbox
from storage.rows import table
from storage.tables import DeadLetterRow


async def letters(world: World) -> list[dict[str, Any]]:
    rows = table(DeadLetterRow)
    return await world.database.read(
        lambda c: [dict(row) for row in c.execute(select(rows).order_by(rows.c.at, rows.c.id)).mappings()]
    )


async def swept(world: World, broker: Any) -> None:
    """What the publisher does with what the sweep finds."""
    await broker.publish([(one, None) for one in await world.database.write(outbox.sweep)])


async def test_a_retried_letter_reaches_its_handler_with_its_bytes(world: World) -> None:
    broken = True

    def fail(batch: Sequence[Taken[Any]]) -> Exception | None:
        return LookupError() if broken and any(one.value.id == "evt_1" for one in batch) else None

    seen = Collector(fail=fail)
    event = make_event("evt_1")
    async with world.running(seen) as broker:
        await publish(broker, event)
        await records.read_all(world.bootstrap, EVENTS.dead_letter, count=1)
        [letter] = await letters(world)
        broken = False
        await world.database.write(dead_letters.retry, letter["id"])
        await swept(world, broker)
        await seen.got(1)

        async def settled() -> bool:
            return bool((await letters(world))[0]["status"] == "retried")

        await _until(settled)
        found = await records.read_all(world.bootstrap, EVENTS.name, count=2)
    assert seen.ids == ["evt_1"]
    assert seen.taken[0].body == letter["value"] == event.model_dump_json().encode()
    first, second = found
    assert (first.value, first.key) == (second.value, second.key)
    again = dict(second.headers)
    assert again["triggerhub-retry-of"].decode() == letter["id"]
    assert again["ce_id"] == b"evt_1"
    assert "triggerhub-retry-of" not in dict(first.headers)
    assert await world.database.read(outbox.depth) == (0, 0.0)
    assert len(await letters(world)) == 1


async def test_a_retried_letter_that_dies_again_is_a_new_one(world: World) -> None:
    seen = Collector()
    async with world.running(seen) as broker:
        await records.write(world.bootstrap, EVENTS.name, ("k", b"\xff\xfe garbage"))
        await records.read_all(world.bootstrap, EVENTS.dead_letter, count=1)
        [letter] = await letters(world)
        await world.database.write(dead_letters.retry, letter["id"])
        await swept(world, broker)
        await records.read_all(world.bootstrap, EVENTS.dead_letter, count=2)
    first, second = await letters(world)
    assert (first["id"], first["status"]) == (letter["id"], "retried")
    assert (second["status"], second["repeats"]) == ("dead", letter["id"])
    assert (second["value"], second["key"]) == (letter["value"], b"k")
    assert await world.database.read(outbox.depth) == (0, 0.0)
    assert seen.taken == []


async def _until(done: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(30):
        while not await done():
            await asyncio.sleep(0.02)
