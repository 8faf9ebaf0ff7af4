"""Posting to Slack: replies, messages, edits of our own messages, reactions. Never retries and never sleeps.

A long text becomes several messages, each with its own part number in the hidden metadata: `find` notes
which of them exist, and the `create` that follows posts only the others.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

from connectors.base import Identity
from connectors.body import id_at, text_at
from connectors.poster import (
    EditPace,
    Post,
    Poster,
    PostError,
    PostGoneError,
    PostPolicyError,
    PostRefusedError,
    PostRetryError,
    PostUncertainError,
)
from connectors.slack.api import SlackApi, SlackRefusedError
from connectors.slack.buttons import blocks
from connectors.slack.mrkdwn import mrkdwn, naming
from connectors.slack.outputs import (
    AddReactionArguments,
    AddReactionTarget,
    AskArguments,
    CommentArguments,
    CommentTarget,
    PostMessageArguments,
    PostMessageTarget,
    UpdateMessageArguments,
)
from connectors.slack.parts import cut
from connectors.slack.places import artefact, permalink, reaction_artefact
from connectors.slack.search import Found, Spot, mark, messages_of_run
from schemas.policy.shapes import Refusal
from schemas.result import Origin, Receipt

UNCHANGEABLE = frozenset({"message_not_found", "cant_update_message", "edit_window_closed"})
"""Slack's words for a message that is gone, or that nobody may change any more."""
REMEMBERED = 1000
"""Posts whose existing parts are kept between a `find` and the `create` that follows it."""


@dataclass(frozen=True, slots=True)
class Workspace:
    """What auth.test says of our token."""

    url: str | None
    team: str | None
    identity: Identity


