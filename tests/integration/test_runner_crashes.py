"""A process that dies, or loses an answer, at every single call to database or service: the work is done once.

Every run is about an issue of its own and uses an agent and an environment of its own, so that making those is among
the steps. What counts is what the outside world has in the end: one session that got work, one message in it, one pull
request, one comment, one agent.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest
from runner_faults import Fuse, Trouble
from runner_lives import drive
from runner_samples import MOUNT, PULL_REQUEST, QUICK, dispatch_of, limits
from runner_world import Bench, bench

from runner.service import RUN_KEY
from runner.turn import cost_cents
from runner.upkeep import Upkeep
from schemas.dispatch import Dispatch
from storage import ledger

TIMING = replace(QUICK, settle=(0.0, 0.02, 0.05), tries=3)
NEVER = 10_000


@pytest.fixture
async def runner(sqlite_template: Path, tmp_path: Path) -> AsyncIterator[Bench]:
    async with bench(sqlite_template, tmp_path, timing=TIMING) as made:
        yield made


async def play(runner: Bench, fuses: Mapping[int, Fuse]) -> list[str]:
    """Run one dispatch for each fuse, all at once, until it burns through or ends; return the runs' ids."""
    definitions = runner.world.catalogue.definitions
    definitions.agents = {f"fixer-{n}": {"model": "claude-sonnet-5-5"} for n in fuses} | dict(
        definitions.agents
    )
    definitions.environments = {f"python-{n}": {} for n in fuses} | dict(definitions.environments)
    own: dict[int, dict[str, Any]] = {n: {"agent": f"fixer-{n}", "environment": f"python-{n}"} for n in fuses}
    dispatches = {n: dispatch_of(n, repository=MOUNT, grants=(PULL_REQUEST,), **own[n]) for n in fuses}
    return await attempt_all(runner, dispatches, fuses)


async def attempt_all(
    runner: Bench, dispatches: Mapping[int, Dispatch], fuses: Mapping[int, Fuse]
) -> list[str]:
    """Take a dispatch for each fuse, and drive each behind it."""
    run_ids = dict(zip(await runner.take(*dispatches.values()), fuses, strict=True))
    await drive(runner, {run_id: fuses[n] for run_id, n in run_ids.items()})
    return list(run_ids)


async def assert_once(runner: Bench, run_ids: Sequence[str], labels: Mapping[str, str]) -> None:
    """Everything happened, and happened once."""
    problems = []
    agents = [versions[-1] for versions in runner.agents.agents.values()]
    for run_id in run_ids:
        row = await runner.row(run_id)
        number = int(run_id.split("_")[1])
        found = {
            "status": row["status"],
            "messages": runner.messages(f"Run: {run_id}\n"),
            "comments": len(runner.comments(number)),
            "pulls": [
                issue.number
                for issue in runner.outside.github.repos["acme/checkout"].issues.values()
                if issue.pull is not None
                and issue.pull.head == f"triggerhub/{run_id.removeprefix('run_')[:12]}"
            ],
            "agents": [
                agent["id"]
                for agent in agents
                if agent["name"] == f"fixer-{number}" and agent["archived_at"] is None
            ],
            "sessions": [
                session.id
                for session in runner.agents
                if session.metadata.get(RUN_KEY) == run_id and session.archived_at is None
            ],
        }
        wanted = {
            "status": "succeeded",
            "messages": [row["session_id"]],
            "comments": 1,
            "pulls": found["pulls"][:1] or ["one"],
            "agents": found["agents"][:1] or ["one"],
            "sessions": [row["session_id"]],
        }
        wrong = {key: (found[key], wanted[key]) for key in found if found[key] != wanted[key]}
        if wrong:
            problems.append(f"{labels[run_id]}: {wrong} ({row['error']})")
    assert not problems, "\n".join(problems)
    await assert_ledger(runner)


async def assert_ledger(runner: Bench) -> None:
    """Every cent that the service charged is in the ledger, under the run of its session."""
    await Upkeep(runner.world).sweep()
    spent = await runner.database.read(ledger.seen, [session.id for session in runner.agents])
    charged = {session.id: cost_cents(session.usage.as_dict()) or 0 for session in runner.agents}
    assert spent == {session: cents for session, cents in charged.items() if cents}


async def steps_of(runner: Bench) -> list[str]:
    """The calls of an undisturbed run, for their number."""
    fuse = Fuse(NEVER, Trouble.DEATH_BEFORE)
    (run_id,) = await play(runner, {9000: fuse})
    await assert_once(runner, [run_id], {run_id: "undisturbed"})
    assert len(fuse.calls) > 15
    return fuse.calls


