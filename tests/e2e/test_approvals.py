"""People decide in Slack, on GitHub, on Jira, through the API and the command line; and steer runs where they work."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, Final

import pytest
from approval_webhooks import by_github, by_jira, by_sentry, click, edited, slash
from command_line import triggerhub
from crash.stage import Edit, Stage, stage
from crash.webhooks import CHANNEL, github_comment, jira_label, sentry_alert, slack_mention, slack_words

from sandbox.slack.state import SlackMessage
from storage.tables import ApprovalRow, ApprovalVote, DispatchRow, ResultRow, RunRow, VerdictRow

THREAD: Final = "1795400001.000100"
SPEAK: Final = "Say it. [sandbox: scenario=custom_tools]"
SLOW: Final = "Think. [sandbox: scenario=slow seconds=30]"
ASKED_BY: Final = 5_100_231
OTHER: Final = 5_100_777


def rules(approve: Mapping[str, Any] | None = None, *, prompt: str = SPEAK) -> Edit:
    """Three rules whose agents comment, if people let them."""
    output = {"comment": {"to": "origin", **({} if approve is None else {"approve": dict(approve)})}}

    def edit(config: dict[str, Any]) -> None:
        agent = next(iter(config["agents"]))
        plain = {"agent": agent, "prompt": prompt, "outputs": [output]}
        config["rules"] = [
            {
                "name": "on-github",
                "match": {
                    "connection": "acme-github",
                    "kind": "comment.created",
                    "if": 'event.text.contains("@triggerhub")',
                },
                **plain,
            },
            {"name": "on-jira", "match": {"connection": "acme-jira", "kind": "issue.labeled"}, **plain},
            {"name": "on-sentry", "match": {"connection": "acme-sentry", "kind": "alert.fired"}, **plain},
            {"name": "on-slack", "match": {"connection": "acme-slack", "kind": "message.mention"}, **plain},
        ]

    return edit


def running(folder: Path, edit: Edit) -> AbstractAsyncContextManager[Stage]:
    return stage(folder, edit=edit, api_token="tok-0123456789")


async def waiting(found: Stage, event: str) -> dict[str, Any]:
    """The event's run once it waits for people."""

    async def done() -> dict[str, Any] | None:
        rows = await found.rows(RunRow, event_id=event)
        return rows[0] if rows and rows[0]["status"] == "waiting" else None

    row: dict[str, Any] = await found.until(done)
    return row


async def approval(found: Stage, run: str) -> dict[str, Any]:
    (row,) = await found.rows(ApprovalRow, run_id=run)
    return row


async def until_status(found: Stage, run: str, status: str) -> dict[str, Any]:
    async def done() -> dict[str, Any] | None:
        row = await approval(found, run)
        return row if row["status"] == status else None

    row: dict[str, Any] = await found.until(done)
    return row


async def verdict(found: Stage, event: str) -> dict[str, Any]:
    (row,) = await found.routed(event)
    return row


def thread(found: Stage) -> list[SlackMessage]:
    """What the hub wrote in the thread."""
    return [one for one in found.sandbox.world.slack.ensure_channel(CHANNEL).thread(THREAD) if one.bot]


async def slack_question(found: Stage, *, words: str = "Approval needed") -> SlackMessage:
    async def done() -> SlackMessage | None:
        return next((one for one in thread(found) if words in one.text), None)

    message: SlackMessage = await found.until(done)
    return message


def comments(found: Stage, number: int) -> list[str]:
    issue = found.sandbox.world.github.ensure_repo("acme/checkout").issues.get(number)
    return [one.body for one in issue.comments] if issue is not None else []


async def comment(found: Stage, number: int, words: str) -> str:
    async def done() -> str | None:
        return next((one for one in comments(found, number) if words in one), None)

    said: str = await found.until(done)
    return said


# --------------------------------------------------------------------------------------------------------- approving


