"""Watches whether connections fall silent against their own habit. Says so; changes nothing.

A vendor switches a webhook off, a subscription ends, a proxy loses a route: nothing comes, and nothing fails.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from typing import Final

import structlog

from connectors.observations import Observations
from connectors.silence import ENOUGH, Habit, is_silent, weeks_to_compare
from storage import arrivals
from storage.arrivals import Clock
from storage.clock import read_clock
from storage.database import Database, StorageUnavailableError

log = structlog.get_logger(__name__)

LOOK_SECONDS: Final = 60.0
LEARN_SECONDS: Final = 3600.0
"""Between two readings of the whole history: it is long, and habits change slowly."""
MAX_GAPS: Final = 40
"""Longest gaps that are kept: more than are ever looked at."""


class Vigil:
    """One per process with the role `poster`. `clock` replaces the database's own (tests)."""

    def __init__(
        self,
        connections: Callable[[], Collection[str]],
        database: Database,
        *,
        observations: Observations,
        clock: Clock = read_clock,
    ) -> None:
        self._connections = connections
        self._database = database
        self._observations = observations
        self._clock = clock
        self._habits: dict[str, Habit] = {}
        self._learned_at = float("-inf")
        self.silent: dict[str, str] = {}
        """Connections that are silent now, with the reason."""

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            try:
                await self.look()
            except StorageUnavailableError as error:
                log.warning("silence could not be looked for", error=str(error))
            except Exception:
                log.exception("the watch on silence failed unexpectedly")
            await asyncio.sleep(LOOK_SECONDS)

    async def look(self) -> None:
        """Judge every connection once. A change is logged once. Raises StorageUnavailableError."""
        names = sorted(self._connections())
        await self._learn(names)
        since = min((habit.last for habit in self._habits.values()), default=0.0)
        now, newest = await self._database.read(arrivals.last_arrivals, names, since=since, clock=self._clock)
        for name, habit in self._habits.items():
            await self._judge(name, habit, now=now, last=newest.get(name, habit.last))
        for name in self.silent.keys() - set(names):
            del self.silent[name]

    async def _judge(self, name: str, habit: Habit, *, now: float, last: float) -> None:
        current = Habit(habit.first, max(last, habit.last), habit.count, habit.gaps)
        spans = weeks_to_compare(current, now=now)
        weeks = await self._database.read(arrivals.count_between, name, spans, most=ENOUGH)
        why = is_silent(current, now=now, weeks=weeks)
        if why is None:
            if self.silent.pop(name, None) is not None:
                log.info("webhooks come again", connection=name)
        else:
            if name not in self.silent:
                log.warning(
                    "no webhooks come against the connection's habit; look at the webhook in the vendor's settings",
                    connection=name,
                    reason=why,
                )
            self.silent[name] = why
        self._observations.silence(connection=name, is_silent=why is not None)

    async def _learn(self, names: list[str]) -> None:
        now = await self._database.read(self._clock)
        if now - self._learned_at < LEARN_SECONDS and self._habits.keys() <= set(names):
            return
        found = await self._database.read(arrivals.arrivals, names, clock=self._clock)
        habits = {}
        for name, seen in found.items():
            gaps = await self._database.read(arrivals.longest_gaps, name, limit=MAX_GAPS, clock=self._clock)
            habits[name] = Habit(seen.first, seen.last, seen.count, gaps)
        self._habits = habits
        self._learned_at = now
