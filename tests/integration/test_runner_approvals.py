"""What people must approve: held back, asked once, posted exactly as approved; the run waits without a connection."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from runner_samples import dispatch_of, grant
from runner_world import Bench, bench
from sqlalchemy import update

from runner.answers import MAX_DENIED, NO_APPROVAL
from runner.catalogue import Definitions
from schemas.dispatch import Dispatch
from schemas.policy.approval import ApprovalPolicy, Person, ToolApproval
from schemas.policy.shapes import OutputPolicy
from storage import approvals, runs
from storage.approvals import Approval, Vote, Voted
from storage.rows import table
from storage.tables import ApprovalRow, ApprovalStatus, RunRow, RunStatus

ADA = Person("github:8", "member", connection="acme-github", name="ada")
ASKER = Person("github:5", "member", connection="acme-github", name="octo-dev")


@pytest.fixture
async def runner(sqlite_template: Path, tmp_path: Path) -> AsyncIterator[Bench]:
    async with bench(sqlite_template, tmp_path) as made:
        yield made


def output(scenario: str = "scenario=custom_tools", *, most: int = 5, n: int = 0, **policy: Any) -> Dispatch:
    """A run that comments, if people let it."""
    approve = ApprovalPolicy.model_validate(policy)
    one = grant(name="say", max=most, policy=OutputPolicy(approve=approve))
    return dispatch_of(scenario=scenario, grants=(one,), n=n, follow_up=bool(n))


def tool(scenario: str = "scenario=ask", **policy: Any) -> Dispatch:
    """A run whose agent wants to run a command, if people let it."""
    approve = ToolApproval.model_validate({"tools": "bash", **policy})
    return dispatch_of(scenario=scenario, approve=(approve,))


def said_by(person: str, *, n: int) -> Dispatch:
    """A follow-up of somebody."""
    found = output("scenario=happy", n=n).model_copy(update={"manner": "steer"})
    actor = found.event.data.actor.model_copy(update={"id": person})
    data = found.event.data.model_copy(update={"actor": actor, "text": "Say it louder."})
    return found.model_copy(update={"event": found.event.model_copy(update={"data": data})})


async def waiting(runner: Bench, dispatch: Dispatch) -> dict[str, Any]:
    (run_id,) = await runner.take(dispatch)
    return await runner.until(run_id, lambda row: row["status"] == RunStatus.WAITING)


async def asked(runner: Bench, run_id: str) -> list[Approval]:
    return (await runner.database.read(approvals.of_runs, [run_id])).get(run_id, [])


async def vote(runner: Bench, found: Approval, person: Person = ADA, **said: Any) -> Voted:
    values: dict[str, Any] = {"approve": True, "digest": None, "reason": None, "evidence": "evt_1", **said}
    voted = await runner.database.write(approvals.vote, found.id, person, **values)
    assert voted is not None
    return voted


async def question(runner: Bench, mark: str, *, number: int = 12, seconds: float = 10) -> str:
    """The comment of the thread in which `mark` stands, once it does."""
    async with asyncio.timeout(seconds):
        while True:
            found = [said for said in runner.comments(number) if mark in said]
            if found:
                assert len(found) == 1, found
                return found[0]
            await asyncio.sleep(0.02)


def answers(
    runner: Bench, row: dict[str, Any], kind: str = "user.custom_tool_result"
) -> list[dict[str, Any]]:
    return runner.sent(row["session_id"], kind)


async def test_a_run_that_waits_for_people_is_held_by_nobody_and_follows_nothing(runner: Bench) -> None:
    worker = runner.worker()
    row = await waiting(runner, output())
    assert (row["lease_owner"], row["waits_for"]) == (None, "people")
    await runner.until(row["id"], lambda _: worker.running == 0)
    assert len(runner.agents.sessions[row["session_id"]].history.subscribers) == 0
    said = await question(runner, "Approval needed")
    calls = len(runner.outside.log.calls("anthropic"))
    await asyncio.sleep(0.6)
    assert len(runner.outside.log.calls("anthropic")) == calls, "it costs no call"
    [found] = await asked(runner, row["id"])
    assert found.code in said
    assert runner.comments() == [said], "nothing else was posted"


async def test_a_yes_posts_exactly_what_was_shown_and_the_question_says_so(runner: Bench) -> None:
    runner.worker()
    row = await waiting(runner, output())
    await question(runner, "Approval needed")
    [found] = await asked(runner, row["id"])
    content = await runner.database.read(approvals.content_of, found)
    assert content is not None
    assert (await vote(runner, found)).vote is Vote.DECIDED
    ended = await runner.ended(row["id"])
    assert ended["status"] == "succeeded", ended["error"]
    said = await question(runner, "Approved by ada (github:8)")
    text = json.loads(content)["arguments"]["text"]
    posted = [comment for comment in runner.comments() if comment != said]
    assert [text in comment for comment in posted] == [True], "once, and the report is not needed"
    assert "/triggerhub approve" not in said
    (answer,) = answers(runner, row)
    assert answer["is_error"] is False


async def test_a_no_goes_back_to_the_agent_with_person_and_reason(runner: Bench) -> None:
    runner.worker()
    row = await waiting(runner, output())
    [found] = await asked(runner, row["id"])
    await vote(runner, found, approve=False, reason="name the pull request")
    ended = await runner.ended(row["id"])
    assert ended["status"] == "succeeded", ended["error"]
    (answer,) = answers(runner, row)
    assert answer["is_error"] is True
    assert answer["content"][0]["text"] == "Not done: denied by ada (github:8): name the pull request"
    await question(runner, "Denied by ada (github:8): name the pull request.")
    held = next(one for one in await runner.results(row["id"]) if one["output"] == "comment")
    assert (held["status"], held["clause"]) == ("refused", "approval")


async def test_nobody_in_time_is_told_to_the_agent(runner: Bench) -> None:
    runner.worker()
    (run_id,) = await runner.take(output(expires="1s"))
    ended = await runner.ended(run_id)
    assert ended["status"] == "succeeded", ended["error"]
    (answer,) = answers(runner, ended)
    assert "nobody approved it in time" in answer["content"][0]["text"]
    await question(runner, "Expired: nobody approved it in time.")


async def test_the_one_who_asked_does_not_count(runner: Bench) -> None:
    runner.worker()
    row = await waiting(runner, output())
    [found] = await asked(runner, row["id"])
    assert found.asker == ASKER.key
    assert (await vote(runner, found, ASKER)).vote is Vote.REFUSED
    assert (await runner.row(row["id"]))["status"] == "waiting"
    assert (await vote(runner, found, ADA)).vote is Vote.DECIDED
    await runner.ended(row["id"])


async def test_several_people_and_the_question_counts_them(runner: Bench) -> None:
    runner.worker()
    row = await waiting(runner, output(count=2))
    await question(runner, "Approval needed")
    [found] = await asked(runner, row["id"])
    for _ in range(3):
        await vote(runner, found)
    await question(runner, "1 of 2 have approved.")
    assert (await runner.row(row["id"]))["status"] == "waiting"
    await vote(runner, found, Person("github:c1", "owner", connection="acme-github", name="cat"))
    await runner.ended(row["id"])
    await question(runner, "Approved by ada (github:8), cat (github:c1).")


async def test_a_tool_that_asks_runs_when_people_allow_it(runner: Bench) -> None:
    runner.worker()
    row = await waiting(runner, tool())
    said = await question(runner, "Approval needed")
    assert "command: git push origin main" in said
    [found] = await asked(runner, row["id"])
    await vote(runner, found)
    ended = await runner.ended(row["id"])
    assert ended["status"] == "succeeded", ended["error"]
    [confirmation] = answers(runner, row, "user.tool_confirmation")
    assert (confirmation["tool_use_id"], confirmation["result"]) == (found.call, "allow")
    assert "was run" in ended["final_text"]


async def test_a_tool_that_people_deny_does_not_run(runner: Bench) -> None:
    runner.worker()
    row = await waiting(runner, tool())
    [found] = await asked(runner, row["id"])
    await vote(runner, found, approve=False, reason="push to a branch")
    ended = await runner.ended(row["id"])
    [confirmation] = answers(runner, row, "user.tool_confirmation")
    assert confirmation["result"] == "deny"
    assert "denied by ada (github:8): push to a branch" in confirmation["deny_message"]
    assert "was not run" in ended["final_text"]


async def test_a_tool_that_no_entry_names_is_denied_at_once(runner: Bench) -> None:
    runner.worker()
    row = await runner.run(tool(tools="jira/*"))
    [confirmation] = answers(runner, row, "user.tool_confirmation")
    assert (confirmation["result"], confirmation["deny_message"]) == ("deny", NO_APPROVAL)
    assert await asked(runner, row["id"]) == []


async def test_an_agent_that_another_one_called_asks_too(runner: Bench) -> None:
    runner.world.catalogue.definitions = Definitions(
        agents={
            "fixer": {
                "model": "claude-sonnet-5-5",
                "multiagent": {"type": "coordinator", "agents": ["tester"]},
            },
            "tester": {"model": "claude-haiku-5-5"},
        },
        environments={"python": {"config": {"type": "cloud"}}},
    )
    worker = runner.worker()
    row = await waiting(runner, tool("scenario=team command=make"))
    await runner.until(row["id"], lambda _: worker.running == 0)
    [found] = await asked(runner, row["id"])
    await vote(runner, found)
    ended = await runner.ended(row["id"])
    assert ended["status"] == "succeeded", ended["error"]
    assert "tester: was not allowed" not in ended["final_text"]
    assert "tester: looked at it" in ended["final_text"]


async def test_a_changed_call_is_not_covered_by_an_earlier_yes(runner: Bench) -> None:
    """The stored call is what people saw. Where the session's call is another one, it is not run."""
    worker = runner.worker()
    row = await waiting(runner, tool())
    [found] = await asked(runner, row["id"])
    await worker.stop()
    await vote(runner, found)
    call = next(
        event
        for event in runner.agents.sessions[row["session_id"]].history.events
        if event["id"] == found.call
    )
    call["input"] = {"command": "git push --force origin main"}
    runner.worker("two")
    await runner.ended(row["id"])
    [confirmation] = answers(runner, row, "user.tool_confirmation")
    assert confirmation["result"] == "deny"


