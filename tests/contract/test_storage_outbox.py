"""The outbox on both databases: a message lives from the transaction that made it to the consumer's own."""

from __future__ import annotations

import asyncio

import pytest
from services.facts import body_of, make_delivery, make_dispatch, make_event, make_result
from sqlalchemy import Connection, select, update

from schemas.event import Event
from schemas.topics import DISPATCHES, EVENTS, MAX_MESSAGE_BYTES, RESULTS
from storage import outbox
from storage.clock import db_now, read_clock
from storage.database import Database
from storage.deliveries import FIRST_SWEEP_SECONDS, store_deliveries
from storage.outbox import SWEEP_DELAYS
from storage.results import take_result, want_result
from storage.routing import RecordedVerdict, record_routing
from storage.rows import table
from storage.runs import take_dispatch
from storage.tables import OutboxRow


async def put_events(database: Database, count: int) -> list[str]:
    ids = [f"evt_{n:03}" for n in range(count)]
    await database.write(store_deliveries, [make_delivery(f"d-{one}", make_event(one)) for one in ids])
    return ids


def next_due(connection: Connection) -> list[tuple[float, int]]:
    """Seconds until each message is due, and how often it was swept."""
    rows = table(OutboxRow)
    found = connection.execute(select(rows.c.due_at - db_now(), rows.c.attempts).order_by(rows.c.ref))
    return [(float(due), attempts) for due, attempts in found]


def elapse(connection: Connection, seconds: float) -> None:
    """As if `seconds` had passed since the messages were put."""
    rows = table(OutboxRow)
    connection.execute(
        update(rows).values(due_at=rows.c.due_at - seconds, created_at=rows.c.created_at - seconds)
    )


async def test_a_fresh_message_is_left_to_the_process_that_put_it(database: Database) -> None:
    await put_events(database, 3)
    assert await database.write(outbox.sweep) == []
    assert all(0 < due <= FIRST_SWEEP_SECONDS for due, _ in await database.read(next_due))


async def test_a_message_that_nobody_took_is_published_again_with_growing_distance(
    database: Database,
) -> None:
    await put_events(database, 1)
    await database.write(elapse, FIRST_SWEEP_SECONDS + 1)
    for attempt, delay in enumerate((*SWEEP_DELAYS, SWEEP_DELAYS[-1]), start=1):
        swept = await database.write(outbox.sweep)
        assert [message.ref for message in swept] == ["evt_000"]
        assert await database.write(outbox.sweep) == []
        [(due, attempts)] = await database.read(next_due)
        assert delay - 2 < due <= delay
        assert attempts == attempt
        await database.write(elapse, delay + 1)


async def test_a_settled_message_is_gone(database: Database) -> None:
    await put_events(database, 2)
    await database.write(outbox.settle, EVENTS.name, "evt_000")
    await database.write(outbox.settle, EVENTS.name, "evt_000")
    await database.write(outbox.make_all_due)
    assert [message.ref for message in await database.write(outbox.sweep)] == ["evt_001"]


async def test_what_is_on_its_way_is_not_published_again_while_its_consumer_is_behind(
    database: Database,
) -> None:
    ids = await put_events(database, 25)
    sent = set(ids[:-1])
    asked: list[float] = []

    def on_its_way(topic: str, ref: str, age: float) -> bool:
        assert topic == EVENTS.name
        asked.append(age)
        return ref in sent

    await database.write(elapse, FIRST_SWEEP_SECONDS + 1)
    seen: list[str] = []
    for _ in range(3):  # ten, ten and five of them
        seen += [
            message.ref for message in await database.write(outbox.sweep, limit=10, on_its_way=on_its_way)
        ]
    assert ids[-1] in seen, "what was never sent is found among what was"
    assert all(FIRST_SWEEP_SECONDS < age < FIRST_SWEEP_SECONDS + 60 for age in asked)
    assert {attempts for _, attempts in await database.read(next_due)} == {1}, (
        "each of them was looked at once"
    )
    # A few are no backlog: the broker may have lost them, whatever it confirmed.
    for one in ids[:-3]:
        await database.write(outbox.settle, EVENTS.name, one)
    await database.write(outbox.make_all_due)
    swept = await database.write(outbox.sweep, limit=10, on_its_way=on_its_way)
    assert {message.ref for message in swept} == set(ids[-3:])


