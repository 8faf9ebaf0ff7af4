"""Values that must never be written anywhere: kept here by whoever resolves them, blotted out by whoever writes text.

Secrets are kept out of texts at their source; this is for what others put into theirs, such as a vendor that repeats a
token in its error message.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

BLOT: Final = "[secret]"
MIN_SECRET: Final = 6
"""Shorter values would blot out words."""
_secrets: set[str] = set()


def keep_secret(values: Iterable[str]) -> None:
    """From now on these values appear in no log line, no stored error and no answer of this process."""
    for value in values:
        _secrets.update(one for one in (value, value.strip()) if len(one) >= MIN_SECRET)


def without_secrets(text: str) -> str:
    """The text with every known secret blotted out, the longest first: one may be part of another."""
    found = [secret for secret in _secrets if secret in text]
    for secret in sorted(found, key=len, reverse=True):
        text = text.replace(secret, BLOT)
    return text