async def test_asked_in_slack_and_decided_by_a_button(tmp_path: Path) -> None:
    async with running(tmp_path, rules({})) as found:
        event = await found.accepted(slack_mention(THREAD))
        run = await waiting(found, event)
        question = await slack_question(found)
        assert [one.ts for one in thread(found)] == [question.ts], (
            "nothing is posted before somebody says yes"
        )
        session = found.agents.sessions[run["session_id"]]

        async def closed() -> bool:
            return not session.history.subscribers

        await found.until(closed, seconds=5)
        own = click(
            question, "triggerhub.approve", thread=THREAD, user="U0ADA001", moment="1795400010.000100"
        )
        assert "asked for it" in (await verdict(found, await found.accepted(own)))["reason"]
        assert (await approval(found, run["id"]))["status"] == "asked"
        yes = click(
            question, "triggerhub.approve", thread=THREAD, user="U0GRACE01", moment="1795400011.000100"
        )
        first = await found.accepted(yes)
        again = await found.send(yes)  # Slack's own copy
        assert again.json()["events"] in ([], [first])
        double = click(
            question, "triggerhub.approve", thread=THREAD, user="U0GRACE01", moment="1795400012.000100"
        )
        assert "already" in (await verdict(found, await found.accepted(double)))["reason"]
        ended = await found.ended(event)
        assert ended["status"] == "succeeded", ended["error"]
        told = await slack_question(found, words="Approved by u0grace01")
        assert told.ts == question.ts, "the question itself says so"
        assert all(block["type"] != "actions" for block in told.blocks), "no buttons are left"
        held = (await found.rows(ResultRow, run_id=run["id"], output="comment"))[0]
        posted = [
            one
            for one in thread(found)
            if one.metadata and one.metadata["event_payload"].get("slot") == held["slot"]
        ]
        assert len(posted) == 1
        assert len(await found.rows(ApprovalVote, approval=(await approval(found, run["id"]))["id"])) == 1


async def test_a_comment_on_github_decides_and_edits_decide_nothing(tmp_path: Path) -> None:
    async with running(tmp_path, rules({"by": "member"})) as found:
        event = await found.accepted(github_comment(41, 1001, "@triggerhub why?"))
        run = await waiting(found, event)
        code = (await approval(found, run["id"]))["code"]
        said = await comment(found, 41, "Approval needed")
        assert f"/triggerhub approve {code}" in said
        yes = f"/triggerhub approve {code}"
        await found.routed(await found.accepted(by_github(41, 1002, yes, user=ASKED_BY)))
        await found.routed(await found.accepted(by_github(41, 1003, yes, user=7_001, trust="NONE")))
        harmless = by_github(41, 1004, "Looks good to me.", user=OTHER)
        await found.routed(await found.accepted(harmless))
        changed = await found.accepted(edited(harmless, yes))
        assert "edited comment" in (await verdict(found, changed))["reason"]
        await found.routed(
            await found.accepted(by_github(41, 1005, "/triggerhub approve zzzzzzzzzz", user=OTHER))
        )
        assert (await approval(found, run["id"]))["status"] == "asked"
        assert await found.rows(ApprovalVote) == []
        await found.accepted(by_github(41, 1006, yes, user=OTHER))
        ended = await found.ended(event)
        assert ended["status"] == "succeeded", ended["error"]
        await comment(found, 41, "Approved by person-5100777")
        assert sum("Approval needed" in one for one in comments(found, 41)) == 0, "edited in place"
        assert len([one for one in found.made(run["id"]) if one.slot.startswith("comment:")]) == 1


async def test_a_comment_on_jira_denies_and_the_agent_hears_why(tmp_path: Path) -> None:
    async with running(tmp_path, rules({})) as found:
        event = await found.accepted(jira_label(3))
        run = await waiting(found, event)
        code = (await approval(found, run["id"]))["code"]
        no = by_jira(
            "SHOP-3", 501, f"/triggerhub deny {code} say which service", account="5f0000000000000000000abc"
        )
        row = await verdict(found, await found.accepted(no))
        assert (row["rule"], row["outcome"], row["clause"]) == ("on-jira", "suppressed", "command")
        ended = await found.ended(event)
        assert ended["status"] == "succeeded", ended["error"]
        (answer,) = [
            one
            for one in found.agents.sessions[run["session_id"]].history.events
            if one["type"] == "user.custom_tool_result"
        ]
        assert answer["is_error"] is True
        assert answer["content"][0]["text"].endswith(": say which service")
        assert not [one for one in found.made(run["id"]) if one.slot.startswith("comment:")]


