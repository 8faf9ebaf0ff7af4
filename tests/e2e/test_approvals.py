"""People decide what agents may do: in Slack, on GitHub, on Jira, through the API and by the command line."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from approval_stage import (
    ASKED_BY,
    OTHER,
    THREAD,
    approval,
    comment,
    comments,
    rules,
    running,
    slack_question,
    thread,
    verdict,
    waiting,
)
from approval_webhooks import by_github, by_jira, click, edited
from command_line import triggerhub
from crash.webhooks import CHANNEL, github_comment, jira_label, slack_mention

from sandbox.slack.state import SlackMessage
from storage.tables import ApprovalVote, ResultRow


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
