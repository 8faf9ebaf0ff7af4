"""Dead letters, storage that fails, brokers that die: one contract for the embedded broker and Apache Kafka."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from faststream import AckPolicy
from services import records
from services.facts import make_delivery, make_event
from services.kafka import Kafka
from services.need import OutOfReachError, without
from services.worlds import GROUP, Collector, World, message, publish, until
from sqlalchemy import select

from hub.broker import DEAD_LETTERS_TOLERATED, Broker
from hub.settings import Settings
from schemas.event import Event
from schemas.topics import EVENTS, TOPICS
from storage import outbox
from storage.database import Database, StorageUnavailableError
from storage.deliveries import store_deliveries
from storage.rows import table
from storage.tables import DeadLetterRow

# -- dead letters ------------------------------------------------------------------------------------------------------


async def letters(database: Database) -> list[dict[str, Any]]:
    rows = table(DeadLetterRow)
    return await database.read(
        lambda c: [dict(row) for row in c.execute(select(rows).order_by(rows.c.id)).mappings()]
    )


GARBAGE = [
    b"",
    b"not json",
    b"\xff\xfe\x00",
    b"[]",
    b'{"specversion": "1.0"}',
    b'{"id": {"secret": "hunter2"}}',
]


async def test_unreadable_records_go_aside_and_the_good_ones_go_on(world: World) -> None:
    seen = Collector()
    good = make_event("evt_1").model_dump_json().encode()
    async with world.running():
        await records.write(
            world.bootstrap, EVENTS.name, ("k", good), *(("k", one) for one in GARBAGE), ("k", good)
        )
    async with world.running(seen):
        await seen.got(2)
        dead = await records.read_all(world.bootstrap, EVENTS.dead_letter, count=len(GARBAGE))
    kept = await letters(world.database)
    assert sorted(row["value"] for row in kept) == sorted(GARBAGE)
    assert {row["topic"] for row in kept} == {EVENTS.name}
    assert {row["key"] for row in kept} == {b"k"}
    assert sorted(record.value or b"" for record in dead) == sorted(GARBAGE)
    assert {record.key for record in dead} == {b"k"}
    by_origin = {dict(record.headers)["triggerhub-origin"].decode(): dict(record.headers) for record in dead}
    assert set(by_origin) == {row["id"] for row in kept}
    for row in kept:
        assert by_origin[row["id"]]["triggerhub-reason"].decode() == row["reason"]
        assert "hunter2" not in row["reason"]
    assert seen.calls == 1  # one batch, good and bad together
    assert await records.committed(world.bootstrap, group=GROUP, topic=EVENTS.name) == len(GARBAGE) + 2


async def test_a_record_that_no_handler_can_take_goes_aside_alone(world: World) -> None:
    """FastStream swallows a handler's exception: without care the batch would be lost with the next commit."""
    seen = Collector(
        fail=lambda batch: LookupError("hunter2") if any(one.value.id == "evt_3" for one in batch) else None
    )
    async with world.running() as broker:
        await publish(broker, *(make_event(f"evt_{n}") for n in range(6)))
    async with world.running(seen):
        await seen.got(5)
        await until(lambda: seen.calls >= 7)
        [dead] = await records.read_all(world.bootstrap, EVENTS.dead_letter, count=1)
    assert seen.ids == ["evt_0", "evt_1", "evt_2", "evt_4", "evt_5"]
    [row] = await letters(world.database)
    assert Event.model_validate_json(row["value"]).id == "evt_3"
    assert row["value"] == dead.value
    assert "LookupError" in row["reason"]
    assert "hunter2" not in row["reason"]


async def test_a_dead_message_of_ours_is_not_announced_for_ever(world: World) -> None:
    event = make_event("evt_1")
    await world.database.write(store_deliveries, [make_delivery("d-1", event)])
    seen = Collector(fail=lambda _batch: ValueError("never"))
    async with world.running(seen) as broker:
        await publish(broker, event)
        await records.read_all(world.bootstrap, EVENTS.dead_letter, count=1)
    assert await world.database.read(outbox.depth) == (0, 0.0)
    assert len(await letters(world.database)) == 1


async def test_too_many_dead_letters_stop_consuming(world: World) -> None:
    seen = Collector()
    good = make_event("evt_1").model_dump_json().encode()
    async with world.running(seen) as broker:
        bad = [("k", b"bad %d" % n) for n in range(DEAD_LETTERS_TOLERATED + 1)]
        await records.write(world.bootstrap, EVENTS.name, *bad)
        await until(lambda: broker.poisoned is not None)
        assert EVENTS.name in str(broker.poisoned)
        await records.write(world.bootstrap, EVENTS.name, ("k", good))
        await asyncio.sleep(1)
        assert seen.taken == []
        done = await records.committed(world.bootstrap, group=GROUP, topic=EVENTS.name)
        assert done == len(bad)
    assert len(await letters(world.database)) == len(bad)
    again = Collector()
    async with world.running(again):  # started again, after the cause was repaired
        await again.got(1)


