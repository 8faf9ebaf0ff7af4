"""Slack's request signature, version 0. Must not read the clock, parse the body or say what a signature was.

Facts: docs.slack.dev/authentication/verifying-requests-from-slack. The same scheme covers events, slash
commands, interactivity and option loading. The `token` in the body is deprecated and never looked at.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from connectors.base import Request, SignatureError
from connectors.signatures import check_hex, hex_hmac

SIGNATURE: Final = "x-slack-signature"
TIMESTAMP: Final = "x-slack-request-timestamp"
VERSION: Final = "v0"
WINDOW: Final = 300
"""Seconds either side of now. Slack's own figure: a wider one lets a captured request be replayed for longer.
"""
LONGEST: Final = 12
"""Digits. Seconds since the epoch have ten until the year 2286."""
FORM: Final = "application/x-www-form-urlencoded"


def verify(request: Request, *, secrets: Sequence[str], now: float) -> None:
    """Raise SignatureError unless the request was signed with one of `secrets` within WINDOW seconds of
    `now`.
    """
    given = request.headers.get(TIMESTAMP)
    if not given:
        msg = "the header X-Slack-Request-Timestamp is missing"
        raise SignatureError(msg)
    if len(given) > LONGEST or not given.isascii() or not given.isdigit():
        msg = "the header X-Slack-Request-Timestamp is not a whole number of seconds"
        raise SignatureError(msg)
    away = now - int(given)
    if abs(away) > WINDOW:
        side = "old" if away > 0 else "in the future"
        msg = f"the request is {abs(away):.0f} s {side}, {WINDOW} s are allowed; check this machine's clock"
        raise SignatureError(msg)
    check_hex(
        request.headers.get(SIGNATURE),
        _signed(given, request.body),
        secrets=secrets,
        header="X-Slack-Signature",
        prefix=f"{VERSION}=",
    )


def sign(headers: Mapping[str, str], body: bytes, *, secret: str, now: float) -> dict[str, str]:
    """Return `headers`, names in lower case, with time, signature and (if none is there) content type as
    Slack sends.
    """
    signed = {name.lower(): value for name, value in headers.items()}
    signed.setdefault("content-type", "application/json" if body.lstrip().startswith(b"{") else FORM)
    signed[TIMESTAMP] = str(int(now))
    signed[SIGNATURE] = f"{VERSION}={hex_hmac(secret, _signed(signed[TIMESTAMP], body))}"
    return signed


def _signed(timestamp: str, body: bytes) -> bytes:
    return f"{VERSION}:{timestamp}:".encode("ascii") + body
