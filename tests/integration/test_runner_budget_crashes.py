"""A process that dies, or loses an answer, at every call around a budget: one wait, one raise, one end."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from runner_faults import Fuse, Trouble
from runner_lives import DEADLY, TIMING, drive, until
from runner_samples import dispatch_of, limits
from runner_world import Bench, bench

from storage.budgets import raise_budget
from storage.states import RUN_TERMINAL
from storage.tables import RunStatus

CALLS = 30
"""More than any of the two ways takes."""
BUDGET, RAISED = 500, 900


@pytest.fixture
async def runner(sqlite_template: Path, tmp_path: Path) -> AsyncIterator[Bench]:
    async with bench(sqlite_template, tmp_path, timing=TIMING) as made:
        yield made


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
