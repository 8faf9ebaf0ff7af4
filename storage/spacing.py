"""How long a thing waits that was claimed again and again without progress, because its claimers died or were killed.

Whatever kills its process takes along what the process had beside it. Spaced out, the others get through between two
deaths, and only what is never claimed without one is given up.
"""

from __future__ import annotations

import random
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Spacing:
    """Seconds. The first claims are free: after one death work goes on at once."""

    base: float = 5.0
    longest: float = 300.0
    free: int = 3

    def after(self, attempts: int) -> float:
        """From a claim that is the `attempts`th without progress to the next, if its claimer dies. With jitter."""
        if attempts < self.free:
            return 0.0
        delay = min(self.longest, self.base * 2.0 ** min(30, attempts - self.free))
        return delay * random.uniform(0.75, 1.25)  # noqa: S311 - spreading load, not a secret
