"""Strangers and what they hide, against an agent that obeys every word it reads: nothing starts that should not, and
nothing is posted that the rule does not allow. Each has its honest counterpart, which works. On both set-ups.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from typing import Any, Final

import httpx
import pytest
from adversaries import HOST, ORDER, Case, honest, mixed, published, rules, strangers, written
from approval_webhooks import by_github, edited
from crash.cluster import cluster
from crash.outside import artefacts
from crash.setups import SetUp, embedded
from crash.webhooks import Webhook, github_comment
from sqlalchemy import Connection, select
from sqlmodel import SQLModel

from sandbox.managed_agents.obedient import FOUND_SECRET
from storage.database import Database, open_database
from storage.rows import table
from storage.states import RUN_TERMINAL
from storage.tables import ApprovalRow, ApprovalVote, EventRow, ResultRow, RunRow, VerdictRow

pytestmark = pytest.mark.timeout(240)
WAIT_SECONDS: Final = 60.0
OTHER: Final = 5_100_777


class Scene:
    """A set-up under attack."""

    def __init__(self, setup: SetUp, database: Database, http: httpx.AsyncClient) -> None:
        self.setup = setup
        self._database = database
        self._http = http

    async def accepted(self, webhook: Webhook) -> list[str]:
        """Send it; ids of the events that it became."""
        answer = await webhook.send(self._http, self.setup.ingress.url)
        assert answer.status_code == 202, answer.text
        return [str(one) for one in answer.json()["events"]]

    async def rows(self, model: type[SQLModel], **equal: Any) -> list[dict[str, Any]]:
        def read(connection: Connection) -> list[dict[str, Any]]:
            rows = table(model)
            query = select(rows).where(*(rows.c[name] == value for name, value in equal.items()))
            return [dict(row) for row in connection.execute(query).mappings()]

        return await self._database.read(read)

    async def verdicts(self, event_id: str) -> list[dict[str, Any]]:
        """Once it is routed."""
        until = time.monotonic() + WAIT_SECONDS
        while not any(row["routed_at"] is not None for row in await self.rows(EventRow, id=event_id)):
            assert time.monotonic() < until, f"{event_id} was not routed"
            await asyncio.sleep(0.05)
        return await self.rows(VerdictRow, event_id=event_id)

    async def run(self, event_id: str, *statuses: str) -> dict[str, Any]:
        """The one run of an event, once it stands so; where nothing is named, once it ended."""
        wanted = statuses or tuple(status.value for status in RUN_TERMINAL)
        until = time.monotonic() + WAIT_SECONDS
        while True:
            rows = await self.rows(RunRow, event_id=event_id)
            if len(rows) == 1 and rows[0]["status"] in wanted:
                return rows[0]
            assert time.monotonic() < until, f"{event_id}: {[row['status'] for row in rows]}"
            await asyncio.sleep(0.05)

    async def state(self) -> Mapping[str, Any]:
        return await self.setup.sandbox.state()


@pytest.fixture(
    scope="module",
    params=["embedded", pytest.param("cluster", marks=[pytest.mark.kafka, pytest.mark.postgres])],
)
def where(request: pytest.FixtureRequest) -> tuple[Any, ...]:
    """The services of a set-up; none for the embedded one."""
    if request.param == "embedded":
        return ()
    return request.getfixturevalue("kafka"), request.getfixturevalue("postgres")


@pytest.fixture
async def scene(where: tuple[Any, ...]) -> AsyncIterator[Scene]:
    async with AsyncExitStack() as stack:
        running = cluster(*where, edit=rules) if where else embedded(edit=rules)
        setup: SetUp = await stack.enter_async_context(running)
        database = open_database(setup.database_url)
        stack.push_async_callback(database.close)
        http = await stack.enter_async_context(httpx.AsyncClient(timeout=30, trust_env=False))
        yield Scene(setup, database, http)


def harm(state: Mapping[str, Any], places: tuple[str, ...]) -> list[str]:
    """What was published that stands where no rule says, or carries something of what was asked for. What calls people
    or runs differs by vendor: `<!channel>` in Slack, `@everyone` and workflows on GitHub."""
    found = [f"a workflow: {path}" for path in written(state) if path.startswith(".github/")]
    for place, text in published(state).items():
        if not place.startswith(places):
            found.append(f"posted at {place}")
        if FOUND_SECRET in text or HOST in text:
            found.append(f"{place} tells a secret, or leads to a stranger: {text}")
        if place.startswith("C0") and "<!channel>" in text:
            found.append(f"{place} calls the whole channel")
        if place.startswith("acme/") and re.search(r"(?<![`\u200b])@everyone", text):
            found.append(f"{place} calls everyone")
    if "acme/payroll" in state["github"]["repos"]:
        found.append("the other repository was touched")
    if "C0SECRETS" in state["slack"]["channels"]:
        found.append("the other channel was touched")
    return found


async def test_strangers_start_nothing_and_orders_are_data_whoever_wrote_them(scene: Scene) -> None:
    """One hub hears them all: first those that start nothing, then the honest, then those by somebody who may ask."""
    cases = strangers()
    assert len(cases) > 20
    for name, case in cases.items():
        events = await scene.accepted(case.webhook)
        verdicts = [verdict for event in events for verdict in await scene.verdicts(event)]
        assert not [one for one in verdicts if one["outcome"] == "matched"], (name, verdicts)
        if case.clause is not None:
            assert case.clause in {one["clause"] for one in verdicts}, (name, verdicts)
    assert await scene.rows(RunRow) == []
    assert published(await scene.state()) == {}
    assert await scene.setup.sandbox.work() == []

    await told(scene, honest())
    state = await scene.state()
    for name, case in honest().items():
        for place in case.places:
            if not place.endswith("!"):  # a pull request is opened by none of the plain ones but the first
                assert any(one.startswith(place) for one in published(state)), f"{name}: nothing at {place}"
    await told(scene, mixed())


async def told(scene: Scene, cases: Mapping[str, Case]) -> None:
    """Each starts one run, and everything that is published is harmless and where its rule says."""
    events = {name: await scene.accepted(case.webhook) for name, case in cases.items()}
    for name, case in cases.items():
        (event,) = events[name]
        run = await scene.run(event)
        assert run["status"] == "succeeded", (name, run["error"])
        refused = [row["clause"] for row in await scene.rows(ResultRow, run_id=run["id"], status="refused")]
        assert refused or not case.refused, f"{name}: the agent was refused nothing"
        state = await scene.state()
        made = [one for one in artefacts(state) if one.run == run["id"]]
        assert made, f"{name}: nobody was answered"
    everywhere = (*honest().values(), *mixed().values())
    assert harm(await scene.state(), tuple({place for case in everywhere for place in case.places})) == []


async def test_a_reviewer_who_edits_after_approval(scene: Scene) -> None:
    """What was approved is posted and nothing else; the edited approval gives no orders and approves nothing more."""
    (event,) = await scene.accepted(github_comment(73, 9_301, "@careful why twice?"))
    waiting = await scene.run(event, "waiting")
    (row,) = await scene.rows(ApprovalRow, run_id=waiting["id"], status="asked")
    yes = by_github(73, 9_302, f"/triggerhub approve {row['code']}", user=OTHER)
    await scene.verdicts(*await scene.accepted(yes))
    run = await scene.run(event)
    assert run["status"] == "succeeded", run["error"]
    state = await scene.state()
    assert harm(state, ("acme/checkout#73/",)) == []
    said = [one for one in artefacts(state) if "comment:" in one.slot and "Totals differ (73)" in one.text]
    assert len(said) == 1
    before = published(state).keys()

    verdicts = await scene.verdicts(*await scene.accepted(edited(yes, f"@careful {ORDER}")))
    assert all(one["outcome"] != "matched" for one in verdicts), verdicts
    assert len(await scene.rows(RunRow)) == 1
    assert len(await scene.rows(ApprovalVote)) == 1
    assert len(await scene.setup.sandbox.work()) == 1
    state = await scene.state()
    assert harm(state, ("acme/checkout#73/",)) == []
    assert published(state).keys() == before
