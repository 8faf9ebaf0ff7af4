"""What must not get in, what must not start, and what people are told when something cannot be done."""

from __future__ import annotations

import asyncio
import dataclasses
import http.client
import json
import sqlite3
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from aiokafka import AIOKafkaProducer
from crash.stage import Stage, stage
from crash.webhooks import Webhook, github_comment, jira_label, sentry_alert, slack_mention

from hub.configuration import live_connections, load_configuration
from hub.demo.scenarios import DEMO_SECRETS, configuration
from hub.secrets import SecretError
from router.problems import ConfigError
from schemas.event import Actor, Event, EventData, Subject
from schemas.topics import EVENTS
from storage.presence_tables import PresenceRow
from storage.tables import Delivery, EventRow, ResultRow, RunRow

ASKED = "@triggerhub where do we round the total?"
SIGNATURE = {"github": "X-Hub-Signature-256", "jira": "X-Hub-Signature", "sentry": "Sentry-Hook-Signature"}
ALL = [
    github_comment(31, 1, ASKED),
    jira_label(31),
    sentry_alert(31),
    slack_mention("1795400031.000100"),
]
BY_SOURCE = pytest.mark.parametrize("webhook", ALL, ids=[one.source for one in ALL])


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[Stage]:
    """A hub on the demo's configuration."""
    async with stage(tmp_path) as found:
        yield found


async def forged(running: Stage, webhook: Webhook, change: Any) -> int:
    """The status that a webhook with changed signature headers gets."""
    headers = {name.lower(): value for name, value in webhook.signed().items()}
    names = [name for name in headers if "signature" in name]
    assert len(names) == 1
    value = change(headers.pop(names[0]))
    if value is not None:
        headers[names[0]] = value
    answer = await running.http.post(running.hub.url + webhook.path, content=webhook.body, headers=headers)
    return answer.status_code


async def test_only_a_genuine_signature_gets_in(running: Stage) -> None:
    for webhook in ALL:
        assert await forged(running, webhook, lambda _: None) == 401
        assert await forged(running, webhook, lambda value: value[:-1]) == 401
        assert (
            await forged(running, webhook, lambda value: value[:-1] + ("0" if value[-1] != "0" else "1"))
            == 401
        )
        assert await forged(running, webhook, lambda value: value[:-4] + "zzzz") == 401
        assert await forged(running, webhook, lambda _: "") == 401
        altered = dataclasses.replace(webhook, body=webhook.body.replace(b"acme", b"evil", 1) + b" ")
        headers = webhook.signed()
        answer = await running.http.post(
            running.hub.url + webhook.path, content=altered.body, headers=headers
        )
        assert (answer.status_code, answer.content) == (401, b"")
    assert await running.rows(Delivery) == []
    assert await running.rows(EventRow) == []


@pytest.mark.parametrize(
    "body",
    [
        b"not json",
        b"{",
        b'{"a": ' + b"[" * 5000 + b"]" * 5000 + b"}",
        b'{"a": "\xff\xfe"}',
        b'{"action": "created", "action": "deleted"}',
        b"[1, 2]",
        b'{"a": NaN}',
    ],
    ids=["words", "cut", "deep", "not-utf-8", "key-twice", "list", "nan"],
)
async def test_an_unreadable_body_is_refused_and_kept(running: Stage, body: bytes) -> None:
    for webhook in ALL:
        answer = await running.send(dataclasses.replace(webhook, body=body))
        assert answer.status_code == 400, (webhook.source, answer.text)
        assert "error" in answer.json()
    kept = await running.rows(Delivery)
    assert {row["outcome"] for row in kept} == {"unreadable"}
    assert {row["body"] for row in kept} == {body}
    assert await running.rows(EventRow) == []


async def test_an_empty_body_is_refused_but_for_jira_which_may_send_it(running: Stage) -> None:
    answers = {one.source: await running.send(dataclasses.replace(one, body=b"")) for one in ALL}
    assert answers.pop("jira").json()["outcome"] == "ignored"  # a webhook with "Exclude body" ticked
    assert {source: answer.status_code for source, answer in answers.items()} == dict.fromkeys(answers, 400)
    assert await running.rows(EventRow) == []


