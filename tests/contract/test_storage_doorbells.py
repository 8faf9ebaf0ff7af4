"""Rings for runs and broken credentials, on both databases."""

from __future__ import annotations

from typing import Any

import hub_story as story
import pytest
from sqlalchemy import Connection, select, update

from storage import credentials, doorbells, remote_objects
from storage.conversations import run_id_of
from storage.credentials import PINNED
from storage.database import Database
from storage.doorbells import Look, Rung
from storage.remote_objects import Remote
from storage.rows import table
from storage.runs import take_dispatch
from storage.tables import RunRow

SESSION = "sesn_doorbell"


async def run_in(database: Database, status: str, *, name: str = "aa01", **values: Any) -> str:
    """A run whose session is SESSION."""
    dispatch = story.dispatch(story.event(story.UNTAKEN), name)
    run_id = run_id_of(dispatch.id)
    rows = table(RunRow)

    def store(connection: Connection) -> None:
        take_dispatch(connection, dispatch, dispatch.model_dump_json().encode())
        changed = {"status": status, "session_id": SESSION, "due_at": 9e12, **values}
        connection.execute(update(rows).where(rows.c.id == run_id).values(**changed))

    await database.write(store)
    return run_id


async def row(database: Database, run_id: str) -> dict[str, Any]:
    rows = table(RunRow)
    return await database.read(
        lambda connection: dict(connection.execute(select(rows).where(rows.c.id == run_id)).mappings().one())
    )


async def test_a_ring_makes_a_run_that_waits_due_and_is_counted(database: Database) -> None:
    run_id = await run_in(database, "waiting")
    assert await database.write(doorbells.ring, SESSION) == Rung(run_id, "waiting", active=True)
    after = await row(database, run_id)
    assert after["due_at"] < 9e12
    assert await database.read(doorbells.rung, [run_id]) == {run_id: 1}
    await database.write(doorbells.ring, SESSION)
    assert await database.read(doorbells.rung, [run_id]) == {run_id: 2}


async def test_a_run_that_is_followed_is_told_and_no_more(database: Database) -> None:
    run_id = await run_in(database, "running", lease_owner="one", lease_until=9e12)
    assert await database.write(doorbells.ring, SESSION, at_rest=False) == Rung(
        run_id, "running", active=True
    )
    assert await database.read(doorbells.rung, [run_id]) == {}
    await database.write(doorbells.ring, SESSION)
    after = await row(database, run_id)
    assert (after["rung"], after["due_at"], after["lease_owner"]) == (1, 9e12, "one")


async def test_ended_and_foreign_sessions_ring_for_nobody(database: Database) -> None:
    run_id = await run_in(database, "succeeded")
    assert await database.write(doorbells.ring, SESSION) == Rung(run_id, "succeeded", active=False)
    assert (await row(database, run_id))["rung"] == 0
    assert await database.write(doorbells.ring, "sesn_of_somebody_else") is None


async def test_looks_wake_only_whom_they_are_for_and_grow_apart(database: Database) -> None:
    run_id = await run_in(database, "waiting")
    (one,) = await database.read(doorbells.waiting, limit=10)
    assert (one.run_id, one.session_id, one.seen_as, one.is_due) == (run_id, SESSION, None, True)
    assert await database.write(doorbells.looked, [Look(run_id, "idle", 60.0, wakes=False)]) == 0
    (one,) = await database.read(doorbells.waiting, limit=10)
    assert (one.seen_as, one.is_due) == ("idle", False)
    assert one.distance == pytest.approx(60.0)
    assert await database.write(doorbells.looked, [Look(run_id, "over", 60.0, wakes=True)]) == 1
    assert (await row(database, run_id))["due_at"] < 9e12


async def test_runs_that_somebody_holds_are_not_looked_after(database: Database) -> None:
    await run_in(database, "waiting", lease_owner="one", lease_until=9e12)
    assert await database.read(doorbells.waiting, limit=10) == []


async def test_a_broken_credential_is_kept_until_it_is_mended(database: Database) -> None:
    failed: dict[str, Any] = {"credential_id": "vcrd_1", "vault_id": "vlt_1", "event_id": "evt_1"}
    assert await database.write(credentials.failed, **failed, failed_at=100.0)
    assert not await database.write(credentials.failed, **failed, failed_at=90.0)
    assert await database.read(credentials.failures) == [], "no vault of ours"
    pin = Remote("vlt_1", "vlt_1", None)
    await database.write(remote_objects.replace, kind=PINNED, name="tools", before=None, after=pin)
    (one,) = await database.read(credentials.failures)
    assert (one.vault, one.credential_id, one.failed_at) == ("tools", "vcrd_1", 100.0)
    assert await database.read(credentials.failures, ["others"]) == []
    assert await database.read(credentials.count) == 1
    assert await database.write(credentials.mended, "vcrd_1")
    assert not await database.write(credentials.mended, "vcrd_1")
    assert await database.read(credentials.count) == 0


async def test_with_a_vault_its_credentials_go(database: Database) -> None:
    for credential in ("vcrd_1", "vcrd_2"):
        await database.write(
            credentials.failed, credential_id=credential, vault_id="vlt_1", event_id="evt_1", failed_at=1.0
        )
    assert await database.write(credentials.vault_gone, "vlt_1") == 2
    assert await database.write(credentials.vault_gone, "vlt_1") == 0
