"""Secrets in use: changed under load without one refusal, and written nowhere, whatever goes wrong."""

from __future__ import annotations

import asyncio
import base64
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from command_line import triggerhub
from crash.stage import SOURCES, Stage, stage
from crash.webhooks import Webhook, github_comment, jira_label, sentry_alert, slack_mention
from hub_process import HubProcess, SandboxProcess, hub_environment

from connectors.base import Request
from connectors.registry import connector
from hub.demo.scenarios import DEMO_SECRETS, configuration
from hub.sending import signed_headers

SIGNERS = {
    "github": "GITHUB_WEBHOOK_SECRET",
    "jira": "JIRA_WEBHOOK_SECRET",
    "sentry": "SENTRY_CLIENT_SECRET",
    "slack": "SLACK_SIGNING_SECRET",
}
pytestmark = pytest.mark.timeout(120)


# Rotation -------------------------------------------------------------------------------------------------------------


class Sender:
    """A vendor that sends without a pause, each source under the secret it has at the moment."""

    def __init__(self, running: Stage) -> None:
        self._running = running
        self.secrets = {source: f"the-old-secret-of-{source}" for source in SOURCES}
        self.statuses: Counter[int] = Counter()
        self._number = 0

    def webhooks(self) -> list[Webhook]:
        self._number += 1
        number = self._number
        return [
            github_comment(800, 800_000 + number, "hm"),
            jira_label(800 + number, label="nothing"),
            sentry_alert(800 + number),
            slack_mention(f"17954{number:05d}.000100"),
        ]

    async def send(self, webhook: Webhook, secret: str) -> int:
        headers = signed_headers(
            connector(webhook.source), Request(webhook.headers, webhook.body), secret=secret, now=time.time()
        )
        answer = await self._running.http.post(
            self._running.hub.url + webhook.path, content=webhook.body, headers=headers
        )
        return answer.status_code

    async def run(self) -> None:
        while True:
            for webhook in self.webhooks():
                self.statuses[await self.send(webhook, self.secrets[webhook.source])] += 1
            await asyncio.sleep(0.01)


async def test_rotation_under_load_without_one_refusal(tmp_path: Path) -> None:
    for source in SOURCES:
        for age in ("old", "new"):
            (tmp_path / f"{source}.{age}").write_text(f"the-{age}-secret-of-{source}\n")

    def with_secrets(*ages: str) -> Callable[[dict[str, Any]], None]:
        def edit(config: dict[str, Any]) -> None:
            config["rules"] = [rule for rule in config["rules"] if rule["name"] == "github-mention-reply"]
            for source in SOURCES:
                references = [f"file:{tmp_path}/{source}.{age}" for age in ages]
                config["connections"][f"acme-{source}"]["webhook_secrets"] = references

        return edit

    async with (
        stage(tmp_path, edit=with_secrets("old"), watched=True) as running,
        asyncio.TaskGroup() as tasks,
    ):
        sender = Sender(running)
        sending = [tasks.create_task(sender.run()) for _ in range(3)]
        path = tmp_path / "triggerhub.yaml"

        async def change(*ages: str) -> None:
            config = yaml.safe_load(path.read_text())
            with_secrets(*ages)(config)
            path.write_text(yaml.safe_dump(config, sort_keys=False))
            wanted = {f"the-{age}-secret-of-github" for age in ages}

            async def taken_over() -> bool:
                return set(running.hub.connections["acme-github"].webhook_secrets) == wanted

            await running.until(taken_over, seconds=15)
            await some_more(sender)

        await some_more(sender)
        await change("new", "old")
        for source in SOURCES:  # the vendors change over one after the other, in the middle of the load
            sender.secrets[source] = f"the-new-secret-of-{source}"
            await some_more(sender, count=20)
        await change("new")
        for task in sending:
            task.cancel()
        assert set(sender.statuses) == {202}, sender.statuses
        assert sender.statuses.total() > 150
        for webhook in sender.webhooks():
            assert await sender.send(webhook, f"the-old-secret-of-{webhook.source}") == 401