async def test_waiting_outlives_every_process_and_nothing_is_asked_twice(runner: Bench) -> None:
    worker = runner.worker()
    row = await waiting(runner, output())
    await question(runner, "Approval needed")
    await worker.stop()
    [found] = await asked(runner, row["id"])
    await vote(runner, found)
    runner.worker("two")
    ended = await runner.ended(row["id"])
    assert ended["status"] == "succeeded", ended["error"]
    assert [one.id for one in await asked(runner, row["id"])] == [found.id]
    await question(runner, "Approved by")
    assert len(runner.comments()) == 2


async def test_calls_side_by_side_are_asked_one_by_one_and_wait_together(runner: Bench) -> None:
    runner.worker()
    row = await waiting(runner, output("scenario=parallel calls=3"))
    first, second, third = await asked(runner, row["id"])
    await vote(runner, first)
    await vote(runner, second, approve=False)
    again = await runner.until(
        row["id"], lambda now: now["status"] == "waiting" and now["fence"] > row["fence"]
    )
    await runner.until(again["id"], lambda _: len(answers(runner, row)) == 2)
    assert [one.status for one in await asked(runner, row["id"])] == ["approved", "denied", "asked"]
    await vote(runner, third)
    ended = await runner.ended(row["id"])
    assert ended["status"] == "succeeded", ended["error"]
    assert [answer["is_error"] for answer in answers(runner, row)] == [False, True, False]


