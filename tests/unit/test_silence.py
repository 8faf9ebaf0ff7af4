"""When silence is worth an alarm: nights and weekends are none, a switched-off webhook is."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.silence import DAY, ENOUGH, FLOOR, LEAST, WEEK, Habit, is_silent, spoken, weeks_to_compare

MONDAY: Final = datetime(2026, 9, 7, tzinfo=UTC)
"""The first day of the histories here."""


def office_hours(days: int, *, every: float) -> list[float]:
    """Deliveries from 8 to 18 o'clock on working days."""
    times: list[float] = []
    for day in range(days):
        morning = MONDAY + timedelta(days=day, hours=8)
        if morning.weekday() < 5:
            count = int(10 * 3600 / every)
            times += [morning.timestamp() + number * every for number in range(count)]
    return times


def judged(times: list[float], now: float) -> str | None:
    """As the vigil judges it, over what came before `now`."""
    seen = [at for at in times if at <= now]
    gaps = sorted((after - before for before, after in pairwise(seen)), reverse=True)
    habit = Habit(seen[0], seen[-1], len(seen), tuple(gaps[:40]))
    spans = weeks_to_compare(habit, now=now)
    weeks = [min(ENOUGH, sum(begin < at <= end for at in seen)) for begin, end in spans]
    return is_silent(habit, now=now, weeks=weeks)


def hours(begin: datetime, end: datetime) -> Iterator[datetime]:
    while begin < end:
        yield begin
        begin += timedelta(minutes=30)


@pytest.mark.parametrize("every", [60.0, 300.0, 1500.0])
def test_no_night_and_no_weekend_is_an_alarm(every: float) -> None:
    """Five weeks of office hours, looked at every half hour from the first day on."""
    times = office_hours(35, every=every)
    alarms = [
        at
        for at in hours(MONDAY + timedelta(hours=9), MONDAY + timedelta(days=35))
        if judged(times, at.timestamp())
    ]
    assert alarms == []


@pytest.mark.parametrize(("every", "within"), [(60.0, 1.0), (300.0, 1.5), (1500.0, 6.0)])
def test_a_webhook_that_was_switched_off_is_noticed_in_the_same_working_day(
    every: float, within: float
) -> None:
    times = office_hours(28, every=every)
    off = MONDAY + timedelta(days=28, hours=10)  # a Monday morning
    times += [at for at in office_hours(29, every=every) if times[-1] < at < off.timestamp()]
    assert judged(times, off.timestamp() + 600) is None
    told = judged(times, off.timestamp() + within * 3600)
    assert told is not None
    assert "in the same hours" in told


def test_with_less_than_two_weeks_a_gap_must_be_several_nights_long() -> None:
    times = office_hours(5, every=300.0)  # Monday to Friday
    friday = MONDAY + timedelta(days=4, hours=18)
    assert judged(times, (friday + timedelta(days=2, hours=13)).timestamp()) is None, "Monday morning"
    told = judged(times, (friday + timedelta(days=4)).timestamp())
    assert told is not None
    assert "a gap of 14 h is usual" in told


def test_little_is_no_habit() -> None:
    start = MONDAY.timestamp()
    few = [start + number * DAY for number in range(LEAST - 1)]
    assert judged(few, start + 60 * DAY) is None
    one_day = [start + number * 60.0 for number in range(500)]
    assert judged(one_day, one_day[-1] + 2 * DAY) is None, "no night was seen yet"


def test_one_long_outage_does_not_deafen() -> None:
    """The longest gaps of all are not the habit."""
    steady = [MONDAY.timestamp() + number * 600.0 for number in range(7 * 144)]
    with_outage = [at for at in steady if not steady[200] < at < steady[200] + 20 * 3600]
    told = judged(with_outage, with_outage[-1] + 4 * 3600)
    assert told is not None


def test_a_quiet_hour_in_one_of_the_weeks_is_enough_to_say_nothing() -> None:
    habit = Habit(0.0, 5 * WEEK, 1000, (60.0,) * 40)
    now = 5 * WEEK + 7200
    assert len(weeks_to_compare(habit, now=now)) == 4
    assert is_silent(habit, now=now, weeks=[ENOUGH, ENOUGH, ENOUGH - 1, ENOUGH]) is None
    assert is_silent(habit, now=now, weeks=[ENOUGH] * 4) is not None
    assert is_silent(habit, now=5 * WEEK + FLOOR - 1, weeks=[ENOUGH] * 4) is None


@given(
    st.floats(0, 1e9),
    st.floats(0, 40 * DAY),
    st.floats(0, 40 * DAY),
    st.lists(st.integers(0, ENOUGH), max_size=4),
)
def test_it_never_raises_and_only_ever_judges_whole_weeks(
    first: float, span: float, gap: float, weeks: list[int]
) -> None:
    habit = Habit(first, first + span, 100, (600.0,) * 40)
    now = first + span + gap
    for begin, end in weeks_to_compare(habit, now=now):
        assert first <= begin <= end
    told = is_silent(habit, now=now, weeks=weeks)
    assert told is None or (gap >= FLOOR - 1 and "none for" in told)


def test_spans_are_told_as_people_tell_them() -> None:
    assert [spoken(seconds) for seconds in (2400, 3 * 3600, 3 * DAY)] == ["40 min", "3 h", "3 days"]
