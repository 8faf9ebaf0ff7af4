"""Replays on both databases: recorded before anything is done, one at a time, with verdicts of their own."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from services.facts import body_of, make_delivery, make_dispatch, make_event
from sqlalchemy import delete, select

from schemas.topics import EVENTS
from storage import outbox, queries, replays
from storage.database import Database
from storage.deliveries import store_deliveries
from storage.replays import NotReplayableError, Replay
from storage.routing import RecordedVerdict, record_routing
from storage.rows import table
from storage.runs import take_dispatch
from storage.tables import DispatchRow, EventRow, ReplayRow


async def routed(database: Database, *verdicts: RecordedVerdict) -> None:
    await database.write(store_deliveries, [make_delivery("d-1", make_event("evt_1"))])
    await database.write(record_routing, "evt_1", list(verdicts))


async def ask(database: Database, *, again: bool = False, reason: str | None = None) -> Replay | None:
    return await database.write(replays.ask_replay, "evt_1", again=again, by="api", reason=reason)


def said(rule: str, outcome: str = "not_matched") -> RecordedVerdict:
    return RecordedVerdict(rule=rule, outcome=outcome, reason="because")


async def rows_of(database: Database, model: Any) -> list[dict[str, Any]]:
    return await database.read(lambda c: [dict(row) for row in c.execute(select(table(model))).mappings()])


async def test_a_replay_is_recorded_with_its_message(database: Database) -> None:
    await routed(database)
    assert await database.read(outbox.depth) == (0, 0.0)
    replay = await ask(database, again=True, reason="the rule was\x00 wrong")
    assert replay == Replay("evt_1", 1, again=True)
    [row] = await rows_of(database, ReplayRow)
    assert (row["number"], row["by"], row["again"]) == (1, "api", True)
    assert (row["reason"], row["routed_at"]) == ("the rule was\ufffd wrong", None)
    [message] = await database.write(outbox.sweep)
    assert (message.topic, message.ref, message.key) == (EVENTS.name, "evt_1", "acme/checkout#12")
    assert await database.read(replays.waiting, "evt_1") == replay


async def test_what_cannot_be_replayed(database: Database) -> None:
    assert await ask(database) is None
    await database.write(store_deliveries, [make_delivery("d-1", make_event("evt_1"))])
    with pytest.raises(NotReplayableError, match="first time"):
        await ask(database)
    await database.write(record_routing, "evt_1", [])
    await ask(database)
    with pytest.raises(NotReplayableError, match=r"replay 1 .* waits"):
        await ask(database)
    assert len(await rows_of(database, ReplayRow)) == 1


async def test_of_two_who_ask_at_once_one_is_recorded(database: Database, other_database: Database) -> None:
    await routed(database)
    answers = await asyncio.gather(
        *(ask(where) for where in [database, other_database] * 4), return_exceptions=True
    )
    assert sum(isinstance(one, Replay) for one in answers) == 1
    assert sum(isinstance(one, NotReplayableError) for one in answers) == 7
    assert len(await rows_of(database, ReplayRow)) == 1


async def test_verdicts_of_each_time_are_kept(database: Database) -> None:
    await routed(database, said("a"))
    for number in (1, 2):
        replay = await ask(database)
        assert replay is not None
        assert await database.write(record_routing, "evt_1", [said("a"), said("b")], replay=replay) == []
        assert await database.read(replays.waiting, "evt_1") is None
        assert await database.read(outbox.depth) == (0, 0.0)
        assert replay.number == number
    kept = await database.read(queries.verdict_rows, "evt_1")
    assert [(row["replay"], row["rule"]) for row in kept] == [
        (0, "a"),
        (1, "a"),
        (1, "b"),
        (2, "a"),
        (2, "b"),
    ]
    replayed = await database.read(queries.replay_rows, "evt_1")
    assert [row["number"] for row in replayed] == [1, 2]
    assert all(row["routed_at"] >= row["asked_at"] for row in replayed)


async def test_two_routers_with_the_same_replay_dispatch_once(
    database: Database, other_database: Database
) -> None:
    await routed(database)
    replay = await ask(database)
    offers = [make_dispatch(n, rule=f"rule-{n}", event=make_event("evt_1")) for n in range(8)]
    answers = await asyncio.gather(
        *(
            where.write(
                record_routing,
                "evt_1",
                [RecordedVerdict(rule=one.rule, outcome="matched", reason="yes", dispatch=one)],
                replay=replay,
            )
            for where, one in zip([database, other_database] * 4, offers, strict=True)
        )
    )
    [made] = [answer for answer in answers if answer is not None]
    assert [row["id"] for row in await rows_of(database, DispatchRow)] == [made[0].id]
    [event] = await rows_of(database, EventRow)
    assert event["matched"] == 1


async def test_a_run_remembers_a_dispatch_that_retention_deleted(database: Database) -> None:
    event = make_event("evt_1")
    first, second = (make_dispatch(n, rule="answer", event=event) for n in (1, 2))
    for one in (first, second):
        await database.write(take_dispatch, one, body_of(one))
    assert await database.read(replays.dispatched, "evt_1") == {"answer": first.id}
    await database.write(lambda c: c.execute(delete(table(DispatchRow))).rowcount)
    assert await database.read(replays.dispatched, "evt_1") == {"answer": first.id}
    assert await database.read(replays.dispatched, "evt_2") == {}
