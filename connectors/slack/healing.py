"""Finds the messages that no event told of: the history of each channel, and the replies in its threads.

A message is rebuilt as the event that should have come. Commands, clicks and reactions leave nothing to find. Reads
only; a channel whose history the token may not read is named and left alone by the caller.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

from connectors.base import Request
from connectors.body import get, id_at, text_at
from connectors.healer import Harvest, Healer, Memory, PageGoneError
from connectors.poster import PostRefusedError
from connectors.slack.api import SlackApi, SlackRefusedError
from connectors.slack.places import short_id_at

PAGE: Final = 200
"""Messages asked for at once; Slack gives apps that it restricts fewer, and says where to go on."""
THREAD_BACK: Final = 6 * 3600.0
"""Seconds. How long ago a thread may have begun that is looked at for new replies without our having had an event of
it: the history of a channel shows only the beginnings of threads."""
THREADS_PER_PAGE: Final = 10
MAX_THREADS: Final = 100
MAX_OLDER: Final = 20
"""Threads that began longer ago and that we had events of: each costs a call at every sweep."""
GONE: Final = frozenset({"thread_not_found", "message_not_found", "invalid_ts"})
"""Of a single thread: its beginning was deleted."""
MAX_CHANNELS: Final = 1000
LISTED: Final = "public_channel,private_channel,mpim,im"
_TS: Final = re.compile(r"[0-9]{10}\.[0-9]{6}")
HEADERS: Final[Mapping[str, str]] = {"content-type": "application/json"}


@dataclass(frozen=True, slots=True)
class _Us:
    """What our token is, by auth.test."""

    team: str
    user: str
    enterprise: str | None


class SlackHealer(Healer):
    """Of one connection."""

    def __init__(self, api: SlackApi) -> None:
        self._api = api
        self._us: _Us | None = None
        self._channels: dict[str, Mapping[str, Any]] = {}

    def scope(self, kind: str, subject: str) -> str | None:
        """Messages and mentions are subscribed to apart, and so are channels and direct messages."""
        channel = subject.split("/")[1:2]
        return f"{kind} {channel[0][:1]}" if channel else None

    async def streams(self, memory: Memory) -> Sequence[str]:
        """The channels that the app is in; where it may not list them, those that events came from."""
        recent = [parts[1] for subject in memory.subjects if len(parts := subject.split("/")) > 1]
        try:
            await self._list()
        except SlackRefusedError as error:
            if error.code != "missing_scope":
                raise
            return sorted(set(recent))
        return sorted(self._channels)

    async def missed(
        self, stream: str, *, since: float, until: float, page: str | None, memory: Memory
    ) -> Harvest:
        """First the history, noting threads with new replies, then those threads some at a time."""
        us = await self._ourselves()
        place: dict[str, Any] = orjson.loads(page) if page is not None else {"threads": []}
        try:
            if "cursor" in place or page is None:
                return await self._history(stream, us, place, memory, since=since, until=until)
            return await self._threads(stream, us, place, memory, since=since, until=until)
        except SlackRefusedError as error:
            if error.code == "invalid_cursor":
                raise PageGoneError(str(error)) from None
            raise

    async def _history(
        self, channel: str, us: _Us, place: dict[str, Any], memory: Memory, *, since: float, until: float
    ) -> Harvest:
        begun = since - THREAD_BACK
        params = {
            "channel": channel,
            "oldest": f"{begun:.6f}",
            "latest": f"{until:.6f}",
            "inclusive": "true",
            "include_all_metadata": "true",
            "limit": str(PAGE),
        }
        if place.get("cursor"):
            params["cursor"] = str(place["cursor"])
        answer = await self._api.read("conversations.history", params)
        messages = _messages(answer)
        threads = [*place["threads"], *(ts for one in messages if (ts := _replied(one, since)) is not None)]
        cursor = text_at(answer, "response_metadata", "next_cursor")
        if cursor is not None:
            following: dict[str, Any] | None = {"cursor": cursor, "threads": threads[:MAX_THREADS]}
        else:
            older = _older(memory, channel, before=begun)
            left = list(dict.fromkeys([*threads, *older]))[:MAX_THREADS]
            following = {"threads": left} if left else None
        return self._harvest(channel, us, messages, memory, following, since=since, until=until)

    async def _threads(
        self, channel: str, us: _Us, place: dict[str, Any], memory: Memory, *, since: float, until: float
    ) -> Harvest:
        messages: list[Mapping[str, Any]] = []
        for ts in place["threads"][:THREADS_PER_PAGE]:
            params = {
                "channel": channel,
                "ts": str(ts),
                "oldest": f"{since:.6f}",
                "latest": f"{until:.6f}",
                "inclusive": "true",
                "include_all_metadata": "true",
                "limit": str(PAGE),
            }
            cursor: str | None = ""
            while cursor is not None:
                try:
                    answer = await self._api.read(
                        "conversations.replies", {**params, **({"cursor": cursor} if cursor else {})}
                    )
                except SlackRefusedError as error:
                    if error.code not in GONE:
                        raise
                    break
                messages += _messages(answer)
                cursor = text_at(answer, "response_metadata", "next_cursor")
        left = place["threads"][THREADS_PER_PAGE:]
        return self._harvest(
            channel, us, messages, memory, {"threads": left} if left else None, since=since, until=until
        )

    def _harvest(
        self,
        channel: str,
        us: _Us,
        messages: Sequence[Mapping[str, Any]],
        memory: Memory,
        following: dict[str, Any] | None,
        *,
        since: float,
        until: float,
    ) -> Harvest:
        within = sorted(
            (one for one in messages if since <= _moment(text_at(one, "ts")) <= until),
            key=lambda one: _moment(text_at(one, "ts")),
        )
        team = memory.account or us.team
        return Harvest(
            requests=tuple(self._event(channel, one, us, team=team) for one in within),
            page=orjson.dumps(following).decode() if following is not None else None,
        )

    def _event(self, channel: str, message: Mapping[str, Any], us: _Us, *, team: str) -> Request:
        """The Events API's envelope around a message of the history, which lacks the channel."""
        shown = self._channels.get(channel)
        ts = text_at(message, "ts") or ""
        body = {
            "type": "event_callback",
            "team_id": team,
            "enterprise_id": us.enterprise,
            "authorizations": [
                {"team_id": team, "enterprise_id": us.enterprise, "user_id": us.user, "is_bot": True}
            ],
            # Where the channel cannot be looked at, the stricter of two readings: shared, and with few readers.
            "is_ext_shared_channel": bool(get(shown, "is_ext_shared")) if shown is not None else True,
            "event_time": int(_moment(ts)),
            "event": {
                **message,
                "type": "message",
                "channel": channel,
                "channel_type": _channel_type(channel, shown),
                "event_ts": ts,
            },
        }
        return Request(HEADERS, orjson.dumps(body))

    async def _list(self) -> None:
        """The channels that the app is a member of."""
        found: dict[str, Mapping[str, Any]] = {}
        cursor: str | None = ""
        while cursor is not None and len(found) < MAX_CHANNELS:
            params = {"types": LISTED, "exclude_archived": "true", "limit": str(PAGE)}
            answer = await self._api.read(
                "users.conversations", {**params, **({"cursor": cursor} if cursor else {})}
            )
            listed = get(answer, "channels")
            for channel in listed if isinstance(listed, list) else ():
                number = short_id_at(channel, "id")
                if number is not None and isinstance(channel, dict):
                    found[number] = channel
            cursor = text_at(answer, "response_metadata", "next_cursor")
        self._channels = found

    async def _ourselves(self) -> _Us:
        if self._us is None:
            answer = await self._api.write("auth.test", {})
            team, user = id_at(answer, "team_id"), id_at(answer, "user_id")
            if team is None or user is None:
                msg = "slack auth.test: the answer names no workspace and user; is the token a bot token?"
                raise PostRefusedError(msg)
            self._us = _Us(team, user, id_at(answer, "enterprise_id"))
        return self._us


def _messages(answer: object) -> list[Mapping[str, Any]]:
    listed = get(answer, "messages")
    return [one for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []


def _replied(message: Mapping[str, Any], since: float) -> str | None:
    """The thread that the message began, if it has replies of the time looked at."""
    return text_at(message, "ts") if _moment(text_at(message, "latest_reply")) >= since else None


def _older(memory: Memory, channel: str, *, before: float) -> list[str]:
    """Threads that we had events of and that began too long ago to be seen in the history."""
    parts = (subject.split("/", 2) for subject in memory.subjects)
    threads = [rest[0] for _, *place in parts if place[:1] == [channel] and (rest := place[1:])]
    # Commands have an identifier of their own in the place of a time.
    return [ts for ts in threads if _TS.fullmatch(ts) and _moment(ts) < before][:MAX_OLDER]


def _moment(ts: str | None) -> float:
    try:
        return float(ts or 0)
    except ValueError:
        return 0.0


def _channel_type(channel: str, shown: Mapping[str, Any] | None) -> str:
    if shown is None:
        return "im" if channel.startswith("D") else "group"
    for flag, name in (("is_im", "im"), ("is_mpim", "mpim"), ("is_private", "group")):
        if get(shown, flag) is True:
            return name
    return "channel"
