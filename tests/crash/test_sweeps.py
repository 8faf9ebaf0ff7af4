"""The look for rows that no sweep would find notices each kind of them, and nothing in a sound database."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from sqlalchemy import Connection
from sqlmodel import SQLModel

from crash.sweeps import LOST, OVERDUE, lost, overdue
from schemas.topics import DISPATCHES, EVENTS, RESULTS
from storage.database import Database
from storage.rows import table
from storage.tables import DeadLetterRow, DispatchRow, EventRow, OutboxRow, ReplayRow, ResultRow, RunRow

Row = tuple[type[SQLModel], dict[str, Any]]


def event(**fields: Any) -> Row:
    known = {"id": "e", "connection": "c", "connector": "github", "kind": "ping", "subject": "s"}
    return EventRow, {**known, "time": 1.0, "received_at": 1.0, "body": b"{}", "matched": 0, **fields}


def dispatch(**fields: Any) -> Row:
    known = {"id": "d", "event_id": "e", "rule": "r", "conversation": "c", "body": b"{}"}
    return DispatchRow, {**known, "created_at": 1.0, **fields}


def run(**fields: Any) -> Row:
    known = {"id": "run", "dispatch_id": "d", "event_id": "e", "rule": "r", "agent": "a", "conversation": "c"}
    times = {"due_at": 1.0, "created_at": 1.0, "updated_at": 1.0}
    return RunRow, {**known, **times, "status": "queued", "attempts": 0, "fence": 0, **fields}


def result(**fields: Any) -> Row:
    known = {
        "id": "run:s",
        "run_id": "run",
        "slot": "s",
        "conversation": "c",
        "output": "o",
        "connection": "c",
    }
    times = {"due_at": 1.0, "created_at": 1.0, "updated_at": 1.0}
    counts = {"attempts": 0, "excused": 0, "fence": 0}
    return ResultRow, {**known, **times, **counts, "status": "pending", "body": b"{}", **fields}


def replay(**fields: Any) -> Row:
    return ReplayRow, {"event_id": "e", "number": 1, "asked_at": 1.0, "by": "api", "again": False, **fields}


def letter(**fields: Any) -> Row:
    known = {"id": "l", "topic": EVENTS.name, "value": b"", "reason": "x", "status": "retrying", "at": 1.0}
    return DeadLetterRow, {**known, **fields}


def message(topic: str, ref: str, **fields: Any) -> Row:
    known = {"topic": topic, "ref": ref, "key": "k", "created_at": 1.0, "due_at": 1.0, "attempts": 0}
    return OutboxRow, {**known, **fields}


def storing(rows: Sequence[Row]) -> Callable[[Connection], None]:
    def store(connection: Connection) -> None:
        for model, values in rows:
            connection.execute(table(model).insert().values(**values))

    return store


LEASED = {"lease_owner": "w", "lease_until": 2.0}
CASES: list[tuple[str, list[Row], list[Row]]] = [
    ("an event that is not routed", [event()], [message(EVENTS.name, "e")]),
    ("an event that is not routed", [event()], [letter(id="x", ref="e", status="dead")]),
    ("a dispatch without a run", [dispatch()], [message(DISPATCHES.name, "d")]),
    ("a dispatch without a run", [dispatch()], [run()]),
    ("a pending result", [result()], [message(RESULTS.name, "run:s")]),
    ("a replay that waits", [event(routed_at=1.0), replay()], [message(EVENTS.name, "e")]),
    ("a dead letter that is retried", [letter()], [message(EVENTS.dead_letter, "l")]),
    ("a message about nothing", [message(EVENTS.name, "e")], [event()]),
    ("a message about nothing", [message(DISPATCHES.name, "d")], [dispatch()]),
    ("a message about nothing", [message(RESULTS.name, "run:s")], [result()]),
    ("a run at work", [run(status="running")], []),
    ("a run that waits or ended", [run(**LEASED)], []),
    ("a run that waits or ended", [run(status="failed", **LEASED)], []),
    ("a post under way", [result(status="posting")], []),
    ("a post that waits or is settled", [result(status="ready", **LEASED)], []),
    ("a post that waits or is settled", [result(status="posted", **LEASED)], []),
]


@pytest.mark.parametrize(("noticed", "rows", "remedy"), CASES)
async def test_what_no_sweep_finds_is_noticed(
    database: Database, noticed: str, rows: list[Row], remedy: list[Row]
) -> None:
    assert await database.read(lost) == []
    await database.write(storing(rows))
    (found,) = await database.read(lost)
    assert found.startswith(noticed)
    if remedy:
        await database.write(storing(remedy))
        assert await database.read(lost) == []


def test_each_kind_is_tried() -> None:
    assert {what for what in LOST if any(what.startswith(noticed) for noticed, _, _ in CASES)} == set(LOST)


LATE: list[tuple[str, list[Row]]] = [
    ("a message that no sweep published", [event(), message(EVENTS.name, "e")]),
    ("a queued run that nobody claimed", [run()]),
    ("a run whose lease ran out", [run(status="running", **LEASED)]),
    ("a post that nobody claimed", [result(status="ready")]),
    ("a post whose lease ran out", [result(status="posting", **LEASED)]),
]


@pytest.mark.parametrize(("noticed", "rows"), LATE)
async def test_what_is_later_than_its_sweep_is_noticed(
    database: Database, noticed: str, rows: list[Row]
) -> None:
    await database.write(storing(rows))
    (found,) = await database.read(lambda connection: overdue(connection, late=60))
    assert found.startswith(noticed)
    assert await database.read(lambda connection: overdue(connection, late=1e12)) == []


async def test_a_queued_run_behind_another_is_not_late(database: Database) -> None:
    busy = run(id="busy", dispatch_id="b", status="running", lease_owner="w", lease_until=1e12)
    await database.write(storing([run(), busy]))
    assert await database.read(lambda connection: overdue(connection, late=60)) == []


def test_each_kind_of_lateness_is_tried() -> None:
    assert {noticed for noticed, _ in LATE} == set(OVERDUE)
