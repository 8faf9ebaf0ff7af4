"""What people see at the origin while an agent is at work: that it was seen, how it stands, and how it ended."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import pytest
from command_line import triggerhub
from crash.outside import Artefact
from crash.stage import Edit, Stage, stage
from crash.webhooks import Webhook, github_comment, jira_label, sentry_alert, slack_mention

from storage.presence_tables import PresenceRow
from storage.tables import RunRow

COMMENT: Final = 5_001
THREAD: Final = "1795400001.000100"
SEEN_SECONDS: Final = 10.0
MATCHES: Final[Mapping[str, dict[str, Any]]] = {
    "github": {
        "connection": "acme-github",
        "kind": "comment.created",
        "if": 'event.text.contains("@triggerhub")',
    },
    "jira": {"connection": "acme-jira", "kind": "issue.labeled"},
    "sentry": {"connection": "acme-sentry", "kind": "alert.fired"},
    "slack": {"connection": "acme-slack", "kind": "message.mention"},
}
SOURCES: Final = tuple(MATCHES)


def webhook_of(source: str) -> Webhook:
    match source:
        case "github":
            return github_comment(31, COMMENT, "@triggerhub why?")
        case "jira":
            return jira_label(7)
        case "sentry":
            return sentry_alert(3)
        case _:
            return slack_mention(THREAD)


def ruled(scenario: str, **rule: Any) -> Edit:
    """One rule for each source, with presence unless `rule` says otherwise."""

    def edit(config: dict[str, Any]) -> None:
        config["connections"]["acme-jira"]["seen_label"] = "agent-saw-it"
        agent = next(iter(config["agents"]))
        plain = {
            "agent": agent,
            "prompt": f"Look. [sandbox: {scenario}]",
            "outputs": [{"comment": {"to": "origin"}}],
            "presence": "status",
            **rule,
        }
        config["rules"] = [
            {"name": f"on-{source}", "match": match, **plain} for source, match in MATCHES.items()
        ]

    return edit


def marks(running: Stage, source: str) -> list[str]:
    """The signs that it was seen."""
    world = running.sandbox.world
    match source:
        case "github":
            comments = world.github.repos["acme/checkout"].loose_comments.values()
            return [mark.content for one in comments for mark in one.reactions]
        case "jira":
            return [label for one in world.jira.issues.values() for label in one.fields["labels"]]
        case "slack":
            messages = [one for channel in world.slack.channels.values() for one in channel.messages.values()]
            return [name for one in messages for name in one.reactions]
        case _:
            return []


MARKS: Final[Mapping[str, str]] = {"github": "eyes", "jira": "agent-saw-it", "slack": "eyes"}


def statuses(running: Stage, run: str) -> list[Artefact]:
    return [one for one in running.made(run) if one.slot.startswith("status")]


async def shown(running: Stage, run: str) -> Artefact:
    """The run's one status message, once it shows the end."""

    async def through() -> bool:
        rows = await running.rows(PresenceRow, run_id=run)
        return bool(rows) and all(row["status"] != "open" for row in rows)

    await running.until(through, seconds=60)
    (status,) = statuses(running, run)
    return status


@pytest.mark.parametrize("source", SOURCES)
async def test_it_is_seen_within_seconds_and_one_message_tells_how_it_goes(
    tmp_path: Path, source: str
) -> None:
    edit = ruled("scenario=slow seconds=4")
    async with stage(tmp_path, edit=edit) as running:
        began = time.monotonic()
        event = await running.accepted(webhook_of(source))

        async def run_id() -> str | None:
            rows = await running.rows(RunRow, event_id=event)
            return str(rows[0]["id"]) if rows else None

        run = str(await running.until(run_id))

        async def is_seen() -> bool:
            mark = MARKS.get(source)
            return bool(statuses(running, run)) and (mark is None or mark in marks(running, source))

        await running.until(is_seen, seconds=SEEN_SECONDS)
        assert time.monotonic() - began < SEEN_SECONDS
        (first,) = statuses(running, run)
        assert "Done." not in first.text
        ended = await running.ended(event)
        assert ended["status"] == "succeeded", ended["error"]
        last = await shown(running, run)
        for words in ("Done.", "$", f"on-{source}", run, " s"):
            assert words in last.text
        assert first.where == last.where


