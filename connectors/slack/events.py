"""The Events API as facts: messages, mentions, installations, and what is deliberately passed over.

Facts: docs.slack.dev/apis/events-api and docs.slack.dev/reference/events. Pure: nothing is looked up.

One post that mentions the app arrives twice, as `app_mention` and as `message`, with different event ids.
Both are told by (team, channel, ts). Where a payload names our bot user both become the same
`message.mention`. Where it does not (no `authorizations`, and our user id unknown), the copy that is a
plain `message` stays `message.posted` with a key of its own, so that it cannot stand in the way of the
mention.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from connectors.base import Fact, Identity, Normalised, Outcome, UnreadableError
from connectors.body import epoch, get, text_at
from connectors.slack.people import Home, bot_users, event_actor, home_of_event
from connectors.slack.places import Place, artefact, bounded, reaction_artefact, short_id_at
from connectors.slack.search import marked_in
from connectors.slack.text import mentioned, raw_text, readable
from schemas.event import Actor, Kind

SPOKEN: Final = frozenset({"file_share", "thread_broadcast", "me_message", "bot_message"})
"""Subtypes that carry something newly said. Everything else (edits, deletions, joins …) is housekeeping."""
HOUSEKEEPING: Final[Mapping[str, str]] = {
    "app_home_opened": "someone opened the app's page; nothing was asked",
    "assistant_thread_context_changed": "someone changed the channel they look at; nothing was asked",
    "member_joined_channel": "changes of membership start nothing",
    "member_left_channel": "changes of membership start nothing",
    "message_metadata_posted": "the message itself arrives as an event of its own",
    "message_metadata_updated": "the message itself arrives as an event of its own",
    "message_metadata_deleted": "the message itself arrives as an event of its own",
    "user_change": "changes of a profile start nothing",
    "emoji_changed": "changes of the workspace's emoji start nothing",
}
CHANNEL_CHANGES: Final = ("channel_", "group_", "im_", "mpim_")
MAX_TEAMS: Final = 100


def read_event(body: Mapping[str, Any], *, identity: Identity, digest: str) -> Normalised:
    """Read one `event_callback`. Raises UnreadableError where there is no event in it."""
    event = get(body, "event")
    if not isinstance(event, dict):
        msg = "event_callback without an object 'event'"
        raise UnreadableError(msg)
    event_id = short_id_at(body, "event_id")
    sender = short_id_at(body, "team_id") or short_id_at(body, "enterprise_id") or ""
    delivery = bounded(f"{sender}:{event_id}") if event_id else digest
    kind = text_at(event, "type") or ""
    home = home_of_event(body)
    if kind in {"app_mention", "message"}:
        why = _silent(event)
        if why is not None:
            return Normalised(outcome=Outcome.IGNORED, delivery_key=delivery, payload=body, reason=why)
        fact = _message(body, kind, home=home, identity=identity)
        if fact is not None:
            return Normalised(outcome=Outcome.HANDLED, delivery_key=delivery, facts=(fact,), payload=body)
    why = _housekeeping(kind, event)
    if why is not None:
        return Normalised(outcome=Outcome.IGNORED, delivery_key=delivery, payload=body, reason=why)
    facts = _installation(body, kind, home=home, once=delivery)
    if facts:
        return Normalised(outcome=Outcome.HANDLED, delivery_key=delivery, facts=facts, payload=body)
    fact = _other(body, kind, home=home, identity=identity, once=delivery)
    return Normalised(
        outcome=Outcome.UNSUPPORTED,
        delivery_key=delivery,
        facts=(fact,),
        payload=body,
        reason=_unsupported(kind),
    )


def _silent(event: Mapping[str, Any]) -> str | None:
    """Why a message says nothing new, or None."""
    subtype = text_at(event, "subtype")
    if subtype is not None and subtype not in SPOKEN:
        return f"message subtype {subtype[:80]!r} says nothing new"
    if get(event, "hidden") is True:
        return "hidden messages are bookkeeping between Slack's clients"
    return None


def _message(body: Mapping[str, Any], kind: str, *, home: Home, identity: Identity) -> Fact | None:
    """A message or mention; None where it does not say which message it is."""
    event = body["event"]
    channel, ts = short_id_at(event, "channel"), short_id_at(event, "ts")
    if channel is None or ts is None:
        return None
    place = Place(
        team=home.team,
        channel=channel,
        ts=ts,
        root=short_id_at(event, "thread_ts"),
        channel_type=text_at(event, "channel_type"),
    )
    written = raw_text(event)
    mentions = mentioned(written)
    ours = bot_users(body, identity)
    # Slack counts a mention that stands in `text` alone; people see the blocks.
    addressed = not ours.isdisjoint(mentions) or (
        kind == "app_mention" and (written == text_at(event, "text") or not ours)
    )
    meaning: Kind = "message.mention" if addressed else "message.posted"
    text = readable(written)
    return Fact(
        kind=meaning,
        actor=event_actor(body, home=home, identity=identity),
        subject=place.subject(text),
        key=bounded(f"{meaning}:{home.team}/{channel}/{ts}"),
        account=home.team,
        occurred_at=epoch(ts) or epoch(get(body, "event_time")),
        text=text,
        mentions=mentions,
        visibility=place.visibility,
        outside=home.shared is True,
        address=place.address,
        artefact=artefact(channel, ts),
        marked=marked_in(event),
    )


def _housekeeping(kind: str, event: Mapping[str, Any]) -> str | None:
    """Why a known event type means nothing to us, or None."""
    if kind == "tokens_revoked" and not get(event, "tokens", "bot"):
        return "only tokens of single users were revoked; the bot token stays"
    if kind.startswith(CHANNEL_CHANGES):
        return f"{kind[:80]!r} changes a channel; nothing was said"
    return HOUSEKEEPING.get(kind)


def _installation(body: Mapping[str, Any], kind: str, *, home: Home, once: str) -> tuple[Fact, ...]:
    """The app came into a workspace or left it; an organisation grants it to several at once."""
    meanings: dict[str, Kind] = {
        "app_uninstalled": "install.removed",
        "tokens_revoked": "install.removed",
        "team_access_revoked": "install.removed",
        "team_access_granted": "install.added",
    }
    meaning = meanings.get(kind)
    if meaning is None:
        return ()
    listed = get(body, "event", "team_ids")
    named = [team for team in listed if isinstance(team, str) and team] if isinstance(listed, list) else []
    return tuple(
        Fact(
            kind=meaning,
            actor=Actor(),
            subject=Place(team=team).subject("", kind="workspace"),
            key=bounded(f"{kind}:{team}:{once}"),
            account=home.team,
            occurred_at=_moment(body),
        )
        for team in (named[:MAX_TEAMS] or [home.team])
    )


def _other(body: Mapping[str, Any], kind: str, *, home: Home, identity: Identity, once: str) -> Fact:
    """An event without a kind of its own, placed as exactly as it allows, so that rules can match it."""
    event = body["event"]
    channel = (
        short_id_at(event, "channel")
        or short_id_at(event, "item", "channel")
        or short_id_at(event, "assistant_thread", "channel_id")
    )
    ts = (
        short_id_at(event, "item", "ts")
        or short_id_at(event, "assistant_thread", "thread_ts")
        or short_id_at(event, "message_ts")
    )
    place = Place(
        team=home.team,
        channel=channel,
        ts=ts if channel else None,
        root=short_id_at(event, "thread_ts") if channel else None,
        channel_type=text_at(event, "channel_type") or text_at(event, "item", "channel_type"),
    )
    key, made = f"{kind}:{once}", None
    user, reaction = short_id_at(event, "user"), text_at(event, "reaction")
    if reaction and channel and ts:
        key = f"{kind}:{home.team}/{channel}/{ts}:{user}:{reaction}:{short_id_at(event, 'event_ts')}"
        made = reaction_artefact(channel, ts, reaction)
    return Fact(
        kind="other",
        actor=event_actor(body, home=home, identity=identity),
        subject=place.subject("", kind=None if channel else "workspace"),
        key=bounded(key),
        account=home.team,
        occurred_at=_moment(body),
        visibility=place.visibility if channel else "private",
        address=place.address,
        artefact=made,
    )


def _moment(body: Mapping[str, Any]) -> Any:
    return epoch(get(body, "event", "event_ts")) or epoch(get(body, "event_time"))


def _unsupported(kind: str) -> str:
    if kind in {"app_mention", "message"}:
        return f"{kind} without a channel and a time stamp"
    return f"event type {kind[:80]!r} has no kind of its own; a rule can match it as 'other'"
