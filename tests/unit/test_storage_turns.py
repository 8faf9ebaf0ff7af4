"""Queues taken in turn: order within a key, fairness between keys, bounds of what is taken, two threads."""

from __future__ import annotations

import threading

from hypothesis import given
from hypothesis import strategies as st

from storage.turns import Turns

PLENTY = 1_000_000


def test_one_of_each_key_in_turn() -> None:
    turns: Turns[str] = Turns()
    for number in range(1000):
        turns.put("noisy", f"noisy-{number}", size=1)
    turns.put("quiet", "quiet-0", size=1)
    turns.put("quiet", "quiet-1", size=1)
    assert turns.take(5, size=PLENTY) == ["noisy-0", "quiet-0", "noisy-1", "quiet-1", "noisy-2"]
    turns.put("quiet", "quiet-2", size=1)
    assert "quiet-2" in turns.take(2, size=PLENTY), (
        "a new one waits for one of each other key, not for all of them"
    )
    assert (len(turns), turns.size, turns.waiting("noisy"), turns.waiting("quiet")) == (996, 996, 996, 0)


def test_no_more_bytes_than_asked_for_but_a_larger_one_alone() -> None:
    turns: Turns[str] = Turns()
    for name, size in (("large", 50), ("small", 4), ("other", 4), ("last", 4)):
        turns.put("one", name, size=size)
    assert turns.take(10, size=10) == ["large"]
    assert turns.take(10, size=10) == ["small", "other"]
    assert turns.take(10, size=10) == ["last"]
    assert turns.take(10, size=10) == []
    assert turns.size == 0


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 50))), st.integers(1, 7), st.integers(0, 120)
)
def test_everything_comes_out_once_and_in_its_keys_order(
    put: list[tuple[str, int]], count: int, size: int
) -> None:
    turns: Turns[tuple[str, int]] = Turns()
    for number, (key, its_size) in enumerate(put):
        turns.put(key, (key, number), size=its_size)
    out: list[tuple[str, int]] = []
    while turns:
        part = turns.take(count, size=size)
        assert 1 <= len(part) <= count
        assert len(part) == 1 or sum(put[number][1] for _, number in part) <= size
        out += part
    assert sorted(number for _, number in out) == list(range(len(put)))
    for key in "abc":
        assert [pair for pair in out if pair[0] == key] == sorted(pair for pair in out if pair[0] == key)


def test_two_threads_lose_nothing() -> None:
    turns: Turns[int] = Turns()
    out: list[int] = []
    full = threading.Event()

    def empty() -> None:
        while not full.is_set() or turns:
            out.extend(turns.take(7, size=PLENTY))

    taker = threading.Thread(target=empty)
    taker.start()
    for number in range(20_000):
        turns.put(f"key-{number % 3}", number, size=1)
    full.set()
    taker.join(30)
    assert sorted(out) == list(range(20_000))
