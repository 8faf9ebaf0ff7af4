"""One run, one session, one message, whatever the service answers (managed-agents reference §4)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from runner_samples import MOUNT, PULL_REQUEST, QUICK, REPOSITORY, dispatch_of, grant, limits
from runner_world import Bench, bench

from runner.world import MountError
from sandbox.faults import Mode
from sandbox.managed_agents.subscribers import StreamFault

CREATE = "/v1/sessions"
SEND = "/v1/sessions/*/events"


@pytest.fixture
async def runner(sqlite_template: Path, tmp_path: Path) -> AsyncIterator[Bench]:
    async with bench(sqlite_template, tmp_path) as made:
        made.worker()
        yield made


def fault(runner: Bench, mode: Mode, path: str, **fields: Any) -> None:
    runner.outside.faults.ask(mode, **{"service": "anthropic", "method": "POST", "path": path, **fields})


async def assert_one(runner: Bench, **fields: Any) -> dict[str, Any]:
    """One session at the service, one message, one comment."""
    row = await runner.run(dispatch_of(scenario="scenario=happy", **fields))
    assert row["status"] == "succeeded", row["error"]
    assert list(runner.agents.sessions) == [row["session_id"]]
    assert runner.messages() == [row["session_id"]]
    assert len(runner.comments()) == 1
    return row


# Creating -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["commit_then_status", "commit_then_cut"])
async def test_a_create_that_succeeded_behind_an_error_is_found(runner: Bench, mode: Mode) -> None:
    fault(runner, mode, CREATE)
    row = await assert_one(runner)
    assert runner.agents.sessions[row["session_id"]].metadata["triggerhub_run"] == row["id"]


async def test_a_new_session_that_lists_do_not_show_yet_is_found(runner: Bench) -> None:
    runner.agents.settings.list_lag = 0.15
    fault(runner, "commit_then_status", CREATE)
    await assert_one(runner)


@pytest.mark.parametrize("status", [408, 409, 500, 504])
async def test_a_create_that_failed_is_repeated_after_a_look(runner: Bench, status: int) -> None:
    fault(runner, "status", CREATE, status=status, times=2)
    await assert_one(runner)


@pytest.mark.parametrize(
    ("status", "headers"),
    [(429, {"retry-after": "0.1"}), (429, {}), (529, {}), (529, {"retry-after": "soon"})],
)
async def test_a_busy_service_is_waited_for(runner: Bench, status: int, headers: dict[str, str]) -> None:
    fault(runner, "status", CREATE, status=status, headers=headers, times=2)
    await assert_one(runner)
    assert runner.calls("GET", CREATE) == 0, "nothing was in doubt"


async def test_a_long_retry_after_gives_the_run_back(runner: Bench) -> None:
    fault(runner, "status", CREATE, status=429, headers={"retry-after": "3600"})
    row = await assert_one(runner)
    assert row["fence"] == 2


async def test_a_cut_before_anything_was_done_is_repeated(runner: Bench) -> None:
    fault(runner, "cut", CREATE)
    await assert_one(runner)


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        ("/v1/agents", 400, "create an agent: 400"),
        ("/v1/environments", 400, "create an environment: 400"),
        (CREATE, 400, "create a session: 400"),
        (CREATE, 401, "create a session: 401"),
        (CREATE, 402, "create a session: 402"),
        (CREATE, 403, "create a session: 403"),
    ],
)
async def test_a_refusal_for_good_fails_the_run_and_is_told(
    runner: Bench, path: str, status: int, words: str
) -> None:
    body = {"type": "error", "error": {"type": "x", "message": "model: no-such-model is not known"}}
    fault(runner, "status", path, status=status, body=body, times=None)
    row = await runner.run(dispatch_of(scenario="scenario=happy"))
    assert row["status"] == "failed"
    assert words in row["error"]
    (comment,) = runner.comments()
    assert "no-such-model is not known" in comment
    assert runner.agents.sessions == {}


async def test_a_service_that_stays_away_ends_the_run_by_name(sqlite_template: Path, tmp_path: Path) -> None:
    async with bench(sqlite_template, tmp_path, timing=replace(QUICK, max_attempts=3)) as runner:
        runner.worker()
        fault(runner, "status", CREATE, status=529, times=None)
        row = await runner.run(dispatch_of())
        assert row["status"] == "failed"
        assert "given up after 3 attempts" in row["error"]
        assert "529" in row["error"]
        assert "given up after 3 attempts" in runner.comments()[0]


async def test_a_service_that_takes_no_work_ends_the_run_by_name(
    sqlite_template: Path, tmp_path: Path
) -> None:
    async with bench(sqlite_template, tmp_path, timing=replace(QUICK, max_attempts=3)) as runner:
        runner.worker()
        fault(runner, "status", SEND, status=503, times=None)
        row = await runner.run(dispatch_of(), seconds=40)
        assert row["status"] == "failed"
        assert "the work was not sent" in row["error"]
        assert "503" in row["error"]


async def test_a_stream_that_never_opens_ends_the_run_by_name(sqlite_template: Path, tmp_path: Path) -> None:
    timing = replace(QUICK, max_attempts=2, open_stream=0.2)
    async with bench(sqlite_template, tmp_path, timing=timing) as runner:
        runner.worker()
        fault(runner, "status", "*/events/stream", method="GET", status=500, times=None)
        row = await runner.run(dispatch_of())
        assert row["status"] == "failed"
        assert "the stream did not open" in row["error"]
        assert runner.messages() == []


async def test_an_agent_that_the_configuration_lost_fails_the_run(runner: Bench) -> None:
    row = await runner.run(dispatch_of(agent="gone"))
    assert row["status"] == "failed"
    assert "no agent 'gone'; it has fixer" in row["error"]


async def test_a_field_that_the_sdk_does_not_know_fails_the_run(
    sqlite_template: Path, tmp_path: Path
) -> None:
    agents = {"fixer": {"model": "claude-sonnet-5-5", "temperament": "calm"}}
    async with bench(sqlite_template, tmp_path, agents=agents) as runner:
        runner.worker()
        row = await runner.run(dispatch_of())
        assert row["status"] == "failed"
        assert "temperament" in row["error"]


@pytest.mark.parametrize("permanent", [True, False])
async def test_a_repository_without_access(sqlite_template: Path, tmp_path: Path, *, permanent: bool) -> None:
    async with bench(sqlite_template, tmp_path, timing=replace(QUICK, max_attempts=3)) as runner:
        runner.worker()
        runner.mounts.problem = MountError("acme/checkout: the App is not installed", permanent=permanent)
        row = await runner.run(dispatch_of(repository=MOUNT))
        assert row["status"] == "failed"
        assert "the App is not installed" in row["error"]
        assert (row["fence"] == 1) is permanent


async def test_an_answer_that_is_not_json_is_doubt_not_success(runner: Bench) -> None:
    fault(runner, "commit_then_status", CREATE, status=200, body="<html>hello</html>")
    await assert_one(runner)


@pytest.mark.parametrize("path", [CREATE, SEND])
async def test_a_call_that_is_never_answered_is_doubt(
    sqlite_template: Path, tmp_path: Path, path: str
) -> None:
    async with bench(sqlite_template, tmp_path, call_seconds=0.5) as runner:
        runner.worker()
        fault(runner, "commit_then_hang", path)
        await assert_one(runner)


# Sending --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["commit_then_status", "commit_then_cut"])
async def test_a_message_that_arrived_behind_an_error_is_not_sent_again(runner: Bench, mode: Mode) -> None:
    fault(runner, mode, SEND)
    await assert_one(runner)


@pytest.mark.parametrize("status", [429, 500, 503, 529])
async def test_a_message_that_was_not_taken_is_sent_again(runner: Bench, status: int) -> None:
    fault(runner, "status", SEND, status=status, times=2)
    await assert_one(runner)


async def test_an_answer_without_an_id_is_looked_up(runner: Bench) -> None:
    fault(runner, "commit_then_status", SEND, status=200, body={"data": []})
    await assert_one(runner)


async def test_answers_to_tools_that_got_lost_are_given_again(runner: Bench) -> None:
    fault(runner, "commit_then_status", SEND, skip=1)
    fault(runner, "status", SEND, skip=1, status=429)
    row = await runner.run(dispatch_of(scenario="scenario=custom_tools times=3", grants=(grant(),)))
    assert row["status"] == "succeeded", row["error"]
    assert len(runner.comments()) == 3
    assert len(runner.sent(row["session_id"], "user.custom_tool_result")) == 3


# Follow-ups -----------------------------------------------------------------------------------------------------------


async def first_turn(runner: Bench, **fields: Any) -> dict[str, Any]:
    row = await runner.run(dispatch_of(scenario='scenario=happy say="One."', **fields))
    assert row["status"] == "succeeded", row["error"]
    return row


def second(**fields: Any) -> Any:
    return dispatch_of(**{"n": 1, "follow_up": True, "scenario": 'scenario=happy say="Two."', **fields})


@pytest.mark.parametrize("how", ["archived", "deleted"])
async def test_a_session_that_is_gone_is_replaced(runner: Bench, how: str) -> None:
    first = await first_turn(runner)
    if how == "archived":
        await runner.world.service.archive_session(first["session_id"])
    else:
        runner.agents.remove_session(runner.agents.sessions[first["session_id"]])
    row = await runner.run(second())
    assert row["status"] == "succeeded", row["error"]
    assert row["session_id"] != first["session_id"]
    assert (await runner.conversation(row["conversation"]))["session_id"] == row["session_id"]
    assert runner.messages(row["id"]) == [row["session_id"]]
    assert row["cost_cents"] is not None


async def test_a_session_that_goes_between_the_look_and_the_work_is_replaced(runner: Bench) -> None:
    first = await first_turn(runner)
    body = {"type": "error", "error": {"type": "x", "message": "Cannot send events to archived session"}}
    fault(runner, "status", SEND, status=400, body=body)
    row = await runner.run(second())
    assert row["status"] == "succeeded", row["error"]
    assert row["session_id"] != first["session_id"]


async def test_a_session_that_dies_of_an_error_is_not_used_again(runner: Bench) -> None:
    first = await runner.run(dispatch_of(scenario="scenario=terminal"))
    row = await runner.run(second())
    assert [first["status"], row["status"]] == ["failed", "succeeded"]
    assert row["session_id"] != first["session_id"]


async def test_a_blocked_session_is_freed_by_an_interrupt(runner: Bench) -> None:
    (run_id,) = await runner.take(dispatch_of(scenario="scenario=custom_tools", grants=(grant(),)))
    fault(runner, "status", SEND, skip=1, status=500, times=8)  # its answer does not get through
    row = await runner.until(run_id, lambda row: row["status"] == "running")
    await runner.until(run_id, lambda _: bool(runner.agents.sessions[row["session_id"]].pending))
    await runner.stop_following(run_id)
    follow = await runner.run(second())
    assert follow["status"] == "succeeded", follow["error"]
    assert follow["final_text"] == "Two."
    assert follow["session_id"] == row["session_id"]


async def test_a_follow_up_pays_only_for_itself_and_says_only_the_new(runner: Bench) -> None:
    first = await first_turn(runner, limits=limits(budget_cents=50))
    row = await runner.run(second(limits=limits(budget_cents=50)))
    assert row["session_id"] == first["session_id"]
    assert row["final_text"] == "Two."
    assert [("One." in comment, "Two." in comment) for comment in runner.comments()] == [
        (True, False),
        (False, True),
    ]
    session = runner.agents.sessions[row["session_id"]]
    total = round(session.usage.cents)
    assert first["cost_cents"] + row["cost_cents"] == total
    assert (await runner.conversation(row["conversation"]))["session_cost_cents"] == total


async def test_a_session_without_a_budget_is_not_used_when_the_rule_has_one_now(runner: Bench) -> None:
    first = await first_turn(runner)
    row = await runner.run(second(limits=limits(budget_cents=50)))
    assert row["status"] == "succeeded", row["error"]
    assert row["session_id"] != first["session_id"]
    assert runner.agents.sessions[row["session_id"]].cap == 50


async def test_a_session_at_its_budget_goes_on_when_the_rule_has_none_any_more(runner: Bench) -> None:
    first = await runner.run(dispatch_of(scenario="scenario=budget", limits=limits(budget_cents=5)))
    assert first["status"] == "failed"
    row = await runner.run(second())
    assert row["status"] == "succeeded", row["error"]
    assert row["session_id"] == first["session_id"]


async def test_a_follow_up_gives_the_repository_a_fresh_token(runner: Bench) -> None:
    first = await runner.run(dispatch_of(repository=MOUNT, grants=(PULL_REQUEST,)))
    assert first["status"] == "succeeded", first["error"]
    row = await runner.run(dispatch_of(n=1, follow_up=True, repository=MOUNT, grants=(PULL_REQUEST,)))
    assert row["status"] == "succeeded", row["error"]
    assert row["session_id"] == first["session_id"]
    assert list(runner.agents.sessions[row["session_id"]].rotations.values()) == [1]
    assert len(runner.pulls()) == 1


async def test_a_long_turn_gives_the_repository_a_fresh_token(sqlite_template: Path, tmp_path: Path) -> None:
    async with bench(sqlite_template, tmp_path, timing=replace(QUICK, token_refresh=0.3)) as runner:
        runner.worker()
        row = await runner.run(dispatch_of(scenario="scenario=slow seconds=1", repository=MOUNT))
        assert row["status"] == "succeeded", row["error"]
        (rotations,) = runner.agents.sessions[row["session_id"]].rotations.values()
        assert rotations >= 2


# Cost -----------------------------------------------------------------------------------------------------------------


async def test_usage_that_no_event_told_is_asked_for_once(runner: Bench) -> None:
    runner.agents.faults.add(StreamFault(drop=["session.usage"], times=5))
    row = await assert_one(runner)
    assert row["cost_cents"] is not None
    assert runner.calls("GET", row["session_id"]) == 1


async def test_a_cost_that_nobody_can_tell_stays_unknown(runner: Bench) -> None:
    runner.agents.faults.add(StreamFault(drop=["session.usage"], times=5))
    fault(runner, "status", "/v1/sessions/sesn_*", method="GET", status=500, skip=1, times=None)
    row = await runner.run(dispatch_of(scenario="scenario=happy"))
    assert row["status"] == "succeeded", row["error"]
    assert row["cost_cents"] is None


async def test_an_answer_that_cannot_be_posted_fails_the_run(runner: Bench) -> None:
    runner.outside.faults.ask(
        "status",
        service="github",
        method="POST",
        path="/repos/*/comments",
        status=403,
        times=None,
        body={"message": "Resource not accessible by integration", "status": "403"},
    )
    row = await runner.run(dispatch_of(scenario="scenario=happy"))
    assert row["status"] == "failed"
    assert "the answer could not be posted" in row["error"]


async def test_an_answer_that_cannot_be_posted_is_noted_where_something_else_was(runner: Bench) -> None:
    """Such as a report to an alert that takes no comments, after the message to the team's channel."""
    runner.outside.faults.ask(
        "status", service="github", method="POST", path="/repos/*/issues/12/comments", status=403, times=None
    )
    elsewhere = grant(connection="acme-github", target={"repository": REPOSITORY, "number": 13})
    runner.outside.github.ensure_issue(REPOSITORY, 13)
    row = await runner.run(dispatch_of(scenario="scenario=custom_tools", grants=(elsewhere,)))
    assert row["status"] == "succeeded"
    assert "the answer could not be posted" in row["error"]
    assert len(runner.outside.github.repos[REPOSITORY].issues[13].comments) == 1
