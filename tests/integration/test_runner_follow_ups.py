"""Follow-ups at the runner: told at once, gathered, after an interrupt, held, answered where they came from."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from follow_up_samples import said, told
from runner_samples import MOUNT, PULL_REQUEST, REPOSITORY, dispatch_of, grant
from runner_world import Bench, bench

from schemas.references import branch_of


@pytest.fixture
async def runner(sqlite_template: Path, tmp_path: Path) -> AsyncIterator[Bench]:
    async with bench(sqlite_template, tmp_path) as made:
        yield made


async def at_work(runner: Bench, scenario: str = "scenario=slow seconds=1.5", **fields: Any) -> str:
    """A run whose session works."""
    (run_id,) = await runner.take(dispatch_of(scenario=scenario, **fields))
    await runner.until(run_id, lambda row: row["status"] == "running")
    return run_id


async def test_a_comment_reaches_the_session_at_work_in_the_same_run(runner: Bench) -> None:
    runner.worker()
    first = await at_work(runner)
    (second,) = await runner.take(said("Please round only once.", n=1))
    joined = await runner.ended(second)
    assert (joined["status"], joined["joined_to"]) == ("joined", first)
    row = await runner.ended(first)
    assert row["status"] == "succeeded", row["error"]
    (message,) = told(runner, second)
    assert "Please round only once." in message
    assert joined["message_id"] is not None
    assert len({session.id for session in runner.agents}) == 1
    comments = runner.comments()
    assert len(comments) == 1, "one answer for the turn, where both came from"


async def test_comments_that_come_thick_arrive_as_one_message_in_order(runner: Bench) -> None:
    runner.worker()
    first = await at_work(runner)
    ids = await runner.take(*(said(f"Word {n}.", n=n, gather=0.4) for n in range(1, 6)))
    rows = [await runner.ended(run_id) for run_id in ids]
    assert [row["status"] for row in rows] == ["joined"] * 5
    assert [row["joined_to"] for row in rows] == [first, *[ids[0]] * 4]
    (message,) = told(runner, ids[0])
    places = [message.index(f"Word {n}.") for n in range(1, 6)]
    assert places == sorted(places)
    assert not any(told(runner, run_id) for run_id in ids[1:])
    assert "event 5 of 5" in message


async def test_what_comes_while_it_is_not_quiet_waits_at_most_five_times_as_long(runner: Bench) -> None:
    runner.worker()
    await at_work(runner, "scenario=slow seconds=4")
    taken: list[str] = []
    while not (taken and told(runner, taken[0])):
        assert len(taken) < 40, "it waits for a quiet that never comes"
        taken += await runner.take(said(f"Word {len(taken) + 1}.", n=len(taken) + 1, gather=0.2))
        await asyncio.sleep(0.1)
    (message,) = told(runner, taken[0])
    assert "Word 1." in message
    assert "Word 3." in message


async def test_queued_follow_ups_are_the_next_turn_together(runner: Bench) -> None:
    runner.worker()
    first = await at_work(runner, "scenario=slow seconds=0.5")
    ids = await runner.take(*(said(f"Word {n}.", n=n, manner="queue") for n in (1, 2)))
    row = await runner.ended(ids[0])
    before = await runner.row(first)
    assert row["status"] == before["status"] == "succeeded"
    assert row["started_at"] >= before["started_at"]
    assert (await runner.row(ids[1]))["status"] == "joined"
    (message,) = told(runner, ids[0])
    assert "Word 1." in message
    assert "Word 2." in message
    assert row["session_id"] == before["session_id"]


async def test_without_gathering_each_is_a_turn_of_its_own(runner: Bench) -> None:
    runner.worker()
    await at_work(runner, "scenario=slow seconds=0.3")
    ids = await runner.take(*(said(f"Word {n}.", n=n, manner="queue", gather=0.0) for n in (1, 2)))
    assert [(await runner.ended(run_id))["status"] for run_id in ids] == ["succeeded"] * 2
    assert [len(told(runner, run_id)) for run_id in ids] == [1, 1]


async def test_an_interrupt_stops_the_turn_without_noise_and_goes_on(runner: Bench) -> None:
    runner.worker()
    first = await at_work(runner, "scenario=silent")
    (second,) = await runner.take(said("Stop, do this.", n=1, manner="interrupt"))
    stopped = await runner.ended(first)
    assert stopped["status"] == "interrupted", stopped["error"]
    row = await runner.ended(second)
    assert row["status"] == "succeeded"
    assert row["session_id"] == stopped["session_id"]
    assert len(runner.sent(row["session_id"], "user.interrupt")) == 1
    assert len(runner.comments()) == 1, "the interrupted run says nothing"


async def test_a_session_that_waits_for_an_answer_is_told_afterwards(
    sqlite_template: Path, tmp_path: Path
) -> None:
    async with bench(sqlite_template, tmp_path, posting=False) as runner:
        runner.worker()
        first = await at_work(runner, "scenario=custom_tools", grants=(grant(),))
        await runner.until_results(first)
        (second,) = await runner.take(said("And this?", n=1))
        await asyncio.sleep(0.5)
        assert (await runner.row(second))["status"] == "queued"
        assert told(runner, second) == []
        runner.post()
        assert (await runner.ended(second))["status"] == "joined"
        assert (await runner.ended(first))["status"] == "succeeded"
        assert len(told(runner, second)) == 1


async def test_every_place_that_was_heard_is_answered_once(runner: Bench) -> None:
    runner.worker()
    first = await at_work(runner)
    await runner.take(said("On the request.", n=1, at=31), said("Again there.", n=2, at=31))
    row = await runner.ended(first)
    assert row["status"] == "succeeded"
    assert len(runner.comments(12)) == 1
    (answer,) = runner.comments(31)
    assert "Done: Wrong total 12" in answer


async def test_a_place_with_more_readers_than_what_was_told_is_not_answered(runner: Bench) -> None:
    runner.worker()
    first = await at_work(runner)
    await runner.take(said("In the open.", n=1, at=31, visibility="public"))
    assert (await runner.ended(first))["status"] == "succeeded"
    assert len(runner.comments(12)) == 1
    assert runner.comments(31) == []


async def test_the_rule_may_allow_it(runner: Bench) -> None:
    runner.worker()
    first = await at_work(runner, publish_to="public")
    await runner.take(said("In the open.", n=1, at=31, visibility="public", publish_to="public"))
    await runner.ended(first)
    assert len(runner.comments(31)) == 1


@pytest.mark.parametrize("how", ["archived", "deleted", "expired"])
async def test_a_session_that_is_gone_is_replaced_by_one_that_is_told_what_happened(
    runner: Bench, how: str
) -> None:
    runner.worker()
    first = await runner.run(dispatch_of(scenario='scenario=happy say="The rounding is wrong."'))
    session = runner.agents.sessions[first["session_id"]]
    if how == "archived":
        await runner.world.service.archive_session(session.id)
    elif how == "deleted":
        del runner.agents.sessions[session.id]
    else:
        session.created_at -= timedelta(days=30)
    second = await runner.run(said("And now?", n=1, gather=0.0))
    assert second["status"] == "succeeded", second["error"]
    assert second["session_id"] != first["session_id"]
    (message,) = told(runner, second["id"])
    assert "what happened before (data from outside)" in message
    assert "The rounding is wrong." in message
    assert "The total of order 12 is wrong." in message
    assert f"https://github.com/{REPOSITORY}/issues/12#issuecomment-" in message
    assert "And now?" in message
    third = await runner.run(said("Thanks.", n=2, gather=0.0))
    assert third["session_id"] == second["session_id"]
    (message,) = told(runner, third["id"])
    assert "what happened before" not in message


async def test_the_work_of_a_conversation_stays_on_its_branch(runner: Bench) -> None:
    runner.worker()
    both: dict[str, Any] = {
        "grants": (PULL_REQUEST,),
        "repository": MOUNT,
        "scenario": "scenario=happy",
    }
    first = await runner.run(dispatch_of(**both))
    second = await runner.run(said("And now?", n=1, gather=0.0, **both))
    branch = f"`{branch_of(first['id'])}`"
    assert branch in told(runner, first["id"])[0]
    assert branch in told(runner, second["id"])[0]