async def test_what_waits_counts_as_a_use(runner: Bench) -> None:
    runner.worker()
    row = await waiting(runner, output("scenario=parallel calls=3", most=1))
    [found] = await asked(runner, row["id"])
    await vote(runner, found)
    ended = await runner.ended(row["id"])
    told = [answer["content"][0]["text"] for answer in answers(runner, ended)]
    assert sum("used up" in text for text in told) == 2


async def test_people_are_not_asked_for_ever(runner: Bench) -> None:
    runner.worker()
    scenario = f"scenario=custom_tools times={MAX_DENIED + 2}"
    (run_id,) = await runner.take(output(scenario, most=20))
    for n in range(MAX_DENIED):
        while len(found := await asked(runner, run_id)) <= n:
            await asyncio.sleep(0.01)
        await vote(runner, found[-1], approve=False)
    ended = await runner.ended(run_id)
    assert len(await asked(runner, run_id)) == MAX_DENIED
    told = [answer["content"][0]["text"] for answer in answers(runner, ended)]
    assert sum("nobody is asked again" in text for text in told) == 2


async def test_a_run_that_waits_can_be_cancelled_and_takes_its_question_back(runner: Bench) -> None:
    runner.worker()
    row = await waiting(runner, output())
    await question(runner, "Approval needed")
    await runner.database.write(runs.ask_to_stop, row["id"], reason="cancelled")
    ended = await runner.ended(row["id"])
    assert ended["status"] == "cancelled"
    [found] = await asked(runner, row["id"])
    assert found.status is ApprovalStatus.WITHDRAWN
    await question(runner, "Not wanted any more.")
    assert (await vote(runner, found)).vote is Vote.REFUSED


