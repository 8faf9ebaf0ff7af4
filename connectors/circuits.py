"""One circuit breaker per connection: after failures in a row the poster leaves a vendor alone, then asks with one post.

Decides only: no clock of its own, no socket, no task. What a failure is, the outbox says; a refusal is none.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

THRESHOLD: Final = 5
"""Failures in a row that open a circuit."""
FIRST_PAUSE_SECONDS: Final = 5.0
"""How long a circuit stays open the first time; doubled with each probe that fails."""
MAX_PAUSE_SECONDS: Final = 300.0
MAX_TOLD_SECONDS: Final = 900.0
"""The most that a vendor's own time holds a connection back before one post asks again."""


@dataclass(slots=True)
class _Circuit:
    failures: int = 0
    """In a row."""
    probes: int = 0
    """Probes that failed since it opened."""
    open: bool = False
    until: float = 0.0
    """When the next probe may go."""
    told_until: float = 0.0
    """The vendor asked to be left alone until then: a success of a call begun before does not change that."""
    probing: bool = False


class Circuits:
    """The circuits of one process. `clock` is monotonic seconds."""

    def __init__(
        self,
        *,
        clock: Callable[[], float],
        on_change: Callable[[str, bool], None] = lambda _name, _open: None,
    ) -> None:
        self._clock = clock
        self._on_change = on_change
        self._circuits: dict[str, _Circuit] = {}

    def held_back(self) -> dict[str, float]:
        """Connections whose circuit is open, with the seconds until a probe may go (0: it may, or is under way)."""
        now = self._clock()
        return {
            name: max(0.0, circuit.until - now) for name, circuit in self._circuits.items() if circuit.open
        }

    def ripe(self) -> list[str]:
        """Connections of which one post may be tried now, and no more."""
        now = self._clock()
        return [
            name
            for name, circuit in self._circuits.items()
            if circuit.open and not circuit.probing and now >= circuit.until
        ]

    def wait(self, name: str) -> float | None:
        """Seconds that posts to it are held back still; None when its circuit is closed."""
        return self.held_back().get(name)

    def begin_probe(self, name: str) -> None:
        """One post was claimed to see whether the vendor is back."""
        self._of(name).probing = True

    def end_probe(self, name: str) -> None:
        """The probe is over, however it ended. If it told nothing (refused, given back), another may go at once."""
        self._of(name).probing = False

    def succeeded(self, name: str) -> None:
        """The vendor did what it was asked: the circuit is closed."""
        circuit = self._circuits.get(name)
        if circuit is None:
            return
        circuit.failures = circuit.probes = 0
        if circuit.open and self._clock() >= circuit.told_until:
            circuit.open = False
            self._on_change(name, False)  # noqa: FBT003 - the callback's only other argument

    def failed(self, name: str, *, probe: bool, retry_after: float | None = None) -> None:
        """The vendor did not do it, through no fault of the post. `retry_after` is its own time, in seconds."""
        circuit, now = self._of(name), self._clock()
        circuit.failures += 1
        was_open = circuit.open
        if circuit.open and probe:
            circuit.probes += 1
        if (circuit.open and probe) or (not circuit.open and circuit.failures >= THRESHOLD):
            circuit.open = True
            circuit.until = now + min(MAX_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2.0**circuit.probes)
        if retry_after is not None:
            circuit.open = True
            circuit.told_until = max(circuit.told_until, now + min(MAX_TOLD_SECONDS, retry_after))
            circuit.until = max(circuit.until, circuit.told_until)
        if circuit.open and not was_open:
            self._on_change(name, True)  # noqa: FBT003 - the callback's only other argument

    def excuses(self, name: str, *, counted: int) -> bool:
        """Whether a failure just told says nothing about the post, which must not be given up for it.

        So where the circuit is open. And, because each process has circuits of its own and would count its first
        failures anew, where a post failed as often as opens a circuit and nothing went through meanwhile.
        """
        circuit = self._of(name)
        return circuit.open or (circuit.failures > 1 and counted >= THRESHOLD)

    def _of(self, name: str) -> _Circuit:
        return self._circuits.setdefault(name, _Circuit())
