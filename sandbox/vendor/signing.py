"""How each vendor signs its webhooks. The sandbox's own code: it must not share a mistake with the verifiers it tests."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Callable, Mapping
from typing import Final

import orjson

from sandbox.moments import now


def _digest(secret: str, signed: bytes) -> str:
    return hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()


def _github(secret: str, body: bytes) -> dict[str, str]:
    return {"x-hub-signature-256": f"sha256={_digest(secret, body)}"}


def _jira(secret: str, body: bytes) -> dict[str, str]:
    return {"x-hub-signature": f"sha256={_digest(secret, body)}"}


def _sentry(secret: str, body: bytes) -> dict[str, str]:
    return {"sentry-hook-signature": _digest(secret, body), "sentry-hook-timestamp": str(int(now()))}


def _slack(secret: str, body: bytes) -> dict[str, str]:
    moment = str(int(now()))
    signed = b":".join((b"v0", moment.encode(), body))
    return {"x-slack-signature": f"v0={_digest(secret, signed)}", "x-slack-request-timestamp": moment}


def _anthropic(secret: str, body: bytes) -> dict[str, str]:
    """Standard Webhooks. Every attempt has the event's own id, and a moment of its own."""
    moment, name = str(int(now())), str(orjson.loads(body)["id"])
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signed = b".".join((name.encode(), moment.encode(), body))
    proof = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    return {"webhook-id": name, "webhook-timestamp": moment, "webhook-signature": f"v1,{proof}"}


SIGNERS: Final[Mapping[str, Callable[[str, bytes], dict[str, str]]]] = {
    "anthropic": _anthropic,
    "github": _github,
    "jira": _jira,
    "sentry": _sentry,
    "slack": _slack,
}
"""Headers that prove a body, by service."""