async def test_a_body_of_26_mb_is_refused_unread(running: Stage) -> None:
    for webhook in ALL:
        huge = dataclasses.replace(webhook, body=b'{"a": "' + b"x" * 26 * 1024 * 1024 + b'"}')
        assert (await running.send(huge)).status_code == 413
    assert await running.rows(Delivery) == []


async def test_who_closes_the_connection_reads_the_refusal_of_a_large_body_too(running: Stage) -> None:
    def sent_whole_before_reading(path: str) -> int:
        """What Python's own clients do, and load balancers."""
        address = httpx.URL(running.hub.url)
        connection = http.client.HTTPConnection(address.host, address.port or 80, timeout=30)
        connection.request("POST", path, body=b"x" * 40 * 1024 * 1024, headers={"Connection": "close"})
        return connection.getresponse().status

    for path, status in (("/hooks/acme-github", 413), ("/hooks/nobody", 404)):
        assert await asyncio.to_thread(sent_whole_before_reading, path) == status


async def test_paths_and_methods(running: Stage) -> None:
    unknown = await running.http.post(f"{running.hub.url}/hooks/nobody", content=b"{}")
    assert unknown.status_code == 404
    assert "nobody" in unknown.json()["error"]
    for method in ("GET", "PUT", "DELETE", "PATCH"):
        answer = await running.http.request(method, f"{running.hub.url}/hooks/acme-github")
        assert answer.status_code == 405
    assert (await running.http.post(f"{running.hub.url}/hooks/", content=b"{}")).status_code == 404
    assert await running.rows(Delivery) == []


@BY_SOURCE
async def test_a_redelivery_is_answered_202_and_makes_nothing(running: Stage, webhook: Webhook) -> None:
    first = await running.accepted(webhook)
    assert (await running.ended(first))["status"] == "succeeded"

    async def all_is_shown() -> bool:
        return not await running.rows(PresenceRow, status="open")

    await running.until(all_is_shown)  # the mark that it was seen may come after the end of so quick a run
    calls = len(running.sandbox.world.log)
    for _ in range(3):
        again = await running.send(webhook)
        assert again.status_code == 202
        assert again.json()["events"] == []
    assert len(await running.rows(EventRow)) == 1
    assert len(await running.rows(RunRow)) == 1
    assert len(running.sandbox.world.log) == calls


async def test_an_unset_secret_is_named_before_anything_starts(tmp_path: Path) -> None:
    path = tmp_path / "triggerhub.yaml"
    path.write_text(
        configuration(dict.fromkeys(("github", "jira", "sentry", "slack"), "https://api.example.com"))
    )
    given = {
        name: value for name, value in DEMO_SECRETS.items() if name not in {"JIRA_TOKEN", "SLACK_BOT_TOKEN"}
    }
    with pytest.raises(SecretError) as refused:
        live_connections(load_configuration(path).config, environment=given)
    assert "JIRA_TOKEN" in str(refused.value)
    assert "SLACK_BOT_TOKEN" in str(refused.value)
    assert not any(value in str(refused.value) for value in DEMO_SECRETS.values())


async def test_a_rule_with_a_typo_is_refused_with_its_line_and_the_right_word(tmp_path: Path) -> None:
    def misspell(config: dict[str, Any]) -> None:
        config["rules"][0]["agent"] = "fixr"

    with pytest.raises(ConfigError) as refused:
        async with stage(tmp_path, edit=misspell):
            pytest.fail("a rule that names no agent was accepted")
    text = "\n".join(str(problem) for problem in refused.value.problems)
    assert "fixr" in text
    assert "fixer" in text
    assert "triggerhub.yaml:" in text


