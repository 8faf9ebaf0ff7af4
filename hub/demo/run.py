"""Runs the demo: sandbox, hub, signed webhooks over real HTTP, and waiting for what comes of them."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx

from connectors.registry import connector
from hub.configuration import load_configuration
from hub.demo.progress import Standing, refresh
from hub.demo.scenarios import DEMO_SECRETS, SCENARIOS, Scenario, configuration, webhook
from hub.hub import Hub, running_hub
from hub.settings import Settings
from sandbox.server import Sandbox, serve

FOLDER: Final = Path(".triggerhub/demo")
SCENARIO_SECONDS: Final = 60.0
LOOK_SECONDS: Final = 0.1


@dataclass(frozen=True, slots=True)
class Demo:
    """A hub and the sandbox it talks to."""

    hub: Hub
    sandbox: Sandbox
    folder: Path


@asynccontextmanager
async def demo_hub(folder: Path = FOLDER, *, port: int = 0) -> AsyncIterator[Demo]:
    """Start both on free ports with a fresh database. Nothing leaves this machine."""
    _emptied(folder)
    async with serve(create_missing=True) as sandbox:
        sources = ("github", "jira", "sentry", "slack")
        path = folder / "triggerhub.yaml"
        path.write_text(
            configuration({source: sandbox.api_url(source) for source in sources}), encoding="utf-8"
        )
        settings = Settings.model_validate(
            {
                "config": path,
                "database_url": f"sqlite:///{folder}/hub.db",
                "kafka_bootstrap_servers": None,
                "ANTHROPIC_API_KEY": "demo-key",
                "ANTHROPIC_BASE_URL": sandbox.anthropic_url,
            }
        )
        loaded = load_configuration(path)
        async with running_hub(settings, loaded, port=port, environment=DEMO_SECRETS) as hub:
            yield Demo(hub=hub, sandbox=sandbox, folder=folder)


async def send(demo: Demo, scenario: Scenario, http: httpx.AsyncClient) -> Standing:
    """Sign the scenario's webhook as its vendor would and post it."""
    standing = Standing(scenario)
    connection = demo.hub.connections[scenario.connection]
    headers, body = webhook(scenario.webhook)
    signed = connector(connection.settings.source).sign(
        headers, body, secret=connection.webhook_secrets[0], now=time.time()
    )
    response = await http.post(f"{demo.hub.url}/hooks/{scenario.connection}", content=body, headers=signed)
    standing.answer = f"{response.status_code} {response.reason_phrase}"
    if response.is_success:
        events = response.json()["events"]
        standing.event_id = events[0] if events else None
    return standing


async def play(
    demo: Demo, *, scenarios: Sequence[Scenario] = SCENARIOS, show: Callable[[Sequence[Standing]], None]
) -> list[Standing]:
    """Send every scenario's webhook, follow them all to their end, calling `show` as they change."""
    async with httpx.AsyncClient(timeout=30) as http:
        standings = [await send(demo, scenario, http) for scenario in scenarios]
    until = time.monotonic() + SCENARIO_SECONDS
    while True:
        for standing in standings:
            await demo.hub.database.read(refresh, standing)
        show(standings)
        if (
            all(standing.ended or standing.event_id is None for standing in standings)
            or time.monotonic() > until
        ):
            return standings
        await asyncio.sleep(LOOK_SECONDS)


def _emptied(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)


def _written(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