class SlackPoster(Poster):
    """Posts for one connection."""

    edit_pace = EditPace(seconds=4.0, together=3)
    """`chat.update` is of tier 3, 50 a minute, and one message changes every 3 s at most."""

    def __init__(self, api: SlackApi, *, self_ids: Collection[str] = ()) -> None:
        self._api = api
        self._self_ids = frozenset(self_ids)
        self._workspace: Workspace | None = None
        self._parts: OrderedDict[tuple[str, str], dict[int, str]] = OrderedDict()

    def seen_mark(self, origin: Origin) -> tuple[str, Mapping[str, Any]] | None:
        """A reaction to the message."""
        address = origin.address
        return ("add_reaction", {"name": "eyes"}) if "channel" in address and "ts" in address else None

    async def identify(self) -> Identity:
        """Our bot user and bot id, and the app's id where Slack names it."""
        return (await self._ask()).identity

    async def find(self, post: Post) -> Receipt | None:
        """Look for messages that carry (run, slot). Reactions need no looking: adding one twice changes
        nothing.
        """
        match post.arguments:
            case AskArguments():
                return await self._find_written(post, cut(_text(post, post.arguments.text), most=1))
            case CommentArguments() | PostMessageArguments():
                return await self._find_written(post, cut(_text(post, post.arguments.text)))
            case UpdateMessageArguments():
                spot = _spot(post)
                for message in await self._written_at(spot, post.run, below=False):
                    if message.updated == post.slot:
                        return await self._receipt(spot, message.ts, opened=False)
                return None
            case AddReactionArguments():
                return None
        raise _unknown(post)

    async def create(self, post: Post) -> Receipt:
        """Carry the post out. Parts that a `find` just before saw are left as they are."""
        match post.arguments:
            case AskArguments():
                return await self._write(post, cut(_text(post, post.arguments.text), most=1))
            case CommentArguments() | PostMessageArguments():
                return await self._write(post, cut(_text(post, post.arguments.text)))
            case UpdateMessageArguments():
                return await self._update(post, post.arguments)
            case AddReactionArguments():
                return await self._react(post, post.arguments)
        raise _unknown(post)

    async def update(self, post: Post, receipt: Receipt) -> Receipt:
        """Change the first message of the post; a text longer than that is cut."""
        match post.arguments:
            case CommentArguments() | PostMessageArguments():
                return await self._rewrite(post, post.arguments.text, receipt)
        return await super().update(post, receipt)

    async def _rewrite(self, post: Post, text: str, receipt: Receipt) -> Receipt:
        kind, _, place = (receipt.artefact or "").partition(":")
        channel, _, ts = place.partition("/")
        if kind != "message" or not channel or not ts:
            msg = f"{post.output}: {receipt.artefact!r} is no message that could be changed"
            raise PostRefusedError(msg)
        shown = cut(_text(post, text), most=1)[0]
        body: dict[str, Any] = {
            "channel": channel,
            "ts": ts,
            "text": shown,
            "parse": "none",
            "link_names": False,
            "metadata": mark(post.marker, 1),
        }
        if isinstance(post.arguments, AskArguments):
            body["blocks"] = blocks(shown, post.arguments.value)
        try:
            await self._api.write("chat.update", body)
        except SlackRefusedError as error:
            if error.code in UNCHANGEABLE:
                raise PostGoneError(str(error)) from None
            raise
        return receipt

    async def _find_written(self, post: Post, texts: list[str]) -> Receipt | None:
        spot = _spot(post)
        found = await self._written_at(spot, post.run, below=len(texts) > 1)
        parts: dict[int, str] = {}
        for message in found:
            if message.slot == post.slot:
                parts.setdefault(message.part, message.ts)
        if all(number in parts for number in range(1, len(texts) + 1)):
            return await self._receipt(spot, parts[1], opened=spot.thread_ts is None)
        self._parts[post.run, post.slot] = parts
        while len(self._parts) > REMEMBERED:
            self._parts.popitem(last=False)
        return None

    async def _written_at(self, spot: Spot, run: str, *, below: bool) -> list[Found]:
        """What this run has posted there, oldest first."""
        marked = await messages_of_run(self._api, spot, run=run, below=below)
        return [message for message in marked if await self._is_ours(message)]

    async def _is_ours(self, message: Found) -> bool:
        """True unless the author is known to be somebody else, who may have copied our metadata."""
        if not message.authors or message.authors & self._self_ids:
            return True
        try:
            us = (self._workspace or await self._ask()).identity.actor_ids
        except PostRefusedError:
            return True
        return not us or bool(message.authors & us)

    async def _write(self, post: Post, texts: list[str]) -> Receipt:
        spot = _spot(post)
        existing = self._parts.pop((post.run, post.slot), {})
        await self._learn()
        thread, first, note = spot.thread_ts, existing.get(1), ""
        for number, text in enumerate(texts, start=1):
            if number not in existing:
                try:
                    ts = await self._post_part(post, spot.channel, thread, text, number)
                except (PostRetryError, PostUncertainError) as error:
                    if first is None and not existing:
                        raise
                    msg = f"{error} (part {number} of {len(texts)}; the parts before it are posted)"
                    raise PostUncertainError(msg) from None
                except PostRefusedError as error:
                    if first is None:
                        raise
                    note = f"posted up to part {number - 1} of {len(texts)}; the rest was refused: {error}"
                    break
                first = first or ts
            thread = thread or first
        if first is None:
            msg = f"output {post.output!r} has no text to post"
            raise PostRefusedError(msg)
        return await self._receipt(spot, first, opened=spot.thread_ts is None, note=note)

    async def _post_part(self, post: Post, channel: str, thread: str | None, text: str, number: int) -> str:
        body = {
            "channel": channel,
            "text": text,
            "mrkdwn": True,
            "parse": "none",
            "link_names": False,
            "unfurl_links": False,
            "unfurl_media": False,
            "metadata": mark(post.marker, number),
        }
        if thread is not None:
            body["thread_ts"] = thread
        if isinstance(post.arguments, AskArguments):
            body["blocks"] = blocks(text, post.arguments.value)
        answer = await self._api.write("chat.postMessage", body)
        ts = text_at(answer, "ts")
        if ts is None:
            msg = "slack chat.postMessage: ok, but without the ts of the message"
            raise PostUncertainError(msg)
        return ts

    async def _update(self, post: Post, arguments: UpdateMessageArguments) -> Receipt:
        spot = _spot(post)
        found = await self._written_at(spot, post.run, below=False)
        mine = [message for message in found if message.part == 1]
        if arguments.message_ts is not None:
            mine = [message for message in mine if message.ts == arguments.message_ts]
        if not mine:
            which = f"no message {arguments.message_ts}" if arguments.message_ts else "nothing"
            msg = f"update_message: this run has posted {which} in the thread; post a comment first"
            raise PostRefusedError(msg)
        newest = mine[-1]
        body = {
            "channel": spot.channel,
            "ts": newest.ts,
            "text": cut(_text(post, arguments.text), most=1)[0],
            "parse": "none",
            "link_names": False,
            "metadata": mark(replace(post.marker, slot=newest.slot), newest.part, updated=post.slot),
        }
        await self._api.write("chat.update", body)
        return await self._receipt(spot, newest.ts, opened=False)

    async def _react(self, post: Post, arguments: AddReactionArguments) -> Receipt:
        fixed = post.target.name if isinstance(post.target, AddReactionTarget) else None
        name = (fixed or arguments.name or "").strip(":")
        channel, ts = post.origin.address.get("channel"), post.origin.address.get("ts")
        if not name:
            msg = "add_reaction: no emoji was named; set `name` in the rule or in the call"
            raise PostRefusedError(msg)
        if not post.to_origin or channel is None or ts is None:
            msg = f"add_reaction: the origin ({post.origin.kind}) is no Slack message to react to"
            raise PostRefusedError(msg)
        note = ""
        try:
            await self._api.write("reactions.add", {"channel": channel, "timestamp": ts, "name": name})
        except SlackRefusedError as error:
            if error.code != "already_reacted":
                raise
            note = "the reaction was there already"
        return Receipt(url=post.origin.subject.url, artefact=reaction_artefact(channel, ts, name), note=note)

    async def _receipt(self, spot: Spot, ts: str, *, opened: bool, note: str = "") -> Receipt:
        """`opened`: the message began a thread, and so a conversation, of its own."""
        workspace = await self._learn()
        url = (
            permalink(workspace.url, spot.channel, ts, spot.thread_ts)
            if workspace and workspace.url
            else None
        )
        team = workspace.team if workspace else None
        subject = f"{team}/{spot.channel}/{ts}" if opened and team else None
        return Receipt(url=url, artefact=artefact(spot.channel, ts), subject=subject, note=note)

    async def _learn(self) -> Workspace | None:
        """What auth.test says; None while it fails, since a link is not worth failing a post for."""
        try:
            return self._workspace or await self._ask()
        except PostError:
            return None

    async def _ask(self) -> Workspace:
        answer = await self._api.write("auth.test", {})
        ids = {id_at(answer, name) for name in ("user_id", "bot_id", "app_id")}
        url = text_at(answer, "url")
        self._workspace = Workspace(
            url=url if url and url.startswith(("https://", "http://")) else None,
            team=id_at(answer, "team_id"),
            identity=Identity(actor_ids=frozenset(found for found in ids if found)),
        )
        return self._workspace


