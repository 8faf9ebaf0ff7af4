"""Clicks, submissions and shortcuts as facts. Pure. Slack retries none of them.

Facts: docs.slack.dev/reference/interaction-payloads. The payload's `trigger_id` lives three seconds and
opens modals, which this connector never does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from connectors.base import Fact, Identity, Normalised, Outcome
from connectors.body import epoch, get, text_at
from connectors.slack.buttons import PREFIX
from connectors.slack.people import Home, click_actor
from connectors.slack.places import Place, bounded, short_id_at
from connectors.slack.text import TITLE_LENGTH, mentioned, raw_text, readable, title
from schemas.event import Subject

KINDS: Final[Mapping[str, str | None]] = {
    "block_actions": None,
    "view_submission": None,
    "shortcut": None,
    "message_action": None,
    "interactive_message": None,
    "dialog_submission": None,
    "block_suggestion": "someone types in a menu that loads its options; this connector offers none",
    "dialog_suggestion": "someone types in a menu that loads its options; this connector offers none",
    "view_closed": "someone closed a modal without submitting it",
    "dialog_cancellation": "someone closed a dialog without submitting it",
    "workflow_step_edit": "Slack retired workflow steps from apps in 2024",
}
"""Interactive payload types: None for those that become `action.clicked`, else why they are passed over."""
PICKED: Final = (
    "selected_date",
    "selected_time",
    "selected_date_time",
    "selected_user",
    "selected_channel",
    "selected_conversation",
)
TYPED: Final = frozenset({"plain_text_input", "email_text_input", "url_text_input", "number_input"})
MAX_FIELDS: Final = 100
MAX_VALUE: Final = 200


def read_interaction(body: Mapping[str, Any], *, identity: Identity, digest: str) -> Normalised:
    """Read one interactive payload, already unwrapped from its form field."""
    kind = text_at(body, "type") or ""
    delivery = bounded(_delivery(body) or digest)
    why = KINDS.get(kind)
    if why is None and get(body, "view", "type") == "workflow_step":
        why = KINDS["workflow_step_edit"]
    if why is not None:
        return Normalised(outcome=Outcome.IGNORED, delivery_key=delivery, payload=body, reason=why)
    home = _home(body)
    place = _place(body, home)
    written = raw_text(get(body, "message")) if kind == "message_action" else ""
    text = readable(written) if written else _entered(body)
    subject = _subject(body, place, text, once=delivery)
    fact = Fact(
        kind="action.clicked",
        actor=click_actor(body, home=home, identity=identity),
        subject=subject,
        key=bounded(":".join(("action.clicked", kind, home.team, _semantic(body, kind, place) or delivery))),
        account=home.team,
        occurred_at=epoch(get(body, "actions", 0, "action_ts")) or epoch(get(body, "action_ts")),
        text=text,
        changed=_clicked(body),
        mentions=mentioned(written),
        visibility=place.visibility,
        address=_address(body, place),
    )
    return Normalised(outcome=Outcome.HANDLED, delivery_key=delivery, facts=(fact,), payload=body)


def _clicked(body: Mapping[str, Any]) -> dict[str, Any]:
    """Which of our own buttons, and what it stands for. Other people's buttons stay in the payload."""
    action = text_at(body, "actions", 0, "action_id") or ""
    value = text_at(body, "actions", 0, "value")
    if text_at(body, "type") != "block_actions" or not action.startswith(PREFIX) or not value:
        return {}
    return {"action": {"to": action[:MAX_VALUE]}, "value": {"to": value[:MAX_VALUE]}}


def _delivery(body: Mapping[str, Any]) -> str | None:
    trigger = short_id_at(body, "trigger_id")
    if trigger:
        return trigger
    parts = (
        short_id_at(body, "container", "message_ts"),
        short_id_at(body, "actions", 0, "action_ts"),
        short_id_at(body, "user", "id"),
    )
    return ":".join(part for part in parts if part) if all(parts) else None


def _semantic(body: Mapping[str, Any], kind: str, place: Place) -> str | None:
    """The click itself: who, on what, when. None where the payload does not say when."""
    user = short_id_at(body, "user", "id")
    if kind == "view_submission":
        parts = (short_id_at(body, "view", "id"), short_id_at(body, "view", "hash"), user)
    else:
        moment = short_id_at(body, "actions", 0, "action_ts") or short_id_at(body, "action_ts")
        what = short_id_at(body, "actions", 0, "action_id") or short_id_at(body, "callback_id") or "-"
        where = place.ts or short_id_at(body, "view", "id") or "-"
        parts = (f"{place.channel or '-'}/{where}/{what}", moment, user)
    return ":".join(part for part in parts if part) if all(parts) else None


