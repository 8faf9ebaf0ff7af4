"""Who caused a webhook, by identifiers alone (webhooks reference §3.1: `actor {type, id, name}`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from connectors.base import Identity
from connectors.body import get, id_at, text_at
from connectors.sentry.payloads import MAX_TITLE, clean
from schemas.event import Actor

SYSTEM: Final = "sentry"
"""`application/sentry` is Sentry itself: new issues, alert rules, Seer."""


def read_actor(body: Mapping[str, Any], identity: Identity) -> Actor:
    """The actor, or one of unknown trust where the payload names none.

    An application is ours when its identifier is in `identity` or is that of the very integration that the
    webhook was sent to (`installation.app.uuid`): Sentry writes the receiving app's identifier there, so a
    comment that we posted comes back under it.
    """
    given = get(body, "actor")
    kind, number = text_at(given, "type"), clean(id_at(given, "id"), MAX_TITLE)
    name = clean(text_at(given, "name"), MAX_TITLE)
    if number is None or kind not in {"user", "application"}:
        return Actor(id=number, name=name, trust="unknown")
    if kind == "user":
        return Actor(id=number, name=name, is_self=number in identity.actor_ids, trust="member")
    if number == SYSTEM:
        return Actor(id=number, name=name, trust="system")
    own = number in identity.actor_ids or number == text_at(body, "installation", "app", "uuid")
    return Actor(id=number, name=name, is_bot=True, is_self=own, trust="bot")
