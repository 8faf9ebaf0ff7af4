"""Durations as people write them in the configuration: `30s`, `15m`, `1h30m`. Shapes only."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, Final

from pydantic import BeforeValidator, WithJsonSchema

MAX_TIMEOUT: Final = timedelta(hours=24)
MAX_GATHER: Final = timedelta(minutes=10)
MAX_WAIT: Final = timedelta(days=7)
_BRIEF: Final = 60
_DURATION: Final = re.compile(r"(?:(\d{1,6})h)?(?:(\d{1,6})m)?(?:(\d{1,6})s)?")


def brief(value: object) -> str:
    """A value as an error message shows it."""
    text = repr(value)
    return text if len(text) <= _BRIEF else f"{text[: _BRIEF - 3]}..."


def long_duration(value: object) -> timedelta:
    """The same as `duration`, up to seven days. Raises ValueError."""
    return duration(value, longest=MAX_WAIT)


def duration(value: object, *, longest: timedelta | None = None) -> timedelta:
    """`30s`, `15m`, `2h` or `1h30m` as a time span above zero and up to 24 h. Raises ValueError."""
    most = longest or MAX_TIMEOUT
    if isinstance(value, timedelta):
        span = value
    elif isinstance(value, str) and value and (found := _DURATION.fullmatch(value.strip())) is not None:
        hours, minutes, seconds = (int(part or 0) for part in found.groups())
        span = timedelta(hours=hours, minutes=minutes, seconds=seconds)
    else:
        msg = f"{brief(value)} is not a duration: write a whole number with its unit, such as 30s, 15m or 2h"
        raise ValueError(msg)
    if not timedelta() < span <= most:
        msg = f"{brief(value)} is outside the range: above 0s, at most {most // timedelta(hours=1)}h"
        raise ValueError(msg)
    return span


def quiet_time(value: object) -> timedelta:
    """A duration up to 10 minutes; `0s` for none at all. Raises ValueError."""
    if value in {"0s", "0m", timedelta()}:
        return timedelta()
    span = duration(value)
    if span > MAX_GATHER:
        msg = f"{brief(value)} is outside the range: at most 10m"
        raise ValueError(msg)
    return span


Duration = Annotated[
    timedelta,
    BeforeValidator(duration),
    WithJsonSchema({"type": "string", "pattern": r"^(\d{1,6}h)?(\d{1,6}m)?(\d{1,6}s)?$", "examples": ["2h"]}),
]
QuietTime = Annotated[
    timedelta,
    BeforeValidator(quiet_time),
    WithJsonSchema(
        {"type": "string", "pattern": r"^(\d{1,6}h)?(\d{1,6}m)?(\d{1,6}s)?$", "examples": ["10s"]}
    ),
]
LongDuration = Annotated[
    timedelta,
    BeforeValidator(long_duration),
    WithJsonSchema(
        {"type": "string", "pattern": r"^(\d{1,6}h)?(\d{1,6}m)?(\d{1,6}s)?$", "examples": ["72h"]}
    ),
]
