"""Faults, the log and the admin routes of the sandbox, over loopback HTTP and as a process of its own."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from sandbox.server import Sandbox, serve

ROOT = Path(__file__).parents[2]
AUTH = {"authorization": "Bearer secret-token-value", "user-agent": "tests"}
COMMENTS = "/github/repos/acme/checkout/issues/12/comments"


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with serve() as running:
        running.world.github.ensure_issue("acme/checkout", 12)
        yield running


@pytest.fixture
async def client(sandbox: Sandbox) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=sandbox.url, headers=AUTH) as connected:
        yield connected


def written(sandbox: Sandbox) -> int:
    return len(sandbox.world.github.repos["acme/checkout"].issues[12].comments)


async def comment(client: httpx.AsyncClient) -> httpx.Response:
    return await client.post(COMMENTS, json={"body": "hello"})


@pytest.mark.parametrize(
    ("path", "status", "header"),
    [
        (COMMENTS, 403, "retry-after"),
        ("/jira/rest/api/3/myself", 429, "ratelimit-reason"),
        ("/sentry/api/0/", 429, "x-sentry-rate-limit-reset"),
        ("/slack/auth.test", 429, "retry-after"),
        ("/anthropic/v1/agents", 429, "retry-after"),
    ],
)
async def test_every_vendor_is_rate_limited_in_its_own_shape(
    sandbox: Sandbox, client: httpx.AsyncClient, path: str, status: int, header: str
) -> None:
    sandbox.world.faults.ask("rate_limit", service=path.split("/")[1], seconds=30)
    answer = await client.post(path, json={"body": "hello"})
    assert answer.status_code == status
    assert header in answer.headers
    assert written(sandbox) == 0


async def test_a_status_is_answered_as_asked_and_as_often(
    sandbox: Sandbox, client: httpx.AsyncClient
) -> None:
    sandbox.world.faults.ask(
        "status", path="/repos/*/comments", method="post", status=503, headers={"Retry-After": "7"}, times=2
    )
    for _ in range(2):
        answer = await comment(client)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "7")
    assert (await comment(client)).status_code == 201
    assert written(sandbox) == 1
    sandbox.world.faults.ask("status", status=502, body="<html>Bad gateway</html>", skip=1)
    assert (await comment(client)).status_code == 201
    html = await comment(client)
    assert (html.status_code, html.headers["content-type"]) == (502, "text/html")


async def test_commit_then_status_did_it(sandbox: Sandbox, client: httpx.AsyncClient) -> None:
    sandbox.world.faults.ask("commit_then_status", status=500)
    assert (await comment(client)).status_code == 500
    assert written(sandbox) == 1


@pytest.mark.parametrize(("mode", "count"), [("cut", 0), ("commit_then_cut", 1)])
async def test_a_cut_gives_no_answer(
    sandbox: Sandbox, client: httpx.AsyncClient, mode: Any, count: int
) -> None:
    sandbox.world.faults.ask(mode)
    with pytest.raises(httpx.TransportError):
        await comment(client)
    assert written(sandbox) == count
    last = sandbox.world.log.calls("github")[-1]
    assert (last.status, last.note) == (None, f"fault 1: {mode}")
    assert (await comment(client)).status_code == 201


@pytest.mark.parametrize(("mode", "count"), [("hang", 0), ("commit_then_hang", 1)])
async def test_a_hang_lasts_until_the_client_leaves(
    sandbox: Sandbox, client: httpx.AsyncClient, mode: Any, count: int
) -> None:
    sandbox.world.faults.ask(mode)
    with pytest.raises(httpx.ReadTimeout):
        await client.post(COMMENTS, json={"body": "hello"}, timeout=0.2)
    assert written(sandbox) == count


async def test_a_cut_answer_is_not_whole(sandbox: Sandbox, client: httpx.AsyncClient) -> None:
    sandbox.world.faults.ask("cut_stream", after=0)
    with pytest.raises(httpx.TransportError):
        await comment(client)
    assert sandbox.world.log.calls("github")[-1].status == 201


async def test_a_delay_delays(sandbox: Sandbox, client: httpx.AsyncClient) -> None:
    sandbox.world.faults.ask("delay", seconds=0.15)
    begin = time.monotonic()
    assert (await comment(client)).status_code == 201
    assert time.monotonic() - begin >= 0.15


async def test_stopping_does_not_wait_for_hanging_calls() -> None:
    async with httpx.AsyncClient(headers=AUTH) as client, asyncio.TaskGroup() as group:
        async with serve() as sandbox:
            sandbox.world.faults.ask("hang", times=None)
            call = group.create_task(_broken(client, f"{sandbox.url}/slack/auth.test"))
            await asyncio.wait_for(_arrived(sandbox), timeout=5)
            begin = time.monotonic()
        assert time.monotonic() - begin < 1.0
        assert await call


async def test_an_error_in_the_block_comes_out_as_itself() -> None:
    with pytest.raises(KeyError, match="mine"):
        async with serve():
            raise KeyError("mine")


async def test_a_taken_port_is_an_os_error() -> None:
    async with serve() as sandbox:
        with pytest.raises(OSError, match="in use"):
            async with serve(port=int(sandbox.url.rpartition(":")[2])):
                pass


async def _arrived(sandbox: Sandbox) -> None:
    for _ in range(1000):
        if len(sandbox.world.log):
            return
        await asyncio.sleep(0.01)


async def _broken(client: httpx.AsyncClient, url: str) -> bool:
    try:
        await client.get(url)
    except httpx.TransportError:
        return True
    return False


async def test_the_log_holds_calls_but_no_credential(client: httpx.AsyncClient) -> None:
    await comment(client)
    await client.get("/sentry/api/0/?x=1", headers={"authorization": ""})
    shown = await client.get("/_sandbox/log")
    assert "secret-token-value" not in shown.text
    calls = shown.json()["calls"]
    assert [(call["n"], call["service"], call["status"], call["authorized"]) for call in calls] == [
        (1, "github", 201, True),
        (2, "sentry", 401, False),
    ]
    assert calls[0]["path"] == "/repos/acme/checkout/issues/12/comments"
    assert calls[0]["body"] == {"body": "hello"}
    assert calls[0]["response"]["body"] == "hello"
    assert calls[1]["query"] == {"x": "1"}
    only = (await client.get("/_sandbox/log?service=sentry&since=1")).json()["calls"]
    assert [call["n"] for call in only] == [2]
    assert (await client.get("/_sandbox/log?since=soon")).status_code == 400


async def test_the_world_is_filled_shown_and_reset_over_http(client: httpx.AsyncClient) -> None:
    push = {"repo": "acme/shop", "branch": "agent/1", "base": "main", "files": {"a.py": "1\n"}}
    sha = (await client.post("/_sandbox/github/push", json=push)).json()["sha"]
    issue = {"repo": "acme/shop", "number": 3, "title": "Three", "labels": ["bug"]}
    assert (await client.post("/_sandbox/github/issues", json=issue)).status_code == 201
    assert (await client.post("/_sandbox/jira/issues", json={"key": "SHOP-1"})).status_code == 201
    assert (await client.post("/_sandbox/sentry/issues", json={"id": "77"})).status_code == 201
    assert (await client.post("/_sandbox/slack/channels", json={"id": "C1"})).status_code == 201
    message = {"channel": "C1", "ts": "1767322800.000100", "text": "hi"}
    assert (await client.post("/_sandbox/slack/messages", json=message)).status_code == 201
    state = (await client.get("/_sandbox/state")).json()
    assert state["github"]["repos"]["acme/shop"]["branches"]["agent/1"] == sha
    assert state["github"]["repos"]["acme/shop"]["issues"]["3"]["labels"] == ["bug"]
    assert list(state["jira"]["issues"]) == ["SHOP-1"]
    assert list(state["sentry"]["issues"]) == ["77"]
    assert list(state["slack"]["channels"]["C1"]["messages"]) == ["1767322800.000100"]
    refused = await client.post("/_sandbox/github/push", json={**push, "branch": "b", "base": "gone"})
    assert (refused.status_code, "gone" in refused.json()["error"]) == (400, True)
    assert (await client.post("/_sandbox/github/repos", json={"name": "nameless"})).status_code == 400
    assert (await client.post("/_sandbox/reset")).status_code == 204
    emptied = (await client.get("/_sandbox/state")).json()
    assert (emptied["github"], emptied["jira"]) == ({"repos": {}}, {"issues": {}})


async def test_faults_are_asked_for_over_http(client: httpx.AsyncClient) -> None:
    asked = await client.post("/_sandbox/faults", json={"mode": "status", "service": "github", "times": None})
    assert (asked.status_code, asked.json()["id"]) == (201, 1)
    assert (await comment(client)).status_code == 500
    assert (await client.get("/_sandbox/faults")).json()["faults"][0]["struck"] == 1
    assert (await client.post("/_sandbox/faults", json={"mode": "explode"})).status_code == 400
    assert (await client.delete("/_sandbox/faults")).status_code == 204
    assert (await comment(client)).status_code == 201


async def test_a_process_of_its_own_prints_its_url_and_keeps_its_log(tmp_path: Path) -> None:
    log = tmp_path / "calls.jsonl"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "sandbox", "--log", str(log), "--create-missing",
        cwd=ROOT, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        url = (await asyncio.wait_for(process.stdout.readline(), timeout=30)).decode().strip()
        async with httpx.AsyncClient(base_url=url, headers=AUTH) as client:
            assert (await comment(client)).status_code == 201
            process.kill()
        await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [(line["service"], line["status"], line["body"]) for line in lines] == [
        ("github", 201, {"body": "hello"})
    ]


async def test_the_emulated_agents_are_part_of_the_world() -> None:
    async with serve() as sandbox, httpx.AsyncClient(base_url=sandbox.url, headers=AUTH) as client:
        beta = {"anthropic-beta": "managed-agents-2026-04-01"}
        wanted = {"name": "fixer", "model": "claude-sonnet-5-5"}
        made = await client.post("/anthropic/v1/agents", json=wanted, headers=beta)
        assert made.status_code == 200
        (call,) = sandbox.world.log.calls("anthropic")
        assert (call.path, call.status, call.response["id"]) == ("/v1/agents", 200, made.json()["id"])
        state = (await client.get("/_sandbox/state")).json()
        assert made.json()["id"] in str(state["anthropic"])
    assert sandbox.world.agents is not None
