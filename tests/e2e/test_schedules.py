"""A scheduled rule in a whole hub: its time passed while the hub was down, and is made up for by one session."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from crash.stage import Stage, stage
from sqlalchemy import Connection, update

from storage.database import open_database
from storage.rows import table
from storage.tables import EventRow, ScheduleRow

CHANNEL = "C0123456"


def scheduled(config: dict[str, Any]) -> None:
    config["rules"] = [
        {
            "name": "hourly",
            "schedule": {"cron": "0 * * * *", "timezone": "Europe/Berlin"},
            "agent": next(iter(config["agents"])),
            "prompt": "Say what happened.",
            "outputs": [{"post_message": {"connection": "acme-slack", "channel": CHANNEL, "max": 1}}],
        }
    ]


async def known(running: Stage) -> list[dict[str, Any]]:
    return await running.rows(ScheduleRow)


async def test_a_time_that_passed_while_the_hub_was_down_is_made_up_for_once(tmp_path: Path) -> None:
    async with stage(tmp_path, edit=scheduled) as first:
        await first.until(lambda: known(first))
        assert await first.rows(EventRow) == []
    database = open_database(f"sqlite:///{tmp_path}/hub.db")

    def hours_ago(connection: Connection) -> None:
        connection.execute(update(table(ScheduleRow)).values(checked_at=time.time() - 3 * 3600))

    await database.write(hours_ago)
    await database.close()
    async with stage(tmp_path, edit=scheduled) as second:
        (event,) = await second.until(lambda: second.rows(EventRow))
        run = await second.ended(event["id"])
        assert run["status"] == "succeeded", run["error"]
        assert json.loads(event["body"])["data"]["payload"]["missed"] in {2, 3}, (
            "three when an hour strikes meanwhile"
        )
        assert [(one.source, one.where.partition("/")[0]) for one in second.made(run["id"])] == [
            ("slack", CHANNEL)
        ]
        assert len(second.agents.work) == 1
    async with stage(tmp_path, edit=scheduled) as third:
        await third.until(lambda: known(third))
        assert len(await third.rows(EventRow)) == 1, "and not once more at the next start"
