"""People steer runs where they work: commands in threads of every source, and words of an operator."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from approval_stage import (
    SLOW,
    THREAD,
    at_work,
    comment,
    rules,
    running,
    slack_question,
    verdict,
)
from approval_webhooks import by_github, by_jira, by_sentry, slash
from command_line import triggerhub
from crash.stage import Stage
from crash.webhooks import CHANNEL, github_comment, jira_label, sentry_alert, slack_mention, slack_words

from storage.tables import DispatchRow, RunRow, VerdictRow


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
