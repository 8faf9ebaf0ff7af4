"""The worker: one conversation at a time, leases, hand-over between processes, many runs at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from runner_samples import MOUNT, QUICK, dispatch_of, grant
from runner_world import Bench, bench, bench_on, unwatched, world_over
from sqlalchemy import Connection, and_, func, select, update

from hub.broker import Taken
from runner.execution import RunExecution
from runner.worker import Worker
from sandbox.managed_agents.state import AgentsState
from schemas.dispatch import Dispatch
from storage.conversations import run_id_of
from storage.database import Database
from storage.rows import table
from storage.tables import DispatchRow, RateUse, RunRow, RunStatus


@pytest.fixture
async def idle(sqlite_template: Path, tmp_path: Path) -> AsyncIterator[Bench]:
    async with bench(sqlite_template, tmp_path) as made:
        yield made


@pytest.fixture
async def runner(idle: Bench) -> Bench:
    idle.worker()
    return idle


# Conversations --------------------------------------------------------------------------------------------------------


async def test_runs_of_one_conversation_follow_one_another_in_one_session(runner: Bench) -> None:
    run_ids = await runner.take(
        *(dispatch_of(n=n, follow_up=n > 0, scenario=f'scenario=happy say="Answer {n}."') for n in range(4))
    )
    rows = [await runner.ended(run_id) for run_id in run_ids]
    assert [row["status"] for row in rows] == ["succeeded"] * 4
    assert len({row["session_id"] for row in rows}) == 1
    assert [row["final_text"] for row in rows] == [f"Answer {n}." for n in range(4)]
    assert [f"Answer {n}." in comment for n, comment in enumerate(runner.comments())] == [True] * 4
    assert len(runner.comments()) == 4
    ends = [row["ended_at"] for row in rows]
    assert ends == sorted(ends)


async def test_runs_of_different_conversations_work_side_by_side(runner: Bench) -> None:
    run_ids = await runner.take(*(dispatch_of(n, scenario="scenario=slow seconds=1") for n in (1, 2, 3)))
    async with asyncio.timeout(20):
        while {session.status for session in runner.agents} != {"running"} or len(runner.agents.sessions) < 3:
            await asyncio.sleep(0.01)
    for run_id in run_ids:
        assert (await runner.ended(run_id))["status"] == "succeeded"


async def test_two_hundred_runs_at_once_with_two_workers(idle: Bench) -> None:
    async with AsyncExitStack() as stack:
        other = await world_over(stack, idle.sandbox, idle.database)
        workers = [idle.worker("one"), idle.worker("two", world=other)]
        run_ids = await idle.take(*(dispatch_of(n, scenario="scenario=happy") for n in range(1, 201)))
        for run_id in run_ids:
            row = await idle.ended(run_id, seconds=90)
            assert row["status"] == "succeeded", row["error"]
        for worker in workers:
            await worker.stop()
    assert len(idle.agents.sessions) == 200
    assert sorted(idle.messages()) == sorted(idle.agents.sessions)
    assert all(len(idle.comments(n)) == 1 for n in range(1, 201))
    (agent,) = {session.agent["id"] for session in idle.agents}
    assert [v[-1]["id"] for v in idle.agents.agents.values() if v[-1]["archived_at"] is None] == [agent]


async def test_two_processes_share_the_runs_on_either_database(
    database_url: str, open_database_at: Callable[[str], Database]
) -> None:
    async with bench_on(database_url) as runner, AsyncExitStack() as stack:
        other = await world_over(stack, runner.sandbox, open_database_at(database_url))
        workers = [runner.worker("one", max_runs=3), runner.worker("two", world=other, max_runs=3)]
        run_ids = await runner.take(
            *(
                dispatch_of(number, n=n, follow_up=n > 0, scenario="scenario=custom_tools", grants=(grant(),))
                for n in range(2)
                for number in range(1, 8)
            )
        )
        for run_id in run_ids:
            row = await runner.ended(run_id, seconds=60)
            assert row["status"] == "succeeded", row["error"]
        assert sorted(runner.messages()) == sorted([*runner.agents.sessions] * 2)
        assert all(len(runner.comments(number)) == 2 for number in range(1, 8))
        for worker in workers:
            await worker.stop()


# Leases ---------------------------------------------------------------------------------------------------------------


async def test_who_lost_the_run_writes_nothing(idle: Bench) -> None:
    (run_id,) = await idle.take(dispatch_of(scenario="scenario=slow seconds=1", grants=(grant(),)))
    (old,) = await idle.claim("old")
    execution = RunExecution(idle.world, old, watch=unwatched)
    async with asyncio.TaskGroup() as tasks:
        following = tasks.create_task(idle.follow({run_id: execution}))
        await idle.at_work(run_id)
        await idle.orphan(run_id)
        (new,) = await idle.claim("new", lease=600)
        before = await idle.row(run_id)
        await following
    assert await idle.results(run_id) == []
    assert await idle.row(run_id) == before
    assert idle.comments() == []
    await idle.follow({run_id: RunExecution(idle.world, new, watch=unwatched)})
    row = await idle.row(run_id)
    assert row["status"] == "succeeded", row["error"]
    assert len(idle.comments()) == 1


async def test_a_worker_that_lost_a_lease_drops_the_run_and_leaves_the_session(idle: Bench) -> None:
    worker = idle.worker("old")
    (run_id,) = await idle.take(dispatch_of(scenario="scenario=silent"))
    row = await idle.at_work(run_id)
    rows = table(RunRow)
    taken = {"lease_owner": "other", "fence": row["fence"] + 1, "lease_until": row["lease_until"] + 600}
    await idle.write(update(rows).where(rows.c.id == run_id).values(**taken))
    async with asyncio.timeout(5):
        while worker.running:
            await asyncio.sleep(0.02)
    assert idle.sent(row["session_id"], "user.interrupt") == []
    assert (await idle.row(run_id))["lease_owner"] == "other"


async def test_a_worker_that_slept_through_its_lease_goes_on_with_its_own_new_claim(idle: Bench) -> None:
    worker = idle.worker("sleeper")
    (run_id,) = await idle.take(dispatch_of(scenario="scenario=slow seconds=1", grants=(grant(),)))
    await idle.at_work(run_id)
    await idle.orphan(run_id)
    row = await idle.ended(run_id)
    assert row["status"] == "succeeded", row["error"]
    assert row["fence"] == 2
    assert len(idle.comments()) == 1
    assert worker.running == 0


@pytest.mark.parametrize("status", ["creating", "sending", "running", "reporting"])
async def test_a_worker_that_stops_hands_its_runs_over(idle: Bench, status: str) -> None:
    if status == "creating":
        idle.outside.faults.ask("hang", service="anthropic", method="POST", path="/v1/sessions")
    if status == "sending":
        idle.outside.faults.ask("delay", service="anthropic", method="GET", path="*/stream", seconds=1)
    if status == "reporting":
        idle.outside.faults.ask("status", service="github", path="*", status=503, times=2)
    first = idle.worker("first")
    (run_id,) = await idle.take(dispatch_of(scenario="scenario=slow seconds=0.5"))
    await idle.until(run_id, lambda row: row["status"] == status)
    if status == "creating":
        await idle.until(run_id, lambda _: idle.calls("POST", "/v1/sessions") == 1)
    await first.stop()
    row = await idle.row(run_id)
    assert row["status"] == status
    assert row["lease_owner"] is None
    assert row["attempts"] == 0, "a stop in good order is no attempt"
    for session in idle.agents:
        assert idle.sent(session.id, "user.interrupt") == []
        assert session.archived_at is None
    idle.worker("second")
    row = await idle.ended(run_id)
    assert row["status"] == "succeeded", row["error"]
    assert idle.messages() == [row["session_id"]]
    assert len(idle.comments()) == 1
    assert len(idle.agents.sessions) == 1


# What must not take the worker down -----------------------------------------------------------------------------------


async def test_a_fault_of_ours_in_one_run_leaves_the_others_alone(
    sqlite_template: Path, tmp_path: Path
) -> None:
    class Broken:
        async def access(self, connection: str, name: str, *, write: bool = True) -> Any:
            del write
            raise RuntimeError(f"a fault in {connection} {name}")

    async with bench(sqlite_template, tmp_path, timing=replace(QUICK, max_attempts=2)) as runner:
        runner.worker(world=replace(runner.world, repositories=Broken()))
        bad, good = await runner.take(
            dispatch_of(1, repository=MOUNT), dispatch_of(2, scenario="scenario=happy")
        )
        assert (await runner.ended(good))["status"] == "succeeded"
        row = await runner.ended(bad)
        assert row["status"] == "failed"
        assert "given up after 2 attempts; the last: unexpected RuntimeError" in row["error"]


async def test_a_dispatch_that_cannot_be_read_fails_alone(idle: Bench) -> None:
    bad, good = await idle.take(dispatch_of(1), dispatch_of(2, scenario="scenario=happy"))
    rows = table(DispatchRow)
    await idle.write(update(rows).where(rows.c.id == "dsp_1_0").values(body=b'{"version": 99}'))
    idle.worker()
    assert (await idle.ended(good))["status"] == "succeeded"
    row = await idle.ended(bad)
    assert row["status"] == "failed"
    assert "cannot be read" in row["error"]


async def test_a_run_that_kills_its_process_each_time_ends(sqlite_template: Path, tmp_path: Path) -> None:
    async with bench(sqlite_template, tmp_path, timing=replace(QUICK, max_attempts=3)) as runner:
        (run_id,) = await runner.take(dispatch_of(scenario="scenario=silent"))
        worker = runner.worker("first")
        row = await runner.at_work(run_id)
        await worker.stop()
        for n in range(3):
            await runner.orphan(run_id)
            await runner.claim(f"dies-{n}")
        await runner.orphan(run_id)
        runner.worker("second")
        row = await runner.ended(run_id)
        assert row["status"] == "failed"
        assert "given up after 3 attempts" in row["error"]
        assert len(runner.sent(row["session_id"], "user.interrupt")) == 1


async def test_frames_of_no_known_shape_harm_nothing(runner: Bench) -> None:
    (run_id,) = await runner.take(dispatch_of(scenario="scenario=silent"))
    row = await runner.at_work(run_id)
    state: AgentsState = runner.agents
    history = state.sessions[row["session_id"]].history
    strange: list[dict[str, Any]] = [
        {"type": "agent.message", "id": "sevt_x1", "content": None},
        {
            "type": "agent.message",
            "id": "sevt_x2",
            "content": [{"type": "text", "text": None}, {"type": "redacted"}],
        },
        {"type": "agent.custom_tool_use", "id": "sevt_x3", "name": None, "input": "no mapping"},
        {"type": "session.error", "id": "sevt_x4"},
        {"type": "session.error", "id": "sevt_x5", "error": {"type": None}},
        {"type": "session.usage", "id": "sevt_x6", "usage": {"list_cost": {"amount": "lots"}}},
        {"type": "session.status_idle", "id": "sevt_x7", "stop_reason": {"type": "requires_action"}},
        {"type": "user.custom_tool_result"},
    ]
    for frame in strange:
        history.broadcast(frame)
    history.emit("agent.message", content=[{"type": "text", "text": "Still here."}])
    history.emit("session.status_idle", stop_reason={"type": "end_turn"}, stop_details=None)
    row = await runner.ended(run_id)
    assert row["status"] == "succeeded", row["error"]
    assert row["final_text"] == "Still here."
    assert RunStatus(row["outcome"]) is RunStatus.SUCCEEDED


# Taking ---------------------------------------------------------------------------------------------------------------


def creates_used(connection: Connection) -> int:
    rows = table(RateUse)
    creates = select(func.sum(rows.c.used)).where(and_(rows.c.name == "creates", rows.c.second > 0))
    return int(connection.execute(creates).scalar() or 0)


def taken(dispatch: Dispatch) -> Taken[Dispatch]:
    return Taken(dispatch, dispatch.model_dump_json().encode())


async def test_a_run_that_there_is_room_for_is_claimed_as_it_is_taken_and_needs_no_permit_of_its_own(
    idle: Bench,
) -> None:
    worker = idle.worker()
    await idle.run(dispatch_of(1))  # from here on the agent exists
    used = await idle.database.read(creates_used)
    dispatch = dispatch_of(2, scenario="scenario=silent")
    await worker.take([taken(dispatch), taken(dispatch)])
    row = await idle.row(run_id_of(dispatch.id))
    assert (row["lease_owner"], row["fence"]) == ("one", 1)
    assert await idle.database.read(creates_used) == used + 1
    await idle.until(row["id"], lambda row: row["status"] == "running")
    assert await idle.database.read(creates_used) == used + 1
    assert len(idle.agents.sessions) == 2


async def test_a_full_worker_leaves_what_it_takes_to_others_or_to_later(idle: Bench) -> None:
    worker = idle.worker(max_runs=1)
    first, second = dispatch_of(1, scenario="scenario=slow seconds=0.3"), dispatch_of(2)
    await worker.take([taken(first), taken(second)])
    rows = [await idle.row(run_id_of(one.id)) for one in (first, second)]
    assert sum(row["lease_owner"] is not None for row in rows) <= 1
    assert worker.running <= 1
    for row in rows:
        assert (await idle.ended(row["id"]))["status"] == "succeeded"


async def test_a_worker_that_does_not_run_makes_the_run_and_claims_nothing(idle: Bench) -> None:
    worker = Worker(idle.world, owner="one", max_runs=5, settled=idle.settled)
    dispatch = dispatch_of(1)
    await worker.take([taken(dispatch)])
    row = await idle.row(run_id_of(dispatch.id))
    assert (row["status"], row["fence"]) == ("queued", 0)
