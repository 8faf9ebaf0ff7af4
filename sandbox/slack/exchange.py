"""What Slack's methods take and give: arguments from query, form or JSON, errors, messages and pages."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import parse_qsl

import orjson
from starlette.requests import Request

from sandbox.slack.state import APP_ID, BOT_ID, TEAM_ID, Channel, SlackMessage

PAGE: Final = 100
MAX_PAGE: Final = 999
_TS: Final = re.compile(r"[0-9]{10}\.[0-9]{6}")

Arguments = Mapping[str, Any]


class SlackError(Exception):
    """`ok: false`."""

    def __init__(self, error: str, messages: list[str] | None = None, *, needed: str | None = None) -> None:
        super().__init__(error)
        self.needed = needed
        """The scope that is missing."""
        self.error = error
        self.messages = messages


async def read_arguments(request: Request, *, json: bool) -> dict[str, Any]:
    """Query, then form or (writing methods only) JSON. Nested values in a form are JSON texts."""
    arguments: dict[str, Any] = dict(request.query_params)
    media = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media == "application/json" and json:
        try:
            body = orjson.loads(await request.body() or b"{}")
        except orjson.JSONDecodeError:
            raise SlackError("invalid_json") from None
        if not isinstance(body, dict):
            raise SlackError("json_not_object")
        arguments |= body
    elif media == "application/x-www-form-urlencoded":
        arguments |= dict(
            parse_qsl((await request.body()).decode("utf-8", "replace"), keep_blank_values=True)
        )
    for name in ("blocks", "metadata", "attachments"):
        if isinstance(arguments.get(name), str):
            try:
                arguments[name] = orjson.loads(arguments[name])
            except orjson.JSONDecodeError:
                raise SlackError(f"invalid_{name}" if name == "blocks" else "invalid_arguments") from None
    arguments.pop("token", None)
    return arguments


def is_ts(value: Any) -> bool:
    return isinstance(value, str) and _TS.fullmatch(value) is not None


def message_shape(message: SlackMessage, *, metadata: bool) -> dict[str, Any]:
    shape: dict[str, Any] = {"type": "message", "ts": message.ts, "user": message.user, "text": message.text}
    if message.bot:
        shape |= {"team": TEAM_ID, "bot_id": BOT_ID, "app_id": APP_ID}
    if message.blocks:
        shape["blocks"] = message.blocks
    if message.thread_ts is not None:
        shape["thread_ts"] = message.thread_ts
    if message.edited is not None:
        shape["edited"] = {"user": message.user, "ts": message.edited}
    if message.metadata is not None and metadata:
        shape["metadata"] = message.metadata
    if message.reactions:
        shape["reactions"] = [
            {"name": name, "users": users, "count": len(users)} for name, users in message.reactions.items()
        ]
    return shape


def channel_shape(channel: Channel) -> dict[str, Any]:
    return {
        "id": channel.id,
        "name": channel.name,
        "is_channel": channel.id.startswith("C"),
        "is_member": channel.is_member,
        "is_archived": channel.is_archived,
        "is_private": channel.is_private,
        "is_im": channel.id.startswith("D"),
        "is_ext_shared": False,
    }


def page(
    messages: list[SlackMessage], arguments: Arguments, *, latest: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """One page, with `response_metadata.next_cursor` where there is more. `latest`: the newest reply by thread."""
    shown = [message for message in messages if inside(message.ts, arguments)]
    limit = str(arguments.get("limit", PAGE))
    size = min(int(limit), MAX_PAGE) if limit.isdigit() and int(limit) > 0 else PAGE
    cursor = str(arguments.get("cursor") or "next:0")
    if not re.fullmatch(r"next:[0-9]+", cursor):
        raise SlackError("invalid_cursor")
    start = int(cursor.partition(":")[2])
    more = start + size < len(shown)
    metadata = truth(arguments.get("include_all_metadata"))
    rows = [message_shape(message, metadata=metadata) for message in shown[start : start + size]]
    for row in rows:
        if latest is not None and row["ts"] in latest:
            row |= {"thread_ts": row["ts"], "latest_reply": latest[row["ts"]]}
    return {
        "messages": rows,
        "has_more": more,
        "response_metadata": {"next_cursor": f"next:{start + size}" if more else ""},
    }


def inside(ts: str, arguments: Arguments) -> bool:
    oldest, latest = str(arguments.get("oldest") or "0"), str(arguments.get("latest") or "9999999999.999999")
    inclusive = truth(arguments.get("inclusive"))
    try:
        at, first, last = float(ts), float(oldest), float(latest)
    except ValueError:
        raise SlackError("invalid_ts_oldest") from None
    return first <= at <= last if inclusive else first < at < last


def truth(value: Any) -> bool:
    return value is True or str(value).lower() in {"1", "true"}
