"""Storing deliveries in groups: whatever arrives while one commit runs goes into the next one, fairly by connection.

Must not acknowledge anything: it returns once the delivery is durable, and raises when it is not.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection

from connectors.room import Limits, Place, Room
from storage.database import Database, StorageUnavailableError
from storage.deliveries import Incoming, store_deliveries
from storage.turns import Turns

GROUP: Final = 256
GROUP_BYTES: Final = 8_000_000
"""Most of one commit: bounds how long the next one waits."""
COMMITS: Final = 2
"""Transactions under way: one that is being synced, and one that waits for its turn and fills up meanwhile."""
PATIENCE: Final = 4.0
"""Seconds until whoever waits is told that it was not stored. Slack gives up after 3, GitHub after 10; who is told can
send it again."""
OVER: Final = "this process is ending"


@dataclass(eq=False, frozen=True, slots=True)
class _Waiter:
    delivery: Incoming
    done: asyncio.Future[set[str]]
    since: float


class Intake:
    """One per process. `run` must be running for `store` to return."""

    def __init__(
        self, database: Database, *, limits: Limits | None = None, patience: float = PATIENCE
    ) -> None:
        self._database = database
        self.room = Room(limits or Limits())
        """Shared with the door, which reads bodies into it."""
        self._patience = patience
        self._waiting: Turns[_Waiter] = Turns()
        self._unanswered: set[_Waiter] = set()
        self._some = asyncio.Event()
        self._queued = False
        """A transaction has been asked for and has not begun: it will take whatever waits by then."""
        self._over = False

    async def store(self, delivery: Incoming) -> set[str]:
        """Make a delivery durable and return the ids of its events that are new.

        Raises StorageUnavailableError when it could not be stored: NoRoomError when too much waits already. When it takes
        too long as well: then it may still be stored, and has its room until that is decided.
        """
        if self._over:
            raise StorageUnavailableError(OVER)
        place = self.room.enter(delivery.connection, delivery.size)
        waiter = _Waiter(delivery, asyncio.get_running_loop().create_future(), time.monotonic())
        self._unanswered.add(waiter)
        waiter.done.add_done_callback(lambda done: self._settle(waiter, place, done))
        self._waiting.put(delivery.connection, waiter, size=delivery.size)
        if not self._queued:
            self._some.set()
        try:
            async with asyncio.timeout(self._patience):
                return await asyncio.shield(waiter.done)
        except TimeoutError:
            msg = f"the database has not stored it within {self._patience:g} seconds"
            raise StorageUnavailableError(msg) from None

    def waits(self) -> float:
        """Seconds for which the oldest delivery is undecided, whatever its sender was told; 0 where none is."""
        return time.monotonic() - min(one.since for one in self._unanswered) if self._unanswered else 0.0

    def _settle(self, waiter: _Waiter, place: Place, done: asyncio.Future[set[str]]) -> None:
        self._unanswered.discard(waiter)
        place.leave()
        if not done.cancelled():
            done.exception()  # whoever asked may have gone

    async def run(self) -> None:
        """Commit groups until cancelled. Whoever waits then is told that nothing was stored."""
        try:
            async with asyncio.TaskGroup() as tasks:
                for number in range(COMMITS):
                    tasks.create_task(self._commit_groups(), name=f"intake-{number}")
        finally:
            self._over = True
            _fail(self._unanswered, StorageUnavailableError(OVER))

    async def _commit_groups(self) -> None:
        while True:
            await self._some.wait()
            self._some.clear()
            if self._waiting and not self._queued:
                self._queued = True
                await self._commit()
            if self._waiting and not self._queued:
                self._some.set()

    async def _commit(self) -> None:
        """One transaction. It takes its group when it begins, not before: until then more may come."""
        group: list[_Waiter] = []

        def store_waiting(connection: Connection) -> set[str]:
            self._queued = False  # before looking: whoever comes from now on asks for another transaction
            group.extend(self._waiting.take(GROUP, size=GROUP_BYTES))
            return store_deliveries(connection, [one.delivery for one in group]) if group else set()

        try:
            fresh = await self._database.write(store_waiting)
        except StorageUnavailableError as error:
            _fail(group or self._nobody_began(), error)
        except Exception as error:  # noqa: BLE001 - every waiter hears of it; none may hang
            await self._commit_one_by_one(group or self._nobody_began(), error)
        else:
            _tell(group, fresh)

    def _nobody_began(self) -> list[_Waiter]:
        """The transaction failed before it took its group: nobody who waits can be helped by waiting on."""
        self._queued = False
        return self._waiting.take(len(self._waiting), size=self._waiting.size)

    async def _commit_one_by_one(self, group: Sequence[_Waiter], error: Exception) -> None:
        """Something about one delivery: it must not take the others of its group with it."""
        if len(group) == 1:
            _fail(group, StorageUnavailableError(f"it could not be stored ({type(error).__name__})"))
            return
        for one in group:
            try:
                fresh = await self._database.write(store_deliveries, [one.delivery])
            except StorageUnavailableError as away:
                _fail([one], away)
            except Exception as fault:  # noqa: BLE001 - told to its waiter
                _fail([one], StorageUnavailableError(f"it could not be stored ({type(fault).__name__})"))
            else:
                _tell([one], fresh)


def _tell(group: Sequence[_Waiter], fresh: set[str]) -> None:
    for one in group:
        # Copies that came into one group: the first one has the event, the others are duplicates.
        first = {event.id for event in one.delivery.events} & fresh
        fresh -= first
        if not one.done.done():
            one.done.set_result(first)


def _fail(group: Iterable[_Waiter], error: StorageUnavailableError) -> None:
    for one in group:
        if not one.done.done():
            one.done.set_exception(StorageUnavailableError(str(error)))
