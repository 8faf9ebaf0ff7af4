"""Rules whose agents comment if people let them, on a stage; and what is to be seen there. Holds no expectations."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, Final

from crash.stage import Edit, Stage, stage
from crash.webhooks import CHANNEL

from sandbox.slack.state import SlackMessage
from storage.tables import ApprovalRow, RunRow

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
    return await _once(found, event, "waiting")


async def at_work(found: Stage, event: str) -> dict[str, Any]:
    """The event's run once its session works."""
    return await _once(found, event, "running")


async def _once(found: Stage, event: str, status: str) -> dict[str, Any]:
    async def done() -> dict[str, Any] | None:
        rows = await found.rows(RunRow, event_id=event)
        return rows[0] if rows and rows[0]["status"] == status else None

    row: dict[str, Any] = await found.until(done)
    return row


async def approval(found: Stage, run: str) -> dict[str, Any]:
    (row,) = await found.rows(ApprovalRow, run_id=run)
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
