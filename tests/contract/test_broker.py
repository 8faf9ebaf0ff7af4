"""One contract for both brokers: the embedded one and Apache Kafka.

What the embedded broker cannot do is a strict expected failure here, so that the gap stays visible.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from aiokafka.errors import KafkaError
from services import records
from services.facts import make_dispatch, make_event, make_result
from services.kafka import Kafka
from services.lines import child
from services.worlds import GROUP, Collector, World, message, publish, until

from hub.broker import Taken
from hub.settings import Settings
from schemas.event import Event
from schemas.topics import DISPATCHES, EVENTS, MAX_MESSAGE_BYTES, RESULTS, TOPICS
from storage.database import Database
from storage.outbox import Message

# -- topics ------------------------------------------------------------------------------------------------------------


async def test_every_topic_is_declared_with_its_dead_letter_partner(world: World) -> None:
    async with world.running():
        found = await records.topics(world.bootstrap)
        assert {name for name in found if name.startswith("triggerhub.")} == {
            name for topic in TOPICS for name in (topic.name, topic.dead_letter)
        }
        assert all(
            found[topic.name] == (4 if world.kind == "embedded" else topic.partitions) for topic in TOPICS
        )
        assert all(found[topic.dead_letter] == 1 for topic in TOPICS)


async def test_declaring_again_and_by_several_at_once_is_harmless(world: World) -> None:
    await asyncio.gather(*(world.broker().declare_topics() for _ in range(3)))
    await world.broker().declare_topics()
    assert (
        len([name for name in await records.topics(world.bootstrap) if name.startswith("triggerhub.")]) == 6
    )


@pytest.mark.kafka
async def test_a_topic_that_cannot_be_made_is_named(kafka: Kafka, sqlite_database: Database) -> None:
    await kafka.reset()
    world = World(
        "apache", Settings(kafka_bootstrap_servers=kafka.bootstrap), [kafka.bootstrap], sqlite_database
    )
    with pytest.raises(KafkaError, match=EVENTS.name):
        await world.broker(kafka_replication_factor=99).declare_topics()
    await world.broker(kafka_replication_factor=1, kafka_partitions=3).declare_topics()
    assert await records.partitions(world.bootstrap, EVENTS.name) == 3


# -- publishing --------------------------------------------------------------------------------------------------------


async def test_a_record_has_key_body_and_cloudevents_headers(world: World) -> None:
    event = make_event("evt_1", subject="acme/checkout#12 é").model_copy(
        update={"traceparent": "00-" + "1" * 32 + "-" + "2" * 16 + "-01"}
    )
    async with world.running() as broker:
        await publish(broker, event)
        [record] = await records.read_all(world.bootstrap, EVENTS.name, count=1)
    assert record.key == event.subject.encode()
    assert Event.model_validate_json(record.value) == event
    headers = {name: value.decode() for name, value in record.headers}
    assert (
        headers.items()
        >= {
            "ce_specversion": "1.0",
            "ce_id": "evt_1",
            "ce_type": "github.issue.opened",
            "ce_source": "github/acme",
            "ce_subject": event.subject,
            "content-type": "application/cloudevents+json; charset=UTF-8",
            "traceparent": str(event.traceparent),
        }.items()
    )


async def test_dispatches_and_results_say_what_they_are(world: World) -> None:
    dispatch, result = make_dispatch(1), make_result("run_1")
    async with world.running() as broker:
        sent = await broker.publish(
            [
                (
                    Message(
                        DISPATCHES.name,
                        dispatch.id,
                        dispatch.conversation,
                        dispatch.model_dump_json().encode(),
                    ),
                    dispatch,
                ),
                (
                    Message(RESULTS.name, result.id, result.conversation, result.model_dump_json().encode()),
                    None,
                ),
            ]
        )
        assert sent == [dispatch.id, result.id]
        for topic, ref, kind in ((DISPATCHES, dispatch.id, "dispatch"), (RESULTS, result.id, "result")):
            [record] = await records.read_all(world.bootstrap, topic.name, count=1)
            headers = {name: value.decode() for name, value in record.headers}
            assert headers["ce_id"] == ref
            assert headers["ce_type"].endswith(kind)
            assert headers["content-type"] == "application/json"


async def test_a_message_too_large_is_left_and_the_others_go(world: World) -> None:
    large = Message(EVENTS.name, "evt_large", "k", b"x" * 3 * MAX_MESSAGE_BYTES)
    async with world.running() as broker:
        assert await broker.publish([(large, None), (message(make_event("evt_1")), None)]) == ["evt_1"]


async def test_a_message_of_the_largest_size_arrives(world: World) -> None:
    event = make_event("evt_1")
    event = make_event("evt_1", text="x" * (MAX_MESSAGE_BYTES - len(event.model_dump_json())))
    seen = Collector()
    async with world.running(seen) as broker:
        await publish(broker, event)
        await seen.got(1)
    assert seen.taken[0].value == event


async def test_a_broker_that_answers_is_told_from_one_that_is_away(world: World) -> None:
    async with world.running() as broker:
        assert await broker.ping()


# -- consuming ---------------------------------------------------------------------------------------------------------


async def test_records_arrive_decoded_in_order_per_key(world: World) -> None:
    events = [make_event(f"evt_{n:03}", subject=f"acme/checkout#{n % 5}") for n in range(200)]
    seen = Collector()
    async with world.running(seen) as broker:
        await publish(broker, *events)
        await seen.got(200)
    assert sorted(seen.ids) == [event.id for event in events]
    assert all(isinstance(one.value, Event) for one in seen.taken)
    assert all(Event.model_validate_json(one.body) == one.value for one in seen.taken)
    for key in range(5):
        mine = [one.value.id for one in seen.taken if one.value.subject == f"acme/checkout#{key}"]
        assert mine == sorted(mine)
    assert seen.calls < 200  # batches


async def test_records_written_before_the_group_existed_are_read(world: World) -> None:
    async with world.running() as broker:
        await publish(broker, make_event("evt_1"))
    seen = Collector()
    async with world.running(seen):
        await seen.got(1)


async def test_what_was_handled_is_not_delivered_to_the_next_process(world: World) -> None:
    first, second = Collector(), Collector()
    async with world.running(first) as broker:
        await publish(broker, make_event("evt_1"), make_event("evt_2"))
        await first.got(2)
        await broker.stop_consuming()
    async with world.running(second) as broker:
        await publish(broker, make_event("evt_3"))
        await second.got(1)
    assert second.ids == ["evt_3"]


async def test_groups_read_apart(world: World) -> None:
    one, two = Collector(), Collector()
    async with world.running(one, group=f"{GROUP}-1") as broker, world.running(two, group=f"{GROUP}-2"):
        await publish(broker, make_event("evt_1"))
        await one.got(1)
        await two.got(1)


HANGING = """
import asyncio, sys
from hub.broker import Broker
from hub.settings import Settings
from schemas.topics import EVENTS
from storage.database import open_database

