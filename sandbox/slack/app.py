"""Slack's Web API below `/slack/`: one path per method, HTTP 200 with `ok: false` for errors (webhooks
reference §4.2).

Writing methods take JSON or a form, reading methods a query or a form only, as the real ones do.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final
from urllib.parse import parse_qsl

import orjson
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from sandbox.slack import blocks as block_kit
from sandbox.slack.state import (
    APP_ID,
    BOT_ID,
    BOT_USER_ID,
    TEAM_ID,
    WORKSPACE_URL,
    Channel,
    Slack,
    SlackMessage,
)
from sandbox.world import World

MAX_TEXT: Final = 40_000
PAGE: Final = 100
MAX_PAGE: Final = 999
_TS: Final = re.compile(r"[0-9]{10}\.[0-9]{6}")
_EMOJI: Final = re.compile(r"[a-z0-9_+'-]+(::skin-tone-[2-6])?")

Arguments = Mapping[str, Any]
Method = Callable[[Arguments], dict[str, Any]]
POST_ARGUMENTS: Final = frozenset(
    {
        "attachments",
        "as_user",
        "blocks",
        "channel",
        "icon_emoji",
        "icon_url",
        "link_names",
        "markdown_text",
        "metadata",
        "mrkdwn",
        "parse",
        "reply_broadcast",
        "text",
        "thread_ts",
        "ts",
        "unfurl_links",
        "unfurl_media",
        "username",
    }
)


class _SlackError(Exception):
    """`ok: false`."""

    def __init__(self, error: str, messages: list[str] | None = None) -> None:
        super().__init__(error)
        self.error = error
        self.messages = messages


def build(world: World) -> Starlette:
    """`https://slack.com/api` as a bot token sees it."""
    service = _Slack(world.slack)
    writing: dict[str, Method] = {
        "auth.test": service.auth_test,
        "chat.postMessage": service.post_message,
        "chat.update": service.update,
        "chat.delete": service.delete,
        "reactions.add": service.react,
        "reactions.remove": service.unreact,
        "conversations.join": service.join,
    }
    reading: dict[str, Method] = {
        "chat.getPermalink": service.permalink,
        "conversations.replies": service.replies,
        "conversations.history": service.history,
        "conversations.info": service.info,
        "reactions.get": service.reactions,
        "users.info": service.user,
        "bots.info": service.bot,
    }
    routes = [_route(name, method, json=True) for name, method in writing.items()]
    routes += [_route(name, method, json=False) for name, method in reading.items()]
    return Starlette(routes=[*routes, Route("/{method}", _unknown, methods=["GET", "POST"])])


def _route(name: str, method: Method, *, json: bool) -> Route:
    async def endpoint(request: Request) -> Response:
        if not request.headers.get("authorization"):
            return _failed("not_authed")
        try:
            arguments = await _arguments(request, json=json)
            answer = {"ok": True, **method(arguments)}
        except _SlackError as error:
            return _failed(error.error, error.messages)
        if json and request.headers.get("content-type", "").strip().lower() == "application/json":
            answer |= {"warning": "missing_charset", "response_metadata": {"warnings": ["missing_charset"]}}
        return JSONResponse(answer)

    endpoint_methods: list[str] = ["GET", "POST"]
    handler: Callable[[Request], Awaitable[Response]] = endpoint
    return Route(f"/{name}", handler, methods=endpoint_methods)


async def _unknown(_: Request) -> Response:
    return _failed("unknown_method")


def _failed(error: str, messages: list[str] | None = None) -> Response:
    body: dict[str, Any] = {"ok": False, "error": error}
    if messages:
        body["response_metadata"] = {"messages": messages}
    return JSONResponse(body)


async def _arguments(request: Request, *, json: bool) -> dict[str, Any]:
    """Query, then form or (writing methods only) JSON. Nested values in a form are JSON texts."""
    arguments: dict[str, Any] = dict(request.query_params)
    media = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media == "application/json" and json:
        try:
            body = orjson.loads(await request.body() or b"{}")
        except orjson.JSONDecodeError:
            raise _SlackError("invalid_json") from None
        if not isinstance(body, dict):
            raise _SlackError("json_not_object")
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
                raise _SlackError(f"invalid_{name}" if name == "blocks" else "invalid_arguments") from None
    arguments.pop("token", None)
    return arguments


class _Slack:
    """The methods, over one workspace."""

    def __init__(self, slack: Slack) -> None:
        self._slack = slack

    def auth_test(self, _: Arguments) -> dict[str, Any]:
        return {
            "url": WORKSPACE_URL,
            "team": "Acme",
            "user": "triggerhub",
            "team_id": TEAM_ID,
            "user_id": BOT_USER_ID,
            "bot_id": BOT_ID,
            "is_enterprise_install": False,
        }

    def post_message(self, arguments: Arguments) -> dict[str, Any]:
        channel = self._channel(arguments, write=True)
        text, blocks = _content(arguments)
        thread = arguments.get("thread_ts")
        if thread is not None and not _is_ts(thread):
            raise _SlackError("invalid_arguments", ["[ERROR] invalid thread_ts [json-pointer:/thread_ts]"])
        if self._slack.create_missing and thread is not None:
            self._slack.ensure_message(channel.id, thread)
        message = SlackMessage(
            ts=self._slack.next_ts(),
            user=BOT_USER_ID,
            text=text,
            thread_ts=thread,
            blocks=blocks,
            metadata=_metadata(arguments),
            bot=True,
        )
        channel.messages[message.ts] = message
        return {"channel": channel.id, "ts": message.ts, "message": _message(message, metadata=True)}

    def update(self, arguments: Arguments) -> dict[str, Any]:
        channel, message = self._message(arguments, "ts", write=True)
        if message.user != BOT_USER_ID:
            raise _SlackError("cant_update_message")
        message.text, message.blocks = _content(arguments)
        if "metadata" in arguments:
            message.metadata = _metadata(arguments)
        message.edited = self._slack.next_ts()
        shown = _message(message, metadata=False)
        return {"channel": channel.id, "ts": message.ts, "text": message.text, "message": shown}

    def delete(self, arguments: Arguments) -> dict[str, Any]:
        channel, message = self._message(arguments, "ts", write=True)
        if message.user != BOT_USER_ID:
            raise _SlackError("cant_delete_message")
        del channel.messages[message.ts]
        return {"channel": channel.id, "ts": message.ts}

    def react(self, arguments: Arguments) -> dict[str, Any]:
        name = _emoji(arguments)
        _, message = self._message(arguments, "timestamp", write=True)
        users = message.reactions.setdefault(name, [])
        if BOT_USER_ID in users:
            raise _SlackError("already_reacted")
        users.append(BOT_USER_ID)
        return {}

    def unreact(self, arguments: Arguments) -> dict[str, Any]:
        name = _emoji(arguments)
        _, message = self._message(arguments, "timestamp", write=True)
        users = message.reactions.get(name, [])
        if BOT_USER_ID not in users:
            raise _SlackError("no_reaction")
        users.remove(BOT_USER_ID)
        if not users:
            del message.reactions[name]
        return {}

    def reactions(self, arguments: Arguments) -> dict[str, Any]:
        channel, message = self._message(arguments, "timestamp", write=False)
        return {"type": "message", "channel": channel.id, "message": _message(message, metadata=False)}

    def join(self, arguments: Arguments) -> dict[str, Any]:
        channel = self._channel(arguments, write=False)
        channel.is_member = True
        return {"channel": _channel(channel)}

    def info(self, arguments: Arguments) -> dict[str, Any]:
        return {"channel": _channel(self._channel(arguments, write=False))}

    def permalink(self, arguments: Arguments) -> dict[str, Any]:
        channel, message = self._message(arguments, "message_ts", write=False)
        link = f"{WORKSPACE_URL}archives/{channel.id}/p{message.ts.replace('.', '')}"
        if message.thread_ts is not None and message.thread_ts != message.ts:
            link += f"?thread_ts={message.thread_ts}&cid={channel.id}"
        return {"channel": channel.id, "permalink": link}

    def replies(self, arguments: Arguments) -> dict[str, Any]:
        channel = self._channel(arguments, write=False)
        ts = arguments.get("ts")
        if not _is_ts(ts):
            raise _SlackError("invalid_ts" if ts else "invalid_arguments")
        if self._slack.create_missing:
            self._slack.ensure_message(channel.id, str(ts))
        found = channel.thread(str(ts))
        if not found:
            raise _SlackError("thread_not_found")
        return _page(sorted(found, key=lambda message: message.ts), arguments)

    def history(self, arguments: Arguments) -> dict[str, Any]:
        channel = self._channel(arguments, write=False)
        found = [message for message in channel.messages.values() if message.thread_ts in {None, message.ts}]
        return _page(sorted(found, key=lambda message: message.ts, reverse=True), arguments)

    def user(self, arguments: Arguments) -> dict[str, Any]:
        user = arguments.get("user")
        if not isinstance(user, str) or not user:
            raise _SlackError("user_not_found")
        bot = user == BOT_USER_ID
        name = "triggerhub" if bot else user.lower()
        return {"user": {"id": user, "team_id": TEAM_ID, "name": name, "real_name": name, "is_bot": bot}}

    def bot(self, arguments: Arguments) -> dict[str, Any]:
        if arguments.get("bot", BOT_ID) != BOT_ID:
            raise _SlackError("bot_not_found")
        return {"bot": {"id": BOT_ID, "app_id": APP_ID, "user_id": BOT_USER_ID, "name": "triggerhub"}}

    def _channel(self, arguments: Arguments, *, write: bool) -> Channel:
        wanted = arguments.get("channel")
        found = self._slack.channel(wanted) if isinstance(wanted, str) else None
        if found is None:
            raise _SlackError("channel_not_found")
        if write and found.is_archived:
            raise _SlackError("is_archived")
        if write and not found.is_member:
            raise _SlackError("not_in_channel")
        return found

    def _message(self, arguments: Arguments, field: str, *, write: bool) -> tuple[Channel, SlackMessage]:
        channel = self._channel(arguments, write=write)
        ts = arguments.get(field)
        found = self._slack.message(channel, str(ts)) if _is_ts(ts) else None
        if found is None:
            raise _SlackError("message_not_found")
        return channel, found


def _content(arguments: Arguments) -> tuple[str, list[dict[str, Any]]]:
    """Text and blocks of a message, checked as Slack checks them."""
    unknown = sorted(set(arguments) - POST_ARGUMENTS)
    if unknown:
        raise _SlackError("invalid_arguments", [f"[ERROR] unsupported argument: {name}" for name in unknown])
    text, blocks = arguments.get("text"), arguments.get("blocks")
    markdown = arguments.get("markdown_text")
    if text is not None and not isinstance(text, str):
        raise _SlackError("invalid_arguments", ["[ERROR] must be a string [json-pointer:/text]"])
    if blocks is not None and not isinstance(blocks, list):
        raise _SlackError("invalid_blocks_format")
    if markdown is not None:
        if not isinstance(markdown, str) or text or blocks:
            raise _SlackError("markdown_text_conflict")
        if len(markdown) > block_kit.MAX_MARKDOWN:
            raise _SlackError("msg_too_long")
        return markdown, []
    if not text and not blocks and not arguments.get("attachments"):
        raise _SlackError("no_text")
    wrong = block_kit.problems(blocks or [])
    if wrong:
        raise _SlackError("invalid_blocks", wrong)
    if block_kit.total(blocks or []) > block_kit.MAX_TOTAL:
        raise _SlackError("msg_blocks_too_long")
    return (text or "")[:MAX_TEXT], blocks or []


def _metadata(arguments: Arguments) -> dict[str, Any] | None:
    given = arguments.get("metadata")
    if given is None:
        return None
    if (
        not isinstance(given, dict)
        or not isinstance(given.get("event_type"), str)
        or not isinstance(given.get("event_payload"), dict)
    ):
        raise _SlackError("invalid_metadata_format")
    return given


def _emoji(arguments: Arguments) -> str:
    name = arguments.get("name")
    if not isinstance(name, str) or not _EMOJI.fullmatch(name.strip(":")):
        raise _SlackError("invalid_name")
    return name.strip(":")


def _is_ts(value: Any) -> bool:
    return isinstance(value, str) and _TS.fullmatch(value) is not None


def _message(message: SlackMessage, *, metadata: bool) -> dict[str, Any]:
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


def _channel(channel: Channel) -> dict[str, Any]:
    return {
        "id": channel.id,
        "name": channel.name,
        "is_channel": channel.id.startswith("C"),
        "is_member": channel.is_member,
        "is_archived": channel.is_archived,
        "is_private": False,
    }


def _page(messages: list[SlackMessage], arguments: Arguments) -> dict[str, Any]:
    """One page, with `response_metadata.next_cursor` where there is more."""
    shown = [message for message in messages if _inside(message.ts, arguments)]
    limit = str(arguments.get("limit", PAGE))
    size = min(int(limit), MAX_PAGE) if limit.isdigit() and int(limit) > 0 else PAGE
    cursor = str(arguments.get("cursor") or "next:0")
    if not re.fullmatch(r"next:[0-9]+", cursor):
        raise _SlackError("invalid_cursor")
    start = int(cursor.partition(":")[2])
    more = start + size < len(shown)
    metadata = _truth(arguments.get("include_all_metadata"))
    return {
        "messages": [_message(message, metadata=metadata) for message in shown[start : start + size]],
        "has_more": more,
        "response_metadata": {"next_cursor": f"next:{start + size}" if more else ""},
    }


def _inside(ts: str, arguments: Arguments) -> bool:
    oldest, latest = str(arguments.get("oldest") or "0"), str(arguments.get("latest") or "9999999999.999999")
    inclusive = _truth(arguments.get("inclusive"))
    try:
        at, first, last = float(ts), float(oldest), float(latest)
    except ValueError:
        raise _SlackError("invalid_ts_oldest") from None
    return first <= at <= last if inclusive else first < at < last


def _truth(value: Any) -> bool:
    return value is True or str(value).lower() in {"1", "true"}
