"""The hub is killed around an approval, at steps that the outside world can see, and decided upon while it is dead."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
import yaml
from approval_webhooks import by_github
from command_line import triggerhub
from crash.outside import artefacts, twice
from crash.webhooks import github_comment
from hub_process import HubProcess, SandboxProcess, hub_environment
from patience import until
from sqlalchemy import Connection, select
from sqlmodel import SQLModel

from hub.demo.scenarios import DEMO_SECRETS, configuration
from storage.database import open_database
from storage.rows import table
from storage.tables import ApprovalRow, RunRow

pytestmark = pytest.mark.timeout(240)
SOURCES: Final = ("github", "jira", "sentry", "slack")
OTHER: Final = 5_100_777


@dataclass(frozen=True)
class Land:
    """A hub in a process of its own, the sandbox in another."""

    folder: Path
    hub: HubProcess
    sandbox: SandboxProcess
    environment: dict[str, str]

    async def rows(self, model: type[SQLModel]) -> list[dict[str, Any]]:
        database = open_database(self.environment["TRIGGERHUB_DATABASE_URL"])

        def read(connection: Connection) -> list[dict[str, Any]]:
            return [dict(row) for row in connection.execute(select(table(model))).mappings()]

        try:
            return await database.read(read)
        finally:
            await database.close()

    async def until(self, met: Callable[[], Awaitable[Any]], *, seconds: float = 60.0) -> Any:
        return await until(met, seconds=seconds)

    async def send(self, webhook: Any) -> None:
        async with httpx.AsyncClient(timeout=20, trust_env=False) as http:
            answer = await webhook.send(http, self.hub.url)
            assert answer.status_code == 202, answer.text

    async def run_is(self, *statuses: str) -> bool:
        return any(row["status"] in statuses for row in await self.rows(RunRow))

    async def waiting(self) -> dict[str, Any]:
        """The approval, once the run waits for it."""
        await self.until(lambda: self.run_is("waiting"))
        (row,) = await self.rows(ApprovalRow)
        return row

    async def comments(self) -> list[str]:
        state = await self.sandbox.state()
        issues = state["github"]["repos"]["acme/checkout"]["issues"].values()
        return [one["body"] for issue in issues for one in issue["comments"]]

    async def said(self, words: str) -> bool:
        return any(words in one for one in await self.comments())

    async def killed(self) -> None:
        await asyncio.to_thread(self.hub.kill)

    async def reborn(self) -> None:
        self.hub.start()
        await self.hub.answering()

    async def judged(self) -> None:
        """It ended well; one question that says so, one comment, nothing twice."""
        await self.until(lambda: self.run_is("succeeded"))
        await self.until(lambda: self.said("Approved by"))
        found = await self.comments()
        assert len(found) == 2, found
        assert sum("Approved by" in one for one in found) == 1
        assert not any("Approval needed" in one for one in found)
        assert twice(artefacts(await self.sandbox.state())) == []
        (row,) = await self.rows(RunRow)
        assert row["status"] == "succeeded"


@pytest.fixture
async def land(tmp_path: Path) -> AsyncIterator[Land]:
    sandbox = SandboxProcess(tmp_path, pace=0.005)
    await sandbox.up()
    config = yaml.safe_load(configuration({source: sandbox.api_url(source) for source in SOURCES}))
    rule = {
        "name": "asking",
        "match": {
            "connection": "acme-github",
            "kind": "comment.created",
            "if": 'event.text.contains("@triggerhub")',
        },
        "agent": next(iter(config["agents"])),
        "prompt": "Say it. [sandbox: scenario=custom_tools]",
        "outputs": [{"comment": {"to": "origin", "approve": {}}}],
    }
    path = tmp_path / "triggerhub.yaml"
    path.write_text(yaml.safe_dump({**config, "rules": [rule]}, sort_keys=False), encoding="utf-8")
    environment = hub_environment(
        database_url=f"sqlite:///{tmp_path}/hub.db",
        sandbox=sandbox,
        secrets=DEMO_SECRETS,
        session_creates_per_minute=10_000,
        session_reads_per_minute=100_000,
    )
    hub = HubProcess(tmp_path, config=path, environment=environment)
    hub.start()
    await hub.answering()
    try:
        yield Land(tmp_path, hub, sandbox, environment)
    finally:
        hub.stop()
        sandbox.stop()


def first() -> Any:
    return github_comment(61, 3001, "@triggerhub why?")


def yes(code: str) -> Any:
    return by_github(61, 3002, f"/triggerhub approve {code}", user=OTHER)


async def test_decided_on_the_command_line_while_no_hub_lives(land: Land) -> None:
    await land.send(first())
    row = await land.waiting()
    await land.until(lambda: land.said("Approval needed"))
    await land.killed()
    ran = await asyncio.to_thread(
        triggerhub, "runs", "approve", row["run_id"], folder=land.folder, env=land.environment
    )
    assert ran.code == 0, ran.err
    again = await asyncio.to_thread(
        triggerhub, "runs", "approve", row["run_id"], folder=land.folder, env=land.environment
    )
    assert again.code == 1
    assert len(await land.comments()) == 1, "nobody is there to post"
    await land.reborn()
    await land.judged()


@pytest.mark.parametrize("nth", ["question", "comment"])
async def test_between_a_post_and_its_receipt(land: Land, nth: str) -> None:
    fault = {"service": "github", "method": "POST", "path": "/repos/*/issues/*/comments"}
    if nth == "question":
        await land.sandbox.fault("commit_then_hang", **fault)
    await land.send(first())
    row = await land.waiting()
    if nth == "question":
        await land.until(lambda: land.sandbox.struck("commit_then_hang"))
        await land.killed()
        await land.reborn()
        await land.send(yes(row["code"]))
    else:
        await land.until(lambda: land.said("Approval needed"))
        await land.sandbox.fault("commit_then_hang", **fault)
        await land.send(yes(row["code"]))
        await land.until(lambda: land.sandbox.struck("commit_then_hang"))
        await land.killed()
        await land.reborn()
    # The answer in the thread is a third comment of ours.
    await land.until(lambda: land.run_is("succeeded"))
    await land.until(lambda: land.said("Approved by"))
    await land.until(lambda: land.said(f"`{row['code']}`: approved by"))
    found = await land.comments()
    assert len(found) == 3, found
    assert twice(artefacts(await land.sandbox.state())) == []


async def test_between_the_change_of_the_question_and_its_receipt(land: Land) -> None:
    await land.send(first())
    row = await land.waiting()
    await land.until(lambda: land.said("Approval needed"))
    await land.sandbox.fault("commit_then_hang", service="github", method="PATCH", path="*/issues/comments/*")
    ran = await asyncio.to_thread(
        triggerhub, "runs", "approve", row["run_id"], folder=land.folder, env=land.environment
    )
    assert ran.code == 0, ran.err
    await land.until(lambda: land.sandbox.struck("commit_then_hang"))
    await land.killed()
    await land.reborn()
    await land.judged()


async def test_between_the_answer_to_the_agent_and_its_echo(land: Land) -> None:
    await land.send(first())
    row = await land.waiting()
    await land.until(lambda: land.said("Approval needed"))
    await land.sandbox.fault(
        "commit_then_hang", service="anthropic", method="POST", path="/v1/sessions/*/events"
    )
    ran = await asyncio.to_thread(
        triggerhub, "runs", "approve", row["run_id"], folder=land.folder, env=land.environment
    )
    assert ran.code == 0, ran.err
    await land.until(lambda: land.sandbox.struck("commit_then_hang"))
    await land.killed()
    await land.reborn()
    await land.judged()
