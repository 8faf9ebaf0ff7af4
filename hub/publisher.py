"""From the outbox table to Kafka: at once for what this process just committed, by sweep for everything else.

Publishing never decides anything: a message that is published twice is consumed once, by its id.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Final

import structlog
from pydantic import BaseModel

from hub.broker import Broker
from schemas.dispatch import Dispatch
from schemas.event import Event
from schemas.result import Result
from storage import outbox
from storage.bell import Bell
from storage.database import Database, StorageUnavailableError
from storage.outbox import Message
from storage.turns import Turns

log = structlog.get_logger(__name__)

MAX_WAITING: Final = 20_000
MAX_WAITING_BYTES: Final = 32_000_000
"""Beyond these, fresh messages are left to the sweep: memory stays flat under a flood."""
SHARE: Final = 0.5
"""Of both, what is for all. The rest is for connections that have little waiting."""
BATCH: Final = 500
BATCH_BYTES: Final = 4_000_000
SWEEP_SECONDS: Final = 1.0
SENT_SECONDS: Final = 60.0
MAX_SENT: Final = 100_000
"""How long, and of how many, it is remembered that the broker confirmed a message. Its consumer may be behind: to publish
it again would put it further behind."""
WORN_BYTES: Final = 64_000_000
WORN_OUT_BYTES: Final = 256_000_000
"""The embedded broker forgets nothing while it lives: after so much it is replaced by an empty one, at the first number
when nothing is on its way for a moment, at the second at once."""
QUIET_SECONDS: Final = 2.0

Announcement = tuple[Message, BaseModel | None]


class Publisher:
    """One per process."""

    def __init__(
        self, database: Database, broker: Broker, *, on_progress: Callable[[], None] = lambda: None
    ) -> None:
        self._database = database
        self._broker = broker
        self._on_progress = on_progress
        self._waiting: Turns[Announcement] = Turns()
        self._bell = Bell()
        self._sent: dict[tuple[str, str], float] = {}
        """When the broker confirmed a message, by topic and ref; the oldest first."""
        self.carried = 0
        """Bytes that the embedded broker got since it was empty."""
        self._published_at = 0.0

    def announce(self, messages: Sequence[Announcement]) -> None:
        """Publish soon what was just committed. Never blocks, never raises."""
        for announcement in messages:
            message, value = announcement
            key = _connection(value)
            room = 1.0 if self._waiting.waiting(key) < BATCH else SHARE
            if (
                len(self._waiting) < MAX_WAITING * room
                and self._waiting.size + len(message.value) <= MAX_WAITING_BYTES * room
            ):
                self._waiting.put(key, announcement, size=len(message.value))
        self._bell.ring()

    async def republish_everything(self) -> None:
        """The broker is empty: whatever was not consumed goes out again."""
        self.carried = 0
        self._sent.clear()
        count = await self._database.write(outbox.make_all_due)
        if count:
            log.info("the broker was restarted; publishing again what was not consumed", messages=count)
        self._bell.ring()

    def worn(self) -> bool:
        """Whether the embedded broker holds so much that it should be replaced by an empty one now."""
        if self.carried > WORN_OUT_BYTES:
            return True
        quiet = not self._waiting and time.monotonic() - self._published_at > QUIET_SECONDS
        return quiet and self.carried > WORN_BYTES

    async def run(self) -> None:
        """Publish until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._publish_fresh(), name="publish-fresh")
            tasks.create_task(self._sweep(), name="publish-sweep")

    async def flush(self) -> None:
        """Publish what is waiting, once: the last step of a graceful stop."""
        while self._waiting:
            await self._publish(self._take())

    def _take(self) -> list[Announcement]:
        return self._waiting.take(BATCH, size=BATCH_BYTES)

    async def _publish(self, announcements: Sequence[Announcement]) -> None:
        confirmed = set(await self._broker.publish(announcements))
        self._published_at = now = time.monotonic()
        for message, _ in announcements:
            if message.ref in confirmed:
                self.carried += len(message.value)
                self._sent[message.topic, message.ref] = now
        while self._sent and (
            len(self._sent) > MAX_SENT or next(iter(self._sent.values())) < now - SENT_SECONDS
        ):
            del self._sent[next(iter(self._sent))]

    def _on_its_way(self, topic: str, ref: str, age: float) -> bool:
        """Whether the broker has it from this process since it was wanted, and not for so long that something is wrong.

        Asked from the thread that writes.
        """
        sent = self._sent.get((topic, ref))
        return sent is not None and time.monotonic() - sent < min(age, SENT_SECONDS)

    async def _publish_fresh(self) -> None:
        while True:
            if not self._waiting:
                await self._bell.wait(60)
            while self._waiting:
                await self._publish(self._take())

    async def _sweep(self) -> None:
        self._on_progress()
        while True:
            try:
                due = await self._database.write(outbox.sweep, on_its_way=self._on_its_way)
                self._on_progress()
                if due:
                    await self._publish([(message, None) for message in due])
                    continue
            except StorageUnavailableError as error:
                log.warning("the outbox could not be swept", error=str(error))
            await asyncio.sleep(SWEEP_SECONDS)


def _connection(value: BaseModel | None) -> str:
    """Whose message it is, as far as that is known: connections are published in turn."""
    match value:
        case Event() | Result():
            return value.connection
        case Dispatch():
            return value.event.connection
        case _:
            return ""
