"""Storing deliveries and events, on both databases: one fact is one event, whoever tells of it and however often."""

from __future__ import annotations

import asyncio
import random

import pytest
from services.facts import make_delivery, make_event, make_incoming_event
from sqlalchemy import Connection, func, select

from schemas.event import Event
from storage import deliveries, outbox
from storage.clock import read_clock
from storage.database import Database
from storage.deliveries import Incoming, store_deliveries, store_events
from storage.rows import table
from storage.tables import Delivery, EventRow, OutboxRow


def counts(connection: Connection) -> tuple[int, int, int]:
    """Deliveries, events, messages."""
    found = [
        connection.execute(select(func.count()).select_from(table(m))).scalar_one()
        for m in (Delivery, EventRow, OutboxRow)
    ]
    return found[0], found[1], found[2]


async def test_a_delivery_leaves_its_row_its_events_and_their_messages(database: Database) -> None:
    event = make_event("evt_1")
    fresh = await database.write(store_deliveries, [make_delivery("d-1", event)])
    assert fresh == {"evt_1"}
    assert await database.read(counts) == (1, 1, 1)
    body = await database.read(deliveries.event_body, "evt_1")
    assert body is not None
    assert Event.model_validate_json(body) == event
    assert await database.read(deliveries.event_body, "evt_2") is None


async def test_a_redelivery_is_not_stored_again(database: Database) -> None:
    delivery = make_delivery("d-1", make_event("evt_1"))
    await database.write(store_deliveries, [delivery])
    assert await database.write(store_deliveries, [delivery]) == set()
    assert await database.read(counts) == (1, 1, 1)


async def test_a_delivery_twice_in_one_batch_is_one(database: Database) -> None:
    delivery = make_delivery("d-1", make_event("evt_1"))
    assert await database.write(store_deliveries, [delivery, delivery]) == {"evt_1"}
    assert await database.read(counts) == (1, 1, 1)


async def test_one_fact_told_by_two_deliveries_is_one_event(database: Database) -> None:
    event = make_event("evt_1")
    together = [make_delivery("d-1", event), make_delivery("d-2", event)]
    assert await database.write(store_deliveries, together) == {"evt_1"}
    assert await database.write(store_deliveries, [make_delivery("d-3", event)]) == set()
    assert await database.read(counts) == (3, 1, 1)


async def test_a_delivery_with_a_known_and_a_new_fact_adds_the_new_one(database: Database) -> None:
    await database.write(store_deliveries, [make_delivery("d-1", make_event("evt_1"))])
    both = make_delivery("d-2", make_event("evt_1"), make_event("evt_2"))
    assert await database.write(store_deliveries, [both]) == {"evt_2"}


async def test_a_batch_larger_than_one_statement_is_stored_whole(database: Database) -> None:
    batch = [make_delivery(f"d-{n}", make_event(f"evt_{n}")) for n in range(450)]
    assert len(await database.write(store_deliveries, batch)) == 450
    assert await database.read(counts) == (450, 450, 450)


async def test_an_ignored_delivery_is_kept_without_events(database: Database) -> None:
    ignored = Incoming(
        id="acme-github:d-1",
        connection="acme-github",
        outcome="ignored",
        body_hash="0",
        body_size=3,
        reason="a\x00ping",
    )
    assert await database.write(store_deliveries, [ignored]) == set()
    row = await database.read(lambda c: c.execute(select(table(Delivery))).mappings().one())
    assert (row["outcome"], row["reason"]) == ("ignored", "a\ufffdping")


async def test_races_make_one_event(database: Database, other_database: Database) -> None:
    """Two processes, eight tasks each, all with the same twenty deliveries in different order: twenty events."""
    events = [make_event(f"evt_{n:02}") for n in range(20)]
    chance = random.Random(7)  # noqa: S311 - an order, not a secret

    async def tell(where: Database, teller: int) -> set[str]:
        batch = [make_delivery(f"d-{teller}-{event.id}", event) for event in events]
        chance.shuffle(batch)
        return await where.write(store_deliveries, batch)

    won = await asyncio.gather(*(tell(where, n) for n, where in enumerate([database, other_database] * 8)))
    assert sorted(one for part in won for one in part) == [event.id for event in events]
    assert await database.read(counts) == (320, 20, 20)


async def test_races_in_opposite_order_do_not_block_each_other(
    database: Database, other_database: Database
) -> None:
    """Without an order of locking, PostgreSQL would end one of two such transactions as a deadlock."""
    for n in range(3):
        batch = [make_delivery(f"d-{n}-{m}", make_event(f"evt_{n}_{m}")) for m in range(450)]
        one, two = await asyncio.gather(
            database.write(store_deliveries, batch), other_database.write(store_deliveries, batch[::-1])
        )
        assert len(one) + len(two) == 450


@pytest.mark.parametrize("text", ["a\x00b", "🦊 astral", "עברית", "\u202e", "x" * 70_000])
async def test_any_text_survives_as_it_is(database: Database, text: str) -> None:
    event = make_event("evt_1", subject=f"acme/checkout#{text[:300]}", text=text)
    await database.write(store_deliveries, [make_delivery("d-1", event)])
    body = await database.read(deliveries.event_body, "evt_1")
    assert body is not None
    assert Event.model_validate_json(body) == event
    message = (await _sweep_all(database))[0]
    assert message.value == body
    assert message.key == event.subject.replace("\x00", "\ufffd")


async def test_a_delivery_id_with_a_nul_does_not_spoil_the_batch(database: Database) -> None:
    batch = [make_delivery("d-\x00", make_event("evt_1")), make_delivery("d-2", make_event("evt_2"))]
    assert await database.write(store_deliveries, batch) == {"evt_1", "evt_2"}
    assert await database.write(store_deliveries, batch) == set()


async def test_a_body_of_25_megabytes_is_kept_whole(database: Database) -> None:
    event = make_event("evt_1", payload={"log": "é" * 12_500_000})
    await database.write(store_deliveries, [make_delivery("d-1", event)])
    body = await database.read(deliveries.event_body, "evt_1")
    assert body is not None
    assert len(body) > 25_000_000
    assert body == make_incoming_event(event).body


async def test_the_bytes_of_an_unreadable_delivery_are_kept(database: Database) -> None:
    unreadable = Incoming(
        id="acme-github:d-1",
        connection="acme-github",
        outcome="unreadable",
        body_hash="0",
        body_size=3,
        body=b"\xff\x00{",
    )
    await database.write(store_deliveries, [unreadable])
    row = await database.read(lambda c: c.execute(select(table(Delivery).c.body)).scalar_one())
    assert row == b"\xff\x00{"


async def test_events_of_other_programs_have_no_delivery(database: Database) -> None:
    def store(connection: Connection) -> set[str]:
        known = [(None, make_incoming_event(make_event("evt_1")))] * 2
        return store_events(connection, known, now=read_clock(connection))

    assert await database.write(store) == {"evt_1"}
    row = await database.read(lambda c: c.execute(select(table(EventRow))).mappings().one())
    assert row["delivery_id"] is None


async def _sweep_all(database: Database) -> list[outbox.Message]:
    await database.write(outbox.make_all_due)
    return await database.write(outbox.sweep)
