"""Posts to Slack for tests, and what Slack would answer to them. Holds no expectations."""

from __future__ import annotations

from typing import Any

from loopback import Answer

from connectors.poster import Post
from connectors.slack.connector import CONNECTOR
from schemas.event import Subject
from schemas.result import Origin

TOKEN = "xoxb-invented"
AUTH = {
    "ok": True,
    "url": "https://acme-dev.slack.com/",
    "team_id": "T1",
    "user_id": "UBOT",
    "bot_id": "B1",
    "team": "Acme",
}
ORIGIN_TS = "1767323000.000100"
THREAD = {"channel": "C1", "thread_ts": "1767322000.000001", "ts": ORIGIN_TS}
LONG = "\n".join(f"line {number} " + "x" * 60 for number in range(120))
"""Three messages."""


def settings(url: str) -> Any:
    return CONNECTOR.settings(
        source="slack", api_url=f"{url}/api/", webhook_secrets=("env:S",), token="env:T"
    )


def post(
    output: str,
    arguments: dict[str, Any],
    *,
    target: dict[str, Any] | None = None,
    address: dict[str, str] | None = None,
) -> Post:
    spec = CONNECTOR.outputs[output]
    origin = Origin(
        connection="acme-slack",
        event_id="evt_1",
        kind="message.mention",
        subject=Subject(
            kind="thread", key="T1/C1/1767322000.000001", url="https://slack.com/app_redirect?team=T1"
        ),
        address=THREAD if address is None else address,
    )
    return Post(
        run="run_1",
        slot="comment-1",
        output=output,
        target=spec.target.model_validate(target or {}),
        arguments=spec.arguments.model_validate(arguments),
        origin=origin,
        to_origin=target is None,
    )


def posted(*stamps: str) -> list[Answer]:
    return [Answer(json={"ok": True, "channel": "C1", "ts": ts, "message": {"text": "…"}}) for ts in stamps]


def kept(ts: str, part: int, *, run: str = "run_1", slot: str = "comment-1", **more: Any) -> dict[str, Any]:
    payload = {"run": run, "slot": slot, "part": part, **more}
    return {
        "type": "message",
        "ts": ts,
        "metadata": {"event_type": "triggerhub_post", "event_payload": payload},
    }


def page(*messages: dict[str, Any], cursor: str = "") -> Answer:
    return Answer(json={"ok": True, "messages": list(messages), "response_metadata": {"next_cursor": cursor}})


def failure(code: str, **more: Any) -> Answer:
    return Answer(json={"ok": False, "error": code, **more})