def _text(post: Post, markdown: str) -> str:
    return naming(mrkdwn(markdown), post.policy.mentions)


def _chosen(post: Post, target: PostMessageTarget) -> str:
    """The channel that the rule fixes, or the agent's choice among those it allows."""
    chosen = post.arguments.channel if isinstance(post.arguments, PostMessageArguments) else None
    allowed = (target.channel,) if target.channel is not None else target.channels
    if chosen is None and len(allowed) == 1:
        return allowed[0]
    if chosen is None or chosen not in allowed:
        msg = f"the channel must be one of {', '.join(allowed)}"
        raise PostPolicyError(Refusal("channels", msg))
    return chosen


def _spot(post: Post) -> Spot:
    """The channel and thread of a post, by the origin or by the rule."""
    if post.to_origin:
        address = post.origin.address
        channel = address.get("channel")
        if channel is None:
            msg = (
                f"{post.output}: the origin ({post.origin.kind}) has no channel (a modal or shortcut);"
                " use post_message with a channel in the rule"
            )
            raise PostRefusedError(msg)
        return Spot(channel=channel, thread_ts=address.get("thread_ts"), since=address.get("ts"))
    match post.target:
        case PostMessageTarget():
            return Spot(channel=_chosen(post, post.target))
        case CommentTarget() if post.target.channel is not None:
            return Spot(channel=post.target.channel, thread_ts=post.target.thread_ts)
    msg = f"{post.output}: neither `to: origin` nor a channel is set; name one of them in the rule"
    raise PostRefusedError(msg)


def _unknown(post: Post) -> PostRefusedError:
    return PostRefusedError(f"slack has no output {post.output!r}")
