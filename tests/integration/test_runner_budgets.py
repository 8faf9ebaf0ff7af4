"""Budgets that people raise: while the session works, and when the run waits at its cap, held by nobody."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from runner_samples import dispatch_of, limits
from runner_world import Bench, bench, unwatched
from sqlalchemy import Connection

from runner.execution import RunExecution
from schemas.dispatch import Dispatch
from storage import runs
from storage.budgets import BudgetError, Raised, raise_budget
from storage.tables import RunStatus

DAY = 86_400.0


@pytest.fixture
async def runner(sqlite_template: Path, tmp_path: Path) -> AsyncIterator[Bench]:
    async with bench(sqlite_template, tmp_path) as made:
        yield made


def costly(n: int = 0, *, cents: int = 500, seconds: float = DAY, **more: Any) -> Dispatch:
    """A run whose first request eats the whole budget."""
    bounds = limits(budget_cents=cents, on_budget="wait", budget_wait_seconds=seconds)
    return dispatch_of(n=n, **{"scenario": "scenario=budget", "limits": bounds, **more})


async def waiting(runner: Bench, dispatch: Dispatch) -> dict[str, Any]:
    (run_id,) = await runner.take(dispatch)
    return await runner.until(run_id, lambda row: row["status"] == RunStatus.WAITING)


async def let(runner: Bench, run_id: str, cents: int) -> Raised:
    found = await runner.database.write(lambda connection: raise_budget(connection, run_id, cents=cents))
    assert found is not None
    return found


async def test_a_run_that_waits_is_held_by_nobody_and_follows_nothing(runner: Bench) -> None:
    worker = runner.worker()
    row = await waiting(runner, costly())
    assert (row["lease_owner"], row["attempts"]) == (None, 0)
    assert row["due_at"] == row["deadline_at"] > row["updated_at"] + DAY - 60
    await runner.until(row["id"], lambda _: worker.running == 0)
    assert len(runner.agents.sessions[row["session_id"]].history.subscribers) == 0
    calls = len(runner.outside.log.calls("anthropic"))
    await asyncio.sleep(0.5)
    assert len(runner.outside.log.calls("anthropic")) == calls, "it costs no call"
    (said,) = runner.comments()
    assert f"triggerhub runs budget {row['id']} --usd 10" in said
    assert "$5.00" in said


async def test_a_raised_run_goes_on_in_its_session_and_ends(runner: Bench) -> None:
    runner.worker()
    row = await waiting(runner, costly())
    raised = await let(runner, row["id"], 900)
    assert raised == Raised(row["id"], "waiting", 500, 900)
    ended = await runner.ended(row["id"])
    assert ended["status"] == "succeeded", ended["error"]
    assert ended["session_id"] == row["session_id"]
    assert runner.agents.sessions[row["session_id"]].cap == 900
    assert 500 <= ended["cost_cents"] < 900
    assert len(runner.messages()) == 1, "the work was told once"
    assert len(runner.comments()) == 2, "that it waits, and the answer"


async def test_the_budget_of_a_later_run_comes_on_top_of_what_was_spent(runner: Bench) -> None:
    runner.worker()
    first = await waiting(runner, costly())
    await let(runner, first["id"], 900)
    first = await runner.ended(first["id"])
    second = await waiting(runner, costly(n=1, cents=300, follow_up=True))
    assert second["session_id"] == first["session_id"]
    await let(runner, second["id"], 400)
    second = await runner.ended(second["id"])
    assert second["status"] == "succeeded", second["error"]
    assert runner.agents.sessions[first["session_id"]].cap == first["cost_cents"] + 400


async def test_a_run_that_nobody_raises_ends_and_says_so(runner: Bench) -> None:
    runner.worker()
    row = await runner.run(costly(seconds=0.5))
    assert row["status"] == "failed"
    assert row["error"] == "the session reached its budget, and nobody raised it in time"
    assert row["cost_cents"] == 500
    assert any("nobody raised it in time" in said for said in runner.comments())


async def test_a_run_that_waits_can_be_cancelled(runner: Bench) -> None:
    runner.worker()
    row = await waiting(runner, costly())
    await runner.database.write(
        lambda connection: runs.ask_to_stop(connection, row["id"], reason="cancelled")
    )
    ended = await runner.ended(row["id"])
    assert ended["status"] == "cancelled"


async def test_without_the_word_wait_the_run_ends_as_before(runner: Bench) -> None:
    runner.worker()
    row = await runner.run(dispatch_of(scenario="scenario=budget", limits=limits(budget_cents=500)))
    assert (row["status"], row["error"]) == ("failed", "the session reached its budget")


async def test_a_budget_is_raised_while_the_session_works(runner: Bench) -> None:
    runner.worker()
    bounds = limits(budget_cents=500)
    (run_id,) = await runner.take(dispatch_of(scenario="scenario=slow seconds=2", limits=bounds))
    row = await runner.until(run_id, lambda row: row["status"] == RunStatus.RUNNING)
    session = runner.agents.sessions[row["session_id"]]
    assert session.cap == 500
    await let(runner, run_id, 750)
    await runner.until(run_id, lambda _: session.cap == 750)
    row = await runner.ended(run_id)
    assert row["status"] == "succeeded", row["error"]


async def test_a_queued_run_starts_with_what_it_was_raised_to(runner: Bench) -> None:
    (run_id,) = await runner.take(dispatch_of(scenario="scenario=happy", limits=limits(budget_cents=500)))
    await let(runner, run_id, 600)
    runner.worker()
    row = await runner.ended(run_id)
    assert runner.agents.sessions[row["session_id"]].cap == 600


async def test_whoever_takes_over_tells_the_session_what_an_earlier_owner_did_not(runner: Bench) -> None:
    worker = runner.worker()
    bounds = limits(budget_cents=500)
    (run_id,) = await runner.take(dispatch_of(scenario="scenario=slow seconds=3", limits=bounds))
    row = await runner.until(run_id, lambda row: row["status"] == RunStatus.RUNNING)
    await worker.stop()
    await let(runner, run_id, 800)
    runner.worker("two")
    await runner.until(run_id, lambda _: runner.agents.sessions[row["session_id"]].cap == 800)
    row = await runner.ended(run_id)
    assert row["status"] == "succeeded", row["error"]


async def test_a_waiting_run_outlives_its_runners_and_is_told_of_once(runner: Bench) -> None:
    worker = runner.worker()
    row = await waiting(runner, costly())
    await worker.stop()
    await runner.orphan(row["id"])
    second = runner.worker("two")
    await runner.until(row["id"], lambda row: row["lease_owner"] is None and row["fence"] == 2)
    await second.stop()
    assert (await runner.row(row["id"]))["due_at"] == row["deadline_at"]
    runner.worker("three")
    await let(runner, row["id"], 900)
    ended = await runner.ended(row["id"])
    assert ended["status"] == "succeeded", ended["error"]
    assert sum("used up its budget" in said for said in runner.comments()) == 1


async def test_a_cap_that_was_removed_at_the_service_lets_the_run_go_on(runner: Bench) -> None:
    runner.worker()
    row = await waiting(runner, costly(seconds=1.0))
    await runner.world.service.set_budget(row["session_id"], None)
    ended = await runner.ended(row["id"])
    assert ended["status"] == "succeeded", ended["error"]


@pytest.mark.parametrize("what", ["archived", "deleted"])
async def test_a_session_that_is_gone_meanwhile_ends_the_run(runner: Bench, what: str) -> None:
    runner.worker()
    row = await waiting(runner, costly())
    sessions = runner.world.service.beta.sessions
    await (sessions.archive if what == "archived" else sessions.delete)(row["session_id"])
    await let(runner, row["id"], 900)
    ended = await runner.ended(row["id"])
    assert ended["status"] == "failed"
    assert "the session is" in ended["error"]


@pytest.mark.parametrize("mode", ["commit_then_status", "commit_then_cut", "status"])
async def test_a_lost_answer_to_the_raise_raises_it_once(runner: Bench, mode: Any) -> None:
    runner.worker()
    row = await waiting(runner, costly())
    runner.outside.faults.ask(
        mode, service="anthropic", method="POST", path=f"/v1/sessions/{row['session_id']}"
    )
    await let(runner, row["id"], 900)
    ended = await runner.ended(row["id"])
    assert ended["status"] == "succeeded", ended["error"]
    assert runner.agents.sessions[row["session_id"]].cap == 900


@pytest.mark.parametrize(("cents", "words"), [(500, "name more than that"), (499, "name more than that")])
async def test_a_budget_is_only_raised(runner: Bench, cents: int, words: str) -> None:
    runner.worker()
    row = await waiting(runner, costly())
    with pytest.raises(BudgetError, match=words):
        await let(runner, row["id"], cents)


async def test_a_run_that_ended_or_has_no_budget_is_not_raised(runner: Bench) -> None:
    runner.worker()
    ended = await runner.run(dispatch_of(1, scenario="scenario=happy", limits=limits(budget_cents=500)))
    with pytest.raises(BudgetError, match="has ended"):
        await let(runner, ended["id"], 900)
    (free,) = await runner.take(dispatch_of(2, scenario="scenario=slow seconds=1"))
    with pytest.raises(BudgetError, match="has no budget"):
        await let(runner, free, 900)

    def unknown(connection: Connection) -> Raised | None:
        return raise_budget(connection, "run_nowhere", cents=1)

    assert await runner.database.write(unknown) is None


async def test_a_raise_in_the_very_moment_of_waiting_is_not_lost(runner: Bench) -> None:
    """The cap is reached and raised before the runner has heard of either."""
    (run_id,) = await runner.take(costly())
    claims = await runner.claim()
    execution = RunExecution(runner.world, claims[0], watch=unwatched)

    async def raised_early() -> None:
        await runner.until(run_id, lambda row: row["status"] == RunStatus.RUNNING)
        await let(runner, run_id, 900)

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(raised_early())
        await runner.follow({run_id: execution})
    runner.worker("two")
    row = await runner.ended(run_id)
    assert row["status"] == "succeeded", row["error"]
