"""Pauses on both databases: what is stopped starts nothing, waits, and is taken up at resume."""

from __future__ import annotations

from typing import Any

import pytest
from services.facts import body_of, make_dispatch
from sqlalchemy import Connection, select, update

from schemas.dispatch import Dispatch
from storage import claims, follow_ups, pauses, runs
from storage.clock import read_clock
from storage.conversations import run_id_of
from storage.database import Database
from storage.holding import LATEST, SOONEST, next_look
from storage.pauses import Scope
from storage.rows import table
from storage.tables import RunRow, RunStatus


async def take(database: Database, *dispatches: Dispatch) -> None:
    def all_of(connection: Connection) -> None:
        for one in dispatches:
            runs.take_dispatch(connection, one, body_of(one))

    await database.write(all_of)


async def claimed(database: Database, *, limit: int = 10) -> list[str]:
    found = await database.write(claims.claim_runs, owner="w1", limit=limit, lease=60.0)
    return [one.dispatch.rule for one in found]


async def rows(database: Database) -> list[dict[str, Any]]:
    found = table(RunRow)
    query = select(found).order_by(found.c.id)
    return await database.read(lambda c: [dict(row) for row in c.execute(query).mappings()])


async def stop(database: Database, scope: Scope, name: str = "") -> None:
    await database.write(pauses.pause, scope, name, by="command:ada", reason="too many")


def of(number: int, rule: str, **values: Any) -> Dispatch:
    return make_dispatch(number, rule=rule, conversation=f"{rule}:{number}", **values)


@pytest.mark.parametrize(
    ("scope", "name", "left"),
    [("rule", "one", ["two", "three"]), ("team", "shop", ["three"]), ("all", "", [])],
)
async def test_what_is_paused_is_held_and_the_rest_starts(
    database: Database, scope: Scope, name: str, left: list[str]
) -> None:
    await stop(database, scope, name)
    await take(database, of(1, "one", team="shop"), of(2, "two", team="shop"), of(3, "three"))
    assert sorted(await claimed(database)) == sorted(left)
    for row in await rows(database):
        is_held = row["rule"] not in left
        assert (row["status"] == "queued") == is_held
        assert (row["held"], row["held_at"] is not None) == (("paused", True) if is_held else (None, False))
    assert await database.write(pauses.resume, scope, name)
    assert sorted([*left, *await claimed(database)]) == ["one", "three", "two"]


async def test_a_run_behind_many_that_are_held_is_found_at_once(database: Database) -> None:
    await take(database, *(of(n, "one") for n in range(1, 31)))
    await take(database, of(99, "two"))
    await stop(database, "rule", "one")
    assert await claimed(database, limit=5) == ["two"]


async def test_a_held_run_is_looked_at_again_later_and_keeps_its_first_moment(database: Database) -> None:
    await stop(database, "all")
    await take(database, of(1, "one"))
    assert await claimed(database) == []
    (first,) = await rows(database)
    now = await database.read(read_clock)
    assert now < first["due_at"] <= now + SOONEST
    found = table(RunRow)
    await database.write(lambda c: c.execute(update(found).values(due_at=0.0)).rowcount)
    assert await claimed(database) == []
    (second,) = await rows(database)
    assert second["held_at"] == first["held_at"]
    assert second["due_at"] > first["due_at"] - SOONEST
    assert second["attempts"] == second["fence"] == 0
    assert [next_look(age) for age in (0, 80, 10_000)] == [SOONEST, 10, LATEST]


async def test_runs_at_work_go_on_and_can_be_taken_over(database: Database) -> None:
    await take(database, of(1, "one"))
    await database.write(claims.claim_runs, owner="w1", limit=1, lease=-1.0)
    await stop(database, "all")
    found = table(RunRow)
    await database.write(lambda c: c.execute(update(found).values(due_at=0.0)).rowcount)
    assert await claimed(database) == ["one"]


async def test_a_follow_up_is_not_told_to_a_session_at_work(database: Database) -> None:
    first = make_dispatch(1, rule="one", conversation="c")
    await take(database, first)
    (held,) = await database.write(claims.claim_runs, owner="w1", limit=1, lease=60.0)
    await database.write(runs.move_run, held, RunStatus.CREATING, RunStatus.SENDING)
    await database.write(runs.move_run, held, RunStatus.SENDING, RunStatus.RUNNING)
    await take(database, make_dispatch(2, rule="one", conversation="c", follow_up=True, manner="steer"))
    run_id = run_id_of(first.id)
    await stop(database, "rule", "one")
    assert await database.read(follow_ups.waiting_for, "w1") == {}
    assert await database.write(follow_ups.reserve, run_id, "c") is None
    await database.write(pauses.resume, "rule", "one")
    assert await database.read(follow_ups.waiting_for, "w1") == {run_id: "steer"}
    assert await database.write(follow_ups.reserve, run_id, "c") is not None


async def test_pausing_twice_is_once_and_resuming_what_goes_on_is_nothing(database: Database) -> None:
    await stop(database, "rule", "one")
    again = await database.write(pauses.pause, "rule", "one", by="api", reason=None)
    assert (again.by, again.reason) == ("command:ada", "too many")
    assert [(one.scope, one.name) for one in await database.read(pauses.in_force)] == [("rule", "one")]
    assert await database.write(pauses.resume, "rule", "one")
    assert not await database.write(pauses.resume, "rule", "one")
    assert not await database.read(pauses.in_force)


async def test_a_held_run_can_be_cancelled(database: Database) -> None:
    await stop(database, "all")
    await take(database, of(1, "one"))
    await claimed(database)
    (row,) = await rows(database)
    await database.write(runs.ask_to_stop, row["id"], reason="cancelled")
    (row,) = await rows(database)
    assert row["status"] == "cancelled"
