"""The harness itself is tested: with one of the hub's checks switched off it must fail, and say why."""

from __future__ import annotations

import asyncio
import os
import signal
from itertools import pairwise

import httpx
import pytest
from services.kafka import Kafka
from services.postgres import Postgres
from sqlalchemy import Connection, select

from crash.cluster import Cluster, cluster
from crash.harness import Harness
from crash.judge import Books, World, judge, read_books, unequal
from crash.outside import Artefact, twice
from crash.schedule import KILLS, Act, schedule
from crash.setups import Embedded, embedded
from crash.webhooks import FAR, Load, github_comment
from storage.database import Database, open_database
from storage.rows import table
from storage.tables import RunRow

pytestmark = pytest.mark.timeout(300)


def lies(service: str, path: str = "*") -> Act:
    """The service does what it is asked for, and says that it failed."""
    fields = {"mode": "commit_then_status", "method": "POST", "status": 500, "times": 3, "path": path}
    return Act("fault", service, fields={**fields, "service": service})


@pytest.mark.parametrize(
    ("switch", "acts", "noticed"),
    [
        ("find", [lies("github"), lies("sentry"), lies("slack")], "artefacts made twice"),
        ("reconcile", [lies("anthropic", "/v1/sessions")], "made and never used nor archived"),
        ("dedup", [], "different facts were acknowledged"),
        ("sweep", [Act("hold", "broker", 0.5)], "messages never consumed"),
    ],
)
async def test_it_fails_with_a_check_switched_off(switch: str, acts: list[Act], noticed: str) -> None:
    """With what that check is there for, and nothing else."""
    async with embedded(without=[switch]) as setup:
        acts = [*acts, Act("kill", "hub", 4.0)]
        harness = Harness(setup, Load(5, 24, matching=0.7), acts=acts, say=lambda _: None)
        report = await harness.run(stall=10)
    assert any(noticed in violation for violation in report.violations), "\n".join(report.lines())


async def test_it_passes_with_all_of_them_switched_on() -> None:
    async with embedded() as setup:
        acts = [lies("github"), lies("anthropic", "/v1/sessions"), Act("away", "broker", 0.5, seconds=1.0)]
        acts.append(Act("kill", "hub", 4.0))
        harness = Harness(setup, Load(5, 24, matching=0.7), acts=acts, say=lambda _: None)
        report = await harness.run()
    assert report.violations == []


@pytest.mark.kafka
@pytest.mark.postgres
async def test_it_fails_with_the_fence_switched_off(kafka: Kafka, postgres: Postgres) -> None:
    """A runner sleeps in the middle of a create; another does the work; the first wakes and does it again."""
    fact = github_comment(31, 1, "@triggerhub where do we round the total?")
    async with cluster(kafka, postgres, without=["fence"]) as setup:
        await setup.sandbox.fault("hang", service="anthropic", method="POST", path="/v1/sessions")
        async with httpx.AsyncClient(timeout=20, trust_env=False) as http:
            assert (await fact.send(http, setup.ingress.url)).status_code == 202
        database = open_database(setup.database_url)
        try:
            sleeper = await until_creating(setup, database)
            os.kill(sleeper, signal.SIGSTOP)
            try:
                await until_over(database)
            finally:
                os.kill(sleeper, signal.SIGCONT)
            async with asyncio.timeout(30):
                while len(await setup.sandbox.work()) < 2:
                    await asyncio.sleep(0.1)
            books = await database.read(read_books)
        finally:
            await database.close()
        world = World(await setup.sandbox.state(), await setup.sandbox.work())
    found = judge(books, world, [fact])
    assert any("1 pieces of work wanted, 2 sent to 1 sessions" in one for one in found), found


async def until_creating(setup: Cluster, database: Database) -> int:
    """Wait until a runner hangs in a create; its process id."""

    def owner(connection: Connection) -> str | None:
        found: str | None = connection.execute(select(table(RunRow).c.lease_owner)).scalar()
        return found

    async with asyncio.timeout(30):
        while (await setup.sandbox.get("/_sandbox/faults"))["faults"]:
            await asyncio.sleep(0.02)
    name = await database.read(owner)
    assert name is not None
    return int(name.rsplit("-", 2)[1])


