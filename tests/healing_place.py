"""A door, a database, the emulated vendors, and processes that look for lost webhooks. Holds no expectations."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import httpx
from sqlalchemy import select, update

from connectors.healing import Healing, Pace
from connectors.observations import Observations
from connectors.outbox import Outbound
from connectors.registry import connector
from sandbox.server import Sandbox
from sandbox.vendor.acts import Acts, Told
from storage import healing
from storage.database import Database
from storage.healing_tables import HealingRow
from storage.rows import table
from storage.tables import Delivery, EventRow

SECRET: Final = "an-invented-webhook-secret"
PACE: Final = Pace(grace=0.0, look=0.01)


@dataclass
class Counted(Observations):
    """Remembers what was counted."""

    found: Counter[tuple[str, str]] = field(default_factory=Counter)
    silent: dict[str, bool] = field(default_factory=dict)

    def healed(self, *, connection: str, how: str, count: int) -> None:
        self.found[connection, how] += count

    def silence(self, *, connection: str, is_silent: bool) -> None:
        self.silent[connection] = is_silent


@dataclass
class Place:
    """A door, a database, the vendors, and a process that looks for gaps."""

    database: Database
    sandbox: Sandbox
    http: httpx.AsyncClient
    door: httpx.AsyncClient
    outbound: Mapping[str, Outbound]
    announced: list[Any] = field(default_factory=list)
    counted: Counted = field(default_factory=Counted)

    @property
    def acts(self) -> Acts:
        return Acts(self.sandbox.world)

    def process(self, name: str = "p1", *, pace: Pace = PACE, held_back: Any = tuple) -> Healing:
        return Healing(
            lambda: self.outbound,
            self.database,
            owner=name,
            announce=self.announced.extend,
            observations=self.counted,
            held_back=held_back,
            pace=pace,
        )

    async def deliver(self, told: Told) -> Told:
        for webhook in told.webhooks:
            one = connector(told.service)
            headers = one.sign(webhook.headers, webhook.body, secret=SECRET, now=time.time())
            answer = await self.door.post(f"/hooks/{told.service}", content=webhook.body, headers=headers)
            assert answer.status_code == 202, answer.text
        return told

    async def due(self, **more: Any) -> None:
        rows = table(HealingRow)
        await self.database.write(lambda c: c.execute(update(rows).values(due_at=0.0, **more)))

    async def sweep(self, process: Healing | None = None) -> None:
        """Everything that is due."""
        one = process or self.process()
        await self.due()
        while await one.sweep_one():
            pass

    async def rows(self, model: Any) -> list[Any]:
        rows = table(model)
        found = await self.database.read(lambda c: c.execute(select(rows)).mappings().all())
        return list(found)

    async def kinds(self, *, origin: str | None = None) -> Counter[str]:
        origins = {row["id"]: row["origin"] for row in await self.rows(Delivery)}
        return Counter(
            row["kind"]
            for row in await self.rows(EventRow)
            if origin is None or origins[row["delivery_id"]] == origin
        )

    async def standing(self, name: str) -> healing.Standing:
        found = await self.database.read(healing.standings)
        return next(one for one in found if one.connection == name)


SOURCES: Final = ("jira", "sentry", "slack")


def outbound_of(sandbox: Sandbox, http: httpx.AsyncClient, **more: Any) -> dict[str, Outbound]:
    further: dict[str, dict[str, Any]] = {
        "sentry": {"organization": "acme"},
        "jira": {"email": "bot@acme.example"},
    }
    found = {}
    for source in SOURCES:
        one = connector(source)
        given = {
            "source": source,
            "api_url": sandbox.api_url(source),
            "webhook_secrets": ["env:S"],
            "token": "env:T",
        }
        settings = one.settings.model_validate({**given, **further.get(source, {}), **more.get(source, {})})
        found[source] = Outbound(
            name=source,
            connector=one,
            poster=one.poster(settings, token="t", http=http, files={}),
            healer=one.healer(settings, token="t", http=http, files={}),
            heals_all=settings.heal == "all",
        )
    return found
