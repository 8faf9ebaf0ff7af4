"""Nothing is lost however the stream misbehaves (managed-agents reference §1.6)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from runner_samples import QUICK, dispatch_of, grant
from runner_world import Bench, bench

from sandbox.managed_agents.history import encode
from sandbox.managed_agents.subscribers import StreamFault

STREAM = "*/events/stream"
HISTORY = "/v1/sessions/*/events"


@pytest.fixture
async def runner(sqlite_template: Path, tmp_path: Path) -> AsyncIterator[Bench]:
    async with bench(sqlite_template, tmp_path) as made:
        made.worker()
        yield made


async def assert_done(runner: Bench, scenario: str = "scenario=custom_tools") -> str:
    """The run is done, with one comment; return its session."""
    row = await runner.run(dispatch_of(scenario=scenario, grants=(grant(),)))
    assert row["status"] == "succeeded", row["error"]
    assert len(runner.comments()) == 1
    assert runner.messages() == [row["session_id"]]
    return str(row["session_id"])


async def test_a_call_made_while_nobody_listened_is_answered(runner: Bench) -> None:
    session_id = await assert_done(runner, "scenario=lost_gap")
    assert len(runner.sent(session_id, "user.custom_tool_result")) == 1
    assert runner.calls("GET", f"{session_id}/events/stream") >= 2


@pytest.mark.parametrize("frames", [1, 2, 4, 6, 9])
async def test_streams_cut_after_some_frames_again_and_again(runner: Bench, frames: int) -> None:
    runner.agents.faults.add(StreamFault(cut_after=frames, times=6))
    await assert_done(runner)


async def test_streams_that_end_in_good_order_in_the_middle(runner: Bench) -> None:
    (run_id,) = await runner.take(dispatch_of(scenario="scenario=slow seconds=1", grants=(grant(),)))
    row = await runner.until(run_id, lambda row: row["status"] == "running")
    history = runner.agents.sessions[row["session_id"]].history
    for subscriber in tuple(history.subscribers):
        subscriber.end()
    row = await runner.ended(run_id)
    assert row["status"] == "succeeded", row["error"]
    assert runner.calls("GET", f"{row['session_id']}/events/stream") == 2


async def test_an_error_frame_is_a_gap_like_any_other(runner: Bench) -> None:
    (run_id,) = await runner.take(dispatch_of(scenario="scenario=slow seconds=1", grants=(grant(),)))
    row = await runner.until(run_id, lambda row: row["status"] == "running")
    error = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
    (stream,) = runner.agents.sessions[row["session_id"]].history.subscribers
    stream.offer(encode("error", error))
    row = await runner.ended(run_id)
    assert row["status"] == "succeeded", row["error"]


async def test_a_stream_that_is_open_and_silent_is_left(sqlite_template: Path, tmp_path: Path) -> None:
    timing = replace(QUICK, stream_silence=0.4)
    async with bench(sqlite_template, tmp_path, timing=timing) as runner:
        runner.agents.settings.heartbeat = 0.1
        runner.worker()
        runner.agents.faults.add(StreamFault(half_open=True))
        await assert_done(runner)


async def test_an_end_that_no_stream_told_of_is_asked_for(sqlite_template: Path, tmp_path: Path) -> None:
    async with bench(sqlite_template, tmp_path, timing=replace(QUICK, quiet=0.3)) as runner:
        runner.worker()
        runner.agents.faults.add(StreamFault(drop=["session.status_idle"], times=50))
        row = await runner.run(dispatch_of(scenario="scenario=happy"))
        assert row["status"] == "succeeded", row["error"]
        assert len(runner.comments()) == 1


async def test_an_end_that_must_be_asked_for_is_asked_for_again_soon_where_asking_fails(
    sqlite_template: Path, tmp_path: Path
) -> None:
    async with bench(sqlite_template, tmp_path, timing=replace(QUICK, quiet=1.0, max_quiet=300.0)) as runner:
        runner.worker()
        runner.agents.faults.add(StreamFault(drop=["session.status_idle"], times=50))
        (run_id,) = await runner.take(dispatch_of(scenario="scenario=happy"))
        row = await runner.until(run_id, lambda row: row["status"] == "running")
        runner.outside.faults.ask(
            "status",
            service="anthropic",
            method="GET",
            path=f"/v1/sessions/{row['session_id']}",
            times=4,
            status=500,
        )
        row = await runner.ended(run_id)
        assert row["status"] == "succeeded", row["error"]
        assert runner.calls("GET", row["session_id"]) >= 5
        assert row["ended_at"] - row["started_at"] < 10.0


async def test_every_frame_lost_is_still_a_done_run(sqlite_template: Path, tmp_path: Path) -> None:
    async with bench(sqlite_template, tmp_path, timing=replace(QUICK, quiet=0.2)) as runner:
        runner.worker()
        runner.agents.faults.add(StreamFault(drop=["*"], times=1000))
        await assert_done(runner)


async def test_a_lost_echo_of_the_message_costs_one_look_into_the_history(runner: Bench) -> None:
    runner.agents.faults.add(StreamFault(drop=["user.message"], times=1))
    await assert_done(runner, "scenario=happy")


async def test_a_queued_message_shown_twice_is_one_message(runner: Bench) -> None:
    runner.agents.settings.echo_queued = True
    await assert_done(runner)


async def test_a_history_that_fails_part_way_is_not_acted_on(runner: Bench) -> None:
    runner.agents.faults.add(StreamFault(cut_after=3, times=3))
    runner.outside.faults.ask("status", service="anthropic", method="GET", path=HISTORY, times=2, status=500)
    runner.outside.faults.ask("cut", service="anthropic", method="GET", path=HISTORY, times=1)
    await assert_done(runner)


@pytest.mark.parametrize("status", [429, 500, 529])
async def test_a_stream_that_is_refused_for_a_while_is_opened_later(runner: Bench, status: int) -> None:
    runner.outside.faults.ask(
        "status", service="anthropic", method="GET", path=STREAM, times=3, status=status
    )
    await assert_done(runner)


async def test_a_status_that_lags_behind_does_not_confuse(runner: Bench) -> None:
    runner.agents.settings.status_lag = 0.5
    first = await runner.run(dispatch_of(scenario='scenario=happy say="One."'))
    second = await runner.run(dispatch_of(n=1, scenario='scenario=happy say="Two."', follow_up=True))
    assert [first["final_text"], second["final_text"]] == ["One.", "Two."]
    assert first["session_id"] == second["session_id"]


async def test_the_end_of_an_earlier_turn_does_not_end_the_new_one(runner: Bench) -> None:
    """The first turn is still at work when the second message is queued behind it."""
    (first,) = await runner.take(dispatch_of(scenario="scenario=slow seconds=1 interrupt_delay=0.3"))
    row = await runner.until(first, lambda row: row["status"] == "running")
    await runner.until(first, lambda _: bool(runner.sent(row["session_id"], "session.status_running")))
    session = runner.agents.sessions[row["session_id"]]
    (second,) = await runner.take(dispatch_of(n=1, scenario='scenario=happy say="Two."', follow_up=True))
    # Somebody closes the books of the first run while its session works on.
    await runner.stop_following(first)
    row = await runner.ended(second)
    assert row["status"] == "succeeded", row["error"]
    assert row["final_text"] == "Two."
    assert row["session_id"] == session.id


SEVEN = "scenario=parallel calls=7"


async def assert_seven_answered_once(runner: Bench) -> None:
    """Seven calls at once of which each idle names five: each is published and answered once."""
    row = await runner.run(dispatch_of(scenario=SEVEN, grants=(grant(),)))
    assert row["status"] == "succeeded", row["error"]
    asked = [event["id"] for event in runner.sent(row["session_id"], "agent.custom_tool_use")]
    answered = [
        event["custom_tool_use_id"] for event in runner.sent(row["session_id"], "user.custom_tool_result")
    ]
    windows = [
        event["stop_reason"]["event_ids"]
        for event in runner.sent(row["session_id"], "session.status_idle")
        if event["stop_reason"]["type"] == "requires_action"
    ]
    assert len(asked) == 7
    assert sorted(answered) == sorted(asked)
    assert max(map(len, windows)) == 5
    assert len(runner.comments()) == 7


@pytest.mark.parametrize("cut", range(1, 16, 2))
async def test_seven_calls_at_once_over_a_stream_that_is_cut(runner: Bench, cut: int) -> None:
    runner.agents.faults.add(StreamFault(cut_after=cut, times=2))
    await assert_seven_answered_once(runner)


async def test_seven_calls_that_no_stream_told_of_are_found_in_the_history(
    sqlite_template: Path, tmp_path: Path
) -> None:
    # What the history shows is answered at once: no other sign of those calls will come.
    async with bench(sqlite_template, tmp_path, timing=replace(QUICK, quiet=300.0)) as runner:
        runner.worker()
        runner.agents.faults.add(StreamFault(drop=["agent.custom_tool_use"], times=1000))
        await assert_seven_answered_once(runner)


async def test_seven_calls_whose_window_alone_was_lost(runner: Bench) -> None:
    runner.agents.faults.add(StreamFault(drop=["session.status_idle"], times=2))
    await assert_seven_answered_once(runner)