async def some_more(sender: Sender, *, count: int = 40) -> None:
    until = sender.statuses.total() + count
    while sender.statuses.total() < until:
        await asyncio.sleep(0.02)


# Redaction ------------------------------------------------------------------------------------------------------------

SECRETS = {name: f"{name.lower()}-9f2c4e71a0{number}" for number, name in enumerate(DEMO_SECRETS)}
API_KEY, API_TOKEN = "sk-ant-invented-5d1f77c2b9", "api-token-invented-e84b1207aa"
TOKENS = {
    "github": "GITHUB_TOKEN",
    "jira": "JIRA_TOKEN",
    "sentry": "SENTRY_TOKEN",
    "slack": "SLACK_BOT_TOKEN",
}
ALL = {**SECRETS, "ANTHROPIC_API_KEY": API_KEY, "TRIGGERHUB_API_TOKEN": API_TOKEN}
ASKED = "@triggerhub where do we round the total?"


def sign(webhook: Webhook, secret: str) -> dict[str, str]:
    request = Request(webhook.headers, webhook.body)
    return signed_headers(connector(webhook.source), request, secret=secret, now=time.time())


class Written:
    """Everything that was written anywhere, by its place."""

    def __init__(self) -> None:
        self.places: dict[str, bytes] = {}

    def add(self, place: str, *texts: str | bytes) -> None:
        joined = b"\n".join(text.encode() if isinstance(text, str) else text for text in texts)
        self.places[place] = self.places.get(place, b"") + joined

    def leaks(self) -> list[str]:
        """`<secret's name> in <place>`, plain, in base64, or as the password of a basic login."""
        found = []
        for name, value in ALL.items():
            forms = {value.encode(), base64.b64encode(value.encode()).rstrip(b"=")}
            found += [
                f"{name} in {place}"
                for place, text in self.places.items()
                if any(form in text for form in forms)
            ]
        return found


async def test_no_secret_is_written_anywhere(tmp_path: Path) -> None:
    sandbox = SandboxProcess(tmp_path)
    await sandbox.up()
    config = tmp_path / "triggerhub.yaml"
    config.write_text(configuration({source: sandbox.api_url(source) for source in SOURCES}))
    environment = hub_environment(
        database_url=f"sqlite:///{tmp_path}/hub.db",
        sandbox=sandbox,
        secrets={**SECRETS, "ANTHROPIC_API_KEY": API_KEY},
        api_token=API_TOKEN,
        log_level="debug",
        session_creates_per_minute=10_000,
        session_reads_per_minute=100_000,
    )
    hub = HubProcess(tmp_path, config=config, environment=environment)
    written = Written()
    try:
        await provoke(hub, sandbox)
        async with httpx.AsyncClient(base_url=hub.url, timeout=30, trust_env=False) as http:
            await ask_everything(http, written)
        for arguments in (("doctor",), ("runs", "list", "--json")):
            ran = await asyncio.to_thread(triggerhub, *arguments, folder=tmp_path, env=environment)
            written.add(f"triggerhub {' '.join(arguments)}", ran.out, ran.err)
        literal = config.read_text().replace("env:GITHUB_TOKEN", SECRETS["GITHUB_TOKEN"])
        (tmp_path / "literal.yaml").write_text(literal)
        ran = await asyncio.to_thread(
            triggerhub,
            "rules",
            "check",
            "--config",
            tmp_path / "literal.yaml",
            folder=tmp_path,
            env=environment,
        )
        assert ran.code == 1
        written.add("triggerhub rules check", ran.out, ran.err)
    finally:
        hub.stop()
        sandbox.stop()
    written.add("the log", *contents(tmp_path, "hub*.log"))
    written.add("the database", *contents(tmp_path, "hub.db*"))
    # What was to be provoked was: vendors' words are there, their tokens blotted out.
    assert b"[secret]" in written.places["the database"]
    assert b"[secret]" in written.places["the log"]
    assert b"Bad credentials" in written.places["the database"]
    assert b"webhook refused" in written.places["the log"]
    assert b"[secret]" in written.places["triggerhub doctor"]
    assert written.leaks() == []


