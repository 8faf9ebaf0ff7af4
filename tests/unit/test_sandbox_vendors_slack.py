"""The emulated Slack over loopback HTTP: `ok: false`, threads with metadata, reactions, limits."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from sandbox.server import Sandbox, serve
from sandbox.slack.state import BOT_ID, BOT_USER_ID

CHANNEL = "C0123456"
PARENT = "1767322800.000100"


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with serve() as running:
        running.world.slack.ensure_message(CHANNEL, PARENT, text="it is broken")
        yield running


@pytest.fixture
async def slack(sandbox: Sandbox) -> AsyncIterator[httpx.AsyncClient]:
    headers = {"authorization": "Bearer xoxb-x", "content-type": "application/json; charset=utf-8"}
    async with httpx.AsyncClient(base_url=sandbox.api_url("slack"), headers=headers) as client:
        yield client


async def post(slack: httpx.AsyncClient, method: str, **arguments: Any) -> dict[str, Any]:
    response = await slack.post(f"/{method}", json=arguments)
    assert response.status_code == 200
    answer: dict[str, Any] = response.json()
    return answer


async def read(slack: httpx.AsyncClient, method: str, **arguments: str) -> dict[str, Any]:
    response = await slack.get(f"/{method}", params=arguments)
    assert response.status_code == 200
    answer: dict[str, Any] = response.json()
    return answer


async def test_identity_and_errors_are_http_200(slack: httpx.AsyncClient) -> None:
    identity = await post(slack, "auth.test")
    assert (identity["ok"], identity["user_id"], identity["bot_id"]) == (True, BOT_USER_ID, BOT_ID)
    bare = await slack.post("/auth.test", headers={"authorization": ""})
    assert (bare.status_code, bare.json()) == (200, {"ok": False, "error": "not_authed"})
    assert (await post(slack, "chat.shout"))["error"] == "unknown_method"
    lost = await post(slack, "chat.postMessage", channel="C0000000", text="x")
    assert lost == {"ok": False, "error": "channel_not_found"}


async def test_a_reply_is_found_again_by_its_metadata(slack: httpx.AsyncClient) -> None:
    metadata = {"event_type": "triggerhub_post", "event_payload": {"run_id": "r", "slot": "s"}}
    sent = await post(
        slack, "chat.postMessage", channel=CHANNEL, text="done", thread_ts=PARENT, metadata=metadata
    )
    assert sent["ok"]
    plain = await read(slack, "conversations.replies", channel=CHANNEL, ts=PARENT)
    assert [message["text"] for message in plain["messages"]] == ["it is broken", "done"]
    assert all("metadata" not in message for message in plain["messages"])
    full = await read(slack, "conversations.replies", channel=CHANNEL, ts=PARENT, include_all_metadata="true")
    assert full["messages"][1]["metadata"] == metadata
    link = await read(slack, "chat.getPermalink", channel=CHANNEL, message_ts=sent["ts"])
    assert f"thread_ts={PARENT}&cid={CHANNEL}" in link["permalink"]
    history = await read(slack, "conversations.history", channel=CHANNEL)
    assert [message["ts"] for message in history["messages"]] == [PARENT]


async def test_replies_come_in_pages(slack: httpx.AsyncClient) -> None:
    for number in range(3):
        await post(slack, "chat.postMessage", channel=CHANNEL, text=f"n{number}", thread_ts=PARENT)
    seen: list[str] = []
    cursor = ""
    while True:
        page = await read(
            slack, "conversations.replies", channel=CHANNEL, ts=PARENT, limit="3", cursor=cursor
        )
        seen += [message["text"] for message in page["messages"]]
        cursor = page["response_metadata"]["next_cursor"]
        if not cursor:
            break
    assert seen == ["it is broken", "n0", "n1", "n2"]
    assert page["has_more"] is False


async def test_reading_methods_do_not_read_json(slack: httpx.AsyncClient) -> None:
    answer = await post(slack, "conversations.replies", channel=CHANNEL, ts=PARENT)
    assert answer["error"] == "channel_not_found"
    form = {"content-type": "application/x-www-form-urlencoded"}
    response = await slack.post(
        "/conversations.replies", content=f"channel={CHANNEL}&ts={PARENT}", headers=form
    )
    assert response.json()["ok"] is True


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"text": ""}, "no_text"),
        ({"text": "x", "colour": "red"}, "invalid_arguments"),
        ({"text": "x", "blocks": [{"type": "section"}]}, "invalid_blocks"),
        ({"text": "x", "blocks": [{"type": "divider"}] * 51}, "invalid_blocks"),
        (
            {"blocks": [{"type": "section", "text": {"type": "mrkdwn", "text": "x" * 3001}}]},
            "invalid_blocks",
        ),
        (
            {"blocks": [{"type": "section", "text": {"type": "mrkdwn", "text": "x" * 2900}}] * 5},
            "msg_blocks_too_long",
        ),
        ({"blocks": [{"type": "markdown", "text": "x" * 12_001}]}, "invalid_blocks"),
        ({"text": "x", "metadata": {"event_type": 1}}, "invalid_metadata_format"),
        ({"text": "x", "thread_ts": "yesterday"}, "invalid_arguments"),
    ],
)
async def test_messages_that_slack_refuses(
    slack: httpx.AsyncClient, sandbox: Sandbox, arguments: dict[str, Any], error: str
) -> None:
    answer = await post(slack, "chat.postMessage", channel=CHANNEL, **arguments)
    assert (answer["ok"], answer["error"]) == (False, error)
    assert list(sandbox.world.slack.channels[CHANNEL].messages) == [PARENT]


async def test_reactions_are_given_once(slack: httpx.AsyncClient) -> None:
    eyes = {"channel": CHANNEL, "timestamp": PARENT, "name": "eyes"}
    assert (await post(slack, "reactions.add", **eyes))["ok"]
    assert (await post(slack, "reactions.add", **eyes))["error"] == "already_reacted"
    assert (await post(slack, "reactions.remove", **eyes))["ok"]
    assert (await post(slack, "reactions.remove", **eyes))["error"] == "no_reaction"
    assert (await post(slack, "reactions.add", **{**eyes, "timestamp": "1.2"}))[
        "error"
    ] == "message_not_found"


async def test_only_own_messages_can_be_updated(slack: httpx.AsyncClient, sandbox: Sandbox) -> None:
    sent = await post(slack, "chat.postMessage", channel=CHANNEL, text="working")
    changed = await post(slack, "chat.update", channel=CHANNEL, ts=sent["ts"], text="done")
    assert changed["message"]["text"] == "done"
    foreign = await post(slack, "chat.update", channel=CHANNEL, ts=PARENT, text="mine now")
    assert foreign["error"] == "cant_update_message"
    sandbox.world.slack.channels[CHANNEL].is_archived = True
    assert (await post(slack, "chat.postMessage", channel=CHANNEL, text="x"))["error"] == "is_archived"
    sandbox.world.slack.ensure_channel("C0PRIVATE", is_member=False)
    assert (await post(slack, "chat.postMessage", channel="C0PRIVATE", text="x"))["error"] == "not_in_channel"
