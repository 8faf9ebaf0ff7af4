"""Runs on both databases: signs of presence are made once, held by one, shown last as the run stands last."""

from __future__ import annotations

from typing import Any

import pytest
from services.facts import body_of, make_dispatch
from sqlalchemy import Connection, select, update

from schemas.dispatch import Dispatch
from schemas.result import Receipt
from storage import claims, presence, runs
from storage.clock import db_now, read_clock
from storage.conversations import run_id_of
from storage.database import Database
from storage.presence import Outcome, PresenceClaim
from storage.presence_tables import PresenceRow, PresenceStatus
from storage.routing import made_by_us
from storage.rows import table
from storage.tables import RunStatus

PACE = {"edit_seconds": 10.0, "together": 2}


async def make(database: Database, number: int = 1, **values: Any) -> Dispatch:
    """A run with its signs, as the runner's handler makes them."""
    fields: dict[str, Any] = {"presence": "status", "conversation": f"c{number}", **values}
    dispatch = make_dispatch(number, **fields)

    def both(connection: Connection) -> None:
        if runs.take_dispatch(connection, dispatch, body_of(dispatch)):
            presence.want(connection, dispatch)

    await database.write(both)
    return dispatch


async def claim(database: Database, owner: str = "p1") -> list[PresenceClaim]:
    return await database.write(presence.claim_presence, owner=owner, limit=100, lease=60.0)


async def status_of(database: Database, owner: str = "p1") -> PresenceClaim:
    (found,) = (one for one in await claim(database, owner) if one.kind == presence.STATUS)
    return found


async def row(database: Database, run_id: str, kind: str = presence.STATUS) -> dict[str, Any]:
    rows = table(PresenceRow)
    query = select(rows).where(rows.c.run_id == run_id, rows.c.kind == kind)
    return await database.read(lambda c: dict(c.execute(query).mappings().one()))


async def change(database: Database, **values: Any) -> None:
    await database.write(lambda c: c.execute(update(table(PresenceRow)).values(**values)).rowcount)


async def expire(database: Database) -> None:
    """As if the holder's process had been dead for longer than its lease."""
    await change(database, lease_until=db_now() - 1)


def shown(held: PresenceClaim, text: str = "working", **more: Any) -> Outcome:
    receipt = Receipt(artefact="comment:1", url="https://example.com/1")
    return Outcome(held, **{"receipt": receipt, "shown": text, "delay": 15.0, **PACE, **more})


async def settle(database: Database, *outcomes: Outcome) -> int:
    return await database.write(presence.settle, outcomes)


@pytest.mark.parametrize(
    ("values", "kinds"),
    [
        ({"presence": "none"}, set()),
        ({"presence": "seen"}, {"seen"}),
        ({"presence": "status"}, {"seen", "status"}),
        ({"presence": "none", "check": "agent"}, {"check"}),
        ({"presence": "status", "staged": True}, set()),
    ],
)
async def test_a_rule_gets_the_signs_that_it_asks_for(
    database: Database, values: dict[str, Any], kinds: set[str]
) -> None:
    await make(database, **values)
    await make(database, **values)  # the dispatch arrives twice
    assert {one.kind for one in await claim(database)} == kinds


async def test_one_holds_it_and_who_lost_it_changes_nothing(database: Database) -> None:
    run = run_id_of((await make(database)).id)
    first = await status_of(database, "p1")
    assert await claim(database, "p2") == []
    await expire(database)
    second = await status_of(database, "p2")
    assert (first.tried, second.tried) == (1, 2)  # whoever comes second looks for it before making it
    assert await settle(database, shown(first, "stale")) == 0
    assert await settle(database, shown(second, "fresh")) == 1
    assert (await row(database, run))["shown"] == "fresh"


async def test_what_was_not_sent_is_no_try(database: Database) -> None:
    await make(database)
    held = await status_of(database)
    await settle(database, Outcome(held, untried=True))
    assert (await status_of(database)).tried == 1


