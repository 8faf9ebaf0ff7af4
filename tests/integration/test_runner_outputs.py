"""What an agent wants published is judged first: refused and done better, shown only, made safe; and it is recorded."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from runner_samples import REPOSITORY, dispatch_of, grant
from runner_world import Bench, bench

from runner.answers import MAX_REFUSED
from schemas.policy.gate import Facts, Gate
from schemas.policy.secrets import BLOT
from schemas.policy.shapes import OutputPolicy
from storage.rows import table
from storage.tables import OutboxRow

OURS = "hub-webhook-secret-4711"
TOKEN = "ghp_" + "aB3" * 12


@pytest.fixture
async def runner(sqlite_template: Path, tmp_path: Path) -> AsyncIterator[Bench]:
    async with bench(sqlite_template, tmp_path) as made:
        made.worker(world=replace(made.world, gate=Gate(lambda: Facts(secrets=frozenset({OURS})))))
        yield made


def texts(answers: list[dict[str, Any]]) -> list[str]:
    return [answer["content"][0]["text"] for answer in answers]


async def test_a_refusal_goes_back_with_its_reason_and_the_agent_does_better(runner: Bench) -> None:
    row = await runner.run(dispatch_of(scenario="scenario=tempted", grants=(grant(max=1),)))
    assert row["status"] == "succeeded", row["error"]
    (comment,) = runner.comments()
    assert "evil-host" not in comment
    refused, done = runner.sent(row["session_id"], "user.custom_tool_result")
    assert refused["is_error"] is True
    assert "collector.evil-host.net" in texts([refused])[0]
    assert "github.com" in texts([refused])[0]  # what would be allowed
    assert done["is_error"] is False
    results = await runner.results(row["id"])
    assert [(one["status"], one["clause"]) for one in results] == [("refused", "links"), ("posted", None)]
    assert results[0]["answered_at"] is not None
    assert b"customers-data" not in results[0]["body"]
    assert "customers-data" not in results[0]["error"]


@pytest.mark.parametrize(
    ("leak", "clause"), [(TOKEN, "secrets"), (OURS, "secrets"), ("<!--note-->", "hidden")]
)
async def test_credentials_and_hidden_text_are_refused_and_repeated_nowhere(
    runner: Bench, leak: str, clause: str
) -> None:
    row = await runner.run(dispatch_of(scenario=f"scenario=tempted leak={leak}", grants=(grant(),)))
    assert row["status"] == "succeeded", row["error"]
    results = await runner.results(row["id"])
    assert [(one["status"], one["clause"]) for one in results] == [("refused", clause), ("posted", None)]
    assert all(leak not in comment for comment in runner.comments())
    assert leak.encode() not in results[0]["body"]
    assert leak not in results[0]["error"]
    assert leak not in texts(runner.sent(row["session_id"], "user.custom_tool_result"))[0]


async def test_a_rule_may_allow_the_host(runner: Bench) -> None:
    allowed = grant(policy=OutputPolicy(links=("*.evil-host.net",)))
    row = await runner.run(dispatch_of(scenario="scenario=tempted", grants=(allowed,)))
    assert row["status"] == "succeeded", row["error"]
    assert "evil-host" in runner.comments()[0]


async def test_what_is_over_the_limit_is_recorded_and_uses_nothing_up(runner: Bench) -> None:
    row = await runner.run(dispatch_of(scenario="scenario=custom_tools times=3", grants=(grant(max=2),)))
    assert row["status"] == "succeeded", row["error"]
    results = await runner.results(row["id"])
    assert [(one["status"], one["clause"]) for one in results] == [
        ("posted", None),
        ("posted", None),
        ("refused", "max"),
    ]
    assert "used up" in texts(runner.sent(row["session_id"], "user.custom_tool_result"))[2]


async def test_an_agent_that_learns_nothing_is_not_judged_for_ever(runner: Bench) -> None:
    times = MAX_REFUSED + 3
    row = await runner.run(
        dispatch_of(scenario=f"scenario=custom_tools times={times}", grants=(grant(max=1),))
    )
    assert row["status"] == "succeeded", row["error"]
    results = await runner.results(row["id"])
    assert [one["clause"] for one in results] == [None, *["max"] * MAX_REFUSED]
    answers = texts(runner.sent(row["session_id"], "user.custom_tool_result"))
    assert len(answers) == times
    assert "not looked at again" in answers[-1]


async def test_what_the_poster_refuses_goes_back_too_and_uses_nothing_up(runner: Bench) -> None:
    """Only the vendor's data tell that a path is protected; one pull request is allowed, and it is made."""
    opening = grant(
        "open_pull_request",
        connection="acme-github",
        target={"repository": REPOSITORY},
        max=1,
        code=("files", "patch"),
    )
    scenario = "scenario=patch path=.github/workflows/ci.yml"
    row = await runner.run(dispatch_of(scenario=scenario, grants=(opening,)))
    assert row["status"] == "succeeded", row["error"]
    results = await runner.results(row["id"])
    assert [(one["status"], one["clause"]) for one in results] == [
        ("refused", "paths"),
        ("posted", None),
        ("posted", None),  # the report
    ]
    refused, done = texts(runner.sent(row["session_id"], "user.custom_tool_result"))
    assert "protected" in refused
    (number,) = runner.pulls()
    assert f"/pull/{number}" in done
    repo = runner.outside.github.repos[REPOSITORY]
    (branch,) = set(repo.branches) - {"main"}
    assert set(repo.files(repo.branches[branch])) - set(repo.files(repo.branches["main"])) == {
        "docs/found.md"
    }
    assert not any(call.path.endswith("/git/blobs") for call in runner.outside.log.calls("github"))


