"""`triggerhub send`: what arrives is what the vendor would have sent."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from command_line import triggerhub
from loopback import Answer, Call, Loopback, loopback
from services.children import free_ports

from connectors.base import Request
from connectors.registry import connector

CONFIG = """\
version: 1
connections:
  acme-github: {source: github, webhook_secrets: [env:HOOK_SECRET]}
  acme-jira:
    {source: jira, api_url: "https://acme.atlassian.net", email: bot@example.com, webhook_secrets: [env:HOOK_SECRET]}
  acme-sentry:
    {source: sentry, api_url: "https://sentry.io", organization: acme, webhook_secrets: [env:HOOK_SECRET]}
  acme-slack: {source: slack, api_url: "https://slack.com/api", webhook_secrets: [env:HOOK_SECRET]}
"""
SECRET = "a-secret-of-the-hook"
ENV = {"HOOK_SECRET": SECRET, "HTTP_PROXY": "http://127.0.0.1:9", "http_proxy": "http://127.0.0.1:9"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "triggerhub.yaml").write_text(CONFIG, encoding="utf-8")
    (tmp_path / "body.json").write_text('{"zen": "Keep it simple."}', encoding="utf-8")
    (tmp_path / "body.headers.json").write_text(
        json.dumps(
            {"X-GitHub-Event": "ping", "Host": "hooks.example.com", "Content-Length": "1", "X-None": None}
        ),
        encoding="utf-8",
    )
    return tmp_path


def sent(hub: Loopback, source: str) -> Call:
    """The last call, after its signature was found good."""
    call = hub.calls[-1]
    request = Request(headers=call.headers, body=call.body)
    connector(source).verify(request, secrets=[SECRET], now=time.time())
    return call


@pytest.mark.parametrize("source", ["github", "jira", "sentry", "slack"])
def test_it_is_signed_as_the_vendor_would(source: str, folder: Path) -> None:
    with loopback() as hub:
        hub.on("POST", f"/hooks/acme-{source}", Answer(202, {"outcome": "handled"}))
        url = f"{hub.url}/hooks/acme-{source}"
        ran = triggerhub(
            "send", "--connection", f"acme-{source}", "--url", url, "body.json", folder=folder, env=ENV
        )
        assert (ran.code, ran.err) == (0, "")
        assert ran.out == '202 {"outcome": "handled"}\n'
        call = sent(hub, source)
    assert call.body == b'{"zen": "Keep it simple."}'
    assert call.headers["host"] == hub.url.removeprefix("http://")
    assert call.headers["content-length"] == str(len(call.body))
    assert call.headers["content-type"] == "application/json"
    assert "x-none" not in call.headers


@pytest.mark.parametrize(
    ("source", "header"), [("github", "x-github-delivery"), ("jira", "x-atlassian-webhook-identifier")]
)
def test_delivery_ids_are_fresh_unless_given(source: str, header: str, folder: Path) -> None:
    (folder / "given.json").write_text(json.dumps({header: "d-1"}), encoding="utf-8")
    with loopback() as hub:
        hub.on("POST", "/hooks/x", Answer(202))
        command = ("send", "--connection", f"acme-{source}", "--url", f"{hub.url}/hooks/x", "body.json")
        triggerhub(*command, folder=folder, env=ENV)
        triggerhub(*command, folder=folder, env=ENV)
        triggerhub(*command, "--headers", "given.json", folder=folder, env=ENV)
        first, second, third = (call.headers[header] for call in hub.calls)
    assert len({first, second, third}) == 3
    assert third == "d-1"


def test_a_form_goes_as_a_form(folder: Path) -> None:
    (folder / "command.form.txt").write_text("team_id=T1&command=%2Ffix&text=it\n", encoding="utf-8")
    with loopback() as hub:
        hub.on("POST", "/hooks/acme-slack", Answer(202))
        command = (
            "send",
            "--connection",
            "acme-slack",
            "--url",
            f"{hub.url}/hooks/acme-slack",
            "command.form.txt",
        )
        assert triggerhub(*command, folder=folder, env=ENV).code == 0
        call = sent(hub, "slack")
    assert call.headers["content-type"] == "application/x-www-form-urlencoded"
    assert call.body == b"team_id=T1&command=%2Ffix&text=it"


@pytest.mark.parametrize("status", [401, 404, 503])
def test_a_refusal_ends_with_1_and_says_which(status: int, folder: Path) -> None:
    with loopback() as hub:
        hub.on("POST", "/hooks/acme-github", Answer(status, {"error": "no"}))
        command = (
            "send",
            "--connection",
            "acme-github",
            "--url",
            f"{hub.url}/hooks/acme-github",
            "body.json",
        )
        ran = triggerhub(*command, folder=folder, env=ENV)
    assert ran.code == 1
    assert ran.out == f'{status} {{"error": "no"}}\n'


@pytest.mark.parametrize(
    ("arguments", "env", "code", "said"),
    [
        (("--connection", "acme-githb", "body.json"), ENV, 2, "did you mean 'acme-github'?"),
        (("--connection", "acme-github", "missing.json"), ENV, 2, "missing.json"),
        (
            ("--connection", "acme-github", "body.json"),
            {},
            1,
            "the environment variable HOOK_SECRET is not set",
        ),
        (("--connection", "acme-github", "--url", "nonsense", "body.json"), ENV, 1, "nonsense"),
        (("--connection", "acme-github", "--url", "http://[::1", "body.json"), ENV, 1, "http://[::1"),
        (("--connection", "acme-github", "--config", "other.yaml", "body.json"), ENV, 1, "no configuration"),
    ],
)
def test_mistakes_are_told_without_a_traceback(
    arguments: tuple[str, ...], env: dict[str, str], code: int, said: str, folder: Path
) -> None:
    ran = triggerhub("send", *arguments, folder=folder, env=env)
    assert (ran.code, ran.out) == (code, "")
    assert said in ran.err
    assert ran.calm
    assert SECRET not in ran.err


@pytest.mark.parametrize("path", ["", "/", "/hooks/acme-github"])
def test_the_address_of_a_hub_is_enough(folder: Path, path: str) -> None:
    with loopback() as hub:
        hub.on("POST", "/hooks/acme-github", Answer(202, {"outcome": "handled"}))
        url = hub.url + path
        ran = triggerhub(
            "send", "--connection", "acme-github", "--url", url, "body.json", folder=folder, env=ENV
        )
        assert ran.code == 0, ran.err
        assert [call.path for call in hub.calls] == ["/hooks/acme-github"]


def test_nobody_there(folder: Path) -> None:
    [port] = free_ports(1)
    url = f"http://127.0.0.1:{port}/hooks/acme-github"
    ran = triggerhub("send", "--connection", "acme-github", "--url", url, "body.json", folder=folder, env=ENV)
    assert ran.code == 1
    assert f"nobody answers at {url}" in ran.err
    assert "triggerhub up" in ran.err
