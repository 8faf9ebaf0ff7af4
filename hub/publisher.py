"""From the outbox table to Kafka: at once for what this process just committed, by sweep for everything else.

Publishing never decides anything: a message that is published twice is consumed once, by its id.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

import structlog
from pydantic import BaseModel

from hub.broker import Broker
from storage import outbox
from storage.bell import Bell
from storage.database import Database, StorageUnavailableError
from storage.outbox import Message

log = structlog.get_logger(__name__)

MAX_WAITING: Final = 20_000
"""Beyond this, fresh messages are left to the sweep: memory stays flat under a flood."""
BATCH: Final = 500
SWEEP_SECONDS: Final = 1.0

Announcement = tuple[Message, BaseModel | None]


class Publisher:
    """One per process."""

    def __init__(
        self, database: Database, broker: Broker, *, on_progress: Callable[[], None] = lambda: None
    ) -> None:
        self._database = database
        self._broker = broker
        self._on_progress = on_progress
        self._waiting: deque[Announcement] = deque()
        self._bell = Bell()

    def announce(self, messages: Sequence[Announcement]) -> None:
        """Publish soon what was just committed. Never blocks, never raises."""
        if len(self._waiting) < MAX_WAITING:
            self._waiting.extend(messages)
            self._bell.ring()

    async def republish_everything(self) -> None:
        """The broker is empty: whatever was not consumed goes out again."""
        count = await self._database.write(outbox.make_all_due)
        if count:
            log.info("the broker was restarted; publishing again what was not consumed", messages=count)
        self._bell.ring()

    async def run(self) -> None:
        """Publish until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._publish_fresh(), name="publish-fresh")
            tasks.create_task(self._sweep(), name="publish-sweep")

    async def flush(self) -> None:
        """Publish what is waiting, once: the last step of a graceful stop."""
        while self._waiting:
            await self._broker.publish(self._take())

    def _take(self) -> list[Announcement]:
        return [self._waiting.popleft() for _ in range(min(BATCH, len(self._waiting)))]

    async def _publish_fresh(self) -> None:
        while True:
            if not self._waiting:
                await self._bell.wait(60)
            while self._waiting:
                await self._broker.publish(self._take())

    async def _sweep(self) -> None:
        self._on_progress()
        while True:
            try:
                due = await self._database.write(outbox.sweep)
                self._on_progress()
                if due:
                    await self._broker.publish([(message, None) for message in due])
                    continue
            except StorageUnavailableError as error:
                log.warning("the outbox could not be swept", error=str(error))
            await asyncio.sleep(SWEEP_SECONDS)
