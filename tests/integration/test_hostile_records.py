"""Records that another program wrote to hurt a reader: deep, huge, or full of odd numbers.

Each ends as a dead letter or as an event; none stops the others.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from crash.stage import stage
from upgrades.messages_of_0_1_0 import decoded

from schemas.topics import DISPATCHES, EVENTS, RESULTS
from storage.tables import DeadLetterRow, EventRow

DEEP = "[" * 100_000 + "]" * 100_000


def with_payload(number: int, payload: str) -> bytes:
    """An event that is good but for what its payload holds, as JSON text."""
    event = decoded("event.github") | {"id": f"evt_hostile_{number}"}
    event["data"] |= {"payload": {"x": "HERE"}, "text": "hm", "mentions": []}
    return json.dumps(event).replace('"HERE"', payload).encode()


@pytest.mark.timeout(120)
async def test_hostile_records_stop_nobody(tmp_path: Path) -> None:
    records = [
        (EVENTS.name, DEEP.encode()),
        (EVENTS.name, with_payload(1, DEEP)),
        (EVENTS.name, with_payload(2, '{"a":' * 5000 + "1" + "}" * 5000)),
        (EVENTS.name, with_payload(3, "9" * 5000)),
        (EVENTS.name, with_payload(4, "1e999999")),
        (EVENTS.name, with_payload(5, "NaN")),
        (EVENTS.name, with_payload(6, '"\\ud800"')),
        (EVENTS.name, with_payload(7, '"' + "x" * 3_000_000 + '"')),
        (EVENTS.name, b"x" * 3_000_000),
        (EVENTS.name, b""),
        (DISPATCHES.name, DEEP.encode()),
        (RESULTS.name, DEEP.encode()),
    ]
    async with stage(tmp_path) as running:
        where = running.hub.broker._bootstrap  # noqa: SLF001 - another program would be told the address
        async with AIOKafkaProducer(bootstrap_servers=where, max_request_size=8_000_000) as producer:
            for topic, value in records:
                await producer.send_and_wait(topic, value, key=b"k")
            good = decoded("event.github")
            await producer.send_and_wait(EVENTS.name, json.dumps(good).encode(), key=b"k")
        assert (await running.ended(good["id"]))["status"] == "succeeded"

        async def all_settled() -> list[dict[str, Any]] | None:
            letters = await running.rows(DeadLetterRow)
            events = [one for one in await running.rows(EventRow) if one["routed_at"] is not None]
            return letters if len(letters) + len(events) >= len(records) + 1 else None

        letters = await running.until(all_settled, seconds=30)
        assert all(len(letter["reason"]) < 1000 for letter in letters)
        kept = {bytes(letter["value"]) for letter in letters}
        assert DEEP.encode() in kept, "with its bytes"
        assert running.hub.broker.poisoned is None