@pytest.mark.parametrize("way", ["api", "command"])
async def test_the_api_and_the_command_line_decide(tmp_path: Path, way: str) -> None:
    async with running(tmp_path, rules({})) as found:
        event = await found.accepted(github_comment(42, 1101, "@triggerhub why?"))
        run = await waiting(found, event)
        row = await approval(found, run["id"])
        headers = {"Authorization": "Bearer tok-0123456789"}
        base = f"{found.hub.url}/api/v1"
        if way == "api":
            shown = (await found.http.get(f"{base}/approvals/{row['code']}", headers=headers)).json()
            vote = {"decision": "approve", "digest": shown["digest"]}
            done = await found.http.post(f"{base}/approvals/{row['code']}", headers=headers, json=vote)
            assert done.status_code == 200, done.text
        else:
            env = {"TRIGGERHUB_URL": found.hub.url, "TRIGGERHUB_API_TOKEN": "tok-0123456789"}
            ran = await asyncio.to_thread(triggerhub, "runs", "approve", run["id"], folder=tmp_path, env=env)
            assert ran.code == 0, ran.err
        ended = await found.ended(event)
        assert ended["status"] == "succeeded", ended["error"]
        assert len([one for one in found.made(run["id"]) if one.slot.startswith("comment:")]) == 1
        await comment(found, 42, "Approved by operator:api")


async def test_a_question_in_a_channel_of_its_own(tmp_path: Path) -> None:
    """Asked in Slack about work on GitHub; only the people whom the rule names count there."""
    place = {"connection": "acme-slack", "channel": CHANNEL}
    named = {"by": {"connection": "acme-slack", "ids": ["U0GRACE01"]}, "ask": place}
    async with running(tmp_path, rules(named)) as found:
        event = await found.accepted(github_comment(43, 1201, "@triggerhub why?"))
        run = await waiting(found, event)

        async def asked() -> SlackMessage | None:
            messages = found.sandbox.world.slack.ensure_channel(CHANNEL).messages.values()
            return next((one for one in messages if "Approval needed" in one.text), None)

        question: SlackMessage = await found.until(asked)
        assert comments(found, 43) == []
        for user, moment, status in (
            ("U0ADA001", "1795400020.000100", "asked"),
            ("U0GRACE01", "1795400021.000100", "approved"),
        ):
            yes = click(question, "triggerhub.approve", thread=question.ts, user=user, moment=moment)
            await found.routed(await found.accepted(yes))
            assert (await approval(found, run["id"]))["status"] == status
        ended = await found.ended(event)
        assert ended["status"] == "succeeded", ended["error"]


async def test_a_change_is_approved_file_by_file_and_committed_as_it_was_shown(tmp_path: Path) -> None:
    target = {
        "connection": "acme-github",
        "repository": "acme/checkout",
        "source": "patch",
        "paths": {"allow": ["docs/**"]},
        "approve": {"by": "operator"},
    }

    def edit(config: dict[str, Any]) -> None:
        rules(prompt="Repair it. [sandbox: scenario=patch]")(config)
        for rule in config["rules"]:
            rule["outputs"] = [{"open_pull_request": target}]

    async with running(tmp_path, edit) as found:
        event = await found.accepted(github_comment(45, 1401, "@triggerhub why?"))
        run = await waiting(found, event)
        repository = found.sandbox.world.github.repos["acme/checkout"]
        assert list(repository.branches) == ["main"], "nothing is pushed before somebody says yes"
        said = await comment(found, 45, "Approval needed")
        assert "docs/found.md" in said
        url = f"{found.hub.url}/api/v1/approvals/{(await approval(found, run['id']))['code']}"
        headers = {"Authorization": "Bearer tok-0123456789"}
        shown = (await found.http.get(url, headers=headers)).json()
        (file,) = shown["content"]["files"]
        vote = {"decision": "approve", "digest": shown["digest"]}
        assert (await found.http.post(url, headers=headers, json=vote)).status_code == 200
        ended = await found.ended(event)
        assert ended["status"] == "succeeded", ended["error"]
        (branch,) = [name for name in repository.branches if name.startswith("triggerhub/")]
        files = repository.commits[repository.branches[branch]].files
        assert {path: str(text) for path, text in files.items()} == {file["path"]: file["content"]}