async def test_a_sweep_is_bounded_and_the_next_one_goes_on(database: Database) -> None:
    ids = await put_events(database, 25)
    await database.write(outbox.make_all_due)
    parts = [await database.write(outbox.sweep, limit=10) for _ in range(4)]
    assert [len(part) for part in parts] == [10, 10, 5, 0]
    assert sorted(message.ref for part in parts for message in part) == ids


async def test_two_sweeping_processes_take_each_message_once(
    database: Database, other_database: Database
) -> None:
    ids = await put_events(database, 120)
    await database.write(outbox.make_all_due)
    parts = await asyncio.gather(
        *(where.write(outbox.sweep, limit=10) for where in [database, other_database] * 12)
    )
    assert sorted(message.ref for part in parts for message in part) == ids


async def test_a_broker_that_forgot_gets_everything_at_once(database: Database) -> None:
    await put_events(database, 2)
    await database.write(outbox.make_all_due)
    await database.write(outbox.sweep)
    assert await database.write(outbox.make_all_due) == 2
    assert len(await database.write(outbox.sweep)) == 2
    assert [attempts for _, attempts in await database.read(next_due)] == [1, 1]


async def test_depth_is_the_number_waiting_and_the_age_of_the_oldest(database: Database) -> None:
    assert await database.read(outbox.depth) == (0, 0.0)
    await put_events(database, 2)
    await database.write(elapse, 100)
    count, age = await database.read(outbox.depth)
    assert count == 2
    assert 100 <= age < 110


async def test_messages_of_all_topics_carry_the_body_of_their_row(database: Database) -> None:
    event, dispatch, result = make_event("evt_1"), make_dispatch(1), make_result("run_1")
    await database.write(store_deliveries, [make_delivery("d-1", event)])
    verdict = RecordedVerdict(rule="answer", outcome="matched", reason="it matched", dispatch=dispatch)
    await database.write(record_routing, "evt_1", [verdict])
    await database.write(want_result, result, tool_use_id=None)
    await database.write(store_deliveries, [make_delivery("d-2", make_event("evt_2"))])
    await database.write(outbox.make_all_due)
    found = {(message.topic, message.ref): message for message in await database.write(outbox.sweep)}
    assert set(found) == {(DISPATCHES.name, dispatch.id), (RESULTS.name, result.id), (EVENTS.name, "evt_2")}
    assert found[DISPATCHES.name, dispatch.id].value == body_of(dispatch)
    assert found[DISPATCHES.name, dispatch.id].key == dispatch.conversation
    assert found[RESULTS.name, result.id].value == result.model_dump_json().encode()


async def test_each_consumer_settles_in_its_own_transaction(database: Database) -> None:
    dispatch, result = make_dispatch(1), make_result("run_1")
    await database.write(store_deliveries, [make_delivery("d-1", make_event("evt_1"))])
    assert (await database.read(outbox.depth))[0] == 1
    await database.write(
        record_routing,
        "evt_1",
        [RecordedVerdict(rule="answer", outcome="matched", reason="yes", dispatch=dispatch)],
    )
    assert (await database.read(outbox.depth))[0] == 1  # the event's is gone, the dispatch's is there
    await database.write(take_dispatch, dispatch, body_of(dispatch))
    assert (await database.read(outbox.depth))[0] == 0
    await database.write(want_result, result, tool_use_id=None)
    assert (await database.read(outbox.depth))[0] == 1
    await database.write(take_result, result, result.model_dump_json().encode())
    assert (await database.read(outbox.depth))[0] == 0


async def test_an_event_too_large_for_kafka_is_swept_without_its_payload(database: Database) -> None:
    large = make_event("evt_1", text="t" * 500_000, payload={"log": "x" * 2 * MAX_MESSAGE_BYTES})
    await database.write(store_deliveries, [make_delivery("d-1", large)])
    await database.write(outbox.make_all_due)
    [message] = await database.write(outbox.sweep)
    assert len(message.value) < MAX_MESSAGE_BYTES
    event = Event.model_validate_json(message.value)
    assert event.dataref == "/api/v1/events/evt_1"
    assert event.data.payload == {}
    assert (event.id, event.subject, event.time) == (large.id, large.subject, large.time)


async def test_a_transaction_that_fails_leaves_no_message(database: Database) -> None:
    def put_and_fail(connection: Connection) -> None:
        outbox.put(connection, EVENTS.name, ref="evt_1", key="k", now=read_clock(connection))
        msg = "no"
        raise RuntimeError(msg)

    with pytest.raises(RuntimeError):
        await database.write(put_and_fail)
    assert (await database.read(outbox.depth))[0] == 0