async def test_a_follow_up_that_interrupts_does_not_wait_for_people(runner: Bench) -> None:
    runner.worker()
    row = await waiting(runner, output())
    follow = output("scenario=happy", n=1).model_copy(update={"manner": "interrupt"})
    (second,) = await runner.take(follow)
    assert (await runner.ended(row["id"]))["status"] == "interrupted"
    assert (await runner.ended(second))["status"] == "succeeded"
    [found] = await asked(runner, row["id"])
    assert found.status is ApprovalStatus.WITHDRAWN


async def test_a_follow_up_that_steers_is_told_after_the_decision(runner: Bench) -> None:
    runner.worker()
    row = await waiting(runner, output())
    follow = output("scenario=happy", n=1).model_copy(update={"manner": "steer"})
    (second,) = await runner.take(follow)
    await asyncio.sleep(0.3)
    assert (await runner.row(second))["status"] == "queued"
    [found] = await asked(runner, row["id"])
    await vote(runner, found)
    await runner.ended(row["id"])
    assert (await runner.ended(second))["status"] in {"succeeded", "joined"}


async def test_whoever_steered_the_run_asked_for_it_too(runner: Bench) -> None:
    """Somebody else's words in the same turn: what comes of them is theirs to ask, not to approve."""
    runner.worker()
    said = said_by("9", n=1)
    (run_id, second) = await runner.take(output(), said)
    row = await runner.until(run_id, lambda row: row["status"] == RunStatus.WAITING)
    await runner.write(update(table(RunRow)).where(table(RunRow).c.id == second).values(joined_to=run_id))
    await runner.write(
        update(table(RunRow)).where(table(RunRow).c.id == second).values(status="joined", message_id="sevt_9")
    )
    [found] = await asked(runner, row["id"])
    other = Person("github:9", "owner", connection="acme-github")
    assert "may not approve" in (await vote(runner, found, other)).text
    assert (await vote(runner, found, ADA)).vote is Vote.DECIDED
    await runner.ended(run_id)


async def test_the_last_words_of_an_agent_whose_comments_need_approval_are_not_posted(runner: Bench) -> None:
    """Else a comment that was denied would come out by another door."""
    runner.worker()
    row = await waiting(runner, output("scenario=custom_tools"))
    [found] = await asked(runner, row["id"])
    await vote(runner, found, approve=False)
    ended = await runner.ended(row["id"])
    assert ended["final_text"]
    said = await question(runner, "Denied by ada")
    assert runner.comments() == [said]


async def test_a_failed_run_does_not_quote_what_nobody_approved(runner: Bench) -> None:
    runner.worker()
    row = await waiting(runner, output("scenario=custom_tools"))
    await runner.database.write(runs.ask_to_stop, row["id"], reason="cancelled")
    await runner.ended(row["id"])
    told = await question(runner, "The agent was stopped")
    assert "The last it said" not in told


async def test_a_staged_run_asks_nobody(runner: Bench) -> None:
    runner.worker()
    row = await runner.run(output().model_copy(update={"staged": True}))
    assert row["status"] == "succeeded", row["error"]
    assert await asked(runner, row["id"]) == []
    assert runner.comments() == []


async def test_a_clock_that_is_over_while_nobody_looks_ends_the_waiting(runner: Bench) -> None:
    """Every process was away when the time was over."""
    worker = runner.worker()
    row = await waiting(runner, output())
    await worker.stop()
    [found] = await asked(runner, row["id"])
    rows = table(ApprovalRow)
    await runner.write(update(rows).where(rows.c.id == found.id).values(expires_at=1.0))
    runner.worker("two")
    ended = await runner.ended(row["id"])
    assert ended["status"] == "succeeded", ended["error"]
    assert "nobody approved it in time" in answers(runner, row)[0]["content"][0]["text"]
