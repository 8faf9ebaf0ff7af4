"""Threads that are found and threads that are not, shared channels, and what Slack refuses."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Collection
from typing import Any

import httpx
import pytest

from connectors.base import Fact, Identity
from connectors.healer import Healer, Memory, PageGoneError
from connectors.poster import PostError
from connectors.slack.connector import CONNECTOR
from connectors.slack.healing import THREAD_BACK
from connectors.slack.settings import SlackSettings
from sandbox.server import Sandbox, serve

CHANNEL = "C0GENERAL"


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with serve() as running:
        yield running


async def _delivered(_: Collection[str]) -> frozenset[str]:
    return frozenset()


def memory(*subjects: str) -> Memory:
    return Memory("acme", None, subjects, None, _delivered)


def healer(sandbox: Sandbox, http: httpx.AsyncClient) -> Healer:
    settings = SlackSettings(
        source="slack", api_url=sandbox.api_url("slack"), webhook_secrets=("env:S",), token="env:T"
    )
    found = CONNECTOR.healer(settings, token="t", http=http, files={})
    assert found is not None
    return found


def ts(ago: float) -> str:
    return f"{time.time() - ago:.6f}"


async def read(one: Healer, seen: Memory, *, since: float) -> list[Fact]:
    found: list[Fact] = []
    page: str | None = None
    await one.streams(seen)
    while True:
        harvest = await one.missed(CHANNEL, since=since, until=time.time(), page=page, memory=seen)
        for request in harvest.requests:
            found += CONNECTOR.normalise(request, identity=Identity()).facts
        page = harvest.page
        if page is None:
            return found


async def test_replies_are_found_in_threads_of_today_and_in_those_we_had_events_of(sandbox: Sandbox) -> None:
    slack = sandbox.world.slack
    recent, known, unknown = ts(3600), ts(THREAD_BACK + 3600), ts(THREAD_BACK + 7200)
    for root in (recent, known, unknown):
        slack.ensure_message(CHANNEL, root, text="long before")
    for root in (recent, known, unknown):
        slack.ensure_message(CHANNEL, slack.next_ts(), text=f"reply to {root}", thread_ts=root)
    seen = memory(
        f"T01ACME00/{CHANNEL}/{known}", f"T01ACME00/{CHANNEL}/1234.5678.abc", "T01ACME00/C0OTHER/1.0"
    )
    async with httpx.AsyncClient() as http:
        facts = await read(healer(sandbox, http), seen, since=time.time() - 60)
    assert sorted(fact.text for fact in facts) == sorted([f"reply to {recent}", f"reply to {known}"])
    asked = [
        call.query["ts"] for call in sandbox.world.log.calls("slack") if call.path == "/conversations.replies"
    ]
    assert sorted(asked) == sorted([recent, known]), "a command's identifier is no thread"


async def test_people_of_other_companies_stay_outsiders(sandbox: Sandbox) -> None:
    slack = sandbox.world.slack
    slack.ensure_message(CHANNEL, slack.next_ts(), text="from elsewhere")
    async with httpx.AsyncClient() as http:
        one: Any = healer(sandbox, http)
        await one.streams(memory())
        one._channels[CHANNEL] = {**one._channels[CHANNEL], "is_ext_shared": True}  # noqa: SLF001 - as Slack would show it
        harvest = await one.missed(
            CHANNEL, since=time.time() - 60, until=time.time(), page=None, memory=memory()
        )
    [fact] = CONNECTOR.normalise(harvest.requests[0], identity=Identity()).facts
    assert fact.actor.trust == "unknown", "in a shared channel a message that names no team proves nothing"


async def test_a_cursor_that_slack_forgot_and_a_channel_that_is_gone(sandbox: Sandbox) -> None:
    sandbox.world.slack.ensure_channel(CHANNEL)
    async with httpx.AsyncClient() as http:
        one = healer(sandbox, http)
        with pytest.raises(PageGoneError):
            await one.missed(
                CHANNEL, since=0.0, until=1.0, page='{"cursor": "nonsense", "threads": []}', memory=memory()
            )
        with pytest.raises(PostError, match="channel_not_found"):
            await one.missed("C0GONE", since=0.0, until=1.0, page=None, memory=memory())
