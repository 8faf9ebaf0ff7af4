"""The organization's limits on calls per minute, as token buckets. Must not know what is called."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

from sandbox.managed_agents.errors import ApiError
from sandbox.managed_agents.settings import Settings


@dataclass(slots=True)
class _Bucket:
    left: float
    at: float


class Limits:
    """Creates and reads are counted apart."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._buckets: dict[str, _Bucket] = {}

    def take(self, kind: str) -> None:
        """Count one call: `create` or `read`. Raises ApiError 429 with `retry-after` when none is left."""
        per_minute = (
            self._settings.creates_per_minute if kind == "create" else self._settings.reads_per_minute
        )
        if per_minute is None:
            return
        now = time.monotonic()
        bucket = self._buckets.setdefault(kind, _Bucket(left=per_minute, at=now))
        bucket.left = min(float(per_minute), bucket.left + (now - bucket.at) * per_minute / 60)
        bucket.at = now
        if bucket.left < 1:
            wait = math.ceil((1 - bucket.left) * 60 / per_minute)
            raise ApiError(
                429,
                "rate_limit_error",
                f"This request would exceed your limit of {per_minute} {kind} calls per minute.",
                headers={"retry-after": str(max(1, wait))},
            )
        bucket.left -= 1

    def clear(self) -> None:
        """Start afresh."""
        self._buckets.clear()
