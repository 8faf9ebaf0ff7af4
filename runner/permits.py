"""Per-minute limits of the Managed Agents service, shared by all runners through the database."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final, Literal

import structlog
from sqlalchemy import Connection

from storage.database import Database, StorageUnavailableError
from storage.rates import acquire

log = structlog.get_logger(__name__)

MAX_SLEEP: Final = 5.0
"""Seconds between looks at a full window: another runner's unused permits may come free earlier."""
MAX_AT_ONCE: Final = 50
"""Permits taken in one transaction. Each is used right away, so that the window's count is true."""

RESERVED_SECONDS: Final = 1
"""A permit that was reserved is used within this time or not at all, and is counted at the end of it."""

Permit = Literal["creates", "reads"]


class Permits:
    """Waits until a call is within the limit. First come, first served within a process."""

    def __init__(self, database: Database, *, creates_per_minute: int, reads_per_minute: int) -> None:
        self._database = database
        self._queues = {
            "creates": _Queue("creates", creates_per_minute),
            "reads": _Queue("reads", reads_per_minute),
        }

    async def take(self, permit: Permit) -> None:
        """Return when one call of this kind may be made. Waits out a database that is away."""
        queue = self._queues[permit]
        if queue.from_stock(asyncio.get_running_loop().time()):
            return
        turn = asyncio.get_running_loop().create_future()
        queue.turns.append(turn)
        try:
            # Whoever has the lock asks for all who wait: a thousand runs do not hammer the database, and a burst of
            # them costs one transaction.
            async with queue.asking:
                while not turn.done():
                    wait = await self._ask(queue)
                    if not turn.done():
                        await asyncio.sleep(min(wait, MAX_SLEEP))
        finally:
            turn.cancel()  # a queue does not wait for who has left

    def per_minute(self, permit: Permit) -> int:
        """The limit, of all processes together."""
        return self._queues[permit].limit

    def reserve(self, connection: Connection, permit: Permit, wanted: int) -> int:
        """Take up to `wanted` permits in the caller's transaction and return how many; `give` them once it is durable.

        None while others wait: they came first. What is not given, or not used at once, is lost.
        """
        queue = self._queues[permit]
        if wanted <= 0 or queue.asking.locked():
            return 0
        return _acquire_some(connection, queue.name, queue.limit, wanted, ahead=RESERVED_SECONDS)[0]

    def give(self, permit: Permit, count: int, *, since: float) -> None:
        """These permits were reserved and may be used now. `since`: loop time before they were."""
        self._queues[permit].stock.extend([since] * count)

    async def _ask(self, queue: _Queue) -> float:
        """Take as many permits as wait for one, or as there are; return the seconds until there may be more."""
        waiting = [turn for turn in queue.turns if not turn.done()]
        try:
            granted, wait = await self._database.write(_acquire_some, queue.name, queue.limit, len(waiting))
        except StorageUnavailableError as error:
            log.warning("no permit while the database is away", permit=queue.name, error=str(error))
            return 1.0
        for turn in waiting[:granted]:
            if not turn.done():
                turn.set_result(None)
        while queue.turns and queue.turns[0].done():
            queue.turns.popleft()
        return wait


class _Queue:
    """Those who wait for one kind of permit."""

    def __init__(self, name: str, limit: int) -> None:
        self.name = name
        self.limit = limit
        self.asking = asyncio.Lock()
        self.turns: deque[asyncio.Future[None]] = deque()
        self.stock: deque[float] = deque()
        """Since when there are permits that were reserved and that nobody has used yet."""

    def from_stock(self, now: float) -> bool:
        """Use a permit that is still fresh."""
        while self.stock:
            if now - self.stock.popleft() < RESERVED_SECONDS:
                return True
        return False


def _acquire_some(
    connection: Connection, name: str, limit: int, wanted: int, *, ahead: int = 0
) -> tuple[int, float]:
    """Take up to `wanted` permits. Return how many, and when none, the seconds to wait."""
    count = max(1, min(wanted, MAX_AT_ONCE, limit))
    while True:
        wait = acquire(connection, name, limit=limit, count=count, ahead=ahead)
        if wait <= 0:
            return count, 0.0
        if count == 1:
            return 0, wait
        count //= 2
