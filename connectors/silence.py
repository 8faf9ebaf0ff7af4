"""When the silence of a connection is worth an alarm: judged against its own habit. Pure: no clock, no database.

Most connections rest at night and over the weekend. With two weeks of history the same hours of the weeks before
decide; with less, a gap must be several times as long as those that occur every few days.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

WEEK: Final = 7 * 86_400.0
DAY: Final = 86_400.0
WEEKS: Final = 4
"""How many weeks back are compared."""
FEWEST_WEEKS: Final = 2
ENOUGH: Final = 10
"""Deliveries in the same hours of each week before: fewer, and none this week is no wonder."""
FLOOR: Final = 900.0
"""Seconds. No alarm before, however busy a connection is: vendors have short troubles of their own."""
FEWEST_DAYS: Final = 3
"""Days of history below which nothing is known of nights."""
DAYS_PER_GAP: Final = 3
"""A gap counts as usual if as many of its length or longer occurred as there are spans of so many days: a weekend is one
gap and not two nights, and one long outage among them is no habit."""
FACTOR: Final = 5.0
"""Times a usual gap: from an ordinary night (14 hours) that is more than a weekend."""
LEAST: Final = 20
"""Deliveries below which a connection has no habit."""


@dataclass(frozen=True, slots=True)
class Habit:
    """What is known of a connection's webhooks. Times in epoch seconds."""

    first: float
    """When the oldest one came."""
    last: float
    """When the newest one came."""
    count: int
    """How many came; need not be exact above LEAST."""
    gaps: tuple[float, ...] = ()
    """The longest gaps between two, longest first, in seconds."""


def weeks_to_compare(habit: Habit, *, now: float) -> tuple[tuple[float, float], ...]:
    """The same stretch of time as since the last webhook, in each week before that is wholly known."""
    spans = ((habit.last - week * WEEK, now - week * WEEK) for week in range(1, WEEKS + 1))
    return tuple(span for span in spans if span[0] >= habit.first)


def is_silent(habit: Habit, *, now: float, weeks: Sequence[int]) -> str | None:
    """Why the silence since the last webhook is unusual, or None.

    `weeks`: webhooks in each stretch of `weeks_to_compare`, where more than ENOUGH need not be counted.
    """
    gap = now - habit.last
    if gap < FLOOR or habit.count < LEAST:
        return None
    if len(weeks) >= FEWEST_WEEKS:
        if min(weeks) < ENOUGH:
            return None
        return f"none for {spoken(gap)}; in each of {len(weeks)} weeks before, {ENOUGH} or more came in the same hours"
    days = int((habit.last - habit.first) // DAY)
    if days < FEWEST_DAYS or len(habit.gaps) < days // DAYS_PER_GAP:
        return None
    usual = habit.gaps[days // DAYS_PER_GAP - 1]
    if gap <= max(FLOOR, FACTOR * usual):
        return None
    return f"none for {spoken(gap)}; a gap of {spoken(usual)} is usual"


def spoken(seconds: float) -> str:
    """A span for people: `40 min`, `3 h`, `2 days`."""
    if seconds < 2 * 3600:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.0f} h" if seconds < 2 * DAY else f"{seconds / DAY:.0f} days"
