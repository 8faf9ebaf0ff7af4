"""Who acted in Slack, and what the payload proves of them: identifiers only, never a display name. Must not
call Slack.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from connectors.base import Identity
from connectors.body import get, text_at
from connectors.slack.places import short_id_at
from schemas.event import Actor, Trust

SLACKBOT: Final = "USLACKBOT"
"""The user id Slack's own messages carry in every workspace."""
NAME_LENGTH: Final = 200


@dataclass(frozen=True, slots=True)
class Home:
    """The workspace (and organisation) that the app is installed in, as far as a payload tells."""

    team: str
    enterprise: str | None = None
    shared: bool | None = None
    """`is_ext_shared_channel`: people of other companies are in this channel. None where the payload does
    not say.
    """
    foreign_envelope: bool = False
    """True where the delivery is labelled with another workspace than the one the app is installed in."""

    def trust(self, teams: list[str]) -> Trust:
        """What belonging to `teams` proves of a person. An outside team anywhere makes an outsider.

        In an organisation (Enterprise Grid) a channel that Slack says is not shared outside can hold people
        of its other workspaces: they are members too.
        """
        ours = {self.team, self.enterprise}
        if any(team not in ours for team in teams):
            return "member" if self.shared is False and self.enterprise is not None else "outsider"
        if not teams and (self.shared or self.foreign_envelope):
            return "unknown"
        return "member"


def home_of_event(body: Mapping[str, Any]) -> Home:
    """Home by an Events API envelope.

    In a Slack Connect channel `team_id` can be the other company's; the installation is what
    `context_team_id` or `authorizations` name, and it is the same for every message of a thread, so keys
    are built from it.
    """
    outer = short_id_at(body, "team_id")
    context = short_id_at(body, "context_team_id")
    if context and context.startswith("E"):
        context = None
    team = context or short_id_at(body, "authorizations", 0, "team_id") or outer
    foreign = bool(outer and team and outer != team)
    enterprise = short_id_at(body, "context_enterprise_id") or short_id_at(
        body, "authorizations", 0, "enterprise_id"
    )
    if enterprise is None and not foreign:
        enterprise = short_id_at(body, "enterprise_id")
    shared = get(body, "is_ext_shared_channel")
    return Home(
        team=team or enterprise or "",
        enterprise=enterprise,
        shared=shared if isinstance(shared, bool) else None,
        foreign_envelope=foreign,
    )


def bot_users(body: Mapping[str, Any], identity: Identity) -> frozenset[str]:
    """User ids that are our own bot: those the payload names as such, and those we know ourselves by."""
    listed = get(body, "authorizations")
    entries = listed[:10] if isinstance(listed, list) else []
    named = {short_id_at(entry, "user_id") for entry in entries if get(entry, "is_bot") is True}
    return identity.actor_ids | {user for user in named if user}


def event_actor(body: Mapping[str, Any], *, home: Home, identity: Identity) -> Actor:
    """The author of `event`.

    Bots of today send `user` and `bot_id` without a subtype, so either sign of a bot makes one.
    """
    event = get(body, "event")
    user = short_id_at(event, "user") or short_id_at(event, "user", "id") or short_id_at(event, "user_id")
    bot = short_id_at(event, "bot_id") or short_id_at(event, "bot_profile", "id")
    app = short_id_at(event, "app_id") or short_id_at(event, "bot_profile", "app_id")
    ours = bot_users(body, identity)
    is_self = bool({user, bot, app} & ours) or (app is not None and app == short_id_at(body, "api_app_id"))
    is_bot = (
        bot is not None
        or isinstance(get(event, "bot_profile"), dict)
        or get(event, "subtype") == "bot_message"
        or user == SLACKBOT
        or (user is not None and user in ours)
    )
    places = (("user_team",), ("source_team",), ("team",), ("user_profile", "team"))
    teams = [team for team in (short_id_at(event, *path) for path in places) if team]
    name = (
        text_at(event, "username")
        or text_at(event, "bot_profile", "name")
        or text_at(event, "user_profile", "display_name")
        or text_at(event, "user_profile", "real_name")
    )
    trust: Trust = "bot" if is_bot else home.trust(teams) if user else "unknown"
    return Actor(
        id=user or bot, name=name[:NAME_LENGTH] if name else None, is_bot=is_bot, is_self=is_self, trust=trust
    )


def form_actor(form: Mapping[str, str], *, identity: Identity) -> Actor:
    """Who gave a slash command. Slack takes commands only from users of the workspace the app is installed
    in.
    """
    user = short_id_at(form, "user_id")
    login = (form.get("user_name") or "")[:NAME_LENGTH] or None
    is_self = user is not None and user in identity.actor_ids
    return Actor(id=user, login=login, is_self=is_self, trust="member" if user else "unknown")


def click_actor(body: Mapping[str, Any], *, home: Home, identity: Identity) -> Actor:
    """Who clicked, submitted or used a shortcut. `user.team_id` is the workspace the person belongs to."""
    user = short_id_at(body, "user", "id")
    login = text_at(body, "user", "username") or text_at(body, "user", "name")
    team = short_id_at(body, "user", "team_id") or short_id_at(body, "team", "id")
    is_self = user is not None and user in identity.actor_ids
    proved: Trust = home.trust([team]) if team else "unknown"
    return Actor(
        id=user,
        login=login[:NAME_LENGTH] if login else None,
        is_self=is_self,
        trust=proved if user else "unknown",
    )
