"""The end of an intake: whoever still waits hears that nothing was acknowledged, and nobody waits for ever."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from services.facts import make_delivery, make_event

from connectors.intake import Intake
from storage.database import Database, StorageUnavailableError, open_database
from storage.migrate import upgrade


async def test_a_delivery_on_its_way_is_refused_when_the_intake_is_cancelled(tmp_path: Path) -> None:
    database = open_database(f"sqlite:///{tmp_path}/hub.db")
    try:
        await upgrade(database)
        intake = Intake(database)
        loop = asyncio.get_running_loop()
        running = loop.create_task(intake.run())
        assert await intake.store(make_delivery("1", make_event("evt_1"))) == {"evt_1"}
        stored = loop.create_task(intake.store(make_delivery("2", make_event("evt_2"))))
        await asyncio.sleep(0)
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running
        with pytest.raises(StorageUnavailableError, match="ending"):
            await asyncio.wait_for(stored, 5)
        with pytest.raises(StorageUnavailableError, match="ending"):
            await asyncio.wait_for(intake.store(make_delivery("3", make_event("evt_3"))), 5)
    finally:
        await database.close()


class Moody(Database):
    """Fails its first writes before it looks at them."""

    def __init__(self, inner: Database, errors: list[Exception]) -> None:
        self._inner = inner
        self._errors = errors

    async def write(self, work: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        if self._errors:
            raise self._errors.pop(0)
        return await self._inner.write(work, *args, **kwargs)

    async def read(self, work: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        return await self._inner.read(work, *args, **kwargs)

    async def close(self) -> None:
        """The inner one is closed by its fixture."""


@pytest.mark.parametrize("error", [StorageUnavailableError("it is away"), ValueError("a fault of ours")])
async def test_after_a_transaction_that_did_not_begin_the_next_one_does(
    sqlite_database: Database, error: Exception
) -> None:
    intake = Intake(Moody(sqlite_database, [error]))
    running = asyncio.get_running_loop().create_task(intake.run())
    try:
        async with asyncio.timeout(10):
            with pytest.raises(StorageUnavailableError):
                await intake.store(make_delivery("1", make_event("evt_1")))
            assert await intake.store(make_delivery("2", make_event("evt_2"))) == {"evt_2"}
        assert intake.room.bytes == 0
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
