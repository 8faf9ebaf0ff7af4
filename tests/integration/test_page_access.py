"""Who sees the pages of a process, and how much anybody may send to its API."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from hub import api
from hub.api_access import Access
from hub.metrics import Metrics
from hub.progress import Progress
from hub.server import MAX_API_BODY, Pages
from hub.settings import Settings
from router.engine import RuleSet
from router.subscriber import Rules
from storage.database import Database

TOKEN = "tok-of-this-test-01"
OPEN = ("/livez", "/readyz")
CLOSED = ("/metrics", "/asyncapi", "/api/v1/events", "/api/v1/runs", "/api/v1/openapi.json")


class Broker:
    poisoned: str | None = None


@asynccontextmanager
async def visitor(
    database: Database,
    *,
    token: str | None,
    client: str = "127.0.0.1",
    headers: Mapping[str, str] | None = None,
) -> AsyncIterator[httpx.AsyncClient]:
    """Somebody at this address, at the pages of a process with this token."""
    broker: Any = Broker()
    metrics = Metrics()
    pages: Any = Pages(
        progress=Progress(database, broker, metrics, instance="box", roles=frozenset({"web"})),
        metrics=metrics,
        api=api.build(database, Rules(RuleSet([])), Settings(api_token=token), host="0.0.0.0"),  # noqa: S104 - words
        access=Access(token),
    )
    transport = httpx.ASGITransport(app=pages, client=(client, 4711))
    async with httpx.AsyncClient(
        transport=transport, base_url="http://localhost:8080", headers=dict(headers or {})
    ) as http:
        yield http


async def statuses(http: httpx.AsyncClient, *paths: str) -> set[int]:
    return {(await http.get(path)).status_code for path in paths}


@pytest.mark.parametrize(
    ("token", "client", "headers", "let_in"),
    [
        (None, "127.0.0.1", {}, True),
        (None, "10.1.2.3", {}, False),
        (None, "127.0.0.1", {"host": "rebound.example.com"}, False),
        (None, "127.0.0.1", {"origin": "https://elsewhere.example.com"}, False),
        (None, "127.0.0.1", {"x-forwarded-for": "10.1.2.3"}, False),
        (TOKEN, "10.1.2.3", {"authorization": f"Bearer {TOKEN}"}, True),
        (TOKEN, "10.1.2.3", {"authorization": "Bearer wrong"}, False),
        (TOKEN, "127.0.0.1", {}, False),
    ],
)
async def test_who_sees_what(
    sqlite_database: Database, token: str | None, client: str, headers: dict[str, str], *, let_in: bool
) -> None:
    async with visitor(sqlite_database, token=token, client=client, headers=headers) as http:
        assert await statuses(http, *CLOSED) == ({200} if let_in else {401})
        assert (await http.get("/livez")).status_code == 200
        ready = await http.get("/readyz")
        assert ready.status_code == 503, "it has not started; whoever asks is told"
        assert ("checks" in ready.json()) is let_in
        assert ready.json()["ready"] is False
        if not let_in:
            refused = await http.get("/metrics")
            assert "TRIGGERHUB_API_TOKEN" in refused.json()["error"]
            assert TOKEN not in refused.text


async def test_a_body_that_is_too_large_or_too_deep_gets_a_clear_answer(sqlite_database: Database) -> None:
    async with visitor(sqlite_database, token=None) as http:
        path = "/api/v1/dead-letters/some/drop"
        large = await http.post(path, content=b'{"reason": "' + b"x" * MAX_API_BODY + b'"}')
        assert large.status_code == 413
        assert str(MAX_API_BODY) in large.json()["error"]
        depth = MAX_API_BODY // 2 - 50
        for deep in (b"[" * depth + b"]" * depth, b'{"reason":' * 5000 + b"1" + b"}" * 5000):
            answer = await http.post(path, content=deep, headers={"content-type": "application/json"})
            assert answer.status_code in {400, 422}, answer.text[:200]
            assert "error" in answer.json()


async def test_a_body_in_pieces_is_counted_whole(sqlite_database: Database) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(MAX_API_BODY // 1000 + 2):
            yield b"x" * 1000

    async with visitor(sqlite_database, token=None) as http:
        answer = await http.post("/api/v1/dead-letters/some/drop", content=pieces())
        assert answer.status_code == 413
