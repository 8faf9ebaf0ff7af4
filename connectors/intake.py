"""Storing deliveries in groups: whatever arrives while one commit runs goes into the next one.

Must not acknowledge anything: it returns once the delivery is durable, and raises when it is not.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from storage.database import Database, StorageUnavailableError
from storage.deliveries import Incoming, store_deliveries

MAX_WAITING: Final = 5000
"""Deliveries in memory waiting for a commit. More are refused with 503, so that memory stays flat under a flood."""
GROUP: Final = 256
OVER: Final = "this process is ending"


class Intake:
    """One per process. `run` must be running for `store` to return."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: list[tuple[Incoming, asyncio.Future[set[str]]]] = []
        self._some = asyncio.Event()
        self._over = False

    async def store(self, delivery: Incoming) -> set[str]:
        """Make a delivery durable and return the ids of its events that are new.

        Raises StorageUnavailableError when it could not be stored, or when too many wait already.
        """
        if self._over:
            raise StorageUnavailableError(OVER)
        if len(self._waiting) >= MAX_WAITING:
            msg = f"{MAX_WAITING} deliveries wait to be stored; the database is too slow for what comes in"
            raise StorageUnavailableError(msg)
        done: asyncio.Future[set[str]] = asyncio.get_running_loop().create_future()
        self._waiting.append((delivery, done))
        self._some.set()
        return await done

    async def run(self) -> None:
        """Commit groups until cancelled. Whoever waits then is told that nothing was stored."""
        group: Sequence[tuple[Incoming, asyncio.Future[set[str]]]] = ()
        try:
            while True:
                await self._some.wait()
                group, self._waiting = self._waiting[:GROUP], self._waiting[GROUP:]
                if not self._waiting:
                    self._some.clear()
                if group:
                    await self._commit(group)
        finally:
            self._over = True
            _fail([*group, *self._waiting], StorageUnavailableError(OVER))

    async def _commit(self, group: Sequence[tuple[Incoming, asyncio.Future[set[str]]]]) -> None:
        try:
            fresh = await self._database.write(store_deliveries, [delivery for delivery, _ in group])
        except StorageUnavailableError as error:
            _fail(group, error)
            return
        except Exception as error:  # noqa: BLE001 - every waiter hears of it; none may hang
            # Something about one delivery: it must not take the others of its group with it.
            if len(group) > 1:
                for one in group:
                    await self._commit([one])
            else:
                _fail(group, StorageUnavailableError(f"it could not be stored ({type(error).__name__})"))
            return
        for delivery, done in group:
            # Copies that came into one group: the first one has the event, the others are duplicates.
            first = {event.id for event in delivery.events} & fresh
            fresh -= first
            if not done.done():
                done.set_result(first)


def _fail(group: Sequence[tuple[Incoming, asyncio.Future[set[str]]]], error: StorageUnavailableError) -> None:
    for _, done in group:
        if not done.done():
            done.set_exception(StorageUnavailableError(str(error)))
