"""One contract for both brokers: the embedded one and Apache Kafka.

What the embedded broker cannot do is a strict expected failure here, so that the gap stays visible.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiokafka.errors import KafkaError
from faststream import AckPolicy
from services import records
from services.facts import make_delivery, make_dispatch, make_event, make_result
from services.kafka import Kafka, Listener
from services.lines import child
from services.need import OutOfReachError, without
from sqlalchemy import select

from hub.broker import DEAD_LETTERS_TOLERATED, Broker, Handler, Taken
from hub.embedded_broker import embedded_broker
from hub.settings import Settings
from schemas.event import Event
from schemas.topics import DISPATCHES, EVENTS, MAX_MESSAGE_BYTES, RESULTS, TOPICS, TopicSpec
from storage import outbox
from storage.database import Database, StorageUnavailableError
from storage.deliveries import store_deliveries
from storage.outbox import Message
from storage.rows import table
from storage.tables import DeadLetterRow

GROUP = "triggerhub-test"


@dataclass
class World:
    """A running broker and what reaches it."""

    kind: str
    settings: Settings
    bootstrap: list[str]
    database: Database

    def broker(self, **changes: Any) -> Broker:
        """As one process of triggerhub has it."""
        return Broker(self.settings.model_copy(update=changes), self.database, bootstrap=self.bootstrap)

    @asynccontextmanager
    async def running(
        self, handler: Handler | None = None, *, topic: TopicSpec = EVENTS, group: str = GROUP
    ) -> AsyncIterator[Broker]:
        """A started broker, consuming if a handler is given."""
        broker = self.broker()
        if handler is not None:
            broker.subscribe(topic, group=group, handler=handler)
        try:
            await broker.start()
            yield broker
        finally:
            await broker.stop()


@dataclass
class Collector:
    """A handler that remembers what it got. `fail` is raised instead, while it is set."""

    taken: list[Taken[Any]] = field(default_factory=list)
    fail: Callable[[Sequence[Taken[Any]]], Exception | None] = lambda _batch: None
    calls: int = 0

    async def __call__(self, batch: Sequence[Taken[Any]]) -> None:
        self.calls += 1
        error = self.fail(batch)
        if error is not None:
            raise error
        self.taken += batch

    @property
    def ids(self) -> list[str]:
        return [one.value.id for one in self.taken]

    async def got(self, count: int, *, seconds: float = 30) -> None:
        await until(lambda: len(self.taken) >= count, seconds=seconds)


async def until(done: Callable[[], bool], *, seconds: float = 30) -> None:
    async with asyncio.timeout(seconds):
        while not done():
            await asyncio.sleep(0.01)


def message(event: Event) -> Message:
    return Message(EVENTS.name, event.id, event.subject, event.model_dump_json().encode())


async def publish(broker: Broker, *events: Event) -> None:
    assert await broker.publish([(message(one), one) for one in events]) == [one.id for one in events]


@pytest.fixture
def database(sqlite_template: Path, tmp_path: Path, open_database_at: Callable[[str], Database]) -> Database:
    """One engine is enough here: brokers differ, not databases."""
    path = tmp_path / "hub.db"
    path.write_bytes(sqlite_template.read_bytes())
    return open_database_at(f"sqlite:///{path}")


@pytest.fixture(params=["embedded", pytest.param("apache", marks=pytest.mark.kafka)])
def kind(request: pytest.FixtureRequest) -> tuple[str, Kafka | None]:
    name = str(request.param)
    return name, request.getfixturevalue("kafka") if name == "apache" else None


@pytest.fixture
async def world(kind: tuple[str, Kafka | None], database: Database) -> AsyncIterator[World]:
    name, kafka = kind
    if kafka is not None:
        await kafka.reset()
        yield World(name, Settings(kafka_bootstrap_servers=kafka.bootstrap), [kafka.bootstrap], database)
        return

    async def nothing() -> None:
        pytest.fail("the embedded broker died")

    async with embedded_broker(on_restart=nothing) as address:
        yield World(name, Settings(kafka_bootstrap_servers=None), [address], database)


# -- topics ------------------------------------------------------------------------------------------------------------


async def test_every_topic_is_declared_with_its_dead_letter_partner(world: World) -> None:
    async with world.running():
        found = await records.topics(world.bootstrap)
        assert {name for name in found if name.startswith("triggerhub.")} == {
            name for topic in TOPICS for name in (topic.name, topic.dead_letter)
        }
        assert all(found[topic.name] == (4 if world.kind == "embedded" else topic.partitions) for topic in TOPICS)
        assert all(found[topic.dead_letter] == 1 for topic in TOPICS)


async def test_declaring_again_and_by_several_at_once_is_harmless(world: World) -> None:
    await asyncio.gather(*(world.broker().declare_topics() for _ in range(3)))
    await world.broker().declare_topics()
    assert len([name for name in await records.topics(world.bootstrap) if name.startswith("triggerhub.")]) == 6


@pytest.mark.kafka
async def test_a_topic_that_cannot_be_made_is_named(kafka: Kafka, database: Database) -> None:
    await kafka.reset()
    world = World("apache", Settings(kafka_bootstrap_servers=kafka.bootstrap), [kafka.bootstrap], database)
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
    assert headers.items() >= {
        "ce_specversion": "1.0",
        "ce_id": "evt_1",
        "ce_type": "github.issue.opened",
        "ce_source": "github/acme",
        "ce_subject": event.subject,
        "content-type": "application/cloudevents+json; charset=UTF-8",
        "traceparent": str(event.traceparent),
    }.items()


async def test_dispatches_and_results_say_what_they_are(world: World) -> None:
    dispatch, result = make_dispatch(1), make_result("run_1")
    async with world.running() as broker:
        sent = await broker.publish(
            [
                (Message(DISPATCHES.name, dispatch.id, dispatch.conversation, dispatch.model_dump_json().encode()), dispatch),
                (Message(RESULTS.name, result.id, result.conversation, result.model_dump_json().encode()), None),
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
    broker = Broker(Settings(kafka_bootstrap_servers=None if kind == "embedded" else bootstrap), database, bootstrap=[bootstrap])

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
    world: World, kind: tuple[str, Kafka | None], tmp_path: Path
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
    if kind[1] is not None:
        await kind[1].evict(GROUP)
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


# -- dead letters ------------------------------------------------------------------------------------------------------


async def letters(database: Database) -> list[dict[str, Any]]:
    rows = table(DeadLetterRow)
    return await database.read(lambda c: [dict(row) for row in c.execute(select(rows).order_by(rows.c.id)).mappings()])


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
        await records.write(world.bootstrap, EVENTS.name, ("k", good), *(("k", one) for one in GARBAGE), ("k", good))
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
    seen = Collector(fail=lambda batch: LookupError("hunter2") if any(one.value.id == "evt_3" for one in batch) else None)
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
            world.bootstrap, EVENTS.name, *[("k", b"bad %d" % n) for n in range(DEAD_LETTERS_TOLERATED)], ("k", good)
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


def test_no_subscriber_acknowledges_before_the_work(database: Database) -> None:
    """FastStream's default does: offsets would be committed before anything is durable."""
    for servers in (None, "127.0.0.1:1"):
        broker = Broker(Settings(kafka_bootstrap_servers=servers), database, bootstrap=["127.0.0.1:1"])
        for topic in TOPICS:
            broker.subscribe(topic, group=GROUP, handler=Collector())
        subscribers = list(broker._kafka.subscribers)  # noqa: SLF001 - what FastStream made of our options
        assert len(subscribers) == len(TOPICS)
        for subscriber in subscribers:
            assert subscriber.ack_policy is AckPolicy.MANUAL
            assert subscriber._connection_args["enable_auto_commit"] is False  # noqa: SLF001 - as above


