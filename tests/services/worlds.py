"""A broker of either kind with what reaches it, and a handler that remembers what it got."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from hub.broker import RETRY_DELAYS, Broker, Handler, Taken
from hub.settings import Settings
from schemas.event import Event
from schemas.topics import EVENTS, TopicSpec
from storage.database import Database
from storage.outbox import Message

GROUP: Final = "triggerhub-test"


@dataclass
class World:
    """A running broker and what reaches it."""

    kind: str
    settings: Settings
    bootstrap: list[str]
    database: Database

    def broker(self, *, retry_delays: Sequence[float] = RETRY_DELAYS, **changes: Any) -> Broker:
        """As one process of triggerhub has it, with other settings."""
        settings = self.settings.model_copy(update=changes)
        return Broker(settings, self.database, bootstrap=self.bootstrap, retry_delays=retry_delays)

    @asynccontextmanager
    async def running(
        self,
        handler: Handler | None = None,
        *,
        topic: TopicSpec = EVENTS,
        group: str = GROUP,
        retry_delays: Sequence[float] = RETRY_DELAYS,
    ) -> AsyncIterator[Broker]:
        """A started broker, consuming if a handler is given."""
        broker = self.broker(retry_delays=retry_delays)
        if handler is not None:
            broker.subscribe(topic, group=group, handler=handler)
        try:
            await broker.start()
            yield broker
        finally:
            await broker.stop()


@dataclass
class Collector:
    """A handler that remembers what it got. `fail` is raised instead, while it is set."""

    taken: list[Taken[Any]] = field(default_factory=list)
    fail: Callable[[Sequence[Taken[Any]]], Exception | None] = lambda _batch: None
    calls: int = 0

    async def __call__(self, batch: Sequence[Taken[Any]]) -> None:
        self.calls += 1
        error = self.fail(batch)
        if error is not None:
            raise error
        self.taken += batch

    @property
    def ids(self) -> list[str]:
        return [one.value.id for one in self.taken]

    async def got(self, count: int, *, seconds: float = 30) -> None:
        await until(lambda: len(self.taken) >= count, seconds=seconds)


async def until(done: Callable[[], object], *, seconds: float = 30) -> None:
    """Wait until `done()` is true. Raises TimeoutError."""
    async with asyncio.timeout(seconds):
        while not done():
            await asyncio.sleep(0.01)


def message(event: Event) -> Message:
    return Message(EVENTS.name, event.id, event.subject, event.model_dump_json().encode())


async def publish(broker: Broker, *events: Event) -> None:
    assert await broker.publish([(message(one), one) for one in events]) == [one.id for one in events]
