"""Five in a hundred webhooks of all four vendors get lost: all are back after two sweeps, and nothing happens twice."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from sqlalchemy import Connection, func, select, update

from connectors.base import Identity, Request, seal
from connectors.healing import Pace
from connectors.registry import connector
from hub.configuration import load_configuration
from hub.hub import Hub, running_hub
from hub.parts import Makers
from hub.settings import Settings
from sandbox.server import Sandbox, serve
from sandbox.slack.state import BOT_USER_ID
from sandbox.vendor.acts import Acts, Told
from sandbox.vendor.admin import tell
from storage.healing_tables import HealingRow
from storage.rows import table
from storage.states import RUN_TERMINAL
from storage.tables import Delivery, EventRow, RunRow

pytestmark = pytest.mark.timeout(400)
SOURCES: Final = ("github", "jira", "sentry", "slack")
SECRET: Final = "an-invented-webhook-secret"
SEED: Final = 1
LOST: Final = 0.05
EACH: Final = 30
"""Issues, or messages, per vendor."""
STARTED_BY: Final = {
    "github": "issue.labeled",
    "jira": "issue.labeled",
    "sentry": "alert.fired",
    "slack": "message.mention",
}
FOUND_BY_SEARCH: Final = ("jira", "sentry", "slack")


@dataclass
class Field:
    """A hub, the vendors around it, and what they should have told."""

    hub: Hub
    sandbox: Sandbox
    expected: dict[str, str] = field(default_factory=dict)
    """Kind by event id."""
    webhooks: int = 0

    async def hear(self, told: Told) -> Told:
        """The vendor sends; some of it gets lost."""
        name, one = f"acme-{told.service}", connector(told.service)
        for webhook in told.webhooks:
            headers = {**webhook.headers}
            if told.service == "github":
                headers["x-github-event"] = webhook.event
            reading = one.normalise(Request(headers, webhook.body), identity=Identity())
            for fact in reading.facts:
                sealed = seal(
                    fact, source=one.source, connection=name, payload={}, received_at=datetime.now(UTC)
                )
                self.expected[sealed.id] = fact.kind
        self.webhooks += len(await tell(self.sandbox.world, told))
        return told

    async def read(self, work: Callable[[Connection], Any]) -> Any:
        return await self.hub.database.read(work)

    async def events(self) -> dict[str, str]:
        rows = table(EventRow)
        found = await self.read(lambda c: c.execute(select(rows.c.id, rows.c.kind)).all())
        return dict(tuple(row) for row in found)

    async def sweep(self) -> None:
        """One sweep of every connection, by the hub itself."""
        rows = table(HealingRow)
        before = time.time()
        await self.hub.database.write(lambda c: c.execute(update(rows).values(due_at=0.0)))

        def done(c: Connection) -> bool:
            found = c.execute(select(rows.c.swept_at, rows.c.error)).all()
            assert not [one.error for one in found if one.error], found
            return len(found) == len(SOURCES) and all(one.swept_at and one.swept_at > before for one in found)

        await until(lambda: self.read(done))

    async def settled(self) -> None:
        """Every event was routed, and every run has ended."""
        events, runs = table(EventRow), table(RunRow)

        def quiet(c: Connection) -> bool:
            waiting = c.execute(
                select(func.count()).select_from(events).where(events.c.routed_at.is_(None))
            ).scalar_one()
            statuses = c.execute(select(runs.c.status)).scalars().all()
            matched = c.execute(select(func.sum(events.c.matched))).scalar_one() or 0
            return not waiting and len(statuses) == matched and set(statuses) <= set(RUN_TERMINAL)

        await until(lambda: self.read(quiet))


async def until(asked: Callable[[], Any], *, seconds: float = 120.0) -> None:
    """Wait until `asked` says yes. Fails after `seconds`."""
    end = time.monotonic() + seconds
    while not await asked():
        assert time.monotonic() < end, "it did not come about in time"
        await asyncio.sleep(0.1)


@asynccontextmanager
async def field_of(tmp_path: Path, **connections: Any) -> AsyncIterator[Field]:
    async with serve(pace=0.0) as sandbox:
        path = tmp_path / "triggerhub.yaml"
        path.write_text(yaml.safe_dump(configuration(sandbox, **connections)), encoding="utf-8")
        settings = Settings.model_validate(
            {
                "config": path,
                "database_url": f"sqlite:///{tmp_path}/hub.db",
                "kafka_bootstrap_servers": None,
                "session_creates_per_minute": 100_000,
                "session_reads_per_minute": 100_000,
                "healing_interval_seconds": 3600,
                "ANTHROPIC_API_KEY": "test-key",
                "ANTHROPIC_BASE_URL": sandbox.anthropic_url,
            }
        )
        environment = {"SECRET": SECRET, "TOKEN": "a-token"}
        makers = Makers(pace=Pace(grace=0.0, look=0.1))
        async with running_hub(
            settings, load_configuration(path), port=0, environment=environment, makers=makers
        ) as hub:
            yield Field(hub, sandbox)


def configuration(sandbox: Sandbox, **connections: Any) -> dict[str, Any]:
    further = {"sentry": {"organization": "acme"}, "jira": {"email": "bot@acme.example"}}
    return {
        "version": 1,
        "connections": {
            f"acme-{source}": {
                "source": source,
                "api_url": sandbox.api_url(source),
                "webhook_secrets": ["env:SECRET"],
                "token": "env:TOKEN",
                **further.get(source, {}),
                **connections,
            }
            for source in SOURCES
        },
        "environments": {"plain": {"config": {"type": "cloud"}}},
        "agents": {"helper": {"model": "claude-sonnet-5-5", "environment": "plain"}},
        "rules": [
            {
                "name": f"from-{source}",
                "match": {"source": source, "kind": kind},
                "who": ["member", "collaborator", "system"],
                "agent": "helper",
                "prompt": "[sandbox: scenario=happy] Look into this.",
                "report": "none",
                "conversation": "event",
                "follow_up": "ignore",
            }
            for source, kind in STARTED_BY.items()
        ],
    }


async def a_busy_day(field_: Field, *, drop: float, each: int = EACH) -> None:
    world, acts = field_.sandbox.world, Acts(field_.sandbox.world)
    world.post.seed(SEED)
    for source in SOURCES:
        place = "acme/checkout" if source == "github" else None
        world.post.add_hook(source, f"{field_.hub.url}/hooks/acme-{source}", SECRET, drop=drop, place=place)
    for number in range(each):
        issue = int((await field_.hear(acts.github_open("acme/checkout", title=f"Bug {number}"))).about)
        await field_.hear(acts.github_label("acme/checkout", issue, "agent-fix"))
        await field_.hear(acts.github_comment("acme/checkout", issue, "me too"))
        key = (await field_.hear(acts.jira_create("SHOP", summary=f"Bug {number}"))).about
        await field_.hear(acts.jira_label(key, "agent-fix"))
        await field_.hear(acts.jira_move(key, "Done"))
        await field_.hear(acts.jira_comment(key, "me too"))
        await field_.hear(acts.sentry_error(str(5900 + number), title=f"Error {number}"))
        await field_.hear(acts.sentry_alert(str(5900 + number), "Errors of checkout"))
        root = (await field_.hear(acts.slack_say("C0GENERAL", f"<@{BOT_USER_ID}> bug {number}"))).about
        await field_.hear(acts.slack_say("C0GENERAL", "me too", thread_ts=root))


@pytest.mark.long(35)
async def test_what_gets_lost_is_back_after_two_sweeps_and_runs_once(tmp_path: Path) -> None:
    async with field_of(tmp_path) as field_:
        await a_busy_day(field_, drop=LOST)
        world = field_.sandbox.world
        lost = world.post.lost()
        by_source = Counter(world.post.hooks[one.hook].service for one in lost)
        assert set(by_source) == set(SOURCES), f"the seed loses something of every vendor: {by_source}"
        assert 0.02 * field_.webhooks < len(lost) < 0.1 * field_.webhooks
        missing = field_.expected.keys() - (await field_.events()).keys()
        assert missing, "webhooks that got lost are events that are not there"

        await field_.sweep()
        await field_.sweep()

        await until(lambda: _redelivered(field_))
        found = await field_.events()
        assert field_.expected.keys() - found.keys() == set()
        assert found.keys() - field_.expected.keys() == set(), (
            "nothing is there that no vendor would have told"
        )
        await field_.settled()
        await once_each(field_)

        # The vendors find what they had lost, and send it late: the facts are known by then.
        for attempt in lost:
            await world.post.send_again(attempt)
        await field_.sweep()
        await field_.settled()
        assert (await field_.events()) == found
        await once_each(field_)
        print(  # noqa: T201 - the figures of this run
            f"{field_.webhooks} webhooks, {len(lost)} lost ({dict(by_source)}), {len(missing)} events missing, all back"
        )


async def test_where_nobody_looks_what_got_lost_stays_lost(tmp_path: Path) -> None:
    """What the test above rests on: it would fail if the search did nothing."""
    async with field_of(tmp_path, heal="off") as field_:
        await a_busy_day(field_, drop=0.3, each=4)
        await field_.settled()
        before = await field_.events()
        assert field_.expected.keys() - before.keys()
        await asyncio.sleep(1.0)  # many looks of a search that is switched off
        assert await field_.events() == before
        assert await field_.read(lambda c: c.execute(select(table(HealingRow).c.connection)).all()) == []


async def _redelivered(field_: Field) -> bool:
    return field_.expected.keys() <= (await field_.events()).keys()


async def once_each(field_: Field) -> None:
    """One run for each event that a rule wants, one session for each run; and it is known what was fetched."""
    runs, deliveries = table(RunRow), table(Delivery)
    of_events = await field_.read(lambda c: c.execute(select(runs.c.event_id)).scalars().all())
    wanted = {event for event, kind in field_.expected.items() if kind in set(STARTED_BY.values())}
    assert Counter(of_events) == Counter(dict.fromkeys(wanted, 1))
    created = [
        call
        for call in field_.sandbox.world.log.calls("anthropic")
        if call.method == "POST" and call.path.rstrip("/").endswith("/sessions")
    ]
    assert len(created) == len(wanted)
    origins = await field_.read(
        lambda c: (
            c.execute(select(deliveries.c.connection).where(deliveries.c.origin == "fetched")).scalars().all()
        )
    )
    assert set(origins) == {f"acme-{source}" for source in FOUND_BY_SEARCH}
