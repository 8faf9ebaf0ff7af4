"""A hub and its sandbox in this process, on the demo's configuration or a changed one, for end-to-end tests."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx
import yaml
from patience import until
from sqlalchemy import Connection, select
from sqlmodel import SQLModel

from crash.outside import Artefact, artefacts
from crash.webhooks import Webhook
from hub.configuration import load_configuration
from hub.demo.scenarios import DEMO_SECRETS, configuration
from hub.hub import Hub, running_hub
from hub.parts import Makers
from hub.reload import Reload
from hub.settings import Settings
from sandbox.managed_agents.state import AgentsState
from sandbox.server import Sandbox, serve
from storage.rows import table
from storage.states import RUN_TERMINAL
from storage.tables import EventRow, RunRow, VerdictRow

SOURCES: Final = ("github", "jira", "sentry", "slack")
WAIT_SECONDS: Final = 40.0
Edit = Callable[[dict[str, Any]], None]


@dataclass(frozen=True, slots=True)
class Stage:
    """Both, running."""

    hub: Hub
    sandbox: Sandbox
    http: httpx.AsyncClient

    @property
    def agents(self) -> AgentsState:
        """The inside of the Managed Agents emulator."""
        agents = self.sandbox.world.agents
        assert isinstance(agents, AgentsState)
        return agents

    async def send(self, webhook: Webhook) -> httpx.Response:
        """Sign and post, once."""
        return await webhook.send(self.http, self.hub.url)

    async def accepted(self, webhook: Webhook) -> str:
        """Send a webhook that must be taken as something new; returns its event's id."""
        answer = await self.send(webhook)
        assert answer.status_code == 202, answer.text
        (event,) = answer.json()["events"]
        return str(event)

    async def rows(self, model: type[SQLModel], **equal: Any) -> list[dict[str, Any]]:
        """Rows of the hub's database."""

        def read(connection: Connection) -> list[dict[str, Any]]:
            rows = table(model)
            query = select(rows).where(*(rows.c[name] == value for name, value in equal.items()))
            return [dict(row) for row in connection.execute(query).mappings()]

        return await self.hub.database.read(read)

    async def until(self, met: Callable[[], Awaitable[Any]], *, seconds: float = WAIT_SECONDS) -> Any:
        """Wait for something true and return it."""
        return await until(met, seconds=seconds)

    async def routed(self, event_id: str) -> list[dict[str, Any]]:
        """Wait until the event is routed; its verdicts."""

        async def done() -> bool:
            return any(row["routed_at"] is not None for row in await self.rows(EventRow, id=event_id))

        await self.until(done)
        return await self.rows(VerdictRow, event_id=event_id)

    async def ended(self, event_id: str) -> dict[str, Any]:
        """Wait until the event's one run has ended; its row."""

        async def done() -> dict[str, Any] | None:
            rows = await self.rows(RunRow, event_id=event_id)
            return rows[0] if rows and rows[0]["status"] in RUN_TERMINAL else None

        found: dict[str, Any] = await self.until(done)
        return found

    def made(self, run_id: str) -> list[Artefact]:
        """What a run left outside."""
        return [one for one in artefacts(self.sandbox.world.state()) if one.run == run_id]


@asynccontextmanager
async def stage(
    folder: Path,
    *,
    edit: Edit | None = None,
    create_missing: bool = True,
    environment: Mapping[str, str] = DEMO_SECRETS,
    before: Callable[[Sandbox], Awaitable[None]] | None = None,
    makers: Makers | None = None,
    watched: bool = False,
    **settings: Any,
) -> AsyncIterator[Stage]:
    """Start both. `edit` changes the configuration before it is loaded; `before` runs when only the sandbox does.

    `watched`: a changed configuration is taken over, as `triggerhub up` does it, but sooner.
    """
    async with serve(create_missing=create_missing, pace=0.005) as sandbox:
        if before is not None:
            await before(sandbox)
        config = yaml.safe_load(configuration({source: sandbox.api_url(source) for source in SOURCES}))
        if edit is not None:
            edit(config)
        path = folder / "triggerhub.yaml"
        path.write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
        chosen = Settings.model_validate(
            {
                "config": path,
                "database_url": f"sqlite:///{folder}/hub.db",
                "kafka_bootstrap_servers": None,
                "session_creates_per_minute": 10_000,
                "session_reads_per_minute": 100_000,
                "ANTHROPIC_API_KEY": "sandbox-key",
                "ANTHROPIC_BASE_URL": sandbox.anthropic_url,
                **settings,
            }
        )
        loaded = load_configuration(path)
        watch = (
            Reload(path, load_configuration, environment=environment, look_seconds=0.1).watch
            if watched
            else None
        )
        async with (
            running_hub(chosen, loaded, port=0, environment=environment, makers=makers, watch=watch) as hub,
            httpx.AsyncClient(timeout=30, trust_env=False) as http,
        ):
            yield Stage(hub, sandbox, http)
