"""Spend end to end: caps hold runs of real sessions, the upkeep settles what is late, command and API tell the same."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest
from command_line import triggerhub
from runner_samples import QUICK, dispatch_of, limits
from runner_world import Bench, bench
from sqlalchemy import delete, update

from runner.turn import cost_cents
from runner.upkeep import Upkeep
from schemas.caps import Cap, CapSet
from storage import ledger, runs
from storage.holding import TELL_AFTER
from storage.rows import table
from storage.spend_tables import SpendRow
from storage.tables import RunRow

OLD: Final = -3600.0
"""The lists of new sessions begin in the future: every session is too old for them."""


@pytest.fixture
async def runner(sqlite_template: Path, tmp_path: Path) -> AsyncIterator[Bench]:
    async with bench(sqlite_template, tmp_path) as made:
        yield made


def charged(runner: Bench) -> int:
    """What the service charged for all sessions, in cents."""
    return sum(cost_cents(session.usage.as_dict()) or 0 for session in runner.agents)


async def test_one_at_a_time_and_all_of_it_in_the_ledger(runner: Bench, tmp_path: Path) -> None:
    world = replace(runner.world, caps=lambda: CapSet(teams={"shop": Cap(concurrent=1)}))
    runner.worker(world=world)
    run_ids = await runner.take(*(dispatch_of(n, team="shop", scenario="scenario=happy") for n in (1, 2, 3)))
    rows = [await runner.ended(run_id, seconds=30) for run_id in run_ids]
    assert [row["status"] for row in rows] == ["succeeded"] * 3
    spans = sorted((row["intent_at"], row["ended_at"]) for row in rows)
    assert all(before[1] <= after[0] for before, after in itertools.pairwise(spans))
    assert charged(runner) > 0
    url = {"TRIGGERHUB_DATABASE_URL": f"sqlite:///{tmp_path / 'hub.db'}"}
    told = await asyncio.to_thread(triggerhub, "spend", "--json", folder=tmp_path, env=url)
    found = json.loads(told.out)
    assert (told.code, round(found["total_usd"] * 100)) == (0, charged(runner))
    assert [(one["team"], one["rule"], one["runs"]) for one in found["spent"]] == [("shop", "fix-it", 3)]
    plain = await asyncio.to_thread(triggerhub, "spend", "--days", "2", folder=tmp_path, env=url)
    assert plain.out.splitlines()[-1].split() == ["total", f"{charged(runner) / 100:.2f}"]


async def test_a_follow_up_adds_only_its_own_cost(runner: Bench) -> None:
    runner.worker()
    first = await runner.run(dispatch_of(scenario="scenario=happy"))
    second = await runner.run(dispatch_of(n=1, follow_up=True, scenario="scenario=happy"))
    assert first["session_id"] == second["session_id"]
    spent = await runner.database.read(ledger.seen, [first["session_id"]])
    assert sum(spent.values()) == charged(runner) == first["cost_cents"] + second["cost_cents"]


async def test_the_upkeep_charges_what_nobody_did(runner: Bench) -> None:
    runner.worker()
    row = await runner.run(dispatch_of(scenario="scenario=happy"))
    rows = table(RunRow)
    await runner.write(delete(table(SpendRow)))
    await runner.write(update(rows).values(cost_cents=None))
    await Upkeep(runner.world).sweep()
    await Upkeep(runner.world).sweep()
    assert await runner.database.read(ledger.seen, [row["session_id"]]) == {
        row["session_id"]: charged(runner)
    }
    assert (await runner.row(row["id"]))["cost_cents"] == charged(runner)


async def works_on(runner: Bench, session_id: str) -> None:
    """Somebody gives the session work that no run of ours knows of, and it begins, and is dear."""
    content = [{"type": "text", "text": "[sandbox: scenario=silent]"}]
    await runner.world.service.send(session_id, [{"type": "user.message", "content": content}])
    await rests(runner, session_id, status="running")
    usage = runner.agents.sessions[session_id].usage
    usage.add("claude-sonnet-5-5", fresh=100_000, cached=0, written=0, output=20_000)


async def rests(runner: Bench, session_id: str, *, status: str = "idle") -> None:
    async with asyncio.timeout(5):
        while runner.agents.sessions[session_id].status != status:
            await asyncio.sleep(0.01)


async def test_an_old_session_that_works_on_is_charged_by_whoever_comes_next(runner: Bench) -> None:
    """It is in no list of new sessions, and whoever interrupted it died before it rested."""
    runner.worker()
    row = await runner.run(dispatch_of(scenario="scenario=happy"))
    await works_on(runner, row["session_id"])
    world = replace(runner.world, timing=replace(QUICK, upkeep_window=OLD))
    assert await Upkeep(world).sweep() == 1
    await rests(runner, row["session_id"])
    usage = runner.agents.sessions[row["session_id"]].usage
    usage.add("claude-sonnet-5-5", fresh=50_000, cached=0, written=0, output=0)  # the request in flight
    before = await runner.database.read(ledger.seen, [row["session_id"]])
    assert before[row["session_id"]] < charged(runner)
    await Upkeep(world).sweep()
    assert await runner.database.read(ledger.seen, [row["session_id"]]) == {
        row["session_id"]: charged(runner)
    }
    reads = runner.calls("GET", f"/v1/sessions/{row['session_id']}")
    await Upkeep(world).sweep()
    assert runner.calls("GET", f"/v1/sessions/{row['session_id']}") == reads, (
        "it is settled: nobody asks again"
    )


async def test_a_session_that_was_at_work_when_its_run_ended_is_asked_once_it_rests(runner: Bench) -> None:
    """It is younger than what is interrupted, and stopped by itself before anybody looked."""
    runner.worker()
    row = await runner.run(dispatch_of(scenario="scenario=happy"))
    await works_on(runner, row["session_id"])
    world = replace(runner.world, timing=replace(QUICK, upkeep_window=OLD, upkeep_grace=60.0))
    assert await Upkeep(world).sweep() == 0
    usage = runner.agents.sessions[row["session_id"]].usage
    usage.add("claude-sonnet-5-5", fresh=50_000, cached=0, written=0, output=0)
    await runner.world.service.interrupt(row["session_id"])
    await rests(runner, row["session_id"])
    await Upkeep(world).sweep()
    assert await runner.database.read(ledger.seen, [row["session_id"]]) == {
        row["session_id"]: charged(runner)
    }


async def test_a_run_that_gave_its_session_up_leaves_word_of_it(runner: Bench) -> None:
    """It did not stop when it was told to, and died before any look at what works."""
    runner.worker(world=replace(runner.world, timing=replace(QUICK, stop_patience=0.2)))
    (run_id,) = await runner.take(dispatch_of(scenario="scenario=stuck"))
    row = await runner.until(run_id, lambda row: row["status"] == "running")
    session = runner.agents.sessions[row["session_id"]]
    await runner.database.write(runs.ask_to_stop, run_id, reason="cancelled")
    assert (await runner.ended(run_id))["status"] == "cancelled"
    session.usage.add("claude-sonnet-5-5", fresh=50_000, cached=0, written=0, output=0)
    assert session.turn is not None
    session.turn.terminate()
    await Upkeep(replace(runner.world, timing=replace(QUICK, upkeep_window=OLD))).sweep()
    assert await runner.database.read(ledger.seen, [session.id]) == {session.id: charged(runner)}


async def test_reads_for_the_ledger_are_a_tenth_of_all_and_one_that_fails_holds_up_nobody(
    runner: Bench,
) -> None:
    runner.worker()
    rows = [await runner.run(dispatch_of(n, scenario="scenario=happy")) for n in range(1, 5)]
    await runner.write(delete(table(SpendRow)))
    await runner.write(update(table(RunRow)).values(cost_cents=None))
    world = replace(runner.world, timing=replace(QUICK, upkeep_window=OLD))
    ids = [row["session_id"] for row in rows]
    runner.outside.faults.ask(
        "status", service="anthropic", method="GET", path=f"/v1/sessions/{ids[0]}", status=400, times=100
    )
    asked = []
    for _ in range(4):
        before = sum(runner.calls("GET", f"/v1/sessions/{one}") for one in ids)
        await Upkeep(world, share=50_000).sweep()  # two calls in a round
        asked.append(sum(runner.calls("GET", f"/v1/sessions/{one}") for one in ids) - before)
    assert max(asked) == 2
    spent = await runner.database.read(ledger.seen, [row["session_id"] for row in rows])
    assert set(spent) == {row["session_id"] for row in rows[1:]}


async def test_the_origin_of_a_run_that_waits_long_is_told_once(runner: Bench) -> None:
    caps = CapSet(rules={"fix-it": Cap(per_day_cents=100)})
    runner.worker(world=replace(runner.world, caps=lambda: caps))
    bounds = limits(budget_cents=100)
    busy, waits = await runner.take(
        dispatch_of(1, scenario="scenario=silent", limits=bounds), dispatch_of(2, limits=bounds)
    )
    await runner.until(waits, lambda row: row["held"] == "rule.per_day_usd")
    rows = table(RunRow)
    for _ in range(2):
        later = {"held_at": rows.c.held_at - TELL_AFTER, "due_at": 0.0}
        await runner.write(update(rows).where(rows.c.id == waits).values(**later))
        await runner.until(waits, lambda row: row["due_at"] > 0)
    async with asyncio.timeout(10):
        while not runner.comments(2):
            await asyncio.sleep(0.01)
    (told,) = runner.comments(2)
    assert "has spent or reserved what it may spend today" in told
    await runner.until(busy, lambda row: row["status"] == "running")
    assert (await runner.row(waits))["status"] == "queued"
