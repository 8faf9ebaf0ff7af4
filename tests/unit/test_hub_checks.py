"""What the lines of `/readyz` say of what was seen, with the default figures and invented times."""

from __future__ import annotations

import pytest

from hub import checks
from hub.checks import REPORTS, Beat, Seen, Standstill
from hub.clocks import Clocks, difference
from hub.settings import STUCK_SECONDS
from runner.timing import Timing
from storage.canaries import Standing

NOW = 1_000_000.0
STUCK = STUCK_SECONDS
LOOK = STUCK_SECONDS / REPORTS


def seen(*, ago: float = 0.0, **values: float) -> Seen:
    """A role that began long ago, whose parts (by name, with their pauses) came round `ago` seconds ago."""
    return Seen(NOW - 10_000, beats={part: Beat(NOW - ago, every) for part, every in values.items()})


def judged(role: Seen, **values: float) -> checks.Check:
    return checks.role("runner", role, now=NOW, stuck=STUCK, topic="triggerhub.dispatches", **values)  # type: ignore[arg-type] # `full` is a bool


def test_with_the_default_figures_every_wedge_shows_within_a_minute() -> None:
    """Longest way: just looked, then what waits is noticed by the next look and must stand for as long as STUCK."""
    slack = 5.0  # for the look itself and whoever asks
    assert STUCK + LOOK + slack <= 60
    parts = {"claims": Timing().claim_poll, "leases": Timing().heartbeat, "stops": Timing().stop_poll}
    assert STUCK + max(parts.values()) + slack <= 60
    for part, every in parts.items():
        assert judged(seen(ago=STUCK + every - 1, **{part: every})).ok
        late = judged(seen(ago=60 - slack, **{part: every}))
        assert not late.ok
        assert part in late.detail


def test_a_part_that_hangs_shows_though_the_others_go_on() -> None:
    role = seen(claims=0.5)
    role.beats["keep_leases"] = Beat(NOW - 60, 8.0)
    assert judged(role) == checks.Check(
        "runner", ok=False, detail="its part 'keep_leases' last came round 60 s ago"
    )


def test_a_loop_that_comes_round_and_claims_nothing_shows() -> None:
    role = seen(claims=0.5)
    role.due.saw("run_1", now=NOW - STUCK)
    assert not judged(role).ok
    assert "run_1 has been due for 45 s or more" in judged(role).detail
    assert judged(role, full=True).ok, "it has all it can hold"


def test_a_long_queue_that_moves_is_no_standstill() -> None:
    due = Standstill()
    for second in range(100):
        due.saw(f"run_{second // 10}", now=NOW + second)
        assert due.age(NOW + second) < 10
    due.saw(None, now=NOW + 100)
    assert due.age(NOW + 200) == 0.0


def test_messages_that_wait_are_the_fault_of_who_takes_none() -> None:
    role = seen(claims=0.5)
    assert not judged(role, waits=STUCK).ok
    role.taken_at = NOW - 1
    assert judged(role, waits=STUCK).ok, "it works through them"
    role.in_hand[1] = NOW - STUCK
    assert "the same batch of triggerhub.dispatches in hand for 45 s" in judged(role, waits=STUCK).detail


@pytest.mark.parametrize(("ahead", "ok", "warn"), [(0, True, False), (4.9, True, False), (5, True, True)])
def test_a_clock_that_is_off_a_little(ahead: float, ok: bool, warn: bool) -> None:  # noqa: FBT001 - a row of a table
    for sign in (1, -1):
        check = checks.clock({"the database": sign * ahead, "another": 0.0})
        assert (check.ok, check.warn) == (ok, warn)


@pytest.mark.parametrize("ahead", [60, -60, 3600])
def test_a_clock_that_is_off_a_minute_fails(ahead: float) -> None:
    check = checks.clock({"the database": ahead})
    assert (check.ok, check.warn) == (False, False)
    assert "the database" in check.detail
    assert "NTP" in check.detail


def test_no_other_clock_is_no_fault() -> None:
    assert checks.clock({}).ok


def test_the_difference_is_never_more_than_the_answer_shows() -> None:
    slow = {"before": 100.0, "after": 130.0}
    assert difference(**slow, earliest=115.0, latest=115.0) == 0.0
    assert difference(**slow, earliest=99.0, latest=99.9) == pytest.approx(0.1)
    assert difference(**slow, earliest=140.0, latest=141.0) == -10.0


def test_one_service_with_a_wrong_clock_among_others_is_not_believed() -> None:
    now = [1_700_000_000.0]
    clocks = Clocks(clock=lambda: now[0])
    right, wrong = "Tue, 14 Nov 2023 22:13:20 GMT", "Tue, 14 Nov 2023 22:03:20 GMT"
    clocks.saw_service("a", wrong, before=now[0], after=now[0] + 0.1)
    assert clocks.differences() == {"the services that answered": pytest.approx(599.0)}
    for name in ("b", "c"):
        clocks.saw_service(name, right, before=now[0], after=now[0] + 0.1)
    assert clocks.differences() == {"the services that answered": 0.0}
    clocks.saw_database(now[0] - 70, before=now[0], after=now[0])
    assert clocks.differences()["the database"] == pytest.approx(70)
    now[0] += 901
    assert clocks.differences() == {}, "an old observation says nothing about now"


@pytest.mark.parametrize("date", [None, "", "soon", "Tue, 99 Nov 2023 22:13:20 GMT"])
def test_what_is_no_date_is_left_out(date: str | None) -> None:
    clocks = Clocks()
    clocks.saw_service("a", date, before=0.0, after=0.1)
    assert clocks.differences() == {}


def test_an_outbox_that_is_not_swept_shows() -> None:
    assert checks.outbox(Beat(NOW - 44, 1.0), Standstill(), now=NOW, stuck=STUCK).ok
    late = checks.outbox(Beat(NOW - 46, 1.0), Standstill(), now=NOW, stuck=STUCK)
    assert not late.ok
    assert "last swept 46 s ago" in late.detail


def test_an_outbox_that_is_swept_and_does_not_drain_shows() -> None:
    due = Standstill()
    due.saw("triggerhub.events evt_1", now=NOW - STUCK)
    stuck = checks.outbox(Beat(NOW, 1.0), due, now=NOW, stuck=STUCK)
    assert not stuck.ok
    assert "triggerhub.events evt_1 has been due for 45 s or more" in stuck.detail
    due.saw("triggerhub.events evt_2", now=NOW)
    assert checks.outbox(Beat(NOW, 1.0), due, now=NOW, stuck=STUCK).ok


def test_a_canary_fails_where_it_is_stuck_and_is_told_elsewhere() -> None:
    stored = Standing("acme-jira", came_ago=300.0, waits=STUCK, stored=True)
    unstored = Standing("acme-jira", came_ago=None, waits=STUCK, stored=False)
    for standing, role, other in ((stored, "router", "ingress"), (unstored, "ingress", "router")):
        ours = checks.canary([standing], {role}, stuck=STUCK)
        assert (ours.ok, ours.warn) == (False, False)
        theirs = checks.canary([standing], {other}, stuck=STUCK)
        assert (theirs.ok, theirs.warn) == (True, True)
        assert "acme-jira" in theirs.detail
    on_its_way = Standing("acme-jira", came_ago=61.0, waits=STUCK - 1, stored=True)
    assert checks.canary([on_its_way], {"router"}, stuck=STUCK) == checks.Check(
        "canary", ok=True, detail="the last came through 61 s ago"
    )
