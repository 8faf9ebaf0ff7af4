"""The way from a runner's results to their posts: a loop over the outbox table in place of Kafka. Asserts nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import httpx
from sqlalchemy import Connection, and_, update

from connectors.github.connector import CONNECTOR
from connectors.github.settings import GitHubSettings
from connectors.outbox import Outbound, Outbox
from sandbox.server import Sandbox
from schemas.result import Result
from schemas.topics import RESULTS
from storage import outbox
from storage.database import Database
from storage.rows import table
from storage.tables import OutboxRow


@dataclass(frozen=True)
class Taken:
    """A decoded record, as Kafka would bring it."""

    value: Any
    body: bytes


def outbound(sandbox: Sandbox, http: httpx.AsyncClient) -> dict[str, Outbound]:
    """The one connection that posts."""
    settings = GitHubSettings(
        source="github", api_url=sandbox.api_url("github"), webhook_secrets=("env:A",), token="env:T"
    )
    poster = CONNECTOR.poster(settings, token="ghp_invented", http=http, files={})
    return {"acme-github": Outbound(name="acme-github", connector=CONNECTOR, poster=poster)}


def announce_nothing(messages: Sequence[Any]) -> None:
    """Nothing: `carry` finds them in the outbox, as the sweep does after a crash."""
    del messages


async def carry(database: Database, poster: Outbox) -> None:
    rows = table(OutboxRow)

    def due(connection: Connection) -> list[outbox.Message]:
        connection.execute(update(rows).where(and_(rows.c.topic == RESULTS.name)).values(due_at=0.0))
        return outbox.sweep(connection)

    while True:
        messages = await database.write(due)
        results = [message for message in messages if message.topic == RESULTS.name]
        if results:
            await poster.take(
                [Taken(Result.model_validate_json(message.value), message.value) for message in results]
            )
        await asyncio.sleep(0.01)
