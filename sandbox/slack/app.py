"""Slack's Web API below `/slack/`: one path per method, HTTP 200 with `ok: false` for errors (webhooks
reference §4.2).

Writing methods take JSON or a form, reading methods a query or a form only, as the real ones do.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Any, Final

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from sandbox.slack import blocks as block_kit
from sandbox.slack.exchange import (
    Arguments,
    SlackError,
    channel_shape,
    is_ts,
    message_shape,
    page,
    read_arguments,
)
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
_EMOJI: Final = re.compile(r"[a-z0-9_+'-]+(::skin-tone-[2-6])?")

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
        "users.conversations": service.conversations,
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
            arguments = await read_arguments(request, json=json)
            answer = {"ok": True, **method(arguments)}
        except SlackError as error:
            return _failed(error.error, error.messages, needed=error.needed)
        if json and request.headers.get("content-type", "").strip().lower() == "application/json":
            answer |= {"warning": "missing_charset", "response_metadata": {"warnings": ["missing_charset"]}}
        return JSONResponse(answer)

    endpoint_methods: list[str] = ["GET", "POST"]
    handler: Callable[[Request], Awaitable[Response]] = endpoint
    return Route(f"/{name}", handler, methods=endpoint_methods)


async def _unknown(_: Request) -> Response:
    return _failed("unknown_method")


def _need_scope(channel: Channel) -> None:
    if not channel.is_readable:
        raise SlackError(
            "missing_scope", needed="groups:history" if channel.is_private else "channels:history"
        )


def _failed(error: str, messages: list[str] | None = None, *, needed: str | None = None) -> Response:
    body: dict[str, Any] = {"ok": False, "error": error}
    if needed is not None:
        body |= {"needed": needed, "provided": "chat:write"}
    if messages:
        body["response_metadata"] = {"messages": messages}
    return JSONResponse(body)


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
        if thread is not None and not is_ts(thread):
            raise SlackError("invalid_arguments", ["[ERROR] invalid thread_ts [json-pointer:/thread_ts]"])
        if self._slack.create_missing and thread is not None:
            self._slack.assume(channel.id, thread)
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
        return {"channel": channel.id, "ts": message.ts, "message": message_shape(message, metadata=True)}

    def update(self, arguments: Arguments) -> dict[str, Any]:
        channel, message = self._message(arguments, "ts", write=True)
        if message.user != BOT_USER_ID:
            raise SlackError("cant_update_message")
        message.text, message.blocks = _content(arguments)
        if "metadata" in arguments:
            message.metadata = _metadata(arguments)
        message.edited = self._slack.next_ts()
        shown = message_shape(message, metadata=False)
        return {"channel": channel.id, "ts": message.ts, "text": message.text, "message": shown}

    def delete(self, arguments: Arguments) -> dict[str, Any]:
        channel, message = self._message(arguments, "ts", write=True)
        if message.user != BOT_USER_ID:
            raise SlackError("cant_delete_message")
        del channel.messages[message.ts]
        return {"channel": channel.id, "ts": message.ts}

    def react(self, arguments: Arguments) -> dict[str, Any]:
        name = _emoji(arguments)
        _, message = self._message(arguments, "timestamp", write=True)
        users = message.reactions.setdefault(name, [])
        if BOT_USER_ID in users:
            raise SlackError("already_reacted")
        users.append(BOT_USER_ID)
        return {}

    def unreact(self, arguments: Arguments) -> dict[str, Any]:
        name = _emoji(arguments)
        _, message = self._message(arguments, "timestamp", write=True)
        users = message.reactions.get(name, [])
        if BOT_USER_ID not in users:
            raise SlackError("no_reaction")
        users.remove(BOT_USER_ID)
        if not users:
            del message.reactions[name]
        return {}

    def reactions(self, arguments: Arguments) -> dict[str, Any]:
        channel, message = self._message(arguments, "timestamp", write=False)
        return {"type": "message", "channel": channel.id, "message": message_shape(message, metadata=False)}

    def join(self, arguments: Arguments) -> dict[str, Any]:
        channel = self._channel(arguments, write=False)
        channel.is_member = True
        return {"channel": channel_shape(channel)}

    def info(self, arguments: Arguments) -> dict[str, Any]:
        return {"channel": channel_shape(self._channel(arguments, write=False))}

    def permalink(self, arguments: Arguments) -> dict[str, Any]:
        channel, message = self._message(arguments, "message_ts", write=False)
        link = f"{WORKSPACE_URL}archives/{channel.id}/p{message.ts.replace('.', '')}"
        if message.thread_ts is not None and message.thread_ts != message.ts:
            link += f"?thread_ts={message.thread_ts}&cid={channel.id}"
        return {"channel": channel.id, "permalink": link}

    def replies(self, arguments: Arguments) -> dict[str, Any]:
        channel = self._channel(arguments, write=False)
        ts = arguments.get("ts")
        if not is_ts(ts):
            raise SlackError("invalid_ts" if ts else "invalid_arguments")
        if self._slack.create_missing:
            self._slack.assume(channel.id, str(ts))
        _need_scope(channel)
        found = channel.thread(str(ts))
        if not found:
            raise SlackError("thread_not_found")
        known = [message for message in found if not message.assumed]
        return page(sorted(known, key=lambda message: message.ts), arguments)

    def history(self, arguments: Arguments) -> dict[str, Any]:
        channel = self._channel(arguments, write=False)
        _need_scope(channel)
        found = [
            message
            for message in channel.messages.values()
            if message.thread_ts in {None, message.ts} and not message.assumed
        ]
        threads = {message.ts: channel.thread(message.ts) for message in found}
        latest = {ts: max(one.ts for one in thread) for ts, thread in threads.items() if len(thread) > 1}
        return page(sorted(found, key=lambda message: message.ts, reverse=True), arguments, latest=latest)

    def conversations(self, _: Arguments) -> dict[str, Any]:
        if not self._slack.may_list:
            raise SlackError("missing_scope", needed="channels:read")
        shown = [channel_shape(one) for one in self._slack.channels.values() if one.is_member]
        return {"channels": shown, "response_metadata": {"next_cursor": ""}}

    def user(self, arguments: Arguments) -> dict[str, Any]:
        user = arguments.get("user")
        if not isinstance(user, str) or not user:
            raise SlackError("user_not_found")
        bot = user == BOT_USER_ID
        name = "triggerhub" if bot else user.lower()
        return {"user": {"id": user, "team_id": TEAM_ID, "name": name, "real_name": name, "is_bot": bot}}

    def bot(self, arguments: Arguments) -> dict[str, Any]:
        if arguments.get("bot", BOT_ID) != BOT_ID:
            raise SlackError("bot_not_found")
        return {"bot": {"id": BOT_ID, "app_id": APP_ID, "user_id": BOT_USER_ID, "name": "triggerhub"}}

    def _channel(self, arguments: Arguments, *, write: bool) -> Channel:
        wanted = arguments.get("channel")
        found = self._slack.channel(wanted) if isinstance(wanted, str) else None
        if found is None:
            raise SlackError("channel_not_found")
        if write and found.is_archived:
            raise SlackError("is_archived")
        if write and not found.is_member:
            raise SlackError("not_in_channel")
        return found

    def _message(self, arguments: Arguments, field: str, *, write: bool) -> tuple[Channel, SlackMessage]:
        channel = self._channel(arguments, write=write)
        ts = arguments.get(field)
        found = self._slack.message(channel, str(ts)) if is_ts(ts) else None
        if found is None:
            raise SlackError("message_not_found")
        return channel, found


def _content(arguments: Arguments) -> tuple[str, list[dict[str, Any]]]:
    """Text and blocks of a message, checked as Slack checks them."""
    unknown = sorted(set(arguments) - POST_ARGUMENTS)
    if unknown:
        raise SlackError("invalid_arguments", [f"[ERROR] unsupported argument: {name}" for name in unknown])
    text, blocks = arguments.get("text"), arguments.get("blocks")
    markdown = arguments.get("markdown_text")
    if text is not None and not isinstance(text, str):
        raise SlackError("invalid_arguments", ["[ERROR] must be a string [json-pointer:/text]"])
    if blocks is not None and not isinstance(blocks, list):
        raise SlackError("invalid_blocks_format")
    if markdown is not None:
        if not isinstance(markdown, str) or text or blocks:
            raise SlackError("markdown_text_conflict")
        if len(markdown) > block_kit.MAX_MARKDOWN:
            raise SlackError("msg_too_long")
        return markdown, []
    if not text and not blocks and not arguments.get("attachments"):
        raise SlackError("no_text")
    wrong = block_kit.problems(blocks or [])
    if wrong:
        raise SlackError("invalid_blocks", wrong)
    if block_kit.total(blocks or []) > block_kit.MAX_TOTAL:
        raise SlackError("msg_blocks_too_long")
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
        raise SlackError("invalid_metadata_format")
    return given


def _emoji(arguments: Arguments) -> str:
    name = arguments.get("name")
    if not isinstance(name, str) or not _EMOJI.fullmatch(name.strip(":")):
        raise SlackError("invalid_name")
    return name.strip(":")