async def main():
    kind, bootstrap, url = sys.argv[1:4]
    database = open_database(url)
    settings = Settings(kafka_bootstrap_servers=None if kind == "embedded" else bootstrap)
    broker = Broker(settings, database, bootstrap=[bootstrap])

    async def handler(batch):
        print(" ".join(one.value.id for one in batch))
        await asyncio.sleep(3600)

    broker.subscribe(EVENTS, group=sys.argv[4], handler=handler)
    await broker.start()
    print("started")
    await asyncio.sleep(3600)

asyncio.run(main())
"""


async def test_what_a_killed_process_had_in_hand_is_delivered_again(
    world: World, broker_kind: tuple[str, Kafka | None], tmp_path: Path
) -> None:
    """The child gets the record, is killed before its handler returned, and the next process gets the record."""
    arguments = (world.kind, world.bootstrap[0], f"sqlite:///{tmp_path}/child.db", GROUP)
    async with child(HANGING, *arguments) as consumer, world.running() as broker:
        assert await consumer.line() == "started"
        await publish(broker, make_event("evt_1"))
        assert await consumer.line() == "evt_1"
        assert await records.committed(world.bootstrap, group=GROUP, topic=EVENTS.name) == 0
        consumer.process.kill()
        await consumer.ended()
    if broker_kind[1] is not None:
        await broker_kind[1].evict(GROUP)
    seen = Collector()
    async with world.running(seen):
        await seen.got(1)
    assert seen.ids == ["evt_1"]


async def test_stopping_lets_the_handler_finish_and_commits_its_batch(world: World) -> None:
    began, seen = asyncio.Event(), Collector()

    async def slow(batch: Sequence[Taken[Any]]) -> None:
        began.set()
        await asyncio.sleep(0.5)
        await seen(batch)

    async with world.running(slow) as broker:
        await publish(broker, make_event("evt_1"))
        await began.wait()
        await broker.stop_consuming()
        assert seen.ids == ["evt_1"]
        await publish(broker, make_event("evt_2"))  # publishing still works
    assert await records.committed(world.bootstrap, group=GROUP, topic=EVENTS.name) == 1


async def test_two_processes_of_a_group_share_the_work(request: pytest.FixtureRequest, world: World) -> None:
    if world.kind == "embedded":
        reason = "the embedded broker serves one process: each takes every partition by hand, as joining takes seconds"
        request.applymarker(pytest.mark.xfail(reason=reason, strict=True))
    one, two = Collector(), Collector()
    async with world.running(one) as broker, world.running(two):
        warming = 0
        while not (one.ids and two.ids):  # until the group has settled
            await publish(broker, make_event(f"evt_warm_{warming}", subject=f"acme/checkout#{warming}"))
            warming += 1
            await asyncio.sleep(0.02)
        await until(lambda: len({*one.ids, *two.ids}) == warming)
        one.taken.clear()
        two.taken.clear()
        await publish(broker, *(make_event(f"evt_{n:03}", subject=f"acme/checkout#{n}") for n in range(120)))
        await until(lambda: len({*one.ids, *two.ids}) == 120)
        await asyncio.sleep(0.3)
    assert one.ids
    assert two.ids
    assert len(one.ids) + len(two.ids) == 120
