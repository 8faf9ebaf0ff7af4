"""A scheduled time becomes one event, whoever looks and however often; after an outage at most the latest does."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any

import pytest
from router_samples import configuration, load_config, rule
from sqlalchemy import Connection, func, select, update

from router.scheduler import Scheduler
from router.subscriber import Router, Rules
from storage import schedules
from storage.database import Database
from storage.rows import table
from storage.tables import DispatchRow, EventRow, OutboxRow, ScheduleRow

HOUR = 3600.0
POST = {"post_message": {"connection": "acme-slack", "channel": "C1"}}


class Announced:
    """What was announced."""

    def __init__(self) -> None:
        self.messages: list[Any] = []

    def __call__(self, messages: Sequence[Any]) -> None:
        self.messages += messages


class Record:
    """A record of `triggerhub.events` as Kafka would bring it."""

    def __init__(self, message: Any, event: Any) -> None:
        self.value, self.body = event, message.value


def hourly(*, cron: str = "0 * * * *", **more: Any) -> Rules:
    written = rule(name="hourly", match=None, schedule={"cron": cron}, outputs=[POST], **more)
    return Rules(load_config(configuration(written))[1])


async def rewind(database: Database, seconds: float) -> None:
    """As if the hub had looked last so many seconds ago."""
    rows = table(ScheduleRow)

    def change(connection: Connection) -> None:
        connection.execute(update(rows).values(checked_at=time.time() - seconds))

    await database.write(change)


async def stored(database: Database) -> dict[str, Any]:
    rows = table(ScheduleRow)
    return await database.read(lambda connection: dict(connection.execute(select(rows)).mappings().one()))


async def count(database: Database, model: Any) -> int:
    query = select(func.count()).select_from(table(model))
    return int(await database.read(lambda connection: connection.execute(query).scalar_one()))


async def test_a_new_schedule_makes_up_for_nothing(database: Database) -> None:
    announced = Announced()
    assert await Scheduler(hourly(), database, announce=announced).look() == []
    assert announced.messages == []
    assert abs((await stored(database))["checked_at"] - time.time()) < 10


async def test_a_due_time_becomes_one_event_and_one_dispatch(database: Database) -> None:
    announced, rules = Announced(), hourly()
    await Scheduler(rules, database, announce=announced).look()
    await rewind(database, HOUR)
    (event,) = await Scheduler(rules, database, announce=announced).look()
    assert event.time.minute == event.time.second == 0
    assert 0 <= time.time() - event.time.timestamp() < HOUR
    assert await count(database, EventRow) == await count(database, OutboxRow) == 1
    (message,) = announced.messages
    dispatched: list[Any] = []
    router = Router(rules, database, announce=dispatched.extend)
    for _ in range(2):
        await router.take([Record(*message)])
    assert [one.rule for _, one in dispatched] == ["hourly"]
    assert await count(database, DispatchRow) == 1


async def test_many_processes_that_look_at_once_make_one(database: Database) -> None:
    announced, rules = Announced(), hourly()
    await Scheduler(rules, database, announce=announced).look()
    await rewind(database, HOUR)
    made = await asyncio.gather(*(Scheduler(rules, database, announce=announced).look() for _ in range(8)))
    assert sum(map(len, made)) == len(announced.messages) == await count(database, EventRow) == 1


async def test_one_process_that_looks_often_makes_one(database: Database) -> None:
    scheduler = Scheduler(hourly(), database, announce=Announced())
    await scheduler.look()
    await rewind(database, HOUR)
    scheduler = Scheduler(hourly(), database, announce=Announced())
    assert [len(await scheduler.look()) for _ in range(5)] == [1, 0, 0, 0, 0]


async def test_after_an_outage_the_latest_is_made_and_the_others_are_recorded(database: Database) -> None:
    rules = hourly()
    await Scheduler(rules, database, announce=Announced()).look()
    await rewind(database, 5 * HOUR)
    (event,) = await Scheduler(rules, database, announce=Announced()).look()
    assert event.data.payload["missed"] == 4
    row = await stored(database)
    assert (row["missed"], row["fired_at"]) == (4, event.time.timestamp())


async def test_a_firing_whose_event_is_known_already_is_not_announced_again(database: Database) -> None:
    rules = hourly()
    await Scheduler(rules, database, announce=Announced()).look()
    for announced in (1, 0):
        await rewind(database, HOUR)
        found = Announced()
        await Scheduler(rules, database, announce=found).look()
        assert len(found.messages) == announced
    assert await count(database, EventRow) == 1


@pytest.mark.parametrize("between", [{"cron": "30 * * * *"}, {"enabled": False}])
async def test_a_schedule_that_was_changed_or_off_begins_anew(
    database: Database, between: dict[str, Any]
) -> None:
    rules = hourly()
    scheduler = Scheduler(rules, database, announce=Announced())
    await scheduler.look()
    rules.current = hourly(**between).current
    await scheduler.look()
    await rewind(database, 5 * HOUR)
    rules.current = hourly().current
    assert await scheduler.look() == []


async def test_the_databases_clock_decides(database: Database) -> None:
    """A process whose own clock is a day ahead fires nothing early, and is not late either."""
    rules = hourly()
    ahead = Scheduler(rules, database, announce=Announced(), clock=lambda: time.time() + 24 * HOUR)
    assert await ahead.look() == []
    assert await ahead.look() == []
    await rewind(database, HOUR)
    again = Scheduler(rules, database, announce=Announced(), clock=lambda: time.time() - 24 * HOUR)
    (event,) = await again.look()
    assert event.time.timestamp() <= time.time()


async def test_rules_without_a_schedule_are_forgotten(database: Database) -> None:
    await Scheduler(hourly(), database, announce=Announced()).look()
    await database.write(schedules.forget_others, [])
    assert await count(database, ScheduleRow) == 0
