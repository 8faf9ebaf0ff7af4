"""The hub is killed between writing down that the service rang and looking at the session: it looks in its next life."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
import yaml
from doorbell_webhooks import KEY, costly, told
from hub_process import HubProcess, SandboxProcess, hub_environment
from sqlalchemy import Connection, select

from runner.client import make_client
from storage.database import open_database
from storage.rows import table
from storage.tables import RunRow

pytestmark = pytest.mark.timeout(120)
SECRETS: Final = {"SECRET": "an-invented-webhook-secret", "TOKEN": "a-token", "KEY": KEY}
LEASE: Final = 3.0


@dataclass(frozen=True)
class Land:
    """A hub in a process of its own, the sandbox in another."""

    hub: HubProcess
    sandbox: SandboxProcess
    database_url: str

    async def until(self, met: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """The only run, once it is as wanted."""
        database = open_database(self.database_url)

        def read(connection: Connection) -> list[dict[str, Any]]:
            return [dict(row) for row in connection.execute(select(table(RunRow))).mappings()]

        try:
            async with asyncio.timeout(60):
                while not (found := [row for row in await database.read(read) if met(row)]):
                    await asyncio.sleep(0.02)
        finally:
            await database.close()
        return found[0]

    async def ask(self, path: str, body: Any) -> None:
        async with httpx.AsyncClient(base_url=self.sandbox.url, timeout=20, trust_env=False) as http:
            (await http.post(path, json=body)).raise_for_status()

    async def ring(self, what: str, session_id: str) -> None:
        headers, body = told(what, session_id)
        async with httpx.AsyncClient(timeout=20, trust_env=False) as http:
            answer = await http.post(f"{self.hub.url}/hooks/acme-anthropic", headers=headers, content=body)
        assert answer.status_code == 202


@pytest.fixture
async def land(tmp_path: Path) -> AsyncIterator[Land]:
    sandbox = SandboxProcess(tmp_path, pace=0.0)
    await sandbox.up()
    path = tmp_path / "triggerhub.yaml"
    path.write_text(yaml.safe_dump(costly(sandbox.api_url("github")), sort_keys=False), encoding="utf-8")
    database_url = f"sqlite:///{tmp_path}/hub.db"
    environment = hub_environment(
        database_url=database_url,
        sandbox=sandbox,
        secrets=SECRETS,
        session_creates_per_minute=10_000,
        session_reads_per_minute=100_000,
        run_lease_seconds=LEASE,
    )
    hub = HubProcess(tmp_path, config=path, environment=environment)
    hub.start()
    await hub.answering()
    try:
        yield Land(hub, sandbox, database_url)
    finally:
        hub.stop()
        sandbox.stop()


@pytest.mark.parametrize("looking", [False, True], ids=["as it is taken", "while it looks"])
async def test_a_ring_outlives_the_hub(land: Land, *, looking: bool) -> None:
    hook = {
        "service": "github",
        "url": f"{land.hub.url}/hooks/acme-github",
        "secret": SECRETS["SECRET"],
        "place": "acme/checkout",
    }
    await land.ask("/_sandbox/vendor/hooks", hook)
    act = {"act": "github_open", "arguments": {"repo": "acme/checkout", "title": "A costly bug"}}
    await land.ask("/_sandbox/vendor/acts", act)
    waiting = await land.until(lambda row: row["status"] == "waiting")
    session = waiting["session_id"]
    cap: Any = {"type": "limit", "max_list_cost": {"amount": "900", "currency": "USD"}}
    client = make_client(api_key="k", base_url=f"{land.sandbox.url}/anthropic", max_connections=2)
    await client.beta.sessions.update(session, budget=cap)
    await client.close()
    if looking:  # the look gets no answer until the process is gone
        fault = {"mode": "hang", "service": "anthropic", "method": "GET", "path": f"/v1/sessions/{session}"}
        await land.ask("/_sandbox/faults", fault)
    await land.ring("session.updated", session)
    if looking:
        await land.until(lambda row: row["rung"] == 1 and row["lease_owner"] is not None)
        async with asyncio.timeout(20):
            while (await land.sandbox.get("/_sandbox/faults"))["faults"]:
                await asyncio.sleep(0.02)
    await asyncio.to_thread(land.hub.kill)
    land.hub.start()
    await land.hub.answering()
    ended = await land.until(lambda row: row["status"] in {"succeeded", "failed"})
    assert (ended["status"], ended["session_id"], ended["rung"]) == ("succeeded", session, 1)
    state = await land.sandbox.state()
    (only,) = state["anthropic"]["sessions"]
    assert len(only["work"]) == 1, "the work was told once"
