"""A process that dies, or loses an answer, at every call around a budget: one wait, one raise, one end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from runner_faults import Fuse, Trouble, fused
from runner_samples import QUICK, dispatch_of, limits
from runner_world import Bench, bench, unwatched

from runner.execution import RunExecution
from storage.budgets import raise_budget
from storage.states import RUN_TERMINAL
from storage.tables import RunStatus

TIMING = replace(QUICK, settle=(0.0, 0.02, 0.05), tries=3)
CALLS = 30
"""More than any of the two ways takes."""
BUDGET, RAISED = 500, 900
DEADLY = [Trouble.DEATH_BEFORE, Trouble.DEATH_AFTER, Trouble.DONE_UNKNOWN]


@pytest.fixture
async def runner(sqlite_template: Path, tmp_path: Path) -> AsyncIterator[Bench]:
    async with bench(sqlite_template, tmp_path, timing=TIMING) as made:
        yield made


class Mortal:
    """An execution whose fuse knows which task to kill."""

    def __init__(self, execution: RunExecution, fuse: Fuse) -> None:
        self._execution = execution
        self._fuse = fuse

    def __getattr__(self, name: str) -> object:
        return getattr(self._execution, name)

    async def run(self) -> None:
        self._fuse.task = asyncio.current_task()
        await self._execution.run()


async def drive(runner: Bench, fuses: Mapping[str, Fuse]) -> None:
    """Claim what is due and drive it, each run behind its fuse where it has one."""
    executions = {}
    for claim in await runner.claim():
        fuse = fuses.get(claim.run_id) or Fuse(at=10_000, trouble=Trouble.DEATH_BEFORE)
        execution = RunExecution(fused(runner.world, fuse), claim, watch=unwatched)
        executions[claim.run_id] = Mortal(execution, fuse)
    await runner.follow(executions)  # type: ignore[arg-type]  # what `follow` uses of an execution is there


async def until(runner: Bench, run_ids: Sequence[str], wanted: frozenset[RunStatus]) -> None:
    """Drive without fuses, as processes that start one after the other do, until every run stands as wanted."""
    for _ in range(8):
        left = [run_id for run_id in run_ids if (await runner.row(run_id))["status"] not in wanted]
        if not left:
            return
        for run_id in left:
            await runner.orphan(run_id)
        await drive(runner, {})
    rows = [await runner.row(run_id) for run_id in left]
    raise AssertionError([(row["id"], row["status"], row["error"]) for row in rows])


@pytest.mark.parametrize("trouble", DEADLY, ids=lambda trouble: trouble.name)
@pytest.mark.parametrize("phase", ["waiting", "raising"])
async def test_at_every_call(runner: Bench, trouble: Trouble, phase: str) -> None:
    bounds = limits(budget_cents=BUDGET, on_budget="wait")
    dispatches = [
        dispatch_of(n, scenario="scenario=budget", limits=bounds, conversation=f"c{n}")
        for n in range(1, CALLS)
    ]
    run_ids = await runner.take(*dispatches)
    fuses = {run_id: Fuse(at=n, trouble=trouble) for n, run_id in enumerate(run_ids, start=1)}
    await drive(runner, fuses if phase == "waiting" else {})
    await until(runner, run_ids, frozenset({RunStatus.WAITING}))
    for run_id in run_ids:
        await runner.database.write(raise_budget, run_id, cents=RAISED)
    await drive(runner, fuses if phase == "raising" else {})
    await until(runner, run_ids, RUN_TERMINAL)
    burnt = sum(fuse.burnt for fuse in fuses.values())
    assert 5 <= burnt < CALLS - 1, "every call had its turn"
    for number, run_id in enumerate(run_ids, start=1):
        row = await runner.row(run_id)
        assert row["status"] == "succeeded", (number, row["error"])
        session = runner.agents.sessions[row["session_id"]]
        assert session.cap == RAISED, number
        assert runner.messages(f"Run: {run_id}\n") == [session.id], number
        said = runner.comments(number)
        assert sum("used up its budget" in one for one in said) == 1, (number, said)
        assert len(said) == 2, (number, said)