async def test_an_output_to_a_missing_repository_is_told_to_the_agent_and_named(tmp_path: Path) -> None:
    def elsewhere(config: dict[str, Any]) -> None:
        rule = next(rule for rule in config["rules"] if rule["name"] == "sentry-error-to-pr")
        rule["outputs"][0]["open_pull_request"]["repository"] = "acme/gone"

    async with stage(tmp_path, edit=elsewhere, create_missing=False) as running:
        world = running.sandbox.world
        world.github.ensure_repo("acme/checkout")
        world.sentry.ensure_issue("5200000007")
        world.slack.ensure_channel("C0123456")
        run = await running.ended(await running.accepted(sentry_alert(7)))
        results = {row["output"]: row for row in await running.rows(ResultRow, run_id=run["id"])}
        assert results["open_pull_request"]["status"] == "refused"
        assert "acme/gone" in results["open_pull_request"]["error"]
        assert "404" in results["open_pull_request"]["error"]
        # The agent was told, went on, and said so to people.
        assert results["comment"]["status"] == "posted"
        (comment,) = [one for one in running.made(run["id"]) if one.source == "sentry"]
        assert "pull/" not in comment.text
        session = running.agents.sessions[run["session_id"]]
        answers = [event for event in session.history.events if event["type"] == "user.custom_tool_result"]
        told = [event for event in answers if event["is_error"]]
        assert told
        assert all("404" in json.dumps(event["content"]) for event in told)
        assert world.github.repo("acme/gone") is None


async def test_a_refused_model_fails_the_run_and_the_origin_is_told(tmp_path: Path) -> None:
    def nonsense(config: dict[str, Any]) -> None:
        config["agents"]["colleague"]["model"] = "claude-nonsense-9"

    async with stage(tmp_path, edit=nonsense) as running:
        running.sandbox.world.faults.ask(
            "status",
            service="anthropic",
            method="POST",
            path="/v1/agents",
            times=None,
            status=400,
            body={
                "type": "error",
                "error": {
                    "type": "invalid_request_error",
                    "message": "model: claude-nonsense-9 is not known",
                },
                "request_id": "req_1",
            },
        )
        run = await running.ended(await running.accepted(github_comment(32, 2, ASKED)))
        assert run["status"] == "failed"
        assert "claude-nonsense-9" in run["error"]
        (reply,) = running.made(run["id"])
        assert (reply.source, reply.where) == ("github", "acme/checkout#32")
        assert "claude-nonsense-9" in reply.text
        assert run["id"] in reply.text
        assert running.agents.work == []


async def test_an_event_of_another_program_is_routed(running: Stage) -> None:
    event = Event(
        id="evt_" + "7" * 32,
        source="github/acme",
        type="github.comment.created",
        subject="acme/checkout#77",
        time=datetime(2026, 3, 4, 5, 6, tzinfo=UTC),
        connection="acme-github",
        data=EventData(
            kind="comment.created",
            actor=Actor(id="1", login="ada", trust="member"),
            subject=Subject(kind="issue", key="acme/checkout#77", container="acme/checkout"),
            text=ASKED,
            mentions=("triggerhub",),
        ),
    )
    producer = AIOKafkaProducer(
        bootstrap_servers=running.hub.broker._bootstrap,  # noqa: SLF001 - another program would be told the address
        enable_idempotence=False,
    )
    await producer.start()
    try:
        for _ in range(2):  # it may publish twice, as everybody may
            await producer.send_and_wait(
                EVENTS.name, event.model_dump_json().encode(), key=b"acme/checkout#77"
            )
    finally:
        await producer.stop()
    run = await running.ended(event.id)
    assert run["status"] == "succeeded"
    assert [one.where for one in running.made(run["id"])] == ["acme/checkout#77"]
    assert len(await running.rows(RunRow)) == 1


async def test_a_database_that_takes_no_writes_means_503_and_then_it_works_again(
    running: Stage, tmp_path: Path
) -> None:
    webhook = github_comment(33, 3, ASKED)
    holder = sqlite3.connect(tmp_path / "hub.db", isolation_level=None)
    try:
        holder.execute("BEGIN IMMEDIATE")  # longer than the hub waits for the lock
        answer = await running.send(webhook)
        assert answer.status_code == 503
        assert answer.headers["retry-after"] == "5"
    finally:
        holder.close()

    async def taken() -> bool:
        return (await running.send(webhook)).status_code == 202

    await running.until(taken)
    (event,) = await running.rows(EventRow)
    assert (await running.ended(event["id"]))["status"] == "succeeded"
    assert len(running.agents.work) == 1
