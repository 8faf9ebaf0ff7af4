"""Finding what we posted before, by the metadata hidden in our messages. Reads only.

Facts: docs.slack.dev/messaging/message-metadata. Slack documents no idempotency key for posting, so this is
the only way to know whether a call whose answer was lost took effect. It runs after doubt only: for some
apps Slack allows one reading call a minute.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from connectors.body import get, id_at, text_at
from connectors.poster import PostUncertainError
from connectors.slack.api import SlackApi
from schemas.marker import Marker, markers_in

EVENT_TYPE: Final = "triggerhub_post"
"""`metadata.event_type` of our messages. Changing this breaks the finding of earlier posts."""
LOOK_BACK: Final = 3 * 24 * 3600
"""Seconds of a channel's history that are read: longer than any post is tried for."""
PAGE: Final = 200
"""Messages asked for at once; Slack advises no more."""
PAGES: Final = 10
"""Bound of one search. Past it nobody knows, and not knowing is said: guessing `no` would post twice."""


@dataclass(frozen=True, slots=True)
class Spot:
    """Where a post goes. Without `thread_ts` it opens a thread of its own in the channel."""

    channel: str
    thread_ts: str | None = None
    since: str | None = None
    """Time stamp of the message that started the run: nothing of ours is older."""


@dataclass(frozen=True, slots=True)
class Found:
    """A message of this run."""

    ts: str
    slot: str
    part: int
    updated: str | None
    """The slot of the last update made to it."""
    authors: frozenset[str]
    """Identifiers of whoever wrote it, as user, bot and app. Another app may have copied our metadata."""


def mark(marker: Marker, part: int, *, updated: str | None = None) -> dict[str, Any]:
    """The hidden metadata of one message. Other apps in the workspace can read it, so it holds identifiers
    only.
    """
    payload: dict[str, Any] = {"run": marker.run, "slot": marker.slot, "part": part}
    if marker.lineage is not None:
        payload["lineage"] = marker.lineage.words
    if updated is not None:
        payload["updated"] = updated
    return {"event_type": EVENT_TYPE, "event_payload": payload}


def marked_in(message: object) -> str | None:
    """What our metadata on a message says (`schemas.marker`), where Slack gives it."""
    if get(message, "metadata", "event_type") != EVENT_TYPE:
        return None
    payload = get(message, "metadata", "event_payload")
    run, slot, lineage = (text_at(payload, name) for name in ("run", "slot", "lineage"))
    return markers_in(f"triggerhub run={run} slot={slot} {lineage}")


async def messages_of_run(api: SlackApi, spot: Spot, *, run: str, below: bool) -> list[Found]:
    """Every message at `spot` that carries `run`, oldest first, whoever wrote it. Raises PostError.

    `below`: look also into the threads that messages of the run opened, where further parts of them stand.
    """
    if spot.thread_ts is not None:
        return await _in_thread(api, spot.channel, spot.thread_ts, run=run, since=spot.since)
    oldest = spot.since or f"{api.clock() - LOOK_BACK:.6f}"
    opened = await _pages(api, "conversations.history", {"channel": spot.channel, "oldest": oldest}, run=run)
    found: dict[str, Found] = {message.ts: message for message in opened}
    for message in opened if below else ():
        replies = await _in_thread(api, spot.channel, message.ts, run=run, since=None)
        found.update({reply.ts: reply for reply in replies})
    return sorted(found.values(), key=lambda message: message.ts)


async def _in_thread(
    api: SlackApi, channel: str, thread_ts: str, *, run: str, since: str | None
) -> list[Found]:
    params = {"channel": channel, "ts": thread_ts}
    if since is not None:
        params["oldest"] = since
    return await _pages(api, "conversations.replies", params, run=run)


async def _pages(api: SlackApi, method: str, params: Mapping[str, str], *, run: str) -> list[Found]:
    asked = {**params, "include_all_metadata": "true", "limit": str(PAGE)}
    found: list[Found] = []
    for _ in range(PAGES):
        answer = await api.read(method, asked)
        listed = get(answer, "messages")
        read = [_found(message, run) for message in listed] if isinstance(listed, list) else []
        found += [message for message in read if message is not None]
        cursor = text_at(answer, "response_metadata", "next_cursor")
        if cursor is None:
            return sorted(found, key=lambda message: message.ts)
        asked["cursor"] = cursor
    msg = (
        f"slack {method}: no end after {PAGES * PAGE} messages, so it is not known whether the post was made"
    )
    raise PostUncertainError(msg)


def _found(message: object, run: str) -> Found | None:
    if get(message, "metadata", "event_type") != EVENT_TYPE:
        return None
    payload = get(message, "metadata", "event_payload")
    ts, slot, part = text_at(message, "ts"), text_at(payload, "slot"), id_at(payload, "part")
    if text_at(payload, "run") != run or ts is None or slot is None or part is None or not part.isdecimal():
        return None
    authors = frozenset(
        one for name in ("user", "bot_id", "app_id") if (one := id_at(message, name)) is not None
    )
    return Found(ts=ts, slot=slot, part=int(part), updated=text_at(payload, "updated"), authors=authors)
