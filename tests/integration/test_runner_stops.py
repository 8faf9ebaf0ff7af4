"""Runs that are stopped: at their deadline, by people, while they wait, and across a crash."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from runner_samples import dispatch_of, grant, limits
from runner_world import Bench, bench
from sqlalchemy import update

from storage.rows import table
from storage.tables import RunRow


@pytest.fixture
async def idle(sqlite_template: Path, tmp_path: Path) -> AsyncIterator[Bench]:
    async with bench(sqlite_template, tmp_path) as made:
        yield made


@pytest.fixture
async def runner(idle: Bench) -> Bench:
    idle.worker()
    return idle


async def test_the_deadline_interrupts_the_session_and_the_origin_is_told(runner: Bench) -> None:
    row = await runner.run(dispatch_of(scenario="scenario=silent", limits=limits(timeout_seconds=0.5)))
    assert row["status"] == "timed_out"
    assert row["deadline_at"] - row["started_at"] == pytest.approx(0.5)
    assert len(runner.sent(row["session_id"], "user.interrupt")) == 1
    assert runner.agents.sessions[row["session_id"]].status == "idle"
    assert "ran out of time" in runner.comments()[0]


async def test_a_session_that_takes_no_interrupt_does_not_hold_its_run(runner: Bench) -> None:
    row = await runner.run(dispatch_of(scenario="scenario=stuck", limits=limits(timeout_seconds=0.3)))
    assert row["status"] == "timed_out"
    assert "did not react to interrupts" in row["error"]
    assert len(runner.sent(row["session_id"], "user.interrupt")) >= 2


async def test_a_deadline_that_passed_while_nobody_looked_counts(idle: Bench) -> None:
    first = idle.worker("first")
    (run_id,) = await idle.take(dispatch_of(scenario="scenario=silent", limits=limits(timeout_seconds=600)))
    await idle.at_work(run_id)
    await first.stop()
    rows = table(RunRow)
    await idle.write(update(rows).where(rows.c.id == run_id).values(started_at=1.0, deadline_at=601.0))
    idle.worker("second")
    row = await idle.ended(run_id)
    assert row["status"] == "timed_out"


async def test_a_person_stops_a_running_run(runner: Bench) -> None:
    (run_id,) = await runner.take(dispatch_of(scenario="scenario=silent"))
    row = await runner.at_work(run_id)
    await runner.cancel(run_id)
    row = await runner.ended(run_id)
    assert row["status"] == "cancelled"
    assert row["error"] == "stopped by a person"
    assert runner.agents.sessions[row["session_id"]].status == "idle"
    assert "was stopped" in runner.comments()[0]


async def test_a_person_stops_a_run_whose_agent_waits_for_a_post(idle: Bench) -> None:
    idle.outside.faults.ask("hang", service="github", method="POST", path="*", times=1)
    idle.worker()
    (run_id,) = await idle.take(dispatch_of(scenario="scenario=custom_tools", grants=(grant(),)))
    row = await idle.until(run_id, lambda row: row["status"] == "running")
    await idle.until(run_id, lambda _: bool(idle.agents.sessions[row["session_id"]].pending))
    await idle.cancel(run_id)
    row = await idle.until(run_id, lambda row: row["status"] == "reporting")
    assert row["outcome"] == "cancelled"
    assert idle.agents.sessions[row["session_id"]].pending == {}


async def test_a_queued_run_is_stopped_before_it_begins(runner: Bench) -> None:
    first, second = await runner.take(
        dispatch_of(scenario="scenario=slow seconds=1"), dispatch_of(n=1, scenario="scenario=happy")
    )
    await runner.until(first, lambda row: row["status"] == "running")
    await runner.cancel(second)
    assert (await runner.row(second))["status"] == "cancelled"
    assert (await runner.ended(first))["status"] == "succeeded"
    assert runner.messages(f"Run: {second}") == []


async def test_a_run_is_stopped_while_it_waits_for_a_permit(sqlite_template: Path, tmp_path: Path) -> None:
    async with bench(sqlite_template, tmp_path, creates=2) as runner:
        runner.worker()  # agent and environment use up both
        (run_id,) = await runner.take(dispatch_of())
        await runner.until(
            run_id, lambda row: row["status"] == "creating" and bool(runner.agents.environments)
        )
        await asyncio.sleep(0.2)
        await runner.cancel(run_id)
        row = await runner.ended(run_id)
        assert row["status"] == "cancelled"
        assert runner.agents.sessions == {}


async def test_a_run_is_stopped_while_the_service_takes_no_work(runner: Bench) -> None:
    runner.outside.faults.ask(
        "status", service="anthropic", method="POST", path="/v1/sessions/*/events", status=529, times=None
    )
    (run_id,) = await runner.take(dispatch_of())
    await runner.until(run_id, lambda row: row["status"] == "sending")
    await runner.cancel(run_id)
    row = await runner.ended(run_id)
    assert row["status"] == "cancelled"
    assert runner.messages() == []


async def test_a_stop_is_taken_up_after_a_crash_in_the_middle_of_it(idle: Bench) -> None:
    (run_id,) = await idle.take(dispatch_of(scenario="scenario=silent"))
    worker = idle.worker("first")
    row = await idle.at_work(run_id)
    await worker.stop()
    rows = table(RunRow)
    stopping = {"status": "stopping", "stop_reason": "timeout"}
    await idle.write(update(rows).where(rows.c.id == run_id).values(**stopping))
    idle.worker("second")
    row = await idle.ended(run_id)
    assert row["status"] == "timed_out"
    assert len(idle.sent(row["session_id"], "user.interrupt")) == 1


async def test_an_interrupt_of_a_session_that_is_idle_already_ends_the_run(idle: Bench) -> None:
    (run_id,) = await idle.take(dispatch_of(scenario="scenario=happy"))
    worker = idle.worker("first")
    row = await idle.ended(run_id)
    await worker.stop()
    rows = table(RunRow)
    stopping = {"status": "stopping", "stop_reason": "cancelled", "ended_at": None, "lease_until": 0.0}
    await idle.write(update(rows).where(rows.c.id == run_id).values(**stopping))
    idle.worker("second")
    row = await idle.ended(run_id)
    assert row["status"] == "cancelled"