@pytest.mark.kafka
async def test_apache_kafka_killed_and_restarted(kafka: Kafka, database: Database) -> None:
    """Consumers and producers of a running process go on; a message published meanwhile arrives."""
    await kafka.reset()
    world = World("apache", Settings(kafka_bootstrap_servers=kafka.bootstrap), [kafka.bootstrap], database)
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


# -- security ----------------------------------------------------------------------------------------------------------

LISTENERS: list[Listener] = ["SASL_PLAINTEXT/PLAIN", "SASL_PLAINTEXT/SCRAM-SHA-512", "SSL", "SASL_SSL/SCRAM-SHA-256"]


def secured(kafka: Kafka, listener: Listener, monkeypatch: pytest.MonkeyPatch, **changes: str) -> Settings:
    """Settings as a process reads them from its environment."""
    try:
        environment = kafka.environment(listener)
    except OutOfReachError as error:
        without(error)
    for name, value in (environment | changes).items():
        monkeypatch.setenv(name, value)
    return Settings()


@pytest.mark.kafka
@pytest.mark.parametrize("listener", LISTENERS)
async def test_a_secured_broker_is_reached(
    kafka: Kafka, database: Database, monkeypatch: pytest.MonkeyPatch, listener: Listener
) -> None:
    settings = secured(kafka, listener, monkeypatch)
    await kafka.reset()
    world = World(listener, settings, settings.bootstrap_servers, database)
    seen = Collector()
    async with world.running(seen) as broker:
        await publish(broker, make_event("evt_1"))
        await seen.got(1)


@pytest.mark.kafka
@pytest.mark.parametrize("listener", ["SASL_PLAINTEXT/PLAIN", "SASL_SSL/SCRAM-SHA-256"])
async def test_a_wrong_password_is_refused_at_start_without_being_told(
    kafka: Kafka, database: Database, monkeypatch: pytest.MonkeyPatch, listener: Listener
) -> None:
    settings = secured(kafka, listener, monkeypatch, TRIGGERHUB_KAFKA_PASSWORD="hunter2-wrong")
    await kafka.reset()  # it lives
    broker = Broker(settings, database, bootstrap=settings.bootstrap_servers)
    async with asyncio.timeout(30):
        with pytest.raises(KafkaError) as caught:
            await broker.start()
    assert "hunter2-wrong" not in str(caught.value)
    await broker.stop()


@pytest.mark.kafka
async def test_a_certificate_that_nobody_vouches_for_is_refused(
    kafka: Kafka, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = secured(kafka, "SSL", monkeypatch).model_copy(update={"kafka_ssl_ca_file": None})
    await kafka.reset()  # it lives
    broker = Broker(settings, database, bootstrap=settings.bootstrap_servers)
    async with asyncio.timeout(30):
        with pytest.raises(KafkaError):
            await broker.start()
    await broker.stop()


async def test_a_broker_that_is_not_there_is_an_error_at_start(database: Database) -> None:
    broker = Broker(Settings(kafka_bootstrap_servers="127.0.0.1:1"), database, bootstrap=["127.0.0.1:1"])
    began = time.monotonic()
    with pytest.raises(KafkaError):
        await broker.start()
    assert time.monotonic() - began < 60
    await broker.stop()
