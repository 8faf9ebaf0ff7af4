"""Reading a verified Slack request: which of the body kinds it is, and what the stored payload may hold.

Pure and synchronous. A `response_url` lets anyone who reads it post into the channel, so none leaves this
module.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from connectors.base import Fact, Identity, Normalised, Outcome, Reply, Request, UnreadableError
from connectors.body import body_hash, read_form, read_object, text_at
from connectors.slack.commands import read_command
from connectors.slack.events import read_event
from connectors.slack.interactions import KINDS, read_interaction
from connectors.slack.people import click_actor, home_of_event
from connectors.slack.places import Place, bounded

CAPABILITIES: Final = frozenset({"response_url", "response_urls", "bot_access_token", "user_access_token"})
"""Fields whose value alone lets its reader act in the workspace. Removed at any depth."""


def normalise(request: Request, *, identity: Identity) -> Normalised:
    """Read events, commands and interactivity. Raises UnreadableError."""
    digest = body_hash(request.body)
    if not _is_form(request):
        return _safe(_read_json(read_object(request.body), identity=identity, digest=digest))
    form = read_form(request.body)
    if "payload" in form:
        inner = read_object(form["payload"].encode("utf-8"))
        return _safe(_read_json(inner, identity=identity, digest=digest))
    if form.get("ssl_check") == "1":
        return Normalised(
            outcome=Outcome.CHALLENGE,
            delivery_key=digest,
            payload={"ssl_check": "1"},
            reason="Slack checks the certificate of the command's address",
            reply=Reply(content_type="text/plain; charset=utf-8", body=b""),
        )
    if "command" in form:
        return _safe(read_command(form, identity=identity, digest=digest))
    msg = "the form holds neither command, payload nor ssl_check: it is not a request of Slack's"
    raise UnreadableError(msg)


def _is_form(request: Request) -> bool:
    """By the body where it is JSON beyond doubt: interactive payloads are kept in files without their form
    wrapper.
    """
    return request.content_type != "application/json" and not request.body.lstrip().startswith((b"{", b"["))


def _read_json(body: Mapping[str, Any], *, identity: Identity, digest: str) -> Normalised:
    kind = text_at(body, "type")
    if kind == "url_verification":
        return _challenge(body, digest)
    if kind == "event_callback":
        return read_event(body, identity=identity, digest=digest)
    if kind == "app_rate_limited":
        return Normalised(
            outcome=Outcome.IGNORED,
            delivery_key=digest,
            payload=body,
            reason="Slack is holding events back: the app had over 30,000 in an hour in this workspace",
        )
    if kind in KINDS:
        return read_interaction(body, identity=identity, digest=digest)
    if kind is None:
        msg = "the body has no field 'type': it is not a request of Slack's"
        raise UnreadableError(msg)
    return _unknown(body, kind, identity=identity, digest=digest)


def _challenge(body: Mapping[str, Any], digest: str) -> Normalised:
    challenge = text_at(body, "challenge")
    if challenge is None:
        msg = "url_verification without a challenge to repeat"
        raise UnreadableError(msg)
    return Normalised(
        outcome=Outcome.CHALLENGE,
        delivery_key=digest,
        payload=body,
        reason="Slack verifies the request URL",
        reply=Reply(content_type="text/plain; charset=utf-8", body=challenge.encode("utf-8", "replace")),
    )


def _unknown(body: Mapping[str, Any], kind: str, *, identity: Identity, digest: str) -> Normalised:
    home = home_of_event(body)
    fact = Fact(
        kind="other",
        actor=click_actor(body, home=home, identity=identity),
        subject=Place(team=home.team).subject("", kind="workspace"),
        key=bounded(f"{kind}:{digest}"),
        account=home.team,
    )
    return Normalised(
        outcome=Outcome.UNSUPPORTED,
        delivery_key=digest,
        facts=(fact,),
        payload=body,
        reason=f"request type {kind[:80]!r} is not known",
    )


def _safe(reading: Normalised) -> Normalised:
    """Without what is secret: the capabilities, and the deprecated verification token."""
    payload = {
        name: _stripped(value)
        for name, value in reading.payload.items()
        if name not in {*CAPABILITIES, "token"}
    }
    return replace(reading, payload=payload)


def _stripped(value: Any) -> Any:
    """Nesting is bounded by the reader, so recursion is."""
    if isinstance(value, dict):
        return {name: _stripped(inner) for name, inner in value.items() if name not in CAPABILITIES}
    if isinstance(value, list):
        return [_stripped(inner) for inner in value]
    return value
