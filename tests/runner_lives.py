"""Runs whose process dies, or loses an answer, at a chosen call, and the processes that come after it. Asserts nothing
but that these come to an end.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from runner_faults import Fuse, Mortal, Trouble, fused
from runner_samples import QUICK
from runner_world import Bench, unwatched

from runner.execution import RunExecution
from storage.tables import RunStatus

TIMING: Final = replace(QUICK, settle=(0.0, 0.02, 0.05), tries=3)
DEADLY: Final = (Trouble.DEATH_BEFORE, Trouble.DEATH_AFTER, Trouble.DONE_UNKNOWN)


async def drive(runner: Bench, fuses: Mapping[str, Fuse]) -> None:
    """Claim what is due and drive it, each run behind its fuse where it has one."""
    executions = {}
    for claim in await runner.claim():
        fuse = fuses.get(claim.run_id) or Fuse(at=10_000, trouble=Trouble.DEATH_BEFORE)
        execution = RunExecution(fused(runner.world, fuse), claim, watch=unwatched)
        executions[claim.run_id] = Mortal(execution, fuse)
    await runner.follow(executions)


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
