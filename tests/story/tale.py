"""What the steps of the story know and look at: the set-up, what was sent, and the world as the sandbox remembers it.

Asserts nothing and hurts nobody.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

import httpx
from crash.outside import Artefact, artefacts
from crash.setups import SetUp
from crash.webhooks import CHANNEL, Webhook
from sqlalchemy import Connection, select
from sqlmodel import SQLModel

from sandbox.slack.state import SlackMessage
from storage.database import Database, StorageUnavailableError
from storage.rows import table
from storage.tables import EventRow, RunRow, VerdictRow

RULE: Final = "sentry-error-to-pr"
ANNOUNCEMENTS: Final = "C0NEWS001"
REPOSITORY: Final = "acme/checkout"
VENDOR_SECONDS: Final = 6.0
"""After so long a vendor gives an attempt up and tries again."""


def follow(config: dict[str, Any]) -> None:
    """The rule of the story: everybody of the team is heard, and what all customers would read must be approved."""
    (rule,) = (one for one in config["rules"] if one["name"] == RULE)
    rule |= {
        "who": ["owner", "member", "collaborator", "system"],
        "allow_publish_to": "public",
        "follow": ["pr.merged"],
    }
    rule["outputs"].append(
        {
            "post_message": {
                "connection": "acme-slack",
                "channel": ANNOUNCEMENTS,
                "name": "announce",
                "approve": {},
            }
        }
    )
    config["agents"]["fixer"]["system"] += " [sandbox: scenario=errand tool=announce when=announce]"
    config["rules"] = [rule]


@dataclass
class Tale:
    """One telling."""

    setup: SetUp
    database: Database
    http: httpx.AsyncClient
    facts: list[Webhook] = field(default_factory=list)
    """Every different one that was sent."""
    events: dict[str, str] = field(default_factory=dict)
    """Event ids by the names that steps gave."""
    notes: dict[str, Any] = field(default_factory=dict)
    """What a step saw and a later one needs."""

    async def send(self, webhook: Webhook, *, name: str = "") -> None:
        """As a vendor does: again and again until it is answered 2xx. `name` for something new; without, it is a copy."""
        if name:
            self.notes[f"commits before {name}"] = await self.commits()
        delay = 0.05
        while True:
            with contextlib.suppress(httpx.HTTPError):
                answer = await webhook.send(self.http, self.setup.ingress.url)
                if answer.is_success:
                    break
                assert answer.status_code in {408, 503}, f"a good webhook was answered {answer.status_code}"
            await asyncio.sleep(delay)
            delay = min(1.0, delay * 1.7)
            webhook = replace(webhook, retried=webhook.retried + 1)
        if name:
            self.facts.append(webhook)
            self.events[name] = webhook.event_id
            self.notes[name] = webhook

    async def rows(self, model: type[SQLModel], **equal: Any) -> list[dict[str, Any]]:
        """Rows of the hub's database; none while it is away."""

        def read(connection: Connection) -> list[dict[str, Any]]:
            rows = table(model)
            query = select(rows).where(*(rows.c[column] == value for column, value in equal.items()))
            return [dict(row) for row in connection.execute(query).mappings()]

        try:
            return await self.database.read(read)
        except StorageUnavailableError:
            return []

    # Of the hub -----------------------------------------------------------------------------------------------------

    async def run(self, name: str, *statuses: str) -> dict[str, Any] | None:
        """The run of a fact, once it stands so."""
        rows = await self.rows(RunRow, event_id=self.events[name])
        return next((row for row in rows if row["status"] in statuses), None)

    async def verdict(self, name: str) -> tuple[str, str | None] | None:
        """What the rule said of a fact, once it is routed: outcome and clause."""
        routed = [
            row for row in await self.rows(EventRow, id=self.events[name]) if row["routed_at"] is not None
        ]
        rows = await self.rows(VerdictRow, event_id=self.events[name])
        if not routed:
            return None
        return (rows[0]["outcome"], rows[0]["clause"]) if rows else ("not_asked", None)

    # Of the world ---------------------------------------------------------------------------------------------------

    async def state(self) -> Mapping[str, Any]:
        return await self.setup.sandbox.state()

    async def artefacts(self, **equal: str) -> list[Artefact]:
        """What was posted, with these attributes."""
        found = artefacts(await self.state())
        return [one for one in found if all(getattr(one, key) == value for key, value in equal.items())]

    async def answered(self, name: str, *, source: str, where: str, words: str = "") -> bool:
        """Whether the run of a fact said something at a place."""
        rows = await self.rows(RunRow, event_id=self.events[name])
        return bool(rows) and any(
            one.kind in {"comment", "message"} and words in one.text
            for one in await self.artefacts(source=source, run=rows[0]["id"], where=where)
        )

    async def commits(self) -> int:
        """On the branch of the pull request; 0 before there is one."""
        if "branch" not in self.notes:
            return 0
        repository = (await self.state())["github"]["repos"][REPOSITORY]
        known = repository["commits"]
        sha, count = repository["branches"].get(self.branch), 0
        while sha in known:
            sha, count = known[sha]["parent"], count + 1
        return count

    async def messages(self, channel: str = CHANNEL) -> list[SlackMessage]:
        """Of a channel, oldest first."""
        found = (await self.state())["slack"]["channels"].get(channel)
        return [SlackMessage(**one) for one in found["messages"].values()] if found else []

    async def pulls(self) -> list[dict[str, Any]]:
        """Every pull request."""
        repository = (await self.state())["github"]["repos"].get(REPOSITORY)
        issues = repository["issues"].values() if repository else ()
        return [one for one in issues if one["pull"] is not None]

    async def told(self, session: str) -> list[str]:
        """Every message that a session got, with what was attached, in order."""
        answer = await self.http.get(
            f"{self.setup.sandbox.anthropic_url}/v1/sessions/{session}/events",
            params={"types[]": "user.message", "limit": "100"},
            headers={"x-api-key": "sandbox-key", "anthropic-beta": "managed-agents-2026-04-01"},
        )
        return [json.dumps(event["content"]) for event in answer.raise_for_status().json()["data"]]

    @property
    def number(self) -> int:
        """Of the pull request."""
        return int(self.notes["number"])

    @property
    def pull(self) -> str:
        return f"{REPOSITORY}#{self.number}"

    @property
    def branch(self) -> str:
        return str(self.notes["branch"])

    @property
    def thread(self) -> str:
        """The Slack thread in which the channel was told."""
        return str(self.notes["thread"])
