"""What the emulated Slack remembers: channels with messages, threads, metadata and reactions.

State and its rules only; the Web API methods are in `sandbox.slack.app`.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Final

from sandbox.moments import now

TEAM_ID: Final = "T01ACME00"
BOT_USER_ID: Final = "U01TRIGHUB"
BOT_ID: Final = "B01TRIGHUB"
APP_ID: Final = "A01TRIGHUB"
WORKSPACE_URL: Final = "https://acme.slack.example.com/"


@dataclass(slots=True)
class SlackMessage:
    """A message. `ts` is its identifier within the channel."""

    ts: str
    user: str
    text: str
    thread_ts: str | None = None
    blocks: list[dict[str, Any]] = field(default_factory=list)
    metadata: dict[str, Any] | None = None
    bot: bool = False
    edited: str | None = None
    reactions: dict[str, list[str]] = field(default_factory=dict)
    """Emoji name to user ids."""
    assumed: bool = False
    """It came into being because somebody named it: no history shows it."""


@dataclass(slots=True)
class Channel:
    """A channel or direct message."""

    id: str
    name: str
    is_member: bool = True
    """Whether the bot is in it."""
    is_archived: bool = False
    is_private: bool = False
    is_readable: bool = True
    """Whether the token has the scope for its history."""
    messages: dict[str, SlackMessage] = field(default_factory=dict)
    """By ts, oldest first."""

    def thread(self, ts: str) -> list[SlackMessage]:
        """The parent and its replies, oldest first."""
        return [message for message in self.messages.values() if ts in {message.ts, message.thread_ts}]


class Slack:
    """One workspace."""

    def __init__(self, *, create_missing: bool = False) -> None:
        self.create_missing = create_missing
        self.channels: dict[str, Channel] = {}
        """By id."""
        self.may_list = True
        """Whether the token has the scopes to list channels."""
        self._last = 0

    def ensure_channel(self, channel_id: str, *, name: str | None = None, is_member: bool = True) -> Channel:
        """The channel of that id, made if it is not there."""
        found = self.channels.get(channel_id)
        if found is None:
            found = Channel(id=channel_id, name=name or channel_id.lower(), is_member=is_member)
            self.channels[channel_id] = found
        return found

    def channel(self, channel_id: str) -> Channel | None:
        """The channel, made on the spot where the world creates what is missing."""
        if self.create_missing and channel_id[:1] in {"C", "D", "G"}:
            return self.ensure_channel(channel_id)
        return self.channels.get(channel_id)

    def next_ts(self) -> str:
        """A timestamp that no other message has, in Slack's form `1700000000.000100`."""
        self._last = max(self._last + 1, int(now() * 1_000_000))
        return f"{self._last // 1_000_000}.{self._last % 1_000_000:06d}"

    def ensure_message(
        self,
        channel_id: str,
        ts: str,
        *,
        user: str = "U02ADA000",
        text: str = "",
        thread_ts: str | None = None,
    ) -> SlackMessage:
        """The message of that ts, written by a person if it is not there."""
        channel = self.ensure_channel(channel_id)
        found = channel.messages.get(ts)
        if found is None:
            found = SlackMessage(ts=ts, user=user, text=text, thread_ts=thread_ts)
            channel.messages[ts] = found
        return found

    def message(self, channel: Channel, ts: str) -> SlackMessage | None:
        """The message, made on the spot where the world creates what is missing."""
        if self.create_missing:
            return self.assume(channel.id, ts)
        return channel.messages.get(ts)

    def assume(self, channel_id: str, ts: str) -> SlackMessage:
        """The message of that ts, taken to be there because somebody names it."""
        known = ts in self.ensure_channel(channel_id).messages
        found = self.ensure_message(channel_id, ts)
        found.assumed = found.assumed or not known
        return found

    def snapshot(self) -> dict[str, Any]:
        """JSON-ready data of all channels."""
        return {"channels": {channel_id: asdict(channel) for channel_id, channel in self.channels.items()}}

    def reset(self) -> None:
        """Forget every channel."""
        self.channels.clear()
