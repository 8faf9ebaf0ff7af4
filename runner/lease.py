"""How long a process may act for a run, by its own clock: what it does outside cannot be fenced by the database.

A process that was asleep for longer than its lease (stopped, swapped out, cut off from the database) may wake in the
middle of a step, while another runner has done that step. It must find out before it sends anything.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class LostError(Exception):
    """Another owner has the run now, or may have it: stop without writing anything."""


class Lease:
    """Of one claim. The worker extends it with every renewal."""

    def __init__(self, until: float = float("inf")) -> None:
        """`until`: loop time, counted from before the claim: the database's answer may be late."""
        self._until = until
        self._scopes: set[asyncio.Timeout] = set()

    def extend(self, until: float) -> None:
        """It was renewed."""
        self._until = until
        for scope in self._scopes:
            scope.reschedule(until)

    @asynccontextmanager
    async def held(self) -> AsyncIterator[None]:
        """Around a call that changes something at the service. Raises LostError when the lease is over before it is.

        The loop runs what is overdue before what has just become possible. So whoever slept here is cancelled before it
        writes on.
        """
        if asyncio.get_running_loop().time() >= self._until:
            raise LostError
        scope = asyncio.timeout_at(None if self._until == float("inf") else self._until)
        self._scopes.add(scope)
        try:
            async with scope:
                yield
        except TimeoutError:
            if scope.expired():
                raise LostError from None
            raise
        finally:
            self._scopes.discard(scope)
