"""Per-minute limits of the Managed Agents service, shared by all runners through the database."""

from __future__ import annotations

import asyncio
from typing import Final, Literal

import structlog

from storage.database import Database, StorageUnavailableError
from storage.rates import acquire

log = structlog.get_logger(__name__)

MAX_SLEEP: Final = 5.0
"""Seconds between looks at a full window: another runner's unused permits may come free earlier."""

Permit = Literal["creates", "reads"]


class Permits:
    """Waits until a call is within the limit. First come, first served within a process."""

    def __init__(self, database: Database, *, creates_per_minute: int, reads_per_minute: int) -> None:
        self._database = database
        self._limits: dict[Permit, int] = {"creates": creates_per_minute, "reads": reads_per_minute}
        # Only the first in the queue asks the database, so that a thousand waiting runs do not hammer it.
        self._queues: dict[Permit, asyncio.Lock] = {"creates": asyncio.Lock(), "reads": asyncio.Lock()}

    async def take(self, permit: Permit) -> None:
        """Return when one call of this kind may be made. Waits out a database that is away."""
        async with self._queues[permit]:
            while True:
                try:
                    wait = await self._database.write(acquire, permit, limit=self._limits[permit])
                except StorageUnavailableError as error:
                    log.warning("no permit while the database is away", permit=permit, error=str(error))
                    wait = 1.0
                if wait <= 0:
                    return
                await asyncio.sleep(min(wait, MAX_SLEEP))
