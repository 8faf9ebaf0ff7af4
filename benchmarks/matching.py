"""The rule matching figures of `rule_matching`, as lines of the report."""

from __future__ import annotations

import gc
import statistics

from benchmarks.figures import Figure
from benchmarks.rule_matching import (
    CANDIDATES,
    LIMIT_GROWTH,
    LIMIT_MICROSECONDS,
    ROUNDS,
    rule_set,
    sample_event,
)
from benchmarks.rule_matching import measure as measure_round


def measure() -> list[Figure]:
    """10,000 rules against 100, by turns, so that a busy machine slows both."""
    event = sample_event()
    many, few = rule_set(10_000 - CANDIDATES), rule_set(100 - CANDIDATES)
    gc.freeze()
    measure_round(many, event)
    slow, fast = [], []
    for _ in range(ROUNDS):
        slow.append(measure_round(many, event))
        fast.append(measure_round(few, event))
    cost, growth = statistics.median(slow), min(slow) / min(fast)
    return [
        Figure(
            f"rule matching, 10,000 rules, {CANDIDATES} candidates",
            f"{cost:.0f} µs per event",
            f"<= {LIMIT_MICROSECONDS:.0f} µs",
            met=cost <= LIMIT_MICROSECONDS,
        ),
        Figure(
            "  its cost against that of 100 rules",
            f"{growth:.2f} times",
            f"<= {LIMIT_GROWTH} times",
            met=growth <= LIMIT_GROWTH,
        ),
    ]
