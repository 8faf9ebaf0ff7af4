"""The JSON API keeps to its own OpenAPI document, whatever is asked of it, and never fails inside."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import hub_story as story
import pytest
import schemathesis
import uvicorn
from hypothesis import HealthCheck, settings
from router_samples import MODELS, SPECS
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from hub import api
from hub.api_models import EventDetail, EventPage, RunDetail, RunPage
from hub.settings import Settings
from router.engine import RuleSet
from router.loading import load_documents
from router.subscriber import Rules
from storage.database import Database, open_database
from storage.migrate import upgrade

TOKEN = "tok-0123456789"
HEADERS = {"authorization": f"Bearer {TOKEN}"}
RULES = b"""
version: 1
connections: {acme-github: {source: github, api_url: "https://api.github.com", webhook_secrets: [env:A]}}
environments: {reading: {config: {type: cloud}}}
agents: {colleague: {model: claude-sonnet-5-5, environment: reading}}
rules:
  - name: answer
    team: checkout
    match: {source: github, kind: comment.created, if: '"bug" in event.labels'}
    agent: colleague
    prompt: Answer.
    outputs: [comment]
    limits: {budget_usd: 0.75, timeout: 20m}
"""
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]


def rules() -> Rules:
    _, loaded = load_documents([("triggerhub.yaml", RULES)], connection_models=MODELS, output_specs=SPECS)
    return Rules(loaded)


class Served:
    """The API in a thread of its own, as schemathesis calls it from this one."""

    def __init__(self, database_url: str) -> None:
        self._database_url = database_url
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._told = threading.Event()
        self._server: uvicorn.Server | None = None
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), name="api")

    async def _run(self) -> None:
        database = open_database(self._database_url)
        try:
            await upgrade(database)
            await database.write(story.tell)
            app = api.build(database, rules(), Settings(api_token=TOKEN), host="127.0.0.1")
            config = uvicorn.Config(app, log_level="critical", lifespan="off", ws="none", access_log=False)
            self._server = uvicorn.Server(config)
            self._told.set()
            await self._server.serve(sockets=[self._listener])
        finally:
            await database.close()

    def start(self) -> None:
        self._thread.start()
        assert self._told.wait(30), "the API did not start"

    def stop(self) -> None:
        assert self._server is not None
        self._server.should_exit = True
        self._thread.join(30)
        self._listener.close()


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    served = Served(f"sqlite:///{tmp_path_factory.mktemp('api')}/hub.db")
    served.start()
    yield served.url
    served.stop()


def document() -> dict[str, Any]:
    """The OpenAPI document. Nothing is connected to for it."""
    database = open_database("postgresql://nobody@127.0.0.1/none")
    found: dict[str, Any] = api.build(database, rules(), Settings(), host="127.0.0.1").openapi()
    return found


schema = schemathesis.openapi.from_dict(document())


@schema.parametrize()
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
def test_answers_keep_to_the_document(url: str, case: schemathesis.Case[Any]) -> None:
    case.call_and_validate(base_url=url, headers=HEADERS, checks=CHECKS)


def test_every_operation_is_documented(url: str) -> None:
    paths = httpx.get(f"{url}/api/v1/openapi.json").json()["paths"]
    assert {(method, path) for path, methods in paths.items() for method in methods} == {
        ("get", "/api/v1/events"),
        ("get", "/api/v1/events/{event_id}"),
        ("post", "/api/v1/events/{event_id}/replay"),
        ("post", "/api/v1/runs/{run_id}/say"),
        ("get", "/api/v1/approvals"),
        ("get", "/api/v1/approvals/{approval_id}"),
        ("post", "/api/v1/approvals/{approval_id}"),
        ("get", "/api/v1/pauses"),
        ("post", "/api/v1/pauses"),
        ("post", "/api/v1/pauses/resume"),
        ("get", "/api/v1/spend"),
        ("get", "/api/v1/dead-letters"),
        ("get", "/api/v1/dead-letters/{letter_id}"),
        ("post", "/api/v1/dead-letters/{letter_id}/retry"),
        ("post", "/api/v1/dead-letters/{letter_id}/drop"),
        ("get", "/api/v1/runs"),
        ("get", "/api/v1/runs/{run_id}"),
        ("post", "/api/v1/runs/{run_id}/cancel"),
        ("post", "/api/v1/runs/{run_id}/budget"),
        ("get", "/api/v1/rules"),
        ("get", "/api/v1/deliveries"),
        ("get", "/api/v1/workers"),
    }
    for methods in paths.values():
        for operation in methods.values():
            assert operation["security"] == [{"HTTPBearer": []}]


def test_pages_follow_each_other_without_gap_or_repeat(url: str) -> None:
    with httpx.Client(base_url=url, headers=HEADERS) as http:
        whole = EventPage.model_validate_json(http.get("/api/v1/events").content)
        seen: list[str] = []
        cursor: str | None = None
        while True:
            page = EventPage.model_validate_json(
                http.get(
                    "/api/v1/events", params={"limit": 2, **({"cursor": cursor} if cursor else {})}
                ).content
            )
            seen += [event.id for event in page.items]
            cursor = page.next_cursor
            if cursor is None:
                break
    assert seen == [event.id for event in whole.items]
    assert len(seen) == 6


@pytest.mark.parametrize("cursor", ["", "x", "AAAA", "bmFuIHg", "aW5mIHg", "MS4wIAA", "MS4w", "é", "a" * 400])
def test_a_made_up_cursor_is_refused(url: str, cursor: str) -> None:
    answer = httpx.get(f"{url}/api/v1/events", params={"cursor": cursor}, headers=HEADERS)
    assert answer.status_code == 400
    assert "cursor" in answer.json()["error"]


def test_one_event_has_its_payload_verdicts_and_runs(url: str) -> None:
    answer = httpx.get(f"{url}/api/v1/events/{story.ANSWERED}", headers=HEADERS)
    detail = EventDetail.model_validate_json(answer.content)
    assert detail.event.id == story.ANSWERED
    assert [verdict.outcome for verdict in detail.verdicts] == ["matched", "suppressed", "not_matched"]
    [run] = detail.runs
    assert [(result.status, result.url) for result in run.results] == [
        ("posted", story.POSTED_URL),
        ("refused", None),
    ]
    assert answer.json()["received_at"].endswith("Z")
    unknown = httpx.get(f"{url}/api/v1/events/evt_bb22", headers=HEADERS)
    assert unknown.status_code == 404
    assert set(unknown.json()["near"]) == {story.UNASKED, story.WAITING}


def test_one_run_has_its_results(url: str) -> None:
    detail = RunDetail.model_validate_json(
        httpx.get(f"{url}/api/v1/runs/{story.RUN}", headers=HEADERS).content
    )
    assert (detail.status, detail.cost_usd, detail.session_id) == ("succeeded", 0.42, "sesn_1")
    assert detail.usage == {"input_tokens": 10}
    page = RunPage.model_validate_json(
        httpx.get(f"{url}/api/v1/runs", params={"subject": "acme/checkout#7"}, headers=HEADERS).content
    )
    assert {run.id for run in page.items} == {story.RUN, story.QUEUED_RUN}


def test_rules_deliveries_and_workers(url: str) -> None:
    with httpx.Client(base_url=f"{url}/api/v1", headers=HEADERS) as http:
        [rule] = http.get("/rules").json()["items"]
        [unreadable] = http.get("/deliveries", params={"outcome": "unreadable"}).json()["items"]
        [worker] = http.get("/workers").json()["items"]
    assert rule["name"] == "answer"
    assert rule["match"] == {"source": "github", "kind": ["comment.created"], "if": '"bug" in event.labels'}
    assert (rule["budget_usd"], rule["timeout_seconds"], rule["outputs"]) == (0.75, 1200.0, ["comment"])
    assert unreadable["reason"] == "the body is not acceptable JSON"
    assert "body" not in unreadable
    assert (worker["role"], worker["instance"], worker["note"]) == ("router", "box-1", "at work")


@pytest.mark.parametrize(
    "path", ["events", "runs", "rules", "deliveries", "dead-letters", "workers", f"events/{story.ANSWERED}"]
)
def test_without_the_token_nothing_is_told(url: str, path: str) -> None:
    for headers in ({}, {"authorization": "Bearer wrong"}):
        answer = httpx.get(f"{url}/api/v1/{path}", headers=headers)
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == "Bearer"
        assert set(answer.json()) == {"error", "near"}


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 200),
        ("GET", "/api/v1", 200),
        ("GET", "/nothing", 404),
        ("GET", "/api/v1/nothing", 404),
        ("POST", "/api/v1/events", 405),
        ("GET", "/api/v1/runs/x/cancel", 405),
        ("GET", "/api/v1/events/x/replay", 405),
        ("GET", "/docs", 404),
        ("GET", "/redoc", 404),
    ],
)
def test_other_paths_answer_json(url: str, method: str, path: str, status: int) -> None:
    answer = httpx.request(method, url + path, headers=HEADERS)
    assert answer.status_code == status
    body = answer.json()
    if status == 200:
        assert body["openapi"] == "/api/v1/openapi.json"
    else:
        assert path in body["error"]


async def test_a_database_that_is_away_is_503(tmp_path: Path) -> None:
    database: Database = open_database(f"sqlite:///{tmp_path}/hub.db")  # without a schema: no table is there
    app = api.build(database, Rules(RuleSet([])), Settings(api_token=TOKEN), host="127.0.0.1")
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://hub", headers=HEADERS) as http:
        answer = await http.get("/api/v1/events")
    await database.close()
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "5"
    assert "database" in answer.json()["error"]
