"""Turns of a session, from the happy one to every way a turn can end (managed-agents reference §1.2 to §1.5)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from runner_samples import MOUNT, PULL_REQUEST, dispatch_of, grant, limits
from runner_world import Bench, bench

from sandbox.faults import Mode


@pytest.fixture
async def runner(sqlite_template: Path, tmp_path: Path) -> AsyncIterator[Bench]:
    async with bench(sqlite_template, tmp_path) as made:
        made.worker()
        yield made


async def test_the_last_message_is_the_comment_to_the_origin(runner: Bench) -> None:
    row = await runner.run(dispatch_of(scenario='scenario=happy say="Rounding is the cause."'))
    assert row["status"] == "succeeded", row["error"]
    (comment,) = runner.comments()
    assert "Rounding is the cause." in comment
    assert runner.messages() == [row["session_id"]]
    assert row["final_text"] == "Rounding is the cause."
    assert row["cost_cents"] is not None
    assert '"output_tokens"' in row["usage"]
    assert row["agent_version"] == 1
    assert row["lease_owner"] is None


async def test_what_is_posted_is_told_to_the_agent_with_its_url(runner: Bench) -> None:
    row = await runner.run(dispatch_of(repository=MOUNT, grants=(PULL_REQUEST,)))
    assert row["status"] == "succeeded", row["error"]
    (number,) = runner.pulls()
    url = f"https://github.com/acme/checkout/pull/{number}"
    (answer,) = runner.sent(row["session_id"], "user.custom_tool_result")
    assert url in answer["content"][0]["text"]
    assert answer["is_error"] is False
    (comment,) = runner.comments()
    assert url in comment
    results = await runner.results(row["id"])
    assert [result["status"] for result in results] == ["posted", "posted"]
    assert results[0]["answered_at"] is not None


async def test_an_own_comment_takes_the_place_of_the_last_message(runner: Bench) -> None:
    row = await runner.run(dispatch_of(scenario="scenario=custom_tools", grants=(grant(),)))
    assert row["status"] == "succeeded", row["error"]
    assert len(runner.comments()) == 1
    assert row["final_text"] not in runner.comments()[0]


@pytest.mark.parametrize("mode", ["commit_then_status", "commit_then_cut"])
async def test_it_does_so_too_where_the_answer_arrived_and_nobody_heard_of_it(
    runner: Bench, mode: Mode
) -> None:
    runner.outside.faults.ask(mode, service="anthropic", method="POST", path="*/events", skip=1)
    row = await runner.run(dispatch_of(scenario="scenario=custom_tools", grants=(grant(),)))
    assert row["status"] == "succeeded", row["error"]
    (comment,) = runner.comments()
    assert row["final_text"] not in comment


async def test_a_comment_somewhere_else_does_not(runner: Bench) -> None:
    elsewhere = grant(connection="acme-github", target={"repository": "acme/checkout", "number": 99})
    row = await runner.run(dispatch_of(scenario="scenario=custom_tools", grants=(elsewhere,)))
    assert row["status"] == "succeeded", row["error"]
    assert len(runner.comments(99)) == 1
    assert row["final_text"] in runner.comments()[0]


async def test_a_refused_comment_does_not(runner: Bench) -> None:
    row = await runner.run(dispatch_of(scenario="scenario=bad_arguments", grants=(grant(),)))
    assert row["status"] == "succeeded", row["error"]
    (answer,) = runner.sent(row["session_id"], "user.custom_tool_result")
    assert answer["is_error"] is True
    assert "no_such_field" in answer["content"][0]["text"]
    assert row["final_text"] in runner.comments()[0]


async def test_seven_calls_side_by_side_are_answered_though_five_are_named_at_a_time(runner: Bench) -> None:
    row = await runner.run(dispatch_of(scenario="scenario=parallel calls=7", grants=(grant(),)))
    assert row["status"] == "succeeded", row["error"]
    assert len(runner.comments()) == 7
    answers = runner.sent(row["session_id"], "user.custom_tool_result")
    assert len({answer["custom_tool_use_id"] for answer in answers}) == len(answers) == 7


async def test_a_tool_is_used_no_more_than_its_grant_allows(runner: Bench) -> None:
    row = await runner.run(dispatch_of(scenario="scenario=custom_tools times=4", grants=(grant(max=2),)))
    assert row["status"] == "succeeded", row["error"]
    assert len(runner.comments()) == 2
    answers = runner.sent(row["session_id"], "user.custom_tool_result")
    assert [answer["is_error"] for answer in answers] == [False, False, True, True]
    assert "may be used 2 times" in answers[2]["content"][0]["text"]


async def test_a_tool_that_nobody_granted_is_refused_and_the_agent_goes_on(
    sqlite_template: Path, tmp_path: Path
) -> None:
    own = {"type": "custom", "name": "launch", "description": "Launch.", "input_schema": {"type": "object"}}
    async with bench(
        sqlite_template, tmp_path, agents={"fixer": {"model": "claude-sonnet-5-5", "tools": [own]}}
    ) as made:
        made.worker()
        row = await made.run(dispatch_of(scenario="scenario=custom_tools tool=launch", grants=(grant(),)))
        assert row["status"] == "succeeded", row["error"]
        (answer,) = made.sent(row["session_id"], "user.custom_tool_result")
        assert "no tool 'launch'" in answer["content"][0]["text"]
        assert answer["is_error"] is True


async def test_a_tool_that_asks_is_denied_because_nobody_is_there_to_approve(runner: Bench) -> None:
    row = await runner.run(dispatch_of(scenario="scenario=ask"))
    assert row["status"] == "succeeded", row["error"]
    (denial,) = runner.sent(row["session_id"], "user.tool_confirmation")
    assert denial["result"] == "deny"
    assert "approval" in denial["deny_message"]


@pytest.mark.parametrize("scenario", ["unknown_event", "duplicate", "transient times=2", "lag seconds=1"])
async def test_what_must_not_disturb_a_turn(runner: Bench, scenario: str) -> None:
    row = await runner.run(dispatch_of(scenario=f"scenario={scenario}"))
    assert row["status"] == "succeeded", row["error"]
    assert len(runner.comments()) == 1


@pytest.mark.parametrize(
    ("scenario", "error"),
    [
        ("forget", "without a word"),
        ("refusal category=bio", "the model refused (bio)"),
        ("exhausted", "model_overloaded_error"),
        ("terminal", "terminated (unknown_error"),
    ],
)
async def test_a_turn_that_fails_is_named_and_told_to_the_origin(
    runner: Bench, scenario: str, error: str
) -> None:
    row = await runner.run(dispatch_of(scenario=f"scenario={scenario}"))
    assert row["status"] == "failed"
    assert error in row["error"]
    (comment,) = runner.comments()
    assert error in comment
    assert row["id"] in comment


@pytest.mark.parametrize("error", ["authentication", "forbidden", "not_found", "checkout", "clone"])
async def test_a_repository_that_cannot_be_mounted_stops_the_run(runner: Bench, error: str) -> None:
    scenario = f"scenario=repository_failure error=repository_{error}_error"
    row = await runner.run(dispatch_of(scenario=scenario, repository=MOUNT, grants=(PULL_REQUEST,)))
    assert row["status"] == "failed"
    assert f"the repository could not be mounted: repository_{error}_error" in row["error"]
    assert runner.pulls() == []
    assert runner.agents.sessions[row["session_id"]].status == "idle"
    assert (await runner.conversation(row["conversation"]))["session_id"] is None


async def test_a_mount_that_failed_before_anybody_listened_is_seen(runner: Bench) -> None:
    runner.outside.faults.ask("delay", service="anthropic", method="GET", path="*/events/stream", seconds=0.3)
    (run_id,) = await runner.take(dispatch_of(scenario="scenario=silent", repository=MOUNT))
    row = await runner.until(run_id, lambda row: row["session_id"] is not None)
    problem = {
        "type": "repository_clone_error",
        "message": "no such branch",
        "retry_status": {"type": "retrying"},
        "repository_url": None,
    }
    runner.agents.sessions[row["session_id"]].history.emit("session.error", error=problem)
    row = await runner.ended(run_id)
    assert "repository_clone_error: no such branch" in row["error"]


async def test_a_repository_error_is_nothing_to_a_run_without_a_repository(runner: Bench) -> None:
    row = await runner.run(dispatch_of(scenario="scenario=repository_failure"))
    assert row["status"] == "succeeded", row["error"]


async def test_the_budget_ends_the_turn_and_a_follow_up_gets_it_anew(runner: Bench) -> None:
    first = await runner.run(dispatch_of(scenario="scenario=budget", limits=limits(budget_cents=5)))
    assert first["status"] == "failed"
    assert "budget" in first["error"]
    second = await runner.run(
        dispatch_of(n=1, scenario='scenario=happy say="Now."', follow_up=True, limits=limits(budget_cents=5))
    )
    assert second["status"] == "succeeded", second["error"]
    assert second["session_id"] == first["session_id"]
    assert second["final_text"] == "Now."
    cap = runner.agents.sessions[first["session_id"]].cap
    assert cap is not None
    assert cap > 5


async def test_a_stop_reason_that_nobody_knows_needs_attention(runner: Bench) -> None:
    (run_id,) = await runner.take(dispatch_of(scenario="scenario=silent"))
    row = await runner.until(run_id, lambda row: row["status"] == "running")
    session = runner.agents.sessions[row["session_id"]]
    await runner.until(run_id, lambda _: bool(runner.sent(session.id, "session.status_running")))
    session.history.emit("session.status_idle", stop_reason={"type": "moon_phase"}, stop_details=None)
    row = await runner.ended(run_id)
    assert row["status"] == "failed"
    assert "unknown reason 'moon_phase'" in row["error"]


async def test_an_interrupt_by_somebody_else_is_not_success(runner: Bench) -> None:
    (run_id,) = await runner.take(dispatch_of(scenario="scenario=silent"))
    row = await runner.until(run_id, lambda row: row["status"] == "running")
    await runner.until(run_id, lambda _: bool(runner.sent(row["session_id"], "session.status_running")))
    await runner.world.service.interrupt(row["session_id"])
    row = await runner.ended(run_id)
    assert row["status"] == "failed"
    assert "interrupted" in row["error"]
