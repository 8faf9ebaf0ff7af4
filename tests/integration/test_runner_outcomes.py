"""Outcomes with rubrics, initial and system messages: what the session is told, in which order, and how it is judged."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from runner_samples import dispatch_of
from runner_world import Bench, bench

from runner.messages import marker_of
from schemas.dispatch import Dispatch, Outcome
from storage.tables import RunStatus

REPORT = Outcome(
    description="A report of every error.", rubric="It names each error and its cause.", max_iterations=3
)


@pytest.fixture
async def runner(sqlite_template: Path, tmp_path: Path) -> AsyncIterator[Bench]:
    async with bench(sqlite_template, tmp_path) as made:
        yield made


def graded(grades: str, n: int = 0, **fields: Any) -> Dispatch:
    return dispatch_of(n=n, scenario=f"scenario=happy grades={grades}", outcome=REPORT, **fields)


def told(runner: Bench, session_id: str) -> list[str]:
    """Types of what was sent to the session, in order."""
    history = runner.agents.sessions[session_id].history
    ours = {"user.message", "user.define_outcome", "system.message"}
    return [event["type"] for event in history.events if event["type"] in ours]


async def test_a_satisfied_outcome_is_recorded(runner: Bench) -> None:
    runner.worker()
    row = await runner.run(graded("satisfied"))
    assert row["status"] == "succeeded", row["error"]
    assert json.loads(row["evaluation"]) == {
        "result": "satisfied",
        "iteration": 0,
        "explanation": "Every point of the rubric is met.",
    }
    (defined,) = runner.sent(row["session_id"], "user.define_outcome")
    assert (defined["description"], defined["max_iterations"]) == (REPORT.description, 3)
    assert defined["rubric"] == {"type": "text", "content": REPORT.rubric}


async def test_work_that_is_sent_back_goes_on_until_it_is_met(runner: Bench) -> None:
    runner.worker()
    row = await runner.run(graded("needs_revision,needs_revision,satisfied"))
    assert row["status"] == "succeeded", row["error"]
    assert json.loads(row["evaluation"])["iteration"] == 2
    (said,) = runner.comments()
    assert "Revised (2)" in said, "the last word is that of the last revision"


@pytest.mark.parametrize(
    ("grades", "words"),
    [
        ("needs_revision,needs_revision,needs_revision", "max_iterations_reached after 3 iterations"),
        ("failed", "failed: The rubric does not fit the task."),
    ],
)
async def test_an_outcome_that_is_not_met_fails_the_run_and_the_report_says_so(
    runner: Bench, grades: str, words: str
) -> None:
    runner.worker()
    row = await runner.run(graded(grades))
    assert row["status"] == "failed"
    assert row["error"].startswith(f"the outcome was not satisfied ({words}")
    (said,) = runner.comments()
    assert "the outcome was not satisfied" in said
    assert "The last it said:" in said


async def test_an_outcome_is_defined_once_and_not_again_by_a_follow_up(runner: Bench) -> None:
    runner.worker()
    first = await runner.run(graded("satisfied"))
    second = await runner.run(graded("failed", n=1, follow_up=True))
    assert second["session_id"] == first["session_id"]
    assert second["status"] == "succeeded", second["error"]
    assert second["evaluation"] is None
    assert len(runner.sent(first["session_id"], "user.define_outcome")) == 1


async def test_initial_messages_come_first_and_the_system_message_last(runner: Bench) -> None:
    definitions = runner.world.catalogue.definitions
    definitions.agents = {"fixer": {"model": "claude-opus-5-5"}}
    runner.worker()
    words: dict[str, Any] = {
        "initial_messages": ("Our shop sells shoes.", "Amounts are in cents."),
        "system_message": "Answer in German.",
    }
    first = await runner.run(dispatch_of(scenario="scenario=happy", outcome=REPORT, **words))
    assert first["status"] == "succeeded", first["error"]
    session = first["session_id"]
    assert sorted(told(runner, session)) == sorted(
        [*["user.message"] * 3, "user.define_outcome", "system.message"]
    )
    messages = [event["content"][0]["text"] for event in runner.sent(session, "user.message")]
    assert messages[:2] == list(words["initial_messages"])
    assert messages[2].startswith(marker_of(first["id"]))
    assert first["message_id"] == runner.sent(session, "user.message")[2]["id"]
    assert runner.calls("POST", f"/v1/sessions/{session}/events") == 1, "in one request"
    second = await runner.run(dispatch_of(n=1, follow_up=True, scenario="scenario=happy", **words))
    assert second["status"] == "succeeded", second["error"]
    assert told(runner, session)[-2:] == ["user.message", "system.message"]
    assert len(runner.sent(session, "user.message")) == 4, "the initial messages are told once"


async def test_a_model_that_takes_no_system_message_fails_the_run_clearly(runner: Bench) -> None:
    runner.worker()
    row = await runner.run(dispatch_of(scenario="scenario=happy", system_message="Answer in German."))
    assert row["status"] == "failed"
    assert "does not support it" in row["error"]
    assert runner.agents.work == [], "nothing of the request was taken"


@pytest.mark.parametrize("mode", ["commit_then_status", "commit_then_cut"])
async def test_a_lost_answer_to_the_sending_sends_nothing_twice(runner: Bench, mode: Any) -> None:
    runner.outside.faults.ask(mode, service="anthropic", method="POST", path="/v1/sessions/*/events")
    runner.worker()
    row = await runner.run(graded("satisfied", initial_messages=("First.",)))
    assert row["status"] == "succeeded", row["error"]
    assert told(runner, row["session_id"]).count("user.define_outcome") == 1
    assert len(runner.sent(row["session_id"], "user.message")) == 2


async def test_whoever_takes_over_waits_for_the_judgement_too(runner: Bench) -> None:
    worker = runner.worker()
    slow = dispatch_of(scenario="scenario=slow seconds=1 grades=needs_revision,satisfied", outcome=REPORT)
    (run_id,) = await runner.take(slow)
    await runner.until(run_id, lambda row: row["status"] == RunStatus.RUNNING)
    await worker.stop()
    runner.worker("two")
    row = await runner.ended(run_id)
    assert row["status"] == "succeeded", row["error"]
    assert json.loads(row["evaluation"])["result"] == "satisfied"
