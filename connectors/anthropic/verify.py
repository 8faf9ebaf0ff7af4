"""Proving that Anthropic sent a request, and signing one as Anthropic would. Pure: no clock, no network.

Standard Webhooks (managed-agents reference §3). Its library makes the signatures; its `verify` reads a clock of its own,
so the window and the comparison are here.
"""

from __future__ import annotations

import binascii
import hashlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

from standardwebhooks.webhooks import EmptyWebhookSecretError, Webhook

from connectors.base import Request, SignatureError, UnreadableError
from connectors.body import read_object, text_at
from connectors.signatures import same_as_one

ID: Final = "webhook-id"
TIMESTAMP: Final = "webhook-timestamp"
SIGNATURE: Final = "webhook-signature"
WINDOW_SECONDS: Final = 300
MAX_DIGITS: Final = 12
MAX_SIGNATURES: Final = 10
"""Signatures of one request that are looked at: one for each live key of the sender."""


def verify(request: Request, *, secrets: Sequence[str], now: float) -> None:
    """Raise SignatureError unless id, moment and raw body are signed under one of `secrets`, at most five minutes ago."""
    given = {name: request.headers.get(name, "") for name in (ID, TIMESTAMP, SIGNATURE)}
    for name, value in given.items():
        if not value:
            msg = f"the header {name} is missing"
            raise SignatureError(msg)
    moment = given[TIMESTAMP]
    if not (moment.isascii() and moment.isdigit() and len(moment) <= MAX_DIGITS):
        msg = f"the header {TIMESTAMP} is not a whole number of seconds"
        raise SignatureError(msg)
    if abs(now - int(moment)) > WINDOW_SECONDS:
        msg = f"the header {TIMESTAMP} is more than {WINDOW_SECONDS} seconds away from now: is this clock right?"
        raise SignatureError(msg)
    try:
        body = request.body.decode("utf-8")
        given[ID].encode("utf-8")
    except UnicodeError:
        msg = "the body or the header webhook-id is not UTF-8"
        raise SignatureError(msg) from None
    live = [
        signed.encode("ascii")
        for secret in secrets
        if (signed := _signature(secret, given[ID], int(moment), body)) is not None
    ]
    if not live:
        msg = "no webhook secret of this connection is `whsec_` and base64: copy the endpoint's key from the Console"
        raise SignatureError(msg)
    good = False
    for offered in given[SIGNATURE].split(" ")[:MAX_SIGNATURES]:
        good |= same_as_one(offered.encode("utf-8", "replace"), live)
    if not good:
        msg = f"the header {SIGNATURE} does not match the body under any live secret"
        raise SignatureError(msg)


def sign(headers: Mapping[str, str], body: bytes, *, secret: str, now: float) -> dict[str, str]:
    """Return `headers` (lower case) with Anthropic's own: id, moment and signature. Raises ValueError for a secret that
    is no key."""
    signed = {name.lower(): value for name, value in headers.items()}
    signed.setdefault("content-type", "application/json")
    signed.setdefault(ID, _id_of(body))
    signed[TIMESTAMP] = str(int(now))
    signature = _signature(secret, signed[ID], int(now), body.decode("utf-8", "replace"))
    if signature is None:
        msg = "the webhook secret is not `whsec_` and base64: copy the endpoint's key from the Console"
        raise ValueError(msg)
    signed[SIGNATURE] = signature
    return signed


def _signature(secret: str, name: str, moment: int, body: str) -> str | None:
    """`v1,…`; None where the secret is no key."""
    try:
        return Webhook(secret).sign(name, datetime.fromtimestamp(moment, UTC), body)
    except (binascii.Error, EmptyWebhookSecretError, ValueError, OverflowError, OSError):
        return None


def _id_of(body: bytes) -> str:
    """The event's own id, which Anthropic sends as `webhook-id` too."""
    try:
        found = text_at(read_object(body), "id")
    except UnreadableError:
        found = None
    usable = found is not None and found.isascii() and found.isprintable()
    return found if found is not None and usable else f"whe_{hashlib.sha256(body).hexdigest()[:24]}"
