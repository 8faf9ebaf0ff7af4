"""Parts that hang, for hubs in tests: what they wait for is a gate that opens when the test is over. Asserts nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from weakref import WeakKeyDictionary

from crash.stage import Stage
from sqlalchemy import Connection

from connectors.intake import Intake
from connectors.outbox import Outbox
from connectors.room import Limits
from router.subscriber import Router
from runner.worker import Worker
from runner.world import World
from storage.claims import claim_runs
from storage.database import Database, StorageUnavailableError
from storage.deliveries import Incoming

_GATES: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Event] = WeakKeyDictionary()


def gate() -> asyncio.Event:
    """Opens when the test is over: a hub that cannot stop in order takes its time."""
    return _GATES.setdefault(asyncio.get_running_loop(), asyncio.Event())


async def never() -> None:
    await gate().wait()


class WedgedRouter(Router):
    async def take(self, batch: Sequence[Any]) -> None:
        del batch
        await never()


class SleepingWorker(Worker):
    """Its claims hang. Everything beside them goes on."""

    async def _claim(self) -> list[Any]:
        await never()
        return []


class FruitlessWorker(Worker):
    """It comes round, and gets nothing though work is due."""

    async def _claim(self) -> list[Any]:
        self._on_progress("claims", 0.5)
        return []

    def _claim_beside(self, connection: Connection, room: int) -> tuple[list[Any], int]:  # noqa: ARG002
        return [], 0


class ClaimsRefused(Database):
    """A database that takes everything but claims of runs."""

    def __init__(self, inner: Database) -> None:
        self._inner = inner

    async def write(self, work: Any, /, *args: Any, **kwargs: Any) -> Any:
        if work is claim_runs:
            msg = "the table is locked"
            raise StorageUnavailableError(msg)
        return await self._inner.write(work, *args, **kwargs)

    async def read(self, work: Any, /, *args: Any, **kwargs: Any) -> Any:
        return await self._inner.read(work, *args, **kwargs)

    async def close(self) -> None:
        await self._inner.close()


def refused_worker(world: World, **options: Any) -> Worker:
    """Every claim fails, and it goes on trying."""
    return Worker(replace(world, database=ClaimsRefused(world.database)), **options)


class ForgetfulLeases(Worker):
    async def _keep_leases(self) -> None:
        await never()


class SleepingOutbox(Outbox):
    async def _claim(self) -> list[Any]:
        await never()
        return []


class FruitlessOutbox(Outbox):
    async def _claim(self) -> list[Any]:
        return []


class DeafOutbox(Outbox):
    async def take(self, batch: Sequence[Any]) -> None:
        del batch
        await never()


class WedgedIntake(Intake):
    async def _commit(self) -> None:
        await never()


class ImpatientIntake(WedgedIntake):
    """Its senders are told long before it is called stuck."""

    def __init__(self, database: Database, *, limits: Limits | None = None, patience: float = 0.1) -> None:
        super().__init__(database, limits=limits, patience=patience)


class LostIntake(Intake):
    async def store(self, delivery: Incoming) -> set[str]:
        del delivery
        await never()
        return set()


async def checks(running: Stage) -> tuple[int, dict[str, dict[str, Any]]]:
    answer = await running.http.get(f"{running.hub.url}/readyz")
    return answer.status_code, {one["name"]: one for one in answer.json()["checks"]}
