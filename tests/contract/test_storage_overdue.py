"""What counts as due is what claiming and sweeping would take first, on both databases."""

from __future__ import annotations

from services.facts import body_of, make_delivery, make_dispatch, make_event, make_result
from sqlalchemy import Connection, select, update

from schemas.dispatch import Dispatch
from storage import claims, outbox, overdue, results, runs
from storage.database import Database
from storage.deliveries import store_deliveries
from storage.rows import table
from storage.tables import OutboxRow, ResultRow, RunRow, RunStatus


async def test_nothing_is_due_in_an_empty_database(database: Database) -> None:
    for query in (overdue.first_run, overdue.first_result, overdue.first_message):
        assert await database.read(query) is None


async def test_runs(database: Database) -> None:
    def take(connection: Connection, one: Dispatch) -> None:
        runs.take_dispatch(connection, one, body_of(one))

    for number in (1, 2):  # of one conversation: the second waits for the first
        await database.write(take, make_dispatch(number))
    await database.write(take, make_dispatch(3, conversation="another"))
    claimed: list[str] = []
    while (first := await database.read(overdue.first_run)) is not None:
        [claim] = await database.write(claims.claim_runs, owner="box", limit=1, lease=60)
        assert claim.run_id == first
        claimed.append(first)
    assert len(claimed) == 2, "the second of the conversation is not due while the first is active"
    rows = table(RunRow)
    gone = update(rows).where(rows.c.id == claimed[0]).values(lease_until=1.0)
    await database.write(lambda c: c.execute(gone).rowcount)
    assert await database.read(overdue.first_run) == claimed[0], "an orphan"
    [claim] = await database.write(claims.claim_runs, owner="box", limit=1, lease=60)
    await database.write(runs.move_run, claim, RunStatus.CREATING, RunStatus.FAILED)
    second = await database.read(overdue.first_run)
    assert second is not None
    assert second not in claimed
    later = update(rows).where(rows.c.id == second).values(due_at=rows.c.due_at + 3600)
    await database.write(lambda c: c.execute(later).rowcount)
    assert await database.read(overdue.first_run) is None
    assert await database.write(claims.claim_runs, owner="box", limit=9, lease=60) == []


async def test_results(database: Database) -> None:
    result = make_result("run_1")
    await database.write(results.want_result, result, tool_use_id=None)
    assert await database.read(overdue.first_result) is None, "its message is on the way"
    await database.write(results.take_result, result, result.model_dump_json().encode())
    assert await database.read(overdue.first_result) == result.id
    assert await database.read(overdue.first_result, without=["acme-github"]) is None
    [claim] = await database.write(results.claim_results, owner="box", limit=1, lease=60)
    assert await database.read(overdue.first_result) is None
    await database.write(results.postpone_result, claim, delay=3600.0, error="later", excused=False)
    assert await database.read(overdue.first_result) is None


async def test_a_result_whose_poster_vanished(database: Database) -> None:
    result = make_result("run_1")
    await database.write(results.want_result, result, tool_use_id=None)
    await database.write(results.take_result, result, result.model_dump_json().encode())
    await database.write(results.claim_results, owner="box", limit=1, lease=-1)
    assert await database.read(overdue.first_result) == result.id


async def test_messages(database: Database) -> None:
    await database.write(store_deliveries, [make_delivery("d-1", make_event("evt_1"))])
    assert await database.read(overdue.first_message) is None, "its own process publishes it first"
    rows = table(OutboxRow)
    await database.write(lambda c: c.execute(update(rows).values(due_at=rows.c.due_at - 60)).rowcount)
    assert await database.read(overdue.first_message) == "triggerhub.events evt_1"
    assert [message.ref for message in await database.write(outbox.sweep)] == ["evt_1"]
    assert await database.read(overdue.first_message) is None


async def test_a_result_of_a_newer_version_is_refused_and_stops_no_other(database: Database) -> None:
    """A row that a process of another version left: the claim must say so and go on to the next."""
    newer, good = make_result("run_1", slot="comment:newer"), make_result("run_1", slot="comment:good")
    for result in (newer, good):
        await database.write(results.want_result, result, tool_use_id=None)
        await database.write(results.take_result, result, result.model_dump_json().encode())
    rows = table(ResultRow)
    body = newer.model_dump_json().replace('"version":1', '"version":2').encode()
    change = update(rows).where(rows.c.id == newer.id).values(body=body)
    await database.write(lambda c: c.execute(change).rowcount)
    claims = await database.write(results.claim_results, owner="box", limit=5, lease=60)
    assert [claim.id for claim in claims] == [good.id]
    found = await database.read(
        lambda c: c.execute(select(rows.c.status, rows.c.error).where(rows.c.id == newer.id)).one()
    )
    assert found[0] == "refused"
    assert "written in schema version 2" in found[1]
