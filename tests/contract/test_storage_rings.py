"""Rings that come while a run begins to wait or is looked at, and credentials that hurt a run, on both databases."""

from __future__ import annotations

from typing import Any

from services.facts import body_of, make_dispatch
from sqlalchemy import Connection, select

from storage import budgets, claims, credentials, doorbells, remote_objects, runs
from storage.claims import Claim
from storage.clock import read_clock
from storage.database import Database
from storage.remote_objects import Remote
from storage.rows import table
from storage.tables import RunRow, RunStatus


async def running(database: Database, number: int = 1) -> Claim:
    """A run that is followed, in the session `sesn_<number>`."""
    one = make_dispatch(number, conversation=f"c{number}")

    def take(connection: Connection) -> None:
        runs.take_dispatch(connection, one, body_of(one))

    await database.write(take)
    (claim,) = await database.write(claims.claim_runs, owner="w1", limit=1, lease=60.0)
    await database.write(
        runs.move_run, claim, RunStatus.CREATING, RunStatus.SENDING, session_id=f"sesn_{number}"
    )
    await database.write(runs.move_run, claim, RunStatus.SENDING, RunStatus.RUNNING)
    return claim


async def waiting(database: Database, number: int = 1) -> Claim:
    claim = await running(database, number)
    until = await database.read(read_clock) + 3600.0
    assert await database.write(budgets.wait_at_budget, claim, until=until)
    return claim


async def row(database: Database, run_id: str) -> dict[str, Any]:
    rows = table(RunRow)
    query = select(rows).where(rows.c.id == run_id)
    return await database.read(lambda c: dict(c.execute(query).mappings().one()))


async def test_a_ring_between_looking_and_waiting_is_not_lost(database: Database) -> None:
    until = await database.read(read_clock) + 3600.0

    async def due(number: int, *, seen: int) -> float:
        claim = await running(database, number)
        await database.write(doorbells.ring, f"sesn_{number}")

        def wait(connection: Connection) -> None:
            assert budgets.wait_at_budget(connection, claim, until=until)
            doorbells.wake_again(connection, claim.run_id, seen=seen)

        await database.write(wait)
        found: float = (await row(database, claim.run_id))["due_at"]
        return found

    assert await due(1, seen=1) == until, "it looked after that ring"
    assert await due(2, seen=0) < until - 60


async def test_a_ring_while_a_waiting_run_is_looked_at_makes_it_due_again(database: Database) -> None:
    claim = await waiting(database)
    await database.write(doorbells.ring, "sesn_1")
    (held,) = await database.write(claims.claim_runs, owner="w2", limit=1, lease=60.0)
    await database.write(doorbells.ring, "sesn_1")
    assert await database.write(budgets.wait_on, held)
    assert len(await database.write(claims.claim_runs, owner="w3", limit=1, lease=60.0)) == 1
    assert (await row(database, claim.run_id))["status"] == "waiting"


async def test_a_run_names_what_broke_before_it_ended(database: Database) -> None:
    one = make_dispatch(1, vaults=("tools",))

    def take(connection: Connection) -> None:
        runs.take_dispatch(connection, one, body_of(one))

    await database.write(take)
    ours = Remote("vlt_1", "vlt_1", None)
    await database.write(
        remote_objects.replace, kind=credentials.PINNED, name="tools", before=None, after=ours
    )
    await database.write(
        credentials.failed, credential_id="vcrd_1", vault_id="vlt_1", event_id="evt_1", failed_at=100.0
    )

    async def named(until: float | None) -> list[str]:
        found = await database.read(credentials.hurting, one.id, until=until)
        return [each.credential_id for each in found]

    assert (await named(None), await named(100.0), await named(99.0)) == (["vcrd_1"], ["vcrd_1"], [])
    assert await database.read(credentials.hurting, "dsp_unknown", until=None) == []
