"""The time as the vendors write it. The sandbox runs on the real clock; nothing here may sleep."""

from __future__ import annotations

import time
from datetime import UTC, datetime


def now() -> float:
    """Seconds since the epoch."""
    return time.time()


def iso_seconds(at: float) -> str:
    """`2026-01-02T03:04:05Z`, as GitHub writes it."""
    return datetime.fromtimestamp(at, tz=UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def iso_millis(at: float) -> str:
    """`2026-01-02T03:04:05.678+0000`, as Jira writes it."""
    moment = datetime.fromtimestamp(at, tz=UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}+0000"


def iso_micros(at: float) -> str:
    """`2026-01-02T03:04:05.678901Z`, as Sentry writes it."""
    return datetime.fromtimestamp(at, tz=UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