async def until_over(database: Database) -> None:
    """Wait until the other runner has done it."""
    async with asyncio.timeout(60):
        while True:
            books = await database.read(read_books)
            if books.runs and not books.unfinished:
                return
            await asyncio.sleep(0.1)


def test_a_ledger_that_is_a_cent_off_is_noticed() -> None:
    sessions = [{"id": "s1", "cost_cents": 6}, {"id": "s2", "cost_cents": 0}, {"id": "s4", "cost_cents": 2}]
    assert unequal(Books(spent={"s1": 5, "s3": 1, "s4": 2}), {"sessions": sessions}) == [
        "s1 cost 6 cents, the ledger says 5",
        "s3 cost 0 cents, the ledger says 1",
    ]


def test_the_same_seed_gives_the_same_schedule_and_load(tmp_path_factory: pytest.TempPathFactory) -> None:
    setup = Embedded(tmp_path_factory.mktemp("setup"))
    assert schedule(setup, seed=3, kills=50) == schedule(setup, seed=3, kills=50)
    assert schedule(setup, seed=3, kills=50) != schedule(setup, seed=4, kills=50)
    first, second, other = Load(3, 200, began=1), Load(3, 200, began=1), Load(4, 200, began=1)
    assert first.deliveries() == second.deliveries()
    assert first.deliveries() != other.deliveries()


def test_a_schedule_has_as_many_kills_as_asked_for(tmp_path_factory: pytest.TempPathFactory) -> None:
    setup = Embedded(tmp_path_factory.mktemp("setup"))
    for seed in range(20):
        acts = schedule(setup, seed=seed, kills=60)
        assert sum(KILLS.get(act.kind, 0) for act in acts) == 60


def test_a_load_repeats_facts_and_sends_them_out_of_order() -> None:
    load = Load(9, 400)
    sent = load.deliveries()
    assert len(sent) == 400
    assert len(load.facts) == 340
    assert sum(one.copy > 0 for one in sent) == 60
    assert {one.source for one in load.facts} == {"github", "jira", "sentry", "slack"}
    order = [[fact.event_id for fact in load.facts].index(one.event_id) for one in sent[:40]]
    assert order != sorted(order)
    assert len({one.event_id for one in load.facts}) == len(load.facts)


def test_no_pull_request_gets_the_number_of_an_issue_of_the_load() -> None:
    load = Load(7, 3_000)
    load.deliveries()
    numbers = {
        one.subject: int(one.subject.partition("#")[2]) for one in load.facts if one.source == "github"
    }
    worked_on = sorted({numbers[one.subject] for one in load.facts if one.source == "github" and one.rule})
    opened = sum(one.rule in {"sentry-error-to-pr", "jira-label-to-pr"} for one in load.facts)
    assert opened > 100
    assert all(later - earlier > opened for earlier, later in pairwise([0, *worked_on, FAR]))
    assert {number for number in numbers.values() if number < FAR} == set(worked_on)


def test_copies_are_the_same_fact_under_the_identifiers_that_the_vendor_gives_them() -> None:
    load = Load(9, 400)
    first = {one.body: one for one in load.deliveries() if not one.copy}
    named = {
        "github": "x-github-delivery",
        "jira": "x-atlassian-webhook-identifier",
        "sentry": "request-id",
        "slack": "x-slack-retry-num",
    }
    other = dict.fromkeys(named, 0)
    for copy in (one for one in load.deliveries() if one.copy):
        assert copy.event_id == first[copy.body].event_id
        name = named[copy.source]
        other[copy.source] += copy.signed().get(name) != first[copy.body].signed().get(name)
    assert all(other.values()), other


def test_a_second_artefact_of_one_slot_is_noticed() -> None:
    one = Artefact("github", "comment", "acme/checkout#1", "run_1", "final", 1, "")
    assert twice([one]) == []
    assert twice([one, one]) == ["2 times github run_1 final"]
