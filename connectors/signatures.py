"""HMAC signatures over raw bytes, compared in constant time. Must not log or raise anything that shows a signature."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable

from connectors.base import SignatureError

HEX_DIGEST_LENGTH = 64


def hex_hmac(secret: str, message: bytes) -> str:
    """Lower-case hex HMAC-SHA256."""
    return hmac.new(secret.encode("utf-8"), message, hashlib.sha256).hexdigest()


def same_as_one(offered: bytes, live: Iterable[bytes]) -> bool:
    """Whether `offered` is one of `live`. The only place where secrets and signatures are compared.

    Each comparison takes the same time whatever differs, and all are made: the time does not tell which one is live.
    """
    good = False
    for value in live:
        good |= hmac.compare_digest(value, offered)
    return good


def check_hex(
    given: str | None, message: bytes, *, secrets: Iterable[str], header: str, prefix: str = ""
) -> None:
    """Raise SignatureError unless `given` is `prefix` + hex HMAC-SHA256 of `message` under one of `secrets`.

    Every secret is tried, so that the time taken does not tell which one is live.
    """
    if not given:
        msg = f"the header {header} is missing"
        raise SignatureError(msg)
    if not given.startswith(prefix):
        msg = f"the header {header} does not start with {prefix!r}"
        raise SignatureError(msg)
    digest = given[len(prefix) :]
    if len(digest) != HEX_DIGEST_LENGTH or not digest.isascii():
        msg = f"the header {header} does not hold {HEX_DIGEST_LENGTH} hexadecimal digits"
        raise SignatureError(msg)
    live = (hex_hmac(secret, message).encode("ascii") for secret in secrets)
    if not same_as_one(digest.encode("ascii"), live):
        msg = f"the header {header} does not match the body under any live secret"
        raise SignatureError(msg)