def _home(body: Mapping[str, Any]) -> Home:
    """`team` is the workspace of the person; a modal or a message of our own tells where the app is
    installed.
    """
    person = short_id_at(body, "team", "id") or short_id_at(body, "user", "team_id")
    installed = short_id_at(body, "view", "app_installed_team_id")
    app = short_id_at(body, "api_app_id")
    if installed is None and app is not None and short_id_at(body, "message", "app_id") == app:
        installed = short_id_at(body, "message", "team")
    foreign = bool(installed and person and installed != person)
    enterprise = (
        None
        if foreign
        else short_id_at(body, "team", "enterprise_id") or short_id_at(body, "enterprise", "id")
    )
    return Home(team=installed or person or enterprise or "", enterprise=enterprise, foreign_envelope=foreign)


def _place(body: Mapping[str, Any], home: Home) -> Place:
    """The message that was clicked, or the channel, or neither (a modal, a global shortcut)."""
    channel = short_id_at(body, "channel", "id") or short_id_at(body, "container", "channel_id")
    if channel is None:
        return Place(team=home.team)
    return Place(
        team=home.team,
        channel=channel,
        ts=short_id_at(body, "container", "message_ts")
        or short_id_at(body, "message_ts")
        or short_id_at(body, "message", "ts"),
        root=short_id_at(body, "container", "thread_ts") or short_id_at(body, "message", "thread_ts"),
        channel_name=text_at(body, "channel", "name"),
        domain=None if home.foreign_envelope else text_at(body, "team", "domain"),
    )


def _address(body: Mapping[str, Any], place: Place) -> dict[str, str]:
    """Nobody can answer below an ephemeral message, since Slack keeps none: then only its thread or channel
    is left.
    """
    if get(body, "container", "is_ephemeral") is True:
        return replace(place, ts=None).address
    return place.address


def _subject(body: Mapping[str, Any], place: Place, text: str, *, once: str) -> Subject:
    """The thread of the message; else the modal it began with; else this one use, since nothing else joins
    it to others.
    """
    if place.channel and (place.root or place.ts):
        return place.subject(text)
    if place.channel:
        subject = place.subject(text, kind="action")
        return subject.model_copy(update={"key": bounded(f"{subject.key}/{once}")})
    view = short_id_at(body, "view", "root_view_id") or short_id_at(body, "view", "id")
    name = text_at(body, "view", "title", "text") or title(text) or text_at(body, "callback_id")
    spot = view or f"{short_id_at(body, 'callback_id') or 'shortcut'}/{once}"
    return Subject(
        kind="view" if view else "shortcut",
        key=bounded(f"{place.team}/{spot}"),
        title=name[:TITLE_LENGTH] if name else None,
        container=place.team or None,
    )


def _entered(body: Mapping[str, Any]) -> str:
    """What the person typed or chose, one line per field; for a plain button its label."""
    found: list[str] = []
    actions = get(body, "actions")
    for action in actions[:MAX_FIELDS] if isinstance(actions, list) else ():
        found += _values(action) or [text_at(action, "text", "text") or text_at(action, "value") or ""]
    blocks = get(body, "view", "state", "values")
    fields = [field for block in _members(blocks) for field in _members(block)]
    for field in fields[:MAX_FIELDS]:
        found += _values(field) or [text_at(field, "value") or ""]
    found += [answer for answer in _members(get(body, "submission")) if isinstance(answer, str)]
    return "\n".join(line for line in found[:MAX_FIELDS] if line.strip())


def _values(element: object) -> list[str]:
    """Entries of one input or menu, as the person saw them."""
    options = get(element, "selected_options")
    chosen = [get(element, "selected_option"), *(options[:MAX_FIELDS] if isinstance(options, list) else ())]
    found = [text_at(option, "text", "text") or text_at(option, "value") for option in chosen]
    found += [short_id_at(element, name) for name in PICKED]
    if text_at(element, "type") in TYPED:
        found.append(text_at(element, "value"))
    return [entry for entry in found if entry]


def _members(value: object) -> list[Any]:
    return list(value.values())[:MAX_FIELDS] if isinstance(value, dict) else []