async def test_edits_are_few_and_the_end_is_one_of_them(tmp_path: Path) -> None:
    async with stage(tmp_path, edit=ruled("scenario=custom_tools times=30 pace=0.1")) as running:
        event = await running.accepted(webhook_of("slack"))
        row = await running.ended(event)
        await shown(running, row["id"])
        (presence,) = await running.rows(PresenceRow, run_id=row["id"], kind="status")
        lasted = presence["updated_at"] - presence["created_at"]
        edits = running.sandbox.world.log.calls("slack", path="/chat.update")
        assert 1 <= len(edits) <= lasted / 4 + 1


async def test_links_to_what_was_made_stand_there(tmp_path: Path) -> None:
    async with stage(tmp_path, edit=ruled("scenario=custom_tools")) as running:
        row = await running.ended(await running.accepted(webhook_of("github")))
        status = await shown(running, row["id"])
        (said,) = (one for one in running.made(row["id"]) if one.slot.startswith("comment"))
        assert said.text
        assert "Made: [comment](" in status.text


async def test_runs_show_tells_of_the_signs(tmp_path: Path) -> None:
    async with stage(tmp_path, edit=ruled("scenario=happy")) as running:
        row = await running.ended(await running.accepted(webhook_of("github")))
        await shown(running, row["id"])
        command = ("runs", "show", row["id"], "--url", running.hub.url)
        done = await asyncio.to_thread(triggerhub, *command, folder=tmp_path)
        assert done.code == 0, done.err
        assert "presence (seen): shown" in done.out
        assert (
            "presence (status): shown, https://github.com/acme/checkout/issues/31#issuecomment-" in done.out
        )


async def test_a_failure_is_told_once_and_plainly(tmp_path: Path) -> None:
    async with stage(tmp_path, edit=ruled("scenario=terminal")) as running:
        row = await running.ended(await running.accepted(webhook_of("github")))
        assert row["status"] == "failed"
        status = await shown(running, row["id"])
        assert "**Failed.**" in status.text
        assert str(row["error"])[:20] in status.text
        assert "replay" in status.text
        assert len(running.made(row["id"])) == 1


async def test_a_timeout_is_told_plainly(tmp_path: Path) -> None:
    edit = ruled("scenario=slow seconds=60", limits={"timeout": "1s"})
    async with stage(tmp_path, edit=edit) as running:
        row = await running.ended(await running.accepted(webhook_of("github")))
        assert row["status"] == "timed_out"
        status = await shown(running, row["id"])
        assert "**Out of time.** The agent reached its limit of 1 s" in status.text
        assert len(running.made(row["id"])) == 1


async def test_a_refusal_is_told_plainly(tmp_path: Path) -> None:
    async with stage(tmp_path, edit=ruled("scenario=tempted")) as running:
        row = await running.ended(await running.accepted(webhook_of("github")))
        status = await shown(running, row["id"])
        assert "Not posted: comment (refused by the rule: links)." in status.text
        assert "evil-host" not in status.text


async def test_without_presence_nothing_is_shown(tmp_path: Path) -> None:
    async with stage(tmp_path, edit=ruled("scenario=happy", presence="none")) as running:
        row = await running.ended(await running.accepted(webhook_of("github")))
        assert await running.rows(PresenceRow, run_id=row["id"]) == []
        assert marks(running, "github") == []
        assert [one.slot for one in running.made(row["id"])] == ["final"]


async def test_a_check_stands_on_the_pull_request_that_the_run_opens(tmp_path: Path) -> None:
    def edit(config: dict[str, Any]) -> None:
        (rule,) = (one for one in config["rules"] if one["name"] == "jira-label-to-pr")
        rule["presence"] = {"show": "none", "check": "agent"}
        config["rules"] = [rule]

    async with stage(tmp_path, edit=edit) as running:
        row = await running.ended(await running.accepted(webhook_of("jira")))
        assert row["status"] == "succeeded", row["error"]

        async def through() -> bool:
            rows = await running.rows(PresenceRow, run_id=row["id"])
            return len(rows) == 2 and all(one["status"] == "shown" for one in rows)

        await running.until(through, seconds=60)
        repo = running.sandbox.world.github.repos["acme/shop"]
        (pull,) = (issue.pull for issue in repo.issues.values() if issue.pull is not None)
        mine = [one for one in repo.statuses if one.context == "agent"]
        assert {one.sha for one in mine} == {pull.head_sha}
        assert mine[-1].state == "success"
        assert str(mine[-1].description).startswith("Done, $")