async def test_the_end_waits_for_the_vendor_alone_and_the_rest_for_their_share(database: Database) -> None:
    first = run_id_of((await make(database, 1)).id)
    for number in range(2, 9):
        await make(database, number)
    held = [one for one in await claim(database) if one.kind == presence.STATUS]
    assert len(held) == 8
    await settle(database, *(shown(one) for one in held))
    newest = await row(database, held[-1].run_id)
    assert newest["calm_before"] - newest["updated_at"] == pytest.approx(8 / 2 * 10.0, abs=0.5)
    assert newest["not_before"] - newest["updated_at"] == pytest.approx(10.0, abs=0.5)
    now = await database.read(read_clock)
    await change(database, calm_before=now + 40, not_before=now + 10, due_at=now + 300)
    await database.write(presence.touch, first, now=now, waited_for=False)
    assert (await row(database, first))["due_at"] == pytest.approx(now + 40, abs=0.01)
    await database.write(presence.touch, first, now=now)
    assert (await row(database, first))["due_at"] == pytest.approx(now + 10, abs=0.01)


async def test_what_changed_while_it_was_shown_is_looked_at_again(database: Database) -> None:
    run = run_id_of((await make(database)).id)
    held = await status_of(database)
    now = await database.read(read_clock)
    await database.write(presence.touch, run, now=now)  # the run ends while an older state is being posted
    await settle(database, shown(held, delay=300.0))
    after = await row(database, run)
    assert after["due_at"] - after["updated_at"] == pytest.approx(10.0, abs=0.1)


async def test_a_long_run_tells_less_often(database: Database) -> None:
    run = run_id_of((await make(database)).id)
    await change(database, created_at=db_now() - 7200.0)
    await settle(database, shown(await status_of(database)))
    after = await row(database, run)
    assert after["calm_before"] - after["updated_at"] == pytest.approx(360.0, abs=5.0)


async def test_the_end_of_a_run_makes_its_signs_due(database: Database) -> None:
    run = run_id_of((await make(database)).id)
    await settle(database, shown(await status_of(database), delay=300.0))
    (work,) = await database.write(claims.claim_runs, owner="w1", limit=10, lease=60.0)
    now = await database.read(read_clock)
    await change(database, not_before=now - 1, calm_before=now + 300)
    assert await database.write(runs.move_run, work, RunStatus.CREATING, RunStatus.SENDING)
    assert (await row(database, run))["due_at"] > now + 200
    assert await database.write(runs.move_run, work, RunStatus.SENDING, RunStatus.FAILED, error="no")
    assert (await row(database, run))["due_at"] < now + 60


async def test_what_it_made_is_known_for_ours(database: Database) -> None:
    dispatch = await make(database)
    await settle(database, shown(await status_of(database)))

    async def ours(artefact: str) -> str | None:
        return await database.read(made_by_us, connection_name=dispatch.event.connection, artefact=artefact)

    assert await ours("comment:1") == run_id_of(dispatch.id)
    assert await ours("comment:2") is None


async def test_a_message_that_somebody_deleted_is_made_anew_under_another_name(database: Database) -> None:
    await make(database)
    await settle(database, shown(await status_of(database)))
    await change(database, due_at=db_now() - 1)
    held = await status_of(database)
    await settle(database, Outcome(held, gone=True))
    again = await status_of(database)
    assert (again.slot, again.receipt, again.tried) == ("status-end", None, 1)


async def test_who_tells_the_end(database: Database) -> None:
    told = run_id_of((await make(database, 1)).id)
    untold = run_id_of((await make(database, 2, presence="seen")).id)
    assert await database.read(presence.tells, told)
    assert not await database.read(presence.tells, untold)
    await change(database, status=PresenceStatus.DROPPED.value)
    assert not await database.read(presence.tells, told)


async def test_leases_of_the_dead_end_at_a_start(database: Database) -> None:
    await make(database)
    assert await claim(database, "dead")
    await database.write(presence.release_all, except_owner="alive")
    assert len(await claim(database, "alive")) == 2
    await database.write(presence.release_all, except_owner="alive")
    assert await claim(database, "other") == []
