"""What people see of lost webhooks: `why`, `events show`, `doctor`, and `/readyz` never fails for silence."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

from command_line import triggerhub
from hub_story import WAITING, event
from sqlalchemy import Connection

from storage import healing
from storage.database import open_database
from storage.deliveries import Incoming, IncomingEvent, store_deliveries
from storage.migrate import upgrade
from storage.rows import table
from storage.tables import Delivery, DeliveryOrigin

CONFIG = """\
version: 1
connections:
  acme-github: {source: github, webhook_secrets: [env:SECRET], token: env:TOKEN}
"""


async def prepared(folder: Path) -> dict[str, str]:
    """A database in which an event was fetched, a channel is switched off, and a connection has fallen silent."""
    url = f"sqlite:///{folder}/hub.db"
    database = open_database(url)
    await upgrade(database)
    await database.write(_fetched)
    await database.write(_silent)
    await database.write(healing.ensure, ["acme-github"])
    held = await database.write(healing.claim, ["acme-github"], owner="p1", lease=60.0)
    assert held is not None
    await database.write(healing.cursor, held, "repos/acme/checkout/hooks/7")
    await database.write(
        healing.switch_off, held, "repos/acme/checkout/hooks/7", reason="403 no permission", seconds=60.0
    )
    await database.write(healing.finish, held, delay=600.0, error=None)
    await database.close()
    (folder / "triggerhub.yaml").write_text(CONFIG, encoding="utf-8")
    return {"TRIGGERHUB_DATABASE_URL": url, "SECRET": "s3cret-of-the-hook", "TOKEN": "a-token-of-ours"}


def _fetched(connection: Connection) -> None:
    one = event(WAITING, "issue.opened")
    row = IncomingEvent.of(one, one.model_dump_json().encode())
    delivery = Incoming(
        id="acme-github:fetched:0a0b",
        connection="acme-github",
        outcome="handled",
        body_hash="0" * 64,
        body_size=1,
        origin=DeliveryOrigin.FETCHED,
        events=(row,),
    )
    store_deliveries(connection, [delivery])


def _silent(connection: Connection) -> None:
    """Every ten minutes for four weeks, and none for the last five hours."""
    last = time.time() - 5 * 3600
    rows: list[dict[str, Any]] = [
        {
            "id": f"acme-github:{number}",
            "connection": "acme-github",
            "outcome": "handled",
            "received_at": last - number * 600,
            "body_hash": "0",
            "body_size": 1,
        }
        for number in range(4 * 7 * 144)
    ]
    connection.execute(table(Delivery).insert(), rows)


async def test_people_are_told_what_was_fetched_what_cannot_be_and_who_is_silent(tmp_path: Path) -> None:
    env = await prepared(tmp_path)

    async def run(*arguments: str) -> Any:
        return await asyncio.to_thread(triggerhub, *arguments, folder=tmp_path, env=env)

    told = await run("why", WAITING)
    assert "It was fetched, not delivered: no webhook told of it" in told.out
    assert "fetched, not delivered" in (await run("events", "show", WAITING)).out
    assert (await run("why", WAITING, "--json")).json()["delivery"]["origin"] == "fetched"
    found = (await run("doctor", "--json", "--offline")).json()["findings"]
    [gap] = [one for one in found if one["about"] == "gaps"]
    assert gap["state"] == "warn"
    assert "repos/acme/checkout/hooks/7 cannot be fetched: 403 no permission" in gap["detail"]
    [silence] = [one for one in found if one["about"] == "silence"]
    assert silence["state"] == "warn"
    assert "connection acme-github: none for 5 h; in each of 3 weeks before" in silence["detail"]
