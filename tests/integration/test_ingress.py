"""The door: every answer of design §4.4, what is durable when it is given, and what never shows."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from sqlalchemy import func, select

from connectors.base import Identity
from connectors.ingress import Inbound, Ingress
from connectors.intake import Intake
from connectors.observations import Observations
from connectors.registry import connector
from connectors.room import Limits
from hub.demo.scenarios import webhook
from schemas.topics import MAX_MESSAGE_BYTES
from storage.database import Database, StorageUnavailableError
from storage.deliveries import Incoming
from storage.rows import table
from storage.tables import Delivery, EventRow, OutboxRow

SECRET = "an-invented-webhook-secret"
OLDER = "the-secret-before-it"
NOW = 1_795_336_260.0


@dataclass
class Counted(Observations):
    """Remembers what was counted."""

    answers: list[tuple[str, int]] = field(default_factory=list)
    outcomes: list[str] = field(default_factory=list)

    def delivery(self, *, connection: str, status: int, seconds: float) -> None:
        assert seconds >= 0
        self.answers.append((connection, status))

    def outcome(self, *, connection: str, outcome: str) -> None:
        assert connection
        self.outcomes.append(outcome)


@dataclass
class Door:
    """An ingress with a client in front of it."""

    http: httpx.AsyncClient
    ingress: Ingress
    announced: list[Any]
    counted: Counted
    database: Database

    async def post(
        self, source: str, headers: dict[str, str], body: bytes, *, secret: str = SECRET
    ) -> httpx.Response:
        signed = connector(source).sign(headers, body, secret=secret, now=NOW)
        return await self.http.post(f"/hooks/{source}", headers=signed, content=body)

    async def count(self, model: Any) -> int:
        rows = table(model)
        return int(
            await self.database.read(lambda c: c.execute(select(func.count()).select_from(rows)).scalar_one())
        )


@pytest.fixture
async def door(database: Database) -> AsyncIterator[Door]:
    intake = Intake(database)
    announced: list[Any] = []
    counted = Counted()
    inbound = {
        source: Inbound(source, connector(source), (SECRET, OLDER), Identity())
        for source in ("github", "jira", "sentry", "slack")
    }
    ingress = Ingress(inbound, intake, announce=announced.extend, observations=counted, clock=lambda: NOW)
    running = asyncio.get_running_loop().create_task(intake.run())
    async with httpx.AsyncClient(transport=httpx.ASGITransport(ingress), base_url="http://hub") as http:
        yield Door(http, ingress, announced, counted, database)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


WEBHOOKS = {
    "github": "github-mention",
    "jira": "jira-label",
    "sentry": "sentry-alert",
    "slack": "slack-mention",
}


@pytest.mark.parametrize("source", WEBHOOKS)
async def test_an_accepted_webhook_is_stored_before_the_answer(door: Door, source: str) -> None:
    headers, body = webhook(WEBHOOKS[source])
    answer = await door.post(source, headers, body)
    assert answer.status_code == 202
    [event_id] = answer.json()["events"]
    assert [await door.count(model) for model in (Delivery, EventRow, OutboxRow)] == [1, 1, 1]
    assert [message.ref for message, _ in door.announced] == [event_id]
    assert door.counted.answers == [(source, 202)]
    assert door.counted.outcomes == ["handled"]


@pytest.mark.parametrize("source", WEBHOOKS)
async def test_a_redelivery_is_answered_202_and_changes_nothing(door: Door, source: str) -> None:
    headers, body = webhook(WEBHOOKS[source])
    headers["x-github-delivery"] = "0b9f1c52-0000-4000-8000-000000000001"
    first = await door.post(source, headers, body)
    again = await door.post(source, headers, body)
    assert again.status_code == 202
    assert again.json()["events"] == []
    assert again.json()["duplicates"] == len(first.json()["events"]) == 1
    assert [await door.count(model) for model in (Delivery, EventRow, OutboxRow)] == [1, 1, 1]
    assert len(door.announced) == 1


async def test_one_fact_under_two_delivery_ids_is_one_event(door: Door) -> None:
    headers, body = webhook("github-mention")
    for number in range(2):
        answer = await door.post("github", {**headers, "x-github-delivery": f"delivery-{number}"}, body)
        assert answer.status_code == 202
    assert await door.count(Delivery) == 2
    assert await door.count(EventRow) == 1


async def test_twenty_copies_at_once_are_one_event(door: Door) -> None:
    headers, body = webhook("slack-mention")
    answers = await asyncio.gather(*(door.post("slack", headers, body) for _ in range(20)))
    assert {answer.status_code for answer in answers} == {202}
    assert sum(len(answer.json()["events"]) for answer in answers) == 1
    assert await door.count(EventRow) == 1


async def test_both_live_secrets_are_taken(door: Door) -> None:
    headers, body = webhook("github-mention")
    assert (await door.post("github", headers, body, secret=OLDER)).status_code == 202


@pytest.mark.parametrize("source", WEBHOOKS)
@pytest.mark.parametrize("spoil", ["missing", "other secret", "truncated", "not hexadecimal", "other body"])
async def test_a_signature_that_proves_nothing_is_401(door: Door, source: str, spoil: str) -> None:
    headers, body = webhook(WEBHOOKS[source])
    given = connector(source)
    signed = given.sign(headers, body, secret="not-ours" if spoil == "other secret" else SECRET, now=NOW)
    name = next(name for name in signed if "signature" in name.lower())
    if spoil == "missing":
        del signed[name]
    elif spoil == "truncated":
        signed[name] = signed[name][:-8]
    elif spoil == "not hexadecimal":
        signed[name] = signed[name][:-4] + "zzzz"
    answer = await door.http.post(
        f"/hooks/{source}", headers=signed, content=body + b" " if spoil == "other body" else body
    )
    assert answer.status_code == 401
    assert answer.content == b""
    assert await door.count(Delivery) == 0


@pytest.mark.parametrize(
    "timestamp", ["yesterday", "", "1795336260.5e", str(int(NOW) - 301), str(int(NOW) + 301)]
)
async def test_slack_timestamps_outside_the_window_are_401(door: Door, timestamp: str) -> None:
    headers, body = webhook("slack-mention")
    signed = connector("slack").sign(headers, body, secret=SECRET, now=NOW)
    name = next(name for name in signed if name.lower() == "x-slack-request-timestamp")
    answer = await door.http.post("/hooks/slack", headers={**signed, name: timestamp}, content=body)
    assert answer.status_code == 401


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"hello",
        b"[" * 5000,
        b'{"action": "\xff\xfe"}',
        b'{"action": "opened", "action": "closed"}',
        b'{"a":' * 400 + b"1" + b"}" * 400,
        b"null",
        b'"text"',
    ],
    ids=["empty", "text", "brackets", "not UTF-8", "key twice", "deep", "null", "string"],
)
async def test_signed_but_unreadable_is_400_and_kept_with_its_bytes(door: Door, body: bytes) -> None:
    headers, _ = webhook("github-mention")
    answer = await door.post("github", headers, body)
    assert answer.status_code == 400
    assert answer.json()["error"]
    rows = table(Delivery)
    kept = await door.database.read(lambda c: c.execute(select(rows)).mappings().one())
    assert kept["outcome"] == "unreadable"
    assert bytes(kept["body"]) == body
    assert await door.count(EventRow) == 0


async def test_26_megabytes_are_413(door: Door) -> None:
    headers, _ = webhook("github-mention")
    body = b'{"padding": "' + b"x" * (26 * 1024 * 1024) + b'"}'
    assert (await door.post("github", headers, body)).status_code == 413
    assert await door.count(Delivery) == 0


async def test_a_stream_without_a_length_is_cut_off_at_the_limit(door: Door) -> None:
    async def endless() -> AsyncIterator[bytes]:
        for _ in range(40):
            yield b"x" * 1_000_000

    answer = await door.http.post("/hooks/slack", content=endless())
    assert answer.status_code == 413


async def test_a_large_event_is_kept_whole_and_travels_slim(door: Door) -> None:
    headers, body = webhook("github-mention")
    payload = json.loads(body)
    payload["issue"]["body"] = "long " * 400_000
    answer = await door.post("github", headers, json.dumps(payload).encode())
    assert answer.status_code == 202
    [(message, _)] = door.announced
    assert len(message.value) < MAX_MESSAGE_BYTES
    travelling = json.loads(message.value)
    assert travelling["dataref"] == f"/api/v1/events/{travelling['id']}"
    assert travelling["data"]["payload"] == {}
    rows = table(EventRow)
    kept = await door.database.read(lambda c: c.execute(select(rows.c.body)).scalar_one())
    assert json.loads(kept)["data"]["payload"] == payload


async def test_an_unknown_connection_is_404_and_get_is_405(door: Door) -> None:
    assert (await door.http.post("/hooks/nobody", content=b"{}")).status_code == 404
    assert (await door.http.get("/hooks/github")).status_code == 405
    assert door.counted.answers[0] == ("unknown", 404), "a stranger's path must not become a metric's label"


async def test_slack_is_given_its_challenge_back(door: Door) -> None:
    body = json.dumps(
        {"type": "url_verification", "token": "t", "challenge": "3eZbrw1aB10FEMAGAZd4FyFQ"}
    ).encode()
    answer = await door.post("slack", {"content-type": "application/json"}, body)
    assert answer.status_code == 200
    assert "3eZbrw1aB10FEMAGAZd4FyFQ" in answer.text
    unsigned = await door.http.post("/hooks/slack", content=body)
    assert unsigned.status_code == 401


async def test_nothing_is_taken_while_stopping(door: Door) -> None:
    door.ingress.closing = True
    headers, body = webhook("github-mention")
    answer = await door.post("github", headers, body)
    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) > 0
    assert await door.count(Delivery) == 0


class Unavailable(Database):
    """A database that cannot write."""

    async def write(self, work: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        raise StorageUnavailableError(f"the disk is full: {work}, {args}, {kwargs}")

    async def read(self, work: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        raise StorageUnavailableError(f"the disk is full: {work}, {args}, {kwargs}")

    async def close(self) -> None:
        """Nothing to close."""


async def test_what_cannot_be_stored_is_503_with_a_time_to_come_back() -> None:
    intake = Intake(Unavailable())
    inbound = {"github": Inbound("github", connector("github"), (SECRET,), Identity())}
    announced: list[Any] = []
    ingress = Ingress(
        inbound, intake, announce=announced.extend, observations=Observations(), clock=lambda: NOW
    )
    running = asyncio.get_running_loop().create_task(intake.run())
    headers, body = webhook("github-mention")
    signed = connector("github").sign(headers, body, secret=SECRET, now=NOW)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(ingress), base_url="http://hub") as http:
        answer = await http.post("/hooks/github", headers=signed, content=body)
        spoiled = connector("github").sign(headers, b"{", secret=SECRET, now=NOW)
        unreadable = await http.post("/hooks/github", headers=spoiled, content=b"{")
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert (answer.status_code, unreadable.status_code) == (503, 503)
    assert int(answer.headers["retry-after"]) > 0
    assert announced == []


async def test_a_database_that_takes_too_long_is_503_and_what_was_sent_is_still_stored(
    database: Database,
) -> None:
    intake = Intake(database, patience=0.3)
    headers, body = webhook("github-mention")
    inbound = {"github": Inbound("github", connector("github"), (SECRET,), Identity())}
    ingress = Ingress(
        inbound, intake, announce=lambda _: None, observations=Observations(), clock=lambda: NOW
    )
    signed = connector("github").sign(headers, body, secret=SECRET, now=NOW)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(ingress), base_url="http://hub") as http:
        answer = await http.post("/hooks/github", headers=signed, content=body)  # nothing commits yet
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
        assert intake.room.bytes > 0, "it waits on"
        running = asyncio.get_running_loop().create_task(intake.run())
        while intake.room.bytes:
            await asyncio.sleep(0.01)
        again = await http.post("/hooks/github", headers=signed, content=body)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert (again.status_code, again.json()["duplicates"]) == (202, 1)


async def test_too_many_waiting_are_refused_rather_than_kept_in_memory(database: Database) -> None:
    """The committing task is not running: nothing drains."""
    most = 5000
    intake = Intake(database, limits=Limits(deliveries=most, share=1.0), patience=60)

    def delivery(number: int) -> Incoming:
        return Incoming(f"slack:{number}", "slack", "ignored", body_hash="0", body_size=1)

    loop = asyncio.get_running_loop()
    waiting: Sequence[asyncio.Task[set[str]]] = [
        loop.create_task(intake.store(delivery(number))) for number in range(most)
    ]
    await asyncio.sleep(0)
    with pytest.raises(StorageUnavailableError, match=str(most)):
        await intake.store(delivery(most))
    running = loop.create_task(intake.run())
    assert await asyncio.gather(*waiting) == [set()] * most
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_nothing_secret_is_logged_or_answered(
    door: Door, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    headers, body = webhook("github-mention")
    signed = connector("github").sign(headers, body, secret="not-ours", now=NOW)
    answers = [
        await door.http.post("/hooks/github", headers=signed, content=body),
        await door.post("github", headers, b'{"private words": '),
        await door.post("github", headers, body),
    ]
    captured = capsys.readouterr()
    shown = caplog.text + captured.out + captured.err + "".join(answer.text for answer in answers)
    signature = next(value for name, value in signed.items() if "signature" in name.lower())
    for secret in (
        SECRET,
        OLDER,
        signature,
        signature.removeprefix("sha256="),
        "private words",
        "where do we round",
    ):
        assert secret not in shown
