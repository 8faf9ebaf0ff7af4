"""Proving that Sentry sent a request, and signing one as Sentry would. Pure: no clock, no network.

Facts from the webhooks reference §3.1: bare lower-case hex HMAC-SHA256 over the raw body under the
integration's client secret. The timestamp header is not signed, so no window is enforced on it: a replay is
stopped by the body's hash.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Final

from connectors.base import Request, SignatureError
from connectors.signatures import check_hex, hex_hmac

HOOK_SIGNATURE: Final = "sentry-hook-signature"
"""On webhooks."""
APP_SIGNATURE: Final = "sentry-app-signature"
"""On requests of UI components (issue links, alert settings); their body may be empty."""


def verify(request: Request, *, secrets: Sequence[str]) -> None:
    """Raise SignatureError unless the raw body is signed under one of `secrets`.

    The old WebHooks plugin of a project does not sign anything and is refused here.
    """
    for header, shown in ((HOOK_SIGNATURE, "Sentry-Hook-Signature"), (APP_SIGNATURE, "Sentry-App-Signature")):
        given = request.headers.get(header)
        if given:
            check_hex(given, request.body, secrets=secrets, header=shown)
            return
    msg = (
        "neither Sentry-Hook-Signature nor Sentry-App-Signature is present; "
        "the project plugin 'WebHooks' does not sign, use an internal integration"
    )
    raise SignatureError(msg)


def sign(headers: Mapping[str, str], body: bytes, *, secret: str, now: float) -> dict[str, str]:
    """Return `headers` (lower case) with Sentry's own: signature, timestamp and a Request-ID."""
    signed = {name.lower(): value for name, value in headers.items()}
    signed.setdefault("content-type", "application/json")
    signed["sentry-hook-timestamp"] = str(int(now))
    signed.setdefault("request-id", hashlib.sha256(f"{now}".encode() + body).hexdigest()[:32])
    signed[HOOK_SIGNATURE] = hex_hmac(secret, body)
    return signed
