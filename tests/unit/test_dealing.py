"""The order in which tests are dealt to several processes."""

from __future__ import annotations

from dealing import dealt
from hypothesis import given
from hypothesis import strategies as st


def test_each_run_begins_with_its_share_of_the_long_ones() -> None:
    seconds = {"c": 120.0, "f": 70.0, "g": 60.0, "i": 5.0}
    found = dealt("abcdefghi", 3, seconds=lambda one: seconds.get(one, 0.0))
    assert found == [*"cab", *"fde", *"gih"]


def test_one_process_begins_with_the_longest() -> None:
    assert dealt([1.0, 0.0, 3.0, 2.0], 1, seconds=lambda one: one) == [3.0, 2.0, 1.0, 0.0]


@given(st.lists(st.sampled_from([0.0, 0.0, 0.0, 1.0, 40.0])), st.integers(1, 5))
def test_no_test_is_lost_or_doubled(weights: list[float], workers: int) -> None:
    found = dealt(range(len(weights)), workers, seconds=weights.__getitem__)
    assert sorted(found) == list(range(len(weights)))
