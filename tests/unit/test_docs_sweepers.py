"""Every state that is no end has a row in the table of sweepers, and the intervals there are those of the code."""

from __future__ import annotations

import importlib
import pkgutil
from enum import StrEnum
from typing import Final

import pytest
from pages import ROOT, names, table

import storage
from connectors.outbox import POLL_SECONDS
from connectors.presence import POLL_SECONDS as PRESENCE_POLL_SECONDS
from hub.publisher import SWEEP_SECONDS
from hub.settings import Settings
from runner.timing import Timing
from storage.deliveries import FIRST_SWEEP_SECONDS
from storage.holding import LATEST
from storage.outbox import SWEEP_DELAYS
from storage.presence_tables import PresenceStatus
from storage.states import RESULT_TERMINAL, RUN_TERMINAL
from storage.tables import ApprovalStatus, LetterStatus, ResultStatus, RunStatus

ENDS: Final[dict[type[StrEnum], frozenset[StrEnum]]] = {
    RunStatus: frozenset(RUN_TERMINAL),
    ResultStatus: frozenset(RESULT_TERMINAL),
    ApprovalStatus: frozenset(set(ApprovalStatus) - {ApprovalStatus.ASKED}),
    PresenceStatus: frozenset({PresenceStatus.SHOWN, PresenceStatus.DROPPED}),
    LetterStatus: frozenset({LetterStatus.RETRIED, LetterStatus.DROPPED}),
}
"""Of each enumeration of states the members that nobody needs to find again."""
LEASED: Final = ("run.creating", "run.sending", "run.running", "run.stopping", "run.reporting")


def rows() -> dict[str, list[str]]:
    """Cells of each row, by every name in its first cell."""
    found = table(ROOT / "docs" / "architecture.md", "sweepers")
    return {name: row for row in found for name in names(row[0])}


def enumerations() -> list[type[StrEnum]]:
    """Every enumeration of states that storage defines."""
    found: dict[str, type[StrEnum]] = {}
    for module in pkgutil.walk_packages(storage.__path__, "storage."):
        if ".migrations." in module.name:
            continue
        for value in vars(importlib.import_module(module.name)).values():
            if isinstance(value, type) and issubclass(value, StrEnum) and value.__name__.endswith("Status"):
                found[value.__name__] = value
    return list(found.values())


@pytest.mark.parametrize("states", enumerations())
def test_every_state_that_is_no_end_has_a_sweeper(states: type[StrEnum]) -> None:
    assert states in ENDS, f"say in this test which states of {states.__name__} are ends"
    name = states.__name__.removesuffix("Status").lower()
    wanted = {f"{name}.{state.value}" for state in states if state not in ENDS[states]}
    assert {shown for shown in rows() if shown.startswith(f"{name}.")} == wanted


def test_the_intervals_are_those_of_the_code() -> None:
    timing, settings, shown = Timing(), Settings(), rows()
    assert [shown[name][2] for name in LEASED] == [f"{settings.run_lease_seconds:.0f} s"] * len(LEASED)
    assert shown["result.posting"][2] == f"{settings.result_lease_seconds:.0f} s"
    assert shown["result.ready"][2].startswith(f"{POLL_SECONDS:g} s ")
    lost = f"{PRESENCE_POLL_SECONDS:g} s after it is due; {settings.result_lease_seconds:.0f} s where its poster died"
    assert shown["presence.open"][2] == lost
    assert shown["run.queued"][2].startswith(f"{timing.claim_poll:g} s ")
    assert shown["run.queued"][2].endswith(f"held ones {LATEST:.0f} s")
    assert shown["approval.asked"][2].startswith(f"{timing.stop_poll:.0f} s ")
    assert shown["result.pending"][2] == f"{SWEEP_SECONDS:.0f} s after it is due"
    delays = [FIRST_SWEEP_SECONDS, *SWEEP_DELAYS[:-1]]
    text = f"due after {', '.join(f'{delay:.0f}' for delay in delays)}, then every {SWEEP_DELAYS[-1]:.0f} s"
    assert shown["outbox"][2] == text
    assert f"after {timing.quiet:.0f} s without an event" in shown["run.running"][1]
    assert f"distance up to {timing.max_quiet:.0f} s" in shown["run.running"][1]
    stopping = (
        f"interrupted again every {timing.interrupt_again:.0f} s, given up after {timing.stop_patience:.0f} s"
    )
    assert stopping in shown["run.stopping"][1]
    assert f"results every {timing.result_poll:g} s" in shown["run.reporting"][1]