async def test_a_few_dead_letters_do_not_stop_consuming(world: World) -> None:
    seen = Collector()
    good = make_event("evt_1").model_dump_json().encode()
    async with world.running(seen) as broker:
        await records.write(
            world.bootstrap,
            EVENTS.name,
            *[("k", b"bad %d" % n) for n in range(DEAD_LETTERS_TOLERATED)],
            ("k", good),
        )
        await seen.got(1)
        assert broker.poisoned is None


# -- trouble -----------------------------------------------------------------------------------------------------------


async def test_a_batch_that_cannot_be_stored_is_tried_again_and_not_committed(world: World) -> None:
    down = True
    seen = Collector(fail=lambda _batch: StorageUnavailableError("the disk is full") if down else None)
    async with world.running(seen) as broker:
        await publish(broker, make_event("evt_1"), make_event("evt_2"))
        await until(lambda: seen.calls >= 3)
        assert await records.committed(world.bootstrap, group=GROUP, topic=EVENTS.name) == 0
        assert await letters(world.database) == []
        down = False
        await seen.got(2)
        await broker.stop_consuming()
    assert seen.ids == ["evt_1", "evt_2"]
    assert await records.committed(world.bootstrap, group=GROUP, topic=EVENTS.name) == 2


async def test_a_batch_that_was_given_up_is_read_again_by_the_same_process(world: World) -> None:
    """After the last try the consumer stands behind the batch: without going back, the next commit would lose it."""
    seen = Collector(fail=lambda _batch: StorageUnavailableError("down") if seen.calls <= 6 else None)
    async with world.running(seen, retry_delays=(0.01,)) as broker:
        events = [make_event(f"evt_{n}", subject=f"acme/checkout#{n}") for n in range(8)]
        await publish(broker, *events)
        await seen.got(8)
        await publish(broker, make_event("evt_later"))
        await until(lambda: "evt_later" in seen.ids)
        await broker.stop_consuming()
    assert seen.calls > 6
    assert set(seen.ids) == {*(event.id for event in events), "evt_later"}
    assert await records.committed(world.bootstrap, group=GROUP, topic=EVENTS.name) == 9


async def test_a_process_that_stops_while_storage_is_down_commits_nothing(world: World) -> None:
    first = Collector(fail=lambda _batch: StorageUnavailableError("down"))
    second = Collector()
    async with world.running(first) as broker:
        await publish(broker, make_event("evt_1"))
        await until(lambda: first.calls >= 3)
        began = time.monotonic()
    assert time.monotonic() - began < 5  # it does not wait for the database to come back
    async with world.running(second):
        await second.got(1)
    assert second.ids == ["evt_1"]


def test_no_subscriber_acknowledges_before_the_work(sqlite_database: Database) -> None:
    """FastStream's default does: offsets would be committed before anything is durable."""
    for servers in (None, "127.0.0.1:1"):
        broker = Broker(Settings(kafka_bootstrap_servers=servers), sqlite_database, bootstrap=["127.0.0.1:1"])
        for topic in TOPICS:
            broker.subscribe(topic, group=GROUP, handler=Collector())
        subscribers = list(broker._kafka.subscribers)  # noqa: SLF001 - what FastStream made of our options
        assert len(subscribers) == len(TOPICS)
        for subscriber in subscribers:
            assert subscriber.ack_policy is AckPolicy.MANUAL
            options = subscriber._connection_args  # type: ignore[attr-defined]  # noqa: SLF001 - as above
            assert options["enable_auto_commit"] is False


@pytest.mark.kafka
async def test_apache_kafka_killed_and_restarted(kafka: Kafka, sqlite_database: Database) -> None:
    """Consumers and producers of a running process go on; a message published meanwhile arrives."""
    await kafka.reset()
    world = World(
        "apache", Settings(kafka_bootstrap_servers=kafka.bootstrap), [kafka.bootstrap], sqlite_database
    )
    seen = Collector()
    async with world.running(seen) as broker:
        await publish(broker, make_event("evt_1"))
        await seen.got(1)
        try:
            await asyncio.to_thread(kafka.kill)
        except OutOfReachError as error:
            without(error)
        assert not await broker.ping(timeout=1)
        async with asyncio.TaskGroup() as tasks:
            waiting = tasks.create_task(broker.publish([(message(make_event("evt_2")), None)]))
            await asyncio.to_thread(kafka.restart)
        assert waiting.result() == ["evt_2"]
        await seen.got(2, seconds=60)
        await publish(broker, make_event("evt_3"))
        await until(lambda: "evt_3" in seen.ids, seconds=60)
        assert await broker.ping()
    assert set(seen.ids) == {"evt_1", "evt_2", "evt_3"}
