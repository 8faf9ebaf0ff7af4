"""A database and a service that fail at a chosen call: the process dies there, or the call's answer is lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any, Concatenate, ParamSpec, TypeVar, cast

from sqlalchemy import Connection

from runner.catalogue import Catalogue
from runner.errors import BusyError, UncertainError
from runner.execution import RunExecution
from runner.reader import Inbox
from runner.service import Service
from runner.world import World
from storage.claims import Claim
from storage.database import Database, StorageUnavailableError

P = ParamSpec("P")
T = TypeVar("T")


class Trouble(Enum):
    """What happens at the chosen call."""

    DEATH_BEFORE = "the process dies before it"
    DEATH_AFTER = "the process dies after it, and before anything knows of it"
    NOT_DONE = "it is not done, and says so"
    DONE_UNKNOWN = "it is done, and the answer is lost"


@dataclass
class Fuse:
    """Counts the calls of one execution and burns at the n-th."""

    at: int
    trouble: Trouble
    count: int = 0
    burnt: bool = False
    dead: bool = False
    calls: list[str] = field(default_factory=list)
    task: asyncio.Task[Any] | None = None
    """The execution's task, to be killed."""

    async def around(
        self, name: str, work: Callable[[], Awaitable[T]], trouble: Callable[[Trouble], Exception]
    ) -> T:
        """Do the call, or what is to happen instead."""
        if self.dead:
            raise asyncio.CancelledError
        self.count += 1
        self.calls.append(name)
        here = self.count == self.at
        if not here:
            return await work()
        self.burnt = True
        if self.trouble is Trouble.NOT_DONE:
            raise trouble(self.trouble)
        if self.trouble is Trouble.DEATH_BEFORE:
            await self._die()
        value = await work()
        if self.trouble is Trouble.DONE_UNKNOWN:
            raise trouble(self.trouble)
        await self._die()
        return value

    async def _die(self) -> None:
        self.dead = True
        if self.task is not None:
            self.task.cancel()
        await asyncio.Event().wait()


class FusedDatabase(Database):
    """Another database behind a fuse."""

    def __init__(self, inner: Database, fuse: Fuse) -> None:
        self._inner = inner
        self._fuse = fuse

    async def write(
        self, work: Callable[Concatenate[Connection, P], T], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:
        return await self._fuse.around(
            "write", lambda: self._inner.write(work, *args, **kwargs), _storage_trouble
        )

    async def read(
        self, work: Callable[Concatenate[Connection, P], T], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:
        return await self._fuse.around(
            "read", lambda: self._inner.read(work, *args, **kwargs), _storage_trouble
        )

    async def close(self) -> None:
        """The inner one is closed by its owner."""


class FusedService:
    """The service behind a fuse: every call of every kind, and the opening of a stream."""

    def __init__(self, inner: Service, fuse: Fuse) -> None:
        self._inner = inner
        self._fuse = fuse

    def __getattr__(self, name: str) -> Any:
        call = getattr(self._inner, name)

        async def fused(*args: Any, **kwargs: Any) -> Any:
            return await self._fuse.around(name, lambda: call(*args, **kwargs), _service_trouble)

        return call if name == "allow" else fused

    @asynccontextmanager
    async def stream(self, session_id: str, *, silence: float) -> AsyncIterator[Any]:
        """Only the opening counts as a call."""

        async def nothing() -> None:
            return None

        async with self._inner.stream(session_id, silence=silence) as stream:
            await self._fuse.around("stream", nothing, _service_trouble)
            yield stream


def fused(world: World, fuse: Fuse) -> World:
    """The world behind a fuse, with a catalogue of its own, as a new process has it."""
    database = FusedDatabase(world.database, fuse)
    service = cast("Service", FusedService(world.service, fuse))
    catalogue = Catalogue(service, database, world.catalogue.definitions, settle=world.timing.settle)
    return replace(world, database=database, service=service, catalogue=catalogue)


def _storage_trouble(trouble: Trouble) -> Exception:
    return StorageUnavailableError(trouble.value)


def _service_trouble(trouble: Trouble) -> Exception:
    return UncertainError(trouble.value) if trouble is Trouble.DONE_UNKNOWN else BusyError(trouble.value)


class Mortal:
    """An execution whose fuse knows which task to kill."""

    def __init__(self, execution: RunExecution, fuse: Fuse) -> None:
        self._execution = execution
        self._fuse = fuse

    @property
    def inbox(self) -> Inbox:
        return self._execution.inbox

    @property
    def claim(self) -> Claim:
        return self._execution.claim

    async def run(self) -> None:
        """Drive it in this task."""
        self._fuse.task = asyncio.current_task()
        await self._execution.run()
