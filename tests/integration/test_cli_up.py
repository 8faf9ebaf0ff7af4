"""`triggerhub up` as a process: it starts, takes webhooks, follows its configuration, and stops as it is told."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from command_line import COMMAND, environment, triggerhub
from services.children import free_ports

from sandbox.server import Sandbox, serve

SECRET = "a-secret-of-the-hook"
TOKEN = "a-token-of-the-vendor"
CONFIG = """\
version: 1
connections:
  acme-github:
    source: github
    api_url: {github}
    webhook_secrets: [env:HOOK_SECRET]
    token: env:GITHUB_TOKEN
environments:
  reading: {{config: {{type: cloud, networking: {{type: unrestricted}}}}}}
agents:
  colleague: {{model: claude-sonnet-5-5, environment: reading}}
rules:
  - name: answer
    match: {{source: github, kind: comment.created}}
    agent: colleague
    prompt: Answer the comment.
"""
COMMENT: dict[str, Any] = {
    "action": "created",
    "issue": {"number": 7, "title": "Wrong total", "user": {"login": "ada", "id": 5, "type": "User"}},
    "comment": {
        "id": 99,
        "body": "Why is the total wrong?",
        "author_association": "MEMBER",
        "user": {"login": "ada", "id": 5, "type": "User"},
    },
    "repository": {"id": 1, "full_name": "acme/checkout", "private": True, "owner": {"login": "acme"}},
    "sender": {"login": "ada", "id": 5, "type": "User"},
}
SECONDS = 30.0


class Up:
    """A hub that was started by the command."""

    def __init__(self, folder: Path, sandbox: Sandbox) -> None:
        [self.port] = free_ports(1)
        self.url = f"http://127.0.0.1:{self.port}"
        self.folder = folder
        self.config = folder / "triggerhub.yaml"
        self.config.write_text(CONFIG.format(github=sandbox.api_url("github")), encoding="utf-8")
        (folder / "comment.json").write_text(json.dumps(COMMENT), encoding="utf-8")
        (folder / "comment.headers.json").write_text('{"X-GitHub-Event": "issue_comment"}', encoding="utf-8")
        self.env = {
            "HOOK_SECRET": SECRET,
            "GITHUB_TOKEN": TOKEN,
            "ANTHROPIC_API_KEY": "sandbox-key",
            "ANTHROPIC_BASE_URL": sandbox.anthropic_url,
            "TRIGGERHUB_URL": self.url,
        }
        self.log = folder / "log"
        self.process: subprocess.Popen[bytes] | None = None

    @contextmanager
    def running(self, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [*COMMAND, "up", "--port", str(self.port), *arguments],
                cwd=self.folder,
                env=environment(self.env),
                stdout=subprocess.DEVNULL,
                stderr=log,
            )
        try:
            yield self.process
        finally:
            self.process.kill()
            self.process.wait()

    def lines(self) -> list[dict[str, Any]]:
        """The log so far: JSON, because nobody looks on."""
        lines = self.log.read_text(encoding="utf-8").splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]

    def said(self, event: str) -> list[dict[str, Any]]:
        return [line for line in self.lines() if event in str(line.get("event"))]

    async def until(self, holds: Callable[[], object]) -> Any:
        until = time.monotonic() + SECONDS
        while True:
            found = holds()
            if found:
                return found
            assert self.process is not None
            assert self.process.poll() is None, self.log.read_text(encoding="utf-8")
            assert time.monotonic() < until, self.log.read_text(encoding="utf-8")
            await asyncio.sleep(0.05)

    async def get(self, path: str) -> Any:
        async with httpx.AsyncClient(trust_env=False) as http:
            return (await http.get(self.url + path)).json()

    async def send(self, connection: str = "acme-github", **env: str) -> tuple[int, str]:
        url = f"{self.url}/hooks/{connection}"
        ran = await asyncio.to_thread(
            triggerhub,
            *("send", "--connection", connection, "--url", url, "comment.json"),
            folder=self.folder,
            env={**self.env, **env},
        )
        return ran.code, ran.out

    def rewrite(self, change: Callable[[str], str]) -> None:
        self.config.write_text(change(self.config.read_text(encoding="utf-8")), encoding="utf-8")


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with serve(create_missing=True) as served:
        yield served


@pytest.fixture
def up(tmp_path: Path, sandbox: Sandbox) -> Up:
    return Up(tmp_path, sandbox)


async def test_a_webhook_starts_a_run_that_the_commands_tell_of(up: Up, sandbox: Sandbox) -> None:
    with up.running() as process:
        await up.until(lambda: up.said("the hub is up"))
        assert (await up.get("/"))["webhooks"] == "POST /hooks/{connection}"
        code, out = await up.send()
        assert (code, out[:4]) == (0, "202 ")
        [event_id] = json.loads(out[4:])["events"]

        async def ended() -> dict[str, Any]:
            while True:
                runs = (await up.get("/api/v1/runs"))["items"]
                if runs and runs[0]["ended_at"]:
                    found: dict[str, Any] = runs[0]
                    return found
                await asyncio.sleep(0.05)

        async with asyncio.timeout(SECONDS):
            run = await ended()
        assert run["status"] == "succeeded", run
        why = await asyncio.to_thread(triggerhub, "why", event_id, folder=up.folder, env=up.env)
        stored = {name: value for name, value in up.env.items() if name != "TRIGGERHUB_URL"}
        assert await asyncio.to_thread(triggerhub, "why", event_id, folder=up.folder, env=stored) == why
        assert "answer: matched: every clause holds" in why.out
        assert f"run {run['id']} is succeeded" in why.out
        assert "posted, http" in why.out
        assert json.loads((await up.send())[1][4:])["duplicates"] == 1
        process.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(process.wait, 30) == 0
    assert [line["event"] for line in up.lines()][-1] == "stopped"
    log = up.log.read_text(encoding="utf-8")
    assert "\x1b" not in log
    for secret in (SECRET, TOKEN, "sandbox-key", COMMENT["comment"]["body"]):
        assert secret not in log
    assert [call.status for call in sandbox.world.log.calls() if call.path.endswith("/comments")]


async def test_the_configuration_is_followed_and_a_broken_one_is_not(up: Up) -> None:
    async def names() -> list[str]:
        return [rule["name"] for rule in (await up.get("/api/v1/rules"))["items"]]

    with up.running() as process:
        await up.until(lambda: up.said("the hub is up"))
        assert await names() == ["answer"]

        up.rewrite(
            lambda text: text.replace("name: answer", "name: reply").replace("source: github, kind", "kind")
        )
        await up.until(lambda: up.said("loaded again"))
        assert await names() == ["reply"]

        up.rewrite(lambda text: text.replace("agent: colleague", "agent: coleague"))
        [broken] = await up.until(lambda: up.said("is broken"))
        assert "did you mean 'colleague'?" in broken["problems"][0]
        assert await names() == ["reply"]
        assert (await up.send())[0] == 1, "send reads the broken file itself"

        up.rewrite(lambda text: text.replace("agent: coleague", "agent: colleague"))
        await up.until(lambda: len(up.said("loaded again")) == 2)
        assert (await up.send())[0] == 0

        added = '  other-github: {source: github, webhook_secrets: ["file:other.secret"]}\nenvironments:'
        up.rewrite(lambda text: text.replace("environments:", added))
        [refused] = await up.until(lambda: up.said("a connection cannot be used"))
        assert refused["connection"] == "other-github"
        assert (await up.get("/readyz"))["ready"]

        (up.folder / "other.secret").write_text("secret-of-the-other\n", encoding="utf-8")
        await up.until(
            lambda: any(line["connections_added"] == ["other-github"] for line in up.said("loaded again"))
        )
        assert (await up.send("other-github"))[0] == 0

        (up.folder / "other.secret").write_text("a-new-secret\n", encoding="utf-8")
        await up.until(lambda: any(line["connections_changed"] for line in up.said("loaded again")))
        assert (await up.send("other-github"))[0] == 0

        up.rewrite(lambda text: text.replace(added, "environments:"))
        await up.until(lambda: any(line["connections_removed"] for line in up.said("loaded again")))
        async with httpx.AsyncClient(trust_env=False) as http:
            assert (await http.post(f"{up.url}/hooks/other-github")).status_code == 404
        process.send_signal(signal.SIGINT)
        assert await asyncio.to_thread(process.wait, 30) == 0
    assert "secret-of-the-other" not in up.log.read_text(encoding="utf-8")


async def test_a_second_signal_ends_it_at_once(up: Up) -> None:
    with up.running() as process:
        await up.until(lambda: up.said("the hub is up"))
        process.send_signal(signal.SIGSTOP)
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGCONT)
        assert await asyncio.to_thread(process.wait, 10) in {128 + signal.SIGINT, 128 + signal.SIGTERM}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"HOOK_SECRET": ""}, "the environment variable HOOK_SECRET is not set"),
        ({"ANTHROPIC_API_KEY": ""}, "ANTHROPIC_API_KEY is not set"),
        ({"TRIGGERHUB_DATABASE_URL": "mysql://u:hidden-word@x/y"}, "use sqlite:///FILE or postgresql://"),
        (
            {"TRIGGERHUB_DATABASE_URL": "postgresql://u:hidden-word@127.0.0.1:1/x"},
            "postgresql://u:***@127.0.0.1:1/x",
        ),
        ({"TRIGGERHUB_DATABASE_URL": "sqlite:////proc/none/hub.db"}, "check TRIGGERHUB_DATABASE_URL"),
        ({"TRIGGERHUB_KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1"}, "Kafka at 127.0.0.1:1 does not answer"),
        ({"TRIGGERHUB_LOG_LEVEL": "loud"}, "TRIGGERHUB_LOG_LEVEL"),
        ({"TRIGGERHUB_CONFIG": "nowhere.yaml"}, "there is no configuration at nowhere.yaml"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
async def test_what_keeps_it_from_starting_is_told(up: Up, change: dict[str, str], said: str) -> None:
    ran = await asyncio.to_thread(
        triggerhub, "up", "--port", str(up.port), folder=up.folder, env={**up.env, **change}
    )
    assert (ran.code, ran.out) == (1, "")
    assert said in ran.err
    assert ran.calm
    assert "hidden-word" not in ran.err


async def test_a_port_in_use_and_a_role_that_is_none(up: Up) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        ran = await asyncio.to_thread(triggerhub, "up", "--port", port, folder=up.folder, env=up.env)
    assert ran.code == 1
    assert f"cannot listen on 127.0.0.1:{port}" in ran.err
    assert "--port" in ran.err
    for roles, code, said in (
        ("ingres", 2, "did you mean 'ingress'?"),
        (",", 2, "--roles names none"),
        ("ingress", 1, "TRIGGERHUB_KAFKA_BOOTSTRAP_SERVERS"),
    ):
        ran = await asyncio.to_thread(triggerhub, "up", "--roles", roles, folder=up.folder, env=up.env)
        assert ran.code == code
        assert said in ran.err
        assert ran.calm


def test_the_sandbox_serves_and_says_where(tmp_path: Path) -> None:
    [port] = free_ports(1)
    with subprocess.Popen(
        [*COMMAND, "sandbox", "--port", str(port)],
        cwd=tmp_path,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as process:
        assert process.stdout is not None
        first = process.stdout.readline().decode()
        assert first == f"export ANTHROPIC_BASE_URL=http://127.0.0.1:{port}/anthropic\n"
        with httpx.Client(trust_env=False) as http:
            user = http.get(f"http://127.0.0.1:{port}/github/user", headers={"authorization": "Bearer x"})
        assert user.status_code == 200
        again = triggerhub("sandbox", "--port", str(port), folder=tmp_path)
        assert again.code == 1
        assert "cannot listen" in again.err
        process.send_signal(signal.SIGTERM)
        rest = process.stdout.read().decode()
        assert process.wait(10) == 0
    for source in ("github", "jira", "sentry", "slack"):
        assert f"http://127.0.0.1:{port}/{source}" in rest
