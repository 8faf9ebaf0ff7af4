"""When a schedule fires: five cron fields in a time zone. Pure; the time is an argument.

Daylight saving as Debian's cron has it (cronsim): a job at a fixed time that the clock skips runs right after the
gap, one that the clock passes twice runs once; a job of every hour or minute follows real time.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from typing import Final
from zoneinfo import ZoneInfo, available_timezones

from cronsim import CronSim, CronSimError

from router.problems import Location, hint, quote
from router.shapes import Finding

FIELDS: Final = 5
MOST_MISSED: Final = 1000
"""Missed firings are counted up to this many."""


@dataclass(frozen=True, slots=True)
class Due:
    """A firing whose time has come."""

    at: float
    """The scheduled time, seconds since the epoch."""
    local: str
    """The same in the schedule's own zone, for people."""
    missed: int
    """Firings before it that nobody made: they are left out."""


def findings(cron: object, timezone: object, place: Location) -> list[Finding]:
    """What is wrong with a schedule as written."""
    found = []
    if isinstance(timezone, str) and timezone not in available_timezones():
        found.append(
            Finding(
                (*place, "timezone"),
                f"unknown timezone {quote(timezone)}; {hint(timezone, available_timezones())}",
            )
        )
    if isinstance(cron, str):
        if len(cron.split()) != FIELDS:
            msg = f"{quote(cron)} is no schedule: write five fields, minute hour day month weekday, as 0 9 * * 1-5"
            found.append(Finding((*place, "cron"), msg))
        else:
            try:
                next(CronSim(cron, datetime(2026, 1, 1, tzinfo=UTC)))
            except CronSimError as error:
                found.append(Finding((*place, "cron"), f"{quote(cron)} is no schedule: {str(error).lower()}"))
            except StopIteration:
                found.append(Finding((*place, "cron"), f"{quote(cron)} never comes"))
    return found


def due(cron: str, timezone: str, *, since: float, now: float) -> Due | None:
    """The latest firing after `since` and not after `now`, or None. At most one: earlier ones count as missed."""
    zone = ZoneInfo(timezone)
    # One second later, because going backwards leaves out the moment it begins at.
    back = CronSim(cron, _moment(now + 1, zone), reverse=True)
    latest, missed = None, 0
    for moment in back:
        at = moment.timestamp()
        if at > now:
            continue
        if at <= since or missed >= MOST_MISSED:
            break
        if latest is None:
            latest = moment
        else:
            missed += 1
    if latest is None:
        return None
    return Due(at=latest.timestamp(), local=f"{latest:%Y-%m-%d %H:%M} {timezone}", missed=missed)


def following(cron: str, timezone: str, *, after: float) -> float:
    """The first firing after a moment, seconds since the epoch; infinity where none comes."""
    found = next(CronSim(cron, _moment(after, ZoneInfo(timezone))), None)
    return float("inf") if found is None else found.timestamp()


def _moment(seconds: float, zone: tzinfo) -> datetime:
    return datetime.fromtimestamp(int(seconds), zone)
