"""Identifiers and the clock of the emulated service. Must not know what they are for."""

from __future__ import annotations

import hashlib
import secrets
from datetime import UTC, datetime, timedelta
from typing import Final

ALPHABET: Final = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"


class Identifiers:
    """Opaque identifiers such as `sesn_01…`. A given seed gives the same ones again; without one they
    never repeat."""

    def __init__(self, seed: str | None = None) -> None:
        self._seed = (seed or secrets.token_hex(8)).encode()
        self._count = 0

    def new(self, prefix: str) -> str:
        """The next identifier with this prefix (reference §1.1)."""
        self._count += 1
        digest = hashlib.blake2b(b"%s:%d" % (self._seed, self._count), digest_size=16).digest()
        number = int.from_bytes(digest, "big")
        letters = []
        for _ in range(21):
            number, rest = divmod(number, len(ALPHABET))
            letters.append(ALPHABET[rest])
        return f"{prefix}_01{''.join(letters)}"


class Clock:
    """UTC time that never stands still or goes back: events are ordered by it."""

    def __init__(self) -> None:
        self._last = datetime.min.replace(tzinfo=UTC)

    def now(self) -> datetime:
        """A moment later than every earlier one, by a microsecond at least."""
        self._last = max(datetime.now(tz=UTC), self._last + timedelta(microseconds=1))
        return self._last


def stamp(moment: datetime) -> str:
    """RFC 3339 in UTC with microseconds."""
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")
