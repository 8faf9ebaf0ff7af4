"""A process that dies, or loses an answer, at every call around an approval: one question, one post, one answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from runner_faults import Fuse, Trouble
from runner_lives import DEADLY, TIMING, drive, until
from runner_samples import dispatch_of, grant
from runner_world import Bench, bench

from runner.approvals import look_after
from schemas.policy.approval import ApprovalPolicy, Person, ToolApproval
from schemas.policy.shapes import OutputPolicy
from storage import approvals
from storage.approvals import Vote
from storage.states import RUN_TERMINAL
from storage.tables import RunStatus

CALLS = 30
"""More than any of the two ways takes."""
ADA = Person("github:8", "member", connection="acme-github", name="ada")


@pytest.fixture
async def runner(sqlite_template: Path, tmp_path: Path) -> AsyncIterator[Bench]:
    async with bench(sqlite_template, tmp_path, timing=TIMING) as made:
        yield made


async def decided(runner: Bench, run_ids: Sequence[str]) -> None:
    """Everybody is asked once; people say yes, twice each."""
    found = await runner.database.read(approvals.of_runs, run_ids)
    for run_id in run_ids:
        [one] = found[run_id]
        said: dict[str, Any] = {"approve": True, "digest": one.digest, "reason": None, "evidence": "evt_1"}
        votes = [await runner.database.write(approvals.vote, one.id, ADA, **said) for _ in range(2)]
        assert [voted.vote for voted in votes if voted is not None] == [Vote.DECIDED, Vote.REFUSED]


async def settled(runner: Bench, number: int, *, comments: int) -> list[str]:
    """The comments of a thread once the question says what became of it."""
    async with asyncio.timeout(20):
        while True:
            said = runner.comments(number)
            if len(said) >= comments and any("Approved by ada" in one for one in said):
                return said
            await look_after(runner.database, runner.world.announce)
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("trouble", DEADLY, ids=lambda trouble: trouble.name)
@pytest.mark.parametrize("phase", ["asking", "answering"])
async def test_an_output_at_every_call(runner: Bench, trouble: Trouble, phase: str) -> None:
    one = grant(name="say", policy=OutputPolicy(approve=ApprovalPolicy()))
    dispatches = [
        dispatch_of(n, scenario="scenario=custom_tools", grants=(one,), conversation=f"c{n}")
        for n in range(1, CALLS)
    ]
    run_ids = await runner.take(*dispatches)
    fuses = {run_id: Fuse(at=n, trouble=trouble) for n, run_id in enumerate(run_ids, start=1)}
    await drive(runner, fuses if phase == "asking" else {})
    await until(runner, run_ids, frozenset({RunStatus.WAITING}))
    await decided(runner, run_ids)
    await drive(runner, fuses if phase == "answering" else {})
    await until(runner, run_ids, RUN_TERMINAL)
    burnt = sum(fuse.burnt for fuse in fuses.values())
    assert 5 <= burnt < CALLS - 1, "every call had its turn"
    for number, run_id in enumerate(run_ids, start=1):
        row = await runner.row(run_id)
        assert row["status"] == "succeeded", (number, row["error"])
        said = await settled(runner, number, comments=2)
        assert len(said) == 2, (number, "one question, one comment", said)
        answers = runner.sent(row["session_id"], "user.custom_tool_result")
        assert [answer["is_error"] for answer in answers] == [False], number


@pytest.mark.parametrize("trouble", DEADLY, ids=lambda trouble: trouble.name)
@pytest.mark.parametrize("phase", ["asking", "answering"])
async def test_a_tool_at_every_call(runner: Bench, trouble: Trouble, phase: str) -> None:
    approve = (ToolApproval(tools=("bash",)),)
    dispatches = [
        dispatch_of(n, scenario="scenario=ask", approve=approve, conversation=f"c{n}")
        for n in range(1, CALLS)
    ]
    run_ids = await runner.take(*dispatches)
    fuses = {run_id: Fuse(at=n, trouble=trouble) for n, run_id in enumerate(run_ids, start=1)}
    await drive(runner, fuses if phase == "asking" else {})
    await until(runner, run_ids, frozenset({RunStatus.WAITING}))
    await decided(runner, run_ids)
    await drive(runner, fuses if phase == "answering" else {})
    await until(runner, run_ids, RUN_TERMINAL)
    assert sum(fuse.burnt for fuse in fuses.values()) >= 5
    for number, run_id in enumerate(run_ids, start=1):
        row = await runner.row(run_id)
        assert row["status"] == "succeeded", (number, row["error"])
        said = await settled(runner, number, comments=2)
        assert sum("Approved by ada" in one for one in said) == 1, (number, said)
        assert len(said) == 2, (number, "one question, one report", said)
        answers = runner.sent(row["session_id"], "user.tool_confirmation")
        assert [answer["result"] for answer in answers] == ["allow"], number
