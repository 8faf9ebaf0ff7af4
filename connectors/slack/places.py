"""Where something happened in Slack: workspace, channel and thread, as keys, addresses and links. Must not
call Slack.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlencode

from connectors.body import id_at
from connectors.slack.text import title
from schemas.event import Subject, Visibility

KEY_LENGTH: Final = 400
ID_LENGTH: Final = 100
PRIVATE_NAMES: Final = frozenset({"privategroup", "directmessage"})
"""What Slack writes for the name of a private channel or direct message in commands and clicks."""

_DOMAIN: Final = re.compile(r"[a-z0-9](?:[a-z0-9.-]{0,60}[a-z0-9])?", re.IGNORECASE)


def short_id_at(value: object, *path: str | int) -> str | None:
    """The identifier at `path`, else None: one of more than ID_LENGTH characters is none of Slack's."""
    found = id_at(value, *path)
    return found if found is not None and len(found) <= ID_LENGTH else None


def bounded(key: str, limit: int = KEY_LENGTH) -> str:
    """`key`, or its beginning and a digest where it is longer than any real one. Changing this breaks
    deduplication.
    """
    if len(key) <= limit:
        return key
    return key[: limit - 65] + "~" + hashlib.sha256(key.encode("utf-8", "replace")).hexdigest()


@dataclass(frozen=True, slots=True)
class Place:
    """A spot in a workspace. `ts` is the message itself, `root` the message that opened its thread."""

    team: str
    """The workspace the app is installed in (or the organisation, where a payload names no workspace)."""
    channel: str | None = None
    ts: str | None = None
    root: str | None = None
    channel_type: str | None = None
    """`channel`, `group`, `im`, `mpim`: absent on app_mention, commands and clicks."""
    channel_name: str | None = None
    domain: str | None = None
    """`acme` of acme.slack.com: known for commands and clicks only."""

    @property
    def direct(self) -> bool:
        """True in a conversation with the app alone."""
        if self.channel_type:
            return self.channel_type == "im"
        return self.channel is not None and self.channel.startswith("D")

    @property
    def key(self) -> str:
        """Subject key: `team/channel/thread_ts`, shorter where the place is less exact."""
        spot = (self.team, self.channel, self.root or self.ts)
        return bounded("/".join(part for part in spot if part) or "slack")

    @property
    def visibility(self) -> Visibility:
        """`private` for a channel every member can find, `restricted` for anything with fewer readers.

        A workspace is closed to the world, so nothing here is `public`. That people of other companies read a
        Slack Connect channel is said apart (`Fact.outside`). A private channel of today has a `C` id like a
        public one, and app_mention does not tell them apart: it counts as `private` there.
        """
        if self.channel is None:
            return "restricted"
        if self.channel_type:
            return "private" if self.channel_type in {"channel", "C"} else "restricted"
        return "restricted" if self.channel_name in PRIVATE_NAMES or self.channel[0] != "C" else "private"

    @property
    def url(self) -> str | None:
        """The message's permanent link where the domain is known, else Slack's documented redirect to the
        channel.
        """
        if self.channel is None:
            return None
        if self.domain and _DOMAIN.fullmatch(self.domain):
            return permalink(f"https://{self.domain}.slack.com", self.channel, self.ts, self.root)
        query = urlencode({"team": self.team, "channel": self.channel})
        return f"https://slack.com/app_redirect?{query}"

    @property
    def address(self) -> dict[str, str]:
        """What a reply needs. Never a `response_url`: whoever reads that can post without a credential."""
        spot = {"channel": self.channel, "thread_ts": self.root or self.ts, "ts": self.ts}
        return {name: value for name, value in spot.items() if value}

    def subject(self, text: str, *, kind: str | None = None) -> Subject:
        """The conversation as a subject, titled by the first line of `text`."""
        usual = "dm" if self.direct else "thread"
        return Subject(
            kind=kind or usual,
            key=self.key,
            url=self.url,
            title=title(text),
            container=self.channel or self.team or None,
        )


def permalink(workspace_url: str, channel: str, ts: str | None, root: str | None = None) -> str:
    """Link to a message below `https://<domain>.slack.com`; to the channel where `ts` is None."""
    base = f"{workspace_url.rstrip('/')}/archives/{channel}"
    if not ts:
        return base
    link = f"{base}/p{ts.replace('.', '')}"
    return f"{link}?{urlencode({'thread_ts': root, 'cid': channel})}" if root and root != ts else link


def artefact(channel: str, ts: str) -> str:
    """Identifier of a message, the same in a receipt and in the event it comes back in."""
    return bounded(f"message:{channel}/{ts}")


def reaction_artefact(channel: str, ts: str, name: str) -> str:
    """Identifier of our reaction to a message, the same in a receipt and in `reaction_added`."""
    return bounded(f"reaction:{channel}/{ts}/{name}")
