"""A cluster whose services go away: what is acknowledged is kept, and what cannot be kept is not acknowledged."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest
from crash.cluster import Cluster, cluster
from crash.judge import World, judge, read_books
from crash.webhooks import Webhook, github_comment, sentry_alert
from services.kafka import Kafka
from services.postgres import Postgres

from storage.database import open_database

pytestmark = [pytest.mark.kafka, pytest.mark.postgres, pytest.mark.timeout(300)]
ASKED = "@triggerhub where do we round the total?"
SETTLE_SECONDS = 90.0


@pytest.fixture
async def setup(kafka: Kafka, postgres: Postgres) -> AsyncIterator[Cluster]:
    """Every role in a process of its own."""
    async with cluster(kafka, postgres) as found:
        yield found


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(timeout=40, trust_env=False) as client:
        yield client


async def test_postgresql_is_killed(setup: Cluster, http: httpx.AsyncClient) -> None:
    webhook = github_comment(31, 1, ASKED)
    await asyncio.to_thread(setup.postgres.kill)
    answer = await webhook.send(http, setup.ingress.url)
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "5"
    await asyncio.to_thread(setup.postgres.restart)
    await setup.postgres.wait_until_ready()
    async with asyncio.timeout(30):
        while (await webhook.send(http, setup.ingress.url)).status_code != 202:
            await asyncio.sleep(0.1)
    assert await settled(setup, [webhook]) == []


async def test_kafka_is_away_while_webhooks_come_in(setup: Cluster, http: httpx.AsyncClient) -> None:
    await asyncio.to_thread(setup.kafka.kill)
    webhooks = [github_comment(31, 1, ASKED), sentry_alert(1)]
    for webhook in webhooks:
        assert (await webhook.send(http, setup.ingress.url)).status_code == 202  # it is in the database
    await asyncio.to_thread(setup.kafka.restart)
    assert await settled(setup, webhooks) == []
    assert {name: hub.lives for name, hub in setup.hubs.items()} == dict.fromkeys(setup.hubs, 1)


async def settled(setup: Cluster, facts: list[Webhook]) -> list[str]:
    """Wait until nothing is under way; the harness's verdict."""
    database = open_database(setup.database_url)
    try:
        async with asyncio.timeout(SETTLE_SECONDS):
            while True:
                books = await database.read(read_books)
                if len(books.runs) == len(facts) and not books.unfinished:
                    break
                await asyncio.sleep(0.2)
    finally:
        await database.close()
    world = World(await setup.sandbox.state(), await setup.sandbox.work())
    return judge(books, world, facts)