# ---------------------------------------------------------------------------------------------------------- steering


async def at_work(found: Stage, event: str) -> dict[str, Any]:
    async def done() -> dict[str, Any] | None:
        rows = await found.rows(RunRow, event_id=event)
        return rows[0] if rows and rows[0]["status"] == "running" else None

    row: dict[str, Any] = await found.until(done)
    return row


async def retried(found: Stage, event: str) -> dict[str, Any]:
    """The run that a command made, at work."""

    async def done() -> dict[str, Any] | None:
        made = await found.rows(DispatchRow, event_id=event)
        rows = await found.rows(RunRow, dispatch_id=made[0]["id"]) if made else []
        return rows[0] if rows and rows[0]["status"] == "running" else None

    row: dict[str, Any] = await found.until(done)
    return row


async def test_status_cost_stop_and_retry_on_github(tmp_path: Path) -> None:
    async with running(tmp_path, rules(prompt=SLOW)) as found:
        event = await found.accepted(github_comment(51, 2001, "@triggerhub why?"))
        run = await at_work(found, event)
        sessions = len(found.agents.work)
        await found.accepted(by_github(51, 2002, "/triggerhub status"))
        said = await comment(found, 51, f"Run `{run['id']}` is running since")
        assert "has cost $0.00 so far, in 0 runs" in said
        await found.accepted(by_github(51, 2003, "@triggerhub cost"))
        await comment(found, 51, "What is at work now is counted when it ends.")
        stranger = await found.accepted(by_github(51, 2004, "/triggerhub stop", user=7_001, trust="NONE"))
        assert "no command from trust 'outsider'" in (await verdict(found, stranger))["reason"]
        assert (await found.rows(RunRow, id=run["id"]))[0]["status"] == "running"
        again = await found.accepted(by_github(51, 2005, "/triggerhub retry"))
        assert (await verdict(found, again))["reason"] == "something is at work"
        await found.accepted(by_github(51, 2006, "/triggerhub stop"))
        assert (await found.ended(event))["status"] == "cancelled"
        await comment(found, 51, f"Stopping `{run['id']}`.")
        assert len(found.agents.work) == sessions, "no command reached an agent"
        retry = await found.accepted(by_github(51, 2007, "/triggerhub retry"))
        row = await verdict(found, retry)
        assert (row["outcome"], row["clause"]) == ("matched", "command")
        second = await retried(found, retry)
        assert second["conversation"] == run["conversation"]
        await comment(found, 51, f"Trying it again, as `{second['id']}`.")
        assert len(found.agents.work) == sessions + 1
        await found.accepted(by_github(51, 2008, "/triggerhub stop"))

        async def stopped() -> bool:
            return bool(await found.rows(RunRow, id=second["id"], status="cancelled"))

        await found.until(stopped)


async def test_a_mention_in_the_slack_thread_and_a_slash_command_in_the_channel(tmp_path: Path) -> None:
    async with running(tmp_path, rules(prompt=SLOW)) as found:
        event = await found.accepted(slack_mention(THREAD))
        run = await at_work(found, event)
        await found.accepted(slack_words("1795400030.000100", "<@U0HUB001> status", thread=THREAD))
        await slack_question(found, words=f"Run `{run['id']}` is running since")
        none = await found.accepted(slash("status", trigger="9000.2.invented"))
        await found.routed(none)

        async def told() -> bool:
            messages = found.sandbox.world.slack.ensure_channel(CHANNEL).messages.values()
            return any("Name a run" in one.text for one in messages)

        await found.until(told)
        await found.accepted(slash(f"stop {run['id']}", trigger="9000.3.invented"))
        assert (await found.ended(event))["status"] == "cancelled"
        assert len(found.agents.work) == 1