async def test_an_answer_that_is_lost_is_given_again_from_what_was_stored(runner: Bench) -> None:
    """The refusal is a row before the agent hears of it: whoever comes after a crash gives the same answer."""
    runner.outside.faults.ask(
        "status", service="anthropic", method="POST", path="*/events", status=503, skip=1
    )
    row = await runner.run(dispatch_of(scenario="scenario=tempted", grants=(grant(),)))
    assert row["status"] == "succeeded", row["error"]
    results = await runner.results(row["id"])
    assert [one["clause"] for one in results] == ["links", None]
    assert len(runner.sent(row["session_id"], "user.custom_tool_result")) == 2


async def test_a_staged_output_is_shown_and_not_posted(runner: Bench) -> None:
    staged = grant(policy=OutputPolicy(staged=True))
    row = await runner.run(dispatch_of(scenario="scenario=custom_tools", grants=(staged,)))
    assert row["status"] == "succeeded", row["error"]
    assert runner.comments() == []  # neither the output, nor the report that would repeat it
    (result,) = await runner.results(row["id"])
    assert (result["status"], result["clause"], result["error"]) == ("staged", None, None)
    assert json.loads(result["body"])["arguments"]["text"]
    (answer,) = runner.sent(row["session_id"], "user.custom_tool_result")
    assert answer["is_error"] is False
    assert "Staged; not posted" in texts([answer])[0]


async def test_a_staged_rule_posts_nothing_at_all(runner: Bench) -> None:
    row = await runner.run(dispatch_of(scenario="scenario=happy say=Rounding.", staged=True))
    assert row["status"] == "succeeded", row["error"]
    assert runner.comments() == []
    (result,) = await runner.results(row["id"])
    assert (result["slot"], result["status"]) == ("final", "staged")
    assert json.loads(result["body"])["arguments"] == {"text": "Rounding."}
    rows = table(OutboxRow)
    waiting = await runner.database.read(lambda connection: connection.execute(rows.select()).all())
    assert [row for row in waiting if "result" in row.topic] == []


async def test_a_staged_rule_is_judged_all_the_same(runner: Bench) -> None:
    row = await runner.run(dispatch_of(scenario="scenario=tempted", grants=(grant(),), staged=True))
    results = await runner.results(row["id"])
    assert [(one["status"], one["clause"]) for one in results] == [("refused", "links"), ("staged", None)]
    assert runner.comments() == []


@pytest.mark.parametrize(
    "said", [TOKEN, OURS, "https://evil-host.net/?q=x", "<img src=//evil-host.net/x>", "<!--x-->"]
)
async def test_the_report_is_made_safe_and_posted(runner: Bench, said: str) -> None:
    row = await runner.run(dispatch_of(scenario=f'scenario=happy say="It is {said} indeed."'))
    assert row["status"] == "succeeded", row["error"]
    (comment,) = runner.comments()
    words = comment.partition("-->\n")[2]  # after our own marker
    assert said not in words
    assert words.startswith("It is") or BLOT in words or "removed" in words
