"""SQLite's write-ahead log does not grow for as long as writing goes on."""

from __future__ import annotations

import asyncio
from pathlib import Path

from services.facts import make_delivery, make_event

from storage import database as module
from storage.database import open_database
from storage.deliveries import store_deliveries
from storage.migrate import upgrade

SECONDS = 6.0
ENOUGH = 100_000_000
"""Bytes, far more than the log may keep here."""


async def test_the_log_begins_again_while_commits_follow_one_another(tmp_path: Path) -> None:
    assert module.LOG_PAGES * 4096 < ENOUGH
    database = open_database(f"sqlite:///{tmp_path}/hub.db")
    log = tmp_path / "hub.db-wal"
    loop = asyncio.get_running_loop()
    try:
        await upgrade(database)
        until = loop.time() + SECONDS
        written = most = number = 0

        async def keep_writing(name: int) -> None:
            nonlocal written, most, number
            while loop.time() < until or written < 4 * ENOUGH:
                number += 1
                event = make_event(f"evt_{name}_{number}", text="x" * 500_000)
                await database.write(store_deliveries, [make_delivery(event.id, event)])
                written += 500_000
                most = max(most, log.stat().st_size)

        await asyncio.gather(*(keep_writing(name) for name in range(4)))
        assert most < 0.7 * written, f"{most} of {written} bytes stood in the log"
    finally:
        await database.close()
