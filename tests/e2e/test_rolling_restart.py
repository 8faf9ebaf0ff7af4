"""Every process of a cluster is stopped with SIGTERM and started again, one after the other, under load.

Nothing is dropped and nothing done twice; sessions go on meanwhile and are picked up again. Two ingresses stand behind
what a load balancer does: whoever refuses or says 503 is passed over.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Iterable

import httpx
import pytest
from crash.cluster import ROLES, Cluster, cluster
from crash.judge import World, judge, left_alone, read_books
from crash.webhooks import Load, Webhook
from hub_process import HubProcess
from services.kafka import Kafka
from services.postgres import Postgres
from sqlalchemy import Connection, func, select

from storage.database import Database, open_database
from storage.rows import table
from storage.states import RUN_ACTIVE
from storage.tables import RunRow

pytestmark = [pytest.mark.kafka, pytest.mark.postgres, pytest.mark.timeout(400)]
PROCESSES = {**ROLES, "ingress-2": "ingress"}
PACE = 0.3
"""Seconds between two steps of an agent: its session lasts for longer than a restart."""
BETWEEN_SECONDS = (0.3, 0.9)
STOP_SECONDS = 25.0
"""More than `hub.hub.STOP_SECONDS`: a stop that takes longer is a killed process."""
STALL_SECONDS = 60.0
"""While it settles something must get through in every span of this length."""


class Vendors:
    """Sends webhooks through a load balancer until told to stop, each until it is accepted."""

    def __init__(self, ingresses: Iterable[HubProcess]) -> None:
        self._ingresses = list(ingresses)
        self.answers: Counter[str] = Counter()
        self.sent: list[Webhook] = []
        self.enough = False

    async def run(self, http: httpx.AsyncClient) -> None:
        load = Load(4, 600, copies=0.0)
        load.deliveries()
        chance = random.Random(4)  # noqa: S311 - pauses
        async with asyncio.TaskGroup() as tasks:
            for n, webhook in enumerate(load.facts):
                if self.enough:
                    break
                self.sent.append(webhook)
                tasks.create_task(self._deliver(http, webhook, first=n))
                await asyncio.sleep(chance.uniform(*BETWEEN_SECONDS))

    async def _deliver(self, http: httpx.AsyncClient, webhook: Webhook, *, first: int) -> None:
        for turn in range(first, first + 200):
            try:
                answer = await webhook.send(http, self._ingresses[turn % len(self._ingresses)].url)
            except httpx.ConnectError:
                self.answers["refused"] += 1  # it does not listen: the next one is asked
            except httpx.HTTPError as error:
                self.answers[type(error).__name__] += 1
            else:
                self.answers[str(answer.status_code)] += 1
                if answer.is_success:
                    return
                assert answer.status_code != 503 or answer.headers["retry-after"]
            await asyncio.sleep(0.05)
        pytest.fail("no ingress took a webhook")


@pytest.mark.long(35)
async def test_each_process_in_turn(kafka: Kafka, postgres: Postgres) -> None:
    async with cluster(kafka, postgres, pace=PACE, processes=PROCESSES) as setup:
        database = open_database(setup.database_url)
        # Without kept connections: a server may close an idle one in the instant in which it is used again.
        limits = httpx.Limits(max_connections=50, max_keepalive_connections=0)
        try:
            async with httpx.AsyncClient(timeout=20, trust_env=False, limits=limits) as http:
                vendors = Vendors([setup.hubs["ingress"], setup.hubs["ingress-2"]])
                async with asyncio.TaskGroup() as tasks:
                    tasks.create_task(vendors.run(http))
                    codes = {name: await restart(setup, database, name) for name in setup.hubs}
                    vendors.enough = True
            await settled(setup, database, facts=len(vendors.sent))
            books = await database.read(read_books)
            claims = await database.read(most_claims)
        finally:
            await database.close()
        world = World(await setup.sandbox.state(), await setup.sandbox.work())
        log = (await setup.sandbox.get("/_sandbox/log?service=anthropic"))["calls"]
    assert codes == dict.fromkeys(PROCESSES, 0)
    assert set(vendors.answers) <= {"202", "503", "refused"}, vendors.answers
    assert vendors.answers["202"] == len(vendors.sent)
    assert judge(books, world, vendors.sent) == []
    assert claims > 1  # some were at work when their runner stopped, and another went on with them
    assert [call for call in log if "user.interrupt" in str(call["body"])] == []


async def restart(setup: Cluster, database: Database, name: str) -> int:
    """SIGTERM in the midst of work, and start again; its exit code."""
    if setup.hubs[name].name.startswith("runner"):
        async with asyncio.timeout(60):
            while not await database.read(held_by, setup.hubs[name].pid):
                await asyncio.sleep(0.05)
    else:
        await asyncio.sleep(0.5)
    code = await asyncio.to_thread(setup.hubs[name].stop, seconds=STOP_SECONDS)
    setup.hubs[name].start()
    await setup.hubs[name].ready()
    return code


def held_by(connection: Connection, pid: int) -> int:
    """Runs that a process has in hand."""
    rows = table(RunRow)
    query = select(func.count()).select_from(rows).where(rows.c.lease_owner.like(f"%-{pid}-%"))
    return int(connection.execute(query.where(rows.c.status.in_(sorted(RUN_ACTIVE)))).scalar_one())


def most_claims(connection: Connection) -> int:
    """How often the run was claimed that was claimed most often."""
    return int(connection.execute(select(func.max(table(RunRow).c.fence))).scalar_one())


async def settled(setup: Cluster, database: Database, *, facts: int) -> None:
    """Wait until everything that was accepted is through."""
    loop = asyncio.get_running_loop()
    over, moved = -1, loop.time()
    while True:
        books = await database.read(read_books)
        if books.events == facts and not books.unfinished:
            agents = await setup.sandbox.get("/anthropic/_emu/state")
            if not left_alone(agents):
                return
        if books.over != over:
            over, moved = books.over, loop.time()
        assert loop.time() - moved < STALL_SECONDS, books
        await asyncio.sleep(0.3)