def contents(folder: Path, pattern: str) -> list[bytes]:
    """Bytes of the files that fit."""
    found = [path.read_bytes() for path in folder.glob(pattern)]
    assert found, pattern
    return found


async def provoke(hub: HubProcess, sandbox: SandboxProcess) -> None:
    """A start, forged webhooks, good ones, and services that refuse while repeating the credential they got."""
    for source, name in TOKENS.items():
        status = 200 if source == "slack" else 401
        said = f"Bad credentials: {SECRETS[name]} was not accepted"
        body = {
            "github": {"message": said},
            "jira": {"errorMessages": [said], "errors": {}},
            "sentry": {"detail": said},
            "slack": {"ok": False, "error": said},
        }[source]
        await sandbox.fault("status", service=source, status=status, body=body, times=None)
    hub.start()
    await hub.answering("/livez")
    async with httpx.AsyncClient(base_url=hub.url, timeout=30, trust_env=False) as http:
        good = [
            github_comment(41, 4_100, ASKED),
            jira_label(41),
            sentry_alert(41),
            slack_mention("1795400041.000100"),
        ]
        while (await http.get("/readyz")).status_code == 0:
            await asyncio.sleep(0.1)
        for webhook in good:
            forged = await http.post(
                webhook.path, content=webhook.body, headers=sign(webhook, "another-secret-0000")
            )
            assert forged.status_code == 401
            assert forged.content == b""
            accepted = await http.post(
                webhook.path, content=webhook.body, headers=sign(webhook, SECRETS[SIGNERS[webhook.source]])
            )
            assert accepted.status_code == 202, accepted.text
        asked = await http.post("/hooks/acme-jira?token=not-the-secret", content=b"{}")
        assert asked.status_code == 401
        await ended(http)
        # Now Anthropic refuses too, with the key in its words.
        refused = {
            "type": "error",
            "error": {"type": "authentication_error", "message": f"Bad credentials: {API_KEY}"},
        }
        await sandbox.fault(
            "status", service="anthropic", method="POST", status=401, body=refused, times=None
        )
        last = github_comment(42, 4_200, ASKED)
        headers = sign(last, SECRETS["GITHUB_WEBHOOK_SECRET"])
        assert (await http.post(last.path, content=last.body, headers=headers)).status_code == 202
        await ended(http, count=5)


async def ended(http: httpx.AsyncClient, *, count: int = 4) -> None:
    """Wait until so many runs have ended, well or not."""
    headers = {"authorization": f"Bearer {API_TOKEN}"}
    until = time.monotonic() + 60
    while True:
        runs = (await http.get("/api/v1/runs", headers=headers)).json()["items"]
        over = [run for run in runs if run["status"] in {"succeeded", "failed", "timed_out", "cancelled"}]
        if len(over) >= count:
            return
        assert time.monotonic() < until, runs
        await asyncio.sleep(0.1)


async def ask_everything(http: httpx.AsyncClient, written: Written) -> None:
    """Every page and every kind of record, with the token and without."""
    headers = {"authorization": f"Bearer {API_TOKEN}"}
    names = ("events", "runs", "rules", "deliveries", "dead-letters", "workers")
    for path in ("/livez", "/readyz", "/metrics", "/asyncapi", *(f"/api/v1/{name}" for name in names)):
        for given in (headers, {}, {"authorization": "Bearer wrong"}):
            answer = await http.get(path, headers=given)
            written.add(path, answer.content, str(answer.headers))
    for name in ("events", "runs"):
        for one in (await http.get(f"/api/v1/{name}", headers=headers)).json()["items"]:
            answer = await http.get(f"/api/v1/{name}/{one['id']}", headers=headers)
            written.add(f"/api/v1/{name}/ID", answer.content)
