"""Proves that GitHub sent these bytes. Must not parse the body, and must never fall back to SHA-1."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from connectors.base import Request
from connectors.signatures import check_hex, hex_hmac

HEADER: Final = "X-Hub-Signature-256"
PREFIX: Final = "sha256="


def verify(request: Request, *, secrets: Sequence[str]) -> None:
    """Raise SignatureError unless the raw body is signed under one of `secrets`.

    GitHub signs no time, so there is no window. `X-Hub-Signature` (SHA-1) comes along for old receivers
    and is not looked at, even when it is the only one (GitHub docs, "Validating webhook deliveries").
    """
    check_hex(
        request.headers.get(HEADER.lower()), request.body, secrets=secrets, header=HEADER, prefix=PREFIX
    )


def sign(headers: Mapping[str, str], body: bytes, *, secret: str) -> dict[str, str]:
    """Return `headers` with the signature of `body`, replacing one that may be there."""
    kept = {name: value for name, value in headers.items() if name.lower() != HEADER.lower()}
    return {**kept, HEADER: PREFIX + hex_hmac(secret, body)}
