"""Slash commands as facts. Slack takes any 2xx as the acknowledgement, so none needs a body in the answer.

Facts: docs.slack.dev/interactivity/implementing-slash-commands. Commands are never retried.
"""

from __future__ import annotations

from collections.abc import Mapping

from connectors.base import Fact, Identity, Normalised, Outcome
from connectors.slack.people import form_actor
from connectors.slack.places import Place, bounded, short_id_at
from connectors.slack.text import mentioned, readable


def read_command(form: Mapping[str, str], *, identity: Identity, digest: str) -> Normalised:
    """One `command.invoked`. `text` is what was typed after the command; the command is in `payload.command`.

    A command leaves no message behind, so the invocation itself (its `trigger_id`) is the subject, and a
    reply goes into the channel as a message of its own.
    """
    invocation = form.get("trigger_id") or digest[:32]
    team = short_id_at(form, "team_id") or short_id_at(form, "enterprise_id") or ""
    place = Place(
        team=team,
        channel=short_id_at(form, "channel_id"),
        channel_name=form.get("channel_name") or None,
        domain=form.get("team_domain") or None,
    )
    typed = form.get("text") or ""
    text = readable(typed)
    subject = place.subject(f"{form['command']} {text}", kind="command")
    fact = Fact(
        kind="command.invoked",
        actor=form_actor(form, identity=identity),
        subject=subject.model_copy(update={"key": bounded(f"{subject.key}/{invocation}")}),
        key=bounded(f"command.invoked:{team}:{invocation}"),
        account=team,
        text=text,
        mentions=mentioned(typed),
        visibility=place.visibility,
        address=place.address,
    )
    return Normalised(
        outcome=Outcome.HANDLED,
        delivery_key=bounded(form.get("trigger_id") or digest),
        facts=(fact,),
        payload=form,
    )