async def test_a_command_on_jira(tmp_path: Path) -> None:
    async with running(tmp_path, rules(prompt=SLOW)) as found:
        event = await found.accepted(jira_label(5))
        await at_work(found, event)
        await found.accepted(by_jira("SHOP-5", 601, "/triggerhub stop", account="5f0000000000000000000abc"))
        assert (await found.ended(event))["status"] == "cancelled"


async def test_a_command_on_sentry(tmp_path: Path) -> None:
    async with running(tmp_path, rules(prompt=SLOW)) as found:
        alert = sentry_alert(9)
        event = await found.accepted(alert)
        await at_work(found, event)
        stop = await found.accepted(by_sentry(alert.subject, 701, "/triggerhub stop", user=2_890_211))
        assert (await verdict(found, stop))["clause"] == "command"
        assert (await found.ended(event))["status"] == "cancelled"


@pytest.mark.parametrize("way", ["api", "command"])
async def test_an_operator_says_something_to_a_session(tmp_path: Path, way: str) -> None:
    async with running(tmp_path, rules(prompt="Answer. [sandbox: scenario=happy]")) as found:
        event = await found.accepted(github_comment(53, 2201, "@triggerhub why?"))
        run = await found.ended(event)
        if way == "api":
            headers = {"Authorization": "Bearer tok-0123456789"}
            url = f"{found.hub.url}/api/v1/runs/{run['id']}/say"
            done = await found.http.post(url, headers=headers, json={"text": "Mind the vouchers."})
            assert done.status_code == 202, done.text
            said = done.json()
        else:
            command = ("runs", "say", run["id"], "Mind the vouchers.", "--json")
            env = {"TRIGGERHUB_URL": found.hub.url, "TRIGGERHUB_API_TOKEN": "tok-0123456789"}
            ran = await asyncio.to_thread(triggerhub, *command, folder=tmp_path, env=env)
            assert ran.code == 0, ran.err
            said = ran.json()

        async def done_with() -> dict[str, Any] | None:
            rows = await found.rows(RunRow, id=said["run_id"])
            return rows[0] if rows and rows[0]["status"] == "succeeded" else None

        second: dict[str, Any] = await found.until(done_with)
        assert second["session_id"] == run["session_id"]
        told = [
            str(one["content"])
            for one in found.agents.sessions[run["session_id"]].history.events
            if one["type"] == "user.message"
        ]
        assert "Mind the vouchers." in told[-1]
        assert len(found.made(second["id"])) == 1, "the answer stands where the work is"


async def test_a_replayed_command_is_not_obeyed_again(tmp_path: Path) -> None:
    async with running(tmp_path, rules(prompt=SLOW)) as found:
        event = await found.accepted(github_comment(52, 2101, "@triggerhub why?"))
        await at_work(found, event)
        stop = await found.accepted(by_github(52, 2102, "/triggerhub stop"))
        await found.ended(event)
        retry = await found.accepted(by_github(52, 2103, "/triggerhub retry"))
        second = await retried(found, retry)
        headers = {"Authorization": "Bearer tok-0123456789"}
        url = f"{found.hub.url}/api/v1/events/{stop}/replay"
        done = await found.http.post(url, headers=headers, json={"again": True})
        assert done.status_code < 300, done.text

        async def judged() -> bool:
            return any(row["replay"] == 1 for row in await found.rows(VerdictRow, event_id=stop))

        await found.until(judged)
        assert (await found.rows(RunRow, id=second["id"]))[0]["status"] == "running"
        assert (
            json.dumps([row["reason"] for row in await found.rows(VerdictRow, event_id=stop)]).count("once")
            == 1
        )