@pytest.mark.parametrize("trouble", list(Trouble))
async def test_trouble_at_every_step(runner: Bench, trouble: Trouble) -> None:
    steps = await steps_of(runner)
    fuses = {1000 + n: Fuse(n, trouble) for n in range(1, len(steps) + 4)}
    run_ids = await play(runner, fuses)
    burnt = sum(fuse.burnt for fuse in fuses.values())
    assert burnt >= len(steps) - 3, "the trouble came to nearly every run"
    await runner.finish(run_ids)
    labels = {
        run_id: f"{trouble.value}, step {fuse.at} ({fuse.calls[-1] if fuse.dead else 'went on'})"
        for run_id, fuse in zip(run_ids, fuses.values(), strict=True)
    }
    await assert_once(runner, run_ids, labels)


@pytest.mark.long(30)
async def test_trouble_again_on_the_way_back(runner: Bench) -> None:
    steps = await steps_of(runner)
    chance = random.Random(20260102)  # noqa: S311 - the same cases each time
    fuses = {1000 + n: Fuse(chance.randint(1, len(steps)), chance.choice(list(Trouble))) for n in range(60)}
    run_ids = await play(runner, fuses)
    stories = {run_id: [fuse] for run_id, fuse in zip(run_ids, fuses.values(), strict=True)}
    for _ in range(2):
        for run_id in run_ids:
            await runner.orphan(run_id)
        again = {run_id: Fuse(chance.randint(1, 12), chance.choice(list(Trouble))) for run_id in run_ids}
        await drive(runner, again)
        for run_id, fuse in again.items():
            stories[run_id].append(fuse)
    await runner.finish(run_ids)
    labels = {
        run_id: ", then ".join(f"{fuse.trouble.name} at {fuse.at}" for fuse in story)
        for run_id, story in stories.items()
    }
    await assert_once(runner, run_ids, labels)


async def numbered(
    runner: Bench, steps: int, dispatch: Callable[[int], Dispatch], *, trouble: Trouble
) -> list[str]:
    """Trouble at each of the first `steps` calls of such a dispatch, one run for each; all brought to their end."""
    fuses = {1000 + n: Fuse(n, trouble) for n in range(1, steps + 1)}
    run_ids = await attempt_all(runner, {n: dispatch(n) for n in fuses}, fuses)
    assert sum(fuse.burnt for fuse in fuses.values()) >= 7, "the steps were taken"
    await runner.finish(run_ids)
    return run_ids


FOLLOW_UP_STEPS: Final = 18


@pytest.mark.parametrize("trouble", list(Trouble))
@pytest.mark.parametrize("session", ["open", "archived"])
async def test_trouble_at_every_step_of_a_follow_up(runner: Bench, trouble: Trouble, session: str) -> None:
    def first(n: int) -> Dispatch:
        return dispatch_of(n, scenario='scenario=happy say="One."', limits=limits(budget_cents=40))

    def second(n: int) -> Dispatch:
        words = 'scenario=happy say="Two."'
        return dispatch_of(n, n=1, follow_up=True, scenario=words, limits=limits(budget_cents=40))

    earlier = await runner.take(*(first(1000 + n) for n in range(1, FOLLOW_UP_STEPS + 1)))
    await runner.finish(earlier)
    before = [await runner.row(run_id) for run_id in earlier]
    if session == "archived":
        for row in before:
            await runner.world.service.archive_session(row["session_id"])
    run_ids = await numbered(runner, FOLLOW_UP_STEPS, second, trouble=trouble)
    for run_id, old in zip(run_ids, before, strict=True):
        row = await runner.row(run_id)
        assert row["status"] == "succeeded", row["error"]
        assert row["final_text"] == "Two."
        assert runner.messages(f"Run: {run_id}\n") == [row["session_id"]]
        assert (row["session_id"] == old["session_id"]) is (session == "open")
        assert len(runner.comments(int(run_id.split("_")[1]))) == 2
        mine = [
            one.id for one in runner.agents if one.metadata[RUN_KEY] == run_id and one.archived_at is None
        ]
        assert mine == ([] if session == "open" else [row["session_id"]])


@pytest.mark.parametrize("trouble", list(Trouble))
async def test_trouble_at_every_step_of_a_run_that_takes_too_long(runner: Bench, trouble: Trouble) -> None:
    def slow(n: int) -> Dispatch:
        return dispatch_of(n, scenario="scenario=silent", limits=limits(timeout_seconds=0.3))

    for run_id in await numbered(runner, 18, slow, trouble=trouble):
        row = await runner.row(run_id)
        assert row["status"] == "timed_out", row["error"]
        assert runner.messages(f"Run: {run_id}\n") == [row["session_id"]]
        assert runner.agents.sessions[row["session_id"]].status == "idle"
        (comment,) = runner.comments(int(run_id.split("_")[1]))
        assert "ran out of time" in comment
