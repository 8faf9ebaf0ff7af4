"""Sessions that no run looks after: spare ones are archived, deserted ones interrupted, all others left alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from runner_samples import QUICK, dispatch_of
from runner_world import Bench, bench
from sqlalchemy import update

from runner.service import RUN_KEY
from runner.upkeep import Upkeep
from storage.rows import table
from storage.tables import RunRow


@pytest.fixture
async def runner(sqlite_template: Path, tmp_path: Path) -> AsyncIterator[Bench]:
    async with bench(sqlite_template, tmp_path) as made:
        made.worker()
        yield made


async def session(runner: Bench, run_id: str | None, **metadata: str) -> str:
    """A session as a lost create leaves it."""
    agent = await runner.world.catalogue.agent("fixer")
    environment = await runner.world.catalogue.environment("python")
    params: dict[str, Any] = {
        "agent": agent.remote_id,
        "environment_id": environment.remote_id,
        "metadata": {**({RUN_KEY: run_id} if run_id else {}), **metadata},
    }
    return await runner.world.service.create_session(params)


async def work(runner: Bench, session_id: str) -> None:
    content = [{"type": "text", "text": "[sandbox: scenario=silent]"}]
    await runner.world.service.send(session_id, [{"type": "user.message", "content": content}])
    async with asyncio.timeout(5):
        while runner.agents.sessions[session_id].status != "running":
            await asyncio.sleep(0.01)


async def test_a_spare_session_is_archived_and_the_used_one_stays(runner: Bench) -> None:
    row = await runner.run(dispatch_of(scenario="scenario=happy"))
    spare = await session(runner, row["id"])
    assert await Upkeep(runner.world).sweep() == 1
    assert runner.agents.sessions[spare].archived_at is not None
    assert runner.agents.sessions[row["session_id"]].archived_at is None
    assert await Upkeep(runner.world).sweep() == 0


async def test_a_session_of_a_run_that_ended_without_any_is_archived(runner: Bench) -> None:
    row = await runner.run(dispatch_of(agent="gone"))
    assert row["session_id"] is None
    spare = await session(runner, row["id"])
    assert await Upkeep(runner.world).sweep() == 1
    assert runner.agents.sessions[spare].archived_at is not None


async def test_a_spare_session_at_work_is_interrupted_first(runner: Bench) -> None:
    row = await runner.run(dispatch_of(scenario="scenario=happy"))
    spare = await session(runner, row["id"])
    await work(runner, spare)
    assert await Upkeep(runner.world).sweep() == 1
    async with asyncio.timeout(5):
        while runner.agents.sessions[spare].status == "running":
            await asyncio.sleep(0.01)
    assert runner.agents.sessions[spare].archived_at is None
    assert await Upkeep(runner.world).sweep() == 1
    assert runner.agents.sessions[spare].archived_at is not None


async def test_a_session_that_works_on_after_its_run_is_interrupted_and_kept(runner: Bench) -> None:
    row = await runner.run(dispatch_of(scenario="scenario=happy"))
    await work(runner, row["session_id"])
    assert await Upkeep(runner.world).sweep() == 1
    async with asyncio.timeout(5):
        while runner.agents.sessions[row["session_id"]].status == "running":
            await asyncio.sleep(0.01)
    assert runner.agents.sessions[row["session_id"]].archived_at is None
    follow = await runner.run(dispatch_of(n=1, follow_up=True, scenario="scenario=happy"))
    assert follow["session_id"] == row["session_id"]
    assert follow["status"] == "succeeded", follow["error"]


async def test_sessions_in_use_and_sessions_of_others_are_left_alone(runner: Bench) -> None:
    (run_id,) = await runner.take(dispatch_of(scenario="scenario=silent"))
    row = await runner.until(run_id, lambda row: row["status"] == "running")
    await runner.until(run_id, lambda _: runner.agents.sessions[row["session_id"]].status == "running")
    foreign = await session(runner, "run_of_another_hub")
    console = await session(runner, None)
    bridge = await session(runner, None, job_key="42")
    for session_id in (foreign, console, bridge):
        await work(runner, session_id)
    assert await Upkeep(runner.world).sweep() == 0
    assert {one.status for one in runner.agents} == {"running"}


async def test_a_session_in_use_by_a_follow_up_is_not_a_deserted_one(runner: Bench) -> None:
    first = await runner.run(dispatch_of(scenario="scenario=happy"))
    (run_id,) = await runner.take(dispatch_of(n=1, follow_up=True, scenario="scenario=silent"))
    await runner.until(run_id, lambda row: row["status"] == "running")
    await runner.until(run_id, lambda _: runner.agents.sessions[first["session_id"]].status == "running")
    assert await Upkeep(runner.world).sweep() == 0


async def test_a_session_whose_run_is_about_to_find_it_is_left_alone(
    sqlite_template: Path, tmp_path: Path
) -> None:
    async with bench(sqlite_template, tmp_path) as runner:
        (run_id,) = await runner.take(dispatch_of())
        await runner.claim()
        session_id = await session(runner, run_id)
        assert (await runner.row(run_id))["status"] == "creating"
        assert await Upkeep(runner.world).sweep() == 0
        assert runner.agents.sessions[session_id].archived_at is None


async def test_what_is_young_is_left_to_its_owner(runner: Bench) -> None:
    row = await runner.run(dispatch_of(scenario="scenario=happy"))
    spare = await session(runner, row["id"])
    await work(runner, row["session_id"])
    patient = replace(runner.world, timing=replace(QUICK, upkeep_grace=60))
    assert await Upkeep(patient).sweep() == 0
    rows = table(RunRow)
    await runner.write(update(rows).where(rows.c.id == row["id"]).values(ended_at=1.0))
    assert await Upkeep(patient).sweep() == 1
    assert runner.agents.sessions[spare].archived_at is None


async def test_one_process_at_a_time_and_trouble_does_not_end_it(runner: Bench) -> None:
    row = await runner.run(dispatch_of(scenario="scenario=happy"))
    runner.outside.faults.ask("status", service="anthropic", method="GET", path="/v1/sessions", status=500)
    before = runner.calls("GET", "/v1/sessions")
    often = replace(runner.world, timing=replace(QUICK, upkeep=0.05))
    spare = await session(runner, row["id"])
    async with asyncio.TaskGroup() as tasks:
        sweeping = [tasks.create_task(Upkeep(often).run()) for _ in range(3)]
        await asyncio.sleep(1)
        assert runner.calls("GET", "/v1/sessions") == before + 1, "one sweep a minute, and it failed"
        assert not any(task.done() for task in sweeping)
        for task in sweeping:
            task.cancel()
    assert runner.agents.sessions[spare].archived_at is None
