"""The end of an intake: whoever still waits hears that nothing was acknowledged, and nobody waits for ever."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

import pytest
from services.facts import make_delivery, make_event

from connectors.intake import Intake
from storage.database import StorageUnavailableError, open_database
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
