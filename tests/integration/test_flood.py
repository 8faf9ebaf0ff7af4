"""A small flood against a real `triggerhub up`: all of it accepted, all of it settled, memory within bounds."""

from __future__ import annotations

import pytest

from benchmarks.flood import pour

COUNT = 1500
SECONDS = 2.0
MAX_GROWTH_MB = 250


@pytest.mark.long(40)
def test_a_flood_ends_with_everything_settled_and_memory_bounded() -> None:
    report = pour(count=COUNT, seconds=SECONDS)
    assert report.flood.given_up == 0
    assert report.flood.answers[202] == COUNT, "duplicates are accepted too"
    assert set(report.flood.answers) <= {202, 503}
    assert set(report.flood.quiet_answers) == {202}
    assert report.events == COUNT - COUNT // 10 + 50 + len(report.flood.quiet_seconds)
    assert report.settled_seconds is not None
    assert report.runs == {"succeeded": 50 + (COUNT - COUNT // 10) // 500}
    assert report.memory.most[0] - report.memory.before[0] < MAX_GROWTH_MB
