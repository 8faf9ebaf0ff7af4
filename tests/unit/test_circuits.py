"""When a connection is left alone and when it is asked again, with a clock of the test's own."""

from __future__ import annotations

import pytest

from connectors.circuits import (
    FIRST_PAUSE_SECONDS,
    MAX_PAUSE_SECONDS,
    MAX_TOLD_SECONDS,
    THRESHOLD,
    Circuits,
)

NAME = "acme-github"


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Bench:
    """Circuits, their clock, and what they said."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.said: list[tuple[str, bool]] = []
        self.circuits = Circuits(clock=self.clock, on_change=self._heard)

    def _heard(self, name: str, is_open: bool) -> None:  # noqa: FBT001 - the shape of the callback
        self.said.append((name, is_open))

    def fail(self, times: int = 1, *, probe: bool = False, retry_after: float | None = None) -> None:
        for _ in range(times):
            self.circuits.failed(NAME, probe=probe, retry_after=retry_after)

    def probe(self) -> None:
        """One probe that fails as soon as it may go."""
        wait = self.circuits.wait(NAME)
        assert wait is not None
        self.clock.now += wait
        assert self.circuits.ripe() == [NAME]
        self.circuits.begin_probe(NAME)
        assert self.circuits.ripe() == []
        self.fail(probe=True)
        self.circuits.end_probe(NAME)


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_failures_in_a_row_open_it(bench: Bench) -> None:
    bench.fail(THRESHOLD - 1)
    assert bench.circuits.wait(NAME) is None
    bench.circuits.succeeded(NAME)
    bench.fail(THRESHOLD - 1)
    assert (bench.circuits.wait(NAME), bench.said) == (None, [])
    bench.fail()
    assert bench.circuits.wait(NAME) == FIRST_PAUSE_SECONDS
    assert bench.circuits.held_back() == {NAME: FIRST_PAUSE_SECONDS}
    assert bench.said == [(NAME, True)]
    assert bench.circuits.wait("acme-jira") is None


def test_pauses_grow_with_each_probe_that_fails_up_to_a_limit(bench: Bench) -> None:
    bench.fail(THRESHOLD)
    waits = []
    for _ in range(9):
        waits.append(bench.circuits.wait(NAME))
        bench.probe()
    assert waits[:4] == [5.0, 10.0, 20.0, 40.0]
    assert waits[-1] == MAX_PAUSE_SECONDS
    assert bench.said == [(NAME, True)]


def test_a_call_begun_before_does_not_prolong_the_pause(bench: Bench) -> None:
    bench.fail(THRESHOLD)
    bench.clock.now += 3
    bench.fail(4)
    assert bench.circuits.wait(NAME) == FIRST_PAUSE_SECONDS - 3


def test_a_success_closes_it_and_the_next_pause_is_short_again(bench: Bench) -> None:
    bench.fail(THRESHOLD)
    bench.probe()
    bench.circuits.succeeded(NAME)
    assert bench.circuits.held_back() == {}
    assert bench.said == [(NAME, True), (NAME, False)]
    bench.fail(THRESHOLD)
    assert bench.circuits.wait(NAME) == FIRST_PAUSE_SECONDS


def test_a_probe_that_told_nothing_makes_room_for_the_next(bench: Bench) -> None:
    bench.fail(THRESHOLD)
    bench.clock.now += FIRST_PAUSE_SECONDS
    bench.circuits.begin_probe(NAME)
    bench.circuits.end_probe(NAME)
    assert bench.circuits.ripe() == [NAME]
    assert bench.circuits.held_back() == {NAME: 0.0}


@pytest.mark.parametrize(("told", "waited"), [(0.5, 0.5), (60.0, 60.0), (7200.0, MAX_TOLD_SECONDS)])
def test_the_vendors_own_time_holds_the_whole_connection_back(
    bench: Bench, told: float, waited: float
) -> None:
    bench.fail(retry_after=told)
    assert bench.circuits.wait(NAME) == waited
    bench.circuits.succeeded(NAME)  # a call begun before
    assert bench.circuits.wait(NAME) == waited
    bench.clock.now += waited
    assert bench.circuits.ripe() == [NAME]
    bench.circuits.succeeded(NAME)
    assert bench.circuits.wait(NAME) is None


def test_what_counts_against_a_post(bench: Bench) -> None:
    bench.fail()
    assert not bench.circuits.excuses(NAME, counted=1)
    bench.fail(THRESHOLD - 2)
    assert not bench.circuits.excuses(NAME, counted=THRESHOLD - 1)
    bench.fail()
    assert bench.circuits.excuses(NAME, counted=1)


def test_failures_that_other_processes_saw_excuse_a_post_as_well(bench: Bench) -> None:
    bench.fail()
    assert not bench.circuits.excuses(NAME, counted=THRESHOLD)
    bench.fail()
    assert bench.circuits.excuses(NAME, counted=THRESHOLD)


def test_a_post_that_alone_fails_is_not_excused(bench: Bench) -> None:
    for counted in range(1, 20):
        bench.fail()
        assert not bench.circuits.excuses(NAME, counted=counted)
        bench.circuits.succeeded(NAME)
