"""A process that dies, or loses an answer, at every call while a follow-up reaches a session at work: it is told once.

What counts is what the session got in the end: one message with the follow-up's marker, whether it was told in the
turn of the run at work or became the next turn.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Final, Literal

import pytest
from follow_up_samples import said, told
from runner_faults import Fuse, Mortal, Trouble, fused
from runner_samples import QUICK, dispatch_of
from runner_world import Bench, bench, unwatched

from runner.execution import RunExecution
from schemas.dispatch import Dispatch

STEPS: Final = 22
Manner = Literal["steer", "interrupt"]


@pytest.fixture
async def runner(sqlite_template: Path, tmp_path: Path) -> AsyncIterator[Bench]:
    timing = replace(QUICK, settle=(0.0, 0.02, 0.05), tries=3)
    async with bench(sqlite_template, tmp_path, timing=timing) as made:
        yield made


def begun(n: int) -> Dispatch:
    return dispatch_of(n, scenario="scenario=slow seconds=0.4")


def word(n: int, k: int, manner: Manner) -> Dispatch:
    """The k-th word into the conversation about issue n."""
    return said(
        f"Word {k}.", n=k, number=n, manner=manner, gather=0.001, scenario='scenario=happy say="Heard."'
    )


async def at_work(runner: Bench, fuses: dict[int, Fuse], manner: Manner) -> dict[int, list[str]]:
    """A run for each fuse, driven behind it until it burns or ends, with two follow-ups that want to be told."""
    runs: dict[int, list[str]] = {}
    for n in fuses:
        runs[n] = await runner.take(begun(n))
    claims = {claim.dispatch.event.id: claim for claim in await runner.claim()}
    executions = {}
    for n, fuse in fuses.items():
        claim = claims[f"evt_{n}_0"]
        executions[claim.run_id] = Mortal(
            RunExecution(fused(runner.world, fuse), claim, watch=unwatched), fuse
        )
        runs[n] += await runner.take(word(n, 1, manner), word(n, 2, manner))
    await runner.follow(executions)
    return runs


async def test_the_steps_that_are_disturbed_are_those_of_telling(runner: Bench) -> None:
    fuse = Fuse(10_000, Trouble.DEATH_BEFORE)
    await at_work(runner, {900: fuse}, "steer")
    sends = [n for n, call in enumerate(fuse.calls, 1) if call == "send"]
    assert len(sends) == 2, fuse.calls
    assert sends[1] + 4 <= STEPS, fuse.calls


@pytest.mark.parametrize("trouble", list(Trouble))
async def test_a_follow_up_is_told_once_whatever_happens(runner: Bench, trouble: Trouble) -> None:
    fuses = {1000 + n: Fuse(n, trouble) for n in range(1, STEPS + 1)}
    runs = await at_work(runner, fuses, "steer")
    assert sum(fuse.burnt for fuse in fuses.values()) >= STEPS // 2, "the steps were taken"
    await runner.finish([run_id for some in runs.values() for run_id in some])
    problems = []
    for n, (first, second, third) in runs.items():
        label = f"{trouble.value}, call {fuses[n].at}"
        rows = [await runner.row(run_id) for run_id in (first, second, third)]
        if rows[0]["status"] != "succeeded" or rows[1]["status"] not in {"joined", "succeeded"}:
            problems.append(f"{label}: {[(row['status'], row['error']) for row in rows]}")
        messages = [*told(runner, second), *told(runner, third)]
        heard = [k for message in messages for k in (1, 2) if f"Word {k}." in message]
        if heard != [1, 2]:
            problems.append(f"{label}: the session heard {heard}")
        if len(told(runner, first)) != 1:
            problems.append(f"{label}: the work was sent {len(told(runner, first))} times")
        if not 1 <= len(runner.comments(n)) <= 3:
            problems.append(f"{label}: {len(runner.comments(n))} comments")
    assert not problems, "\n".join(problems)


@pytest.mark.parametrize("trouble", list(Trouble))
async def test_an_interrupt_is_followed_by_what_it_was_for(runner: Bench, trouble: Trouble) -> None:
    fuses = {1000 + n: Fuse(n, trouble) for n in range(1, STEPS + 1)}
    runs = await at_work(runner, fuses, "interrupt")
    await runner.finish([run_id for some in runs.values() for run_id in some])
    problems = []
    for n, (first, second, third) in runs.items():
        label = f"{trouble.value}, call {fuses[n].at}"
        rows = [await runner.row(run_id) for run_id in (first, second, third)]
        if rows[0]["status"] not in {"interrupted", "succeeded"} or rows[1]["status"] != "succeeded":
            problems.append(f"{label}: {[(row['status'], row['error']) for row in rows]}")
        messages = [*told(runner, second), *told(runner, third)]
        heard = [k for message in messages for k in (1, 2) if f"Word {k}." in message]
        if heard != [1, 2]:
            problems.append(f"{label}: the session heard {heard}")
        if rows[0]["session_id"] != rows[1]["session_id"]:
            problems.append(f"{label}: another session")
    assert not problems, "\n".join(problems)
