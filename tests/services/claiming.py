"""Runs on their way, for tests of storage: taken, claimed, moved, left by owners that died. Asserts little of its own."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, select, update

from schemas.dispatch import Dispatch
from services.facts import body_of
from storage import claims, runs
from storage.claims import Claim
from storage.clock import db_now
from storage.database import Database
from storage.rows import table
from storage.tables import RunRow, RunStatus

LEASE = 60.0


async def take(database: Database, *dispatches: Dispatch) -> list[bool]:
    """As the runner's Kafka handler does: one transaction for a batch."""

    def all_of(connection: Connection) -> list[bool]:
        return [runs.take_dispatch(connection, one, body_of(one)) for one in dispatches]

    return await database.write(all_of)


async def claim(
    database: Database, owner: str = "w1", *, limit: int = 10, lease: float = LEASE
) -> list[Claim]:
    return await database.write(claims.claim_runs, owner=owner, limit=limit, lease=lease)


async def run_row(database: Database, run_id: str) -> dict[str, Any]:
    rows = table(RunRow)
    return await database.read(
        lambda c: dict(c.execute(select(rows).where(rows.c.id == run_id)).mappings().one())
    )


async def expire(database: Database, run_id: str) -> None:
    """As if the owner's process had been dead for longer than its lease."""
    rows = table(RunRow)
    await database.write(
        lambda c: c.execute(update(rows).where(rows.c.id == run_id).values(lease_until=db_now() - 1)).rowcount
    )


async def walk(database: Database, held: Claim, *states: RunStatus) -> None:
    """Move along, each step from the last."""
    before = RunStatus((await run_row(database, held.run_id))["status"])
    for after in states:
        assert await database.write(runs.move_run, held, before, after)
        before = after
