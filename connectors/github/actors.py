"""Who did it, and what the payload proves of them (design §4.1). Must not trust a name, only identifiers.

`author_association` is the relation of an object's author to the repository, so it tells of the actor only
where the sender wrote that very object. Anything else is worth what the action itself needs: labelling
another's issue needs triage rights, pushing needs write access. What proves nothing stays `unknown`, which
starts no agent.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from connectors.base import Identity
from connectors.body import id_at, text_at
from connectors.github.payloads import Delivery
from schemas.event import Actor, Trust

_ASSOCIATIONS: Final[Mapping[str, Trust]] = {
    "OWNER": "owner",
    "MEMBER": "member",
    "COLLABORATOR": "collaborator",
    "CONTRIBUTOR": "outsider",
    "FIRST_TIMER": "outsider",
    "FIRST_TIME_CONTRIBUTOR": "outsider",
    "MANNEQUIN": "outsider",
    "NONE": "outsider",
}
GITHUB_ACCOUNT: Final = "9919"
"""The account `github`, under which GitHub itself raises security alerts."""
APP: Final = "app:"
"""Prefix of our own App's id in an Identity: apps and users are numbered apart, so a bare number is not
enough.
"""


def read_actor(
    delivery: Delivery,
    *,
    wrote: Mapping[str, Any] | None = None,
    otherwise: Trust = "unknown",
    apps: tuple[str | None, ...] = (),
) -> Actor:
    """The sender as an actor.

    `wrote` is the object whose author's association counts if the sender is that author; `otherwise` is
    what the action proves of anybody else; `apps` are ids of GitHub Apps that carried the action out.
    """
    sender = delivery.part("sender")
    ident, login = id_at(sender, "id"), text_at(sender, "login")
    is_bot = text_at(sender, "type") == "Bot"
    return Actor(
        id=ident,
        login=login,
        name=text_at(sender, "name"),
        is_bot=is_bot,
        is_self=_is_self(delivery.identity, ident, login, apps),
        trust=_trust(delivery, sender, wrote=wrote, otherwise=otherwise),
    )


def wrote_it(delivery: Delivery, thing: Mapping[str, Any]) -> bool:
    """True where the sender is the author of `thing`, by id (by login only where the payload has no ids)."""
    sender = delivery.part("sender")
    author = thing.get("user")
    mine, theirs = id_at(sender, "id"), id_at(author, "id")
    if mine is not None and theirs is not None:
        return mine == theirs
    mine, theirs = text_at(sender, "login"), text_at(author, "login")
    return mine is not None and mine == theirs


def app_of(thing: Mapping[str, Any]) -> str | None:
    """Id of the App through which `thing` was written, where GitHub says so."""
    return id_at(thing, "performed_via_github_app", "id")


def _trust(
    delivery: Delivery, sender: Mapping[str, Any], *, wrote: Mapping[str, Any] | None, otherwise: Trust
) -> Trust:
    if not sender:
        return "unknown"
    kind = text_at(sender, "type")
    if kind == "Bot":
        return "bot"
    if kind == "Mannequin":
        return "outsider"
    if kind == "Organization":
        return "system" if id_at(sender, "id") == GITHUB_ACCOUNT else "unknown"
    if kind not in {"User", None}:
        return "unknown"
    if wrote is not None and wrote_it(delivery, wrote):
        return _ASSOCIATIONS.get(text_at(wrote, "author_association") or "", "unknown")
    owner = id_at(delivery.body, "repository", "owner", "id")
    if owner is not None and owner == id_at(sender, "id"):
        return "owner"
    return otherwise


def _is_self(identity: Identity, ident: str | None, login: str | None, apps: tuple[str | None, ...]) -> bool:
    if ident is not None and ident in identity.actor_ids:
        return True
    if login is not None and login.lower() in identity.logins:
        return True
    return any(is_our_app(identity, app) for app in apps)


def is_our_app(identity: Identity, app: str | None) -> bool:
    """True for the id of the App that triggerhub is."""
    return bool(app) and (app in identity.actor_ids or f"{APP}{app}" in identity.actor_ids)
