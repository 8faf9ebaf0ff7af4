"""Results on both databases: one row per run and slot, one poster at a time, the receipt kept for ever."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from services.facts import make_result
from sqlalchemy import Connection, select, update

from schemas.result import Receipt, Result
from storage import outbox, results
from storage.clock import db_now
from storage.database import Database
from storage.results import ResultClaim
from storage.routing import made_by_us
from storage.rows import table
from storage.tables import ConversationSubject, ResultRow, ResultStatus

LEASE = 60.0


async def want(database: Database, result: Result, *, tool_use_id: str | None = "toolu_1") -> bool:
    return await database.write(results.want_result, result, tool_use_id=tool_use_id)


async def take(database: Database, result: Result) -> None:
    await database.write(results.take_result, result, result.model_dump_json().encode())


async def ready(database: Database, *wanted: Result) -> None:
    for result in wanted:
        await want(database, result)
        await take(database, result)


async def claim(database: Database, owner: str = "p1", *, limit: int = 10) -> list[ResultClaim]:
    return await database.write(results.claim_results, owner=owner, limit=limit, lease=LEASE)


async def row_of(database: Database, result_id: str) -> dict[str, Any]:
    rows = table(ResultRow)
    return await database.read(
        lambda c: dict(c.execute(select(rows).where(rows.c.id == result_id)).mappings().one())
    )


async def expire(database: Database, result_id: str) -> None:
    """As if the poster had been dead for longer than its lease."""
    rows = table(ResultRow)
    await database.write(
        lambda c: (
            c.execute(update(rows).where(rows.c.id == result_id).values(lease_until=db_now() - 1)).rowcount
        )
    )


async def test_a_slot_is_wanted_once(database: Database, other_database: Database) -> None:
    result = make_result("run_1")
    wanted = await asyncio.gather(*(want(where, result) for where in [database, other_database] * 5))
    assert sorted(wanted) == [False] * 9 + [True]
    assert (await database.read(outbox.depth))[0] == 1
    assert await database.read(results.slots_of, "run_1") == {"comment:1": "comment"}


async def test_a_result_is_claimed_only_after_a_poster_took_its_message(database: Database) -> None:
    result = make_result("run_1")
    await want(database, result)
    assert await claim(database) == []
    await take(database, result)
    [held] = await claim(database)
    assert (held.result, held.owner, held.fence, held.attempts) == (result, "p1", 1, 1)
    assert await claim(database, "p2") == []


async def test_a_message_that_comes_again_changes_nothing(database: Database) -> None:
    result = make_result("run_1")
    await ready(database, result)
    [held] = await claim(database)
    await take(database, result)
    assert (await row_of(database, result.id))["status"] == "posting"
    assert await database.write(results.keep_receipt, held, Receipt(url="https://example.com/1"))
    await take(database, result)
    assert (await row_of(database, result.id))["status"] == "posted"
    assert await claim(database) == []


async def test_a_result_of_another_program_is_stored_when_it_is_taken(database: Database) -> None:
    result = make_result("foreign")
    await take(database, result)
    await take(database, result)
    [held] = await claim(database)
    assert held.result == result
    assert (await row_of(database, result.id))["tool_use_id"] is None


async def test_concurrent_posters_never_share_a_result(database: Database, other_database: Database) -> None:
    await ready(database, *(make_result("run_1", f"comment:{n}") for n in range(30)))
    parts = await asyncio.gather(
        *(claim(where, f"p{n}", limit=4) for n, where in enumerate([database, other_database] * 6))
    )
    rest = await claim(database, "last", limit=100)
    got = [held.id for part in [*parts, rest] for held in part]
    assert len(got) == len(set(got)) == 30


async def test_a_receipt_is_kept_and_known_by_its_artefact(database: Database) -> None:
    result = make_result("run_1", "open_pull_request:1")
    await ready(database, result)
    [held] = await claim(database)
    receipt = Receipt(
        url="https://example.com/pull/7", artefact="PR_7", subject="acme/checkout#7", note="new"
    )
    assert await database.write(results.keep_receipt, held, receipt)
    assert await database.read(made_by_us, connection_name="acme-github", artefact="PR_7") == result.id
    assert await database.read(made_by_us, connection_name="acme-github", artefact="PR_8") is None
    assert await database.read(made_by_us, connection_name="other", artefact="PR_7") is None
    [settled] = (await database.read(results.settled_results, ["run_1", "run_2"]))["run_1"]
    assert (settled.status, settled.receipt, settled.error) == (ResultStatus.POSTED, receipt, None)
    assert (settled.slot, settled.tool_use_id, settled.answered) == ("open_pull_request:1", "toolu_1", False)
    links = await database.read(lambda c: c.execute(select(table(ConversationSubject))).mappings().all())
    assert [(link["subject"], link["conversation"]) for link in links] == [
        ("acme/checkout#7", result.conversation)
    ]


async def test_a_refusal_is_final_and_says_why(database: Database) -> None:
    result = make_result("run_1")
    await ready(database, result)
    [held] = await claim(database)
    assert await database.write(results.refuse_result, held, "GitHub answered 403\x00: no access")
    [settled] = (await database.read(results.settled_results, ["run_1"]))["run_1"]
    assert (settled.status, settled.error) == (ResultStatus.REFUSED, "GitHub answered 403\ufffd: no access")
    assert await claim(database) == []
    assert not await database.write(results.keep_receipt, held, Receipt())


async def test_a_postponed_result_comes_back_after_its_delay_with_its_attempts(database: Database) -> None:
    result = make_result("run_1")
    await ready(database, result)
    [held] = await claim(database)
    assert await database.write(results.postpone_result, held, delay=3600, error="rate limit")
    assert await claim(database) == []
    assert await database.read(results.settled_results, ["run_1"]) == {}
    rows = table(ResultRow)
    await database.write(lambda c: c.execute(update(rows).values(due_at=db_now())).rowcount)
    [again] = await claim(database)
    assert (again.attempts, again.fence) == (2, 2)


async def test_attempts_that_end_with_their_poster_do_not_count_until_there_are_too_many(
    database: Database,
) -> None:
    """A poster that is killed twelve times is no reason to refuse its posts."""
    await ready(database, make_result("run_1"))
    rows = table(ResultRow)
    over = update(rows).values(lease_until=db_now() - 1, due_at=db_now() - 1)
    for claims in range(1, results.MAX_CLAIMS + 1):
        [held] = await claim(database)
        assert (held.attempts, held.counted) == (claims, 1)
        await database.write(lambda connection: connection.execute(over).rowcount)
    for more in range(1, 4):
        [held] = await claim(database)
        assert held.counted == 1 + more
        await database.write(lambda connection: connection.execute(over).rowcount)


async def test_a_result_that_was_not_tried_goes_back_without_an_attempt(database: Database) -> None:
    await ready(database, make_result("run_1"))
    for fence in (1, 2, 3):
        [held] = await claim(database)
        assert (held.attempts, held.fence) == (1, fence)
        assert await database.write(results.give_back_result, held)
        assert not await database.write(results.give_back_result, held)


async def test_a_poster_that_vanished_loses_its_claim_to_the_next(
    database: Database, other_database: Database
) -> None:
    result = make_result("run_1")
    await ready(database, result)
    [old] = await claim(database, "p1")
    await expire(database, result.id)
    parts = await asyncio.gather(*(claim(where, "p1") for where in [database, other_database] * 4))
    [new] = [one for part in parts for one in part]
    assert (new.fence, new.attempts) == (2, 2)
    assert not await database.write(results.keep_receipt, old, Receipt(artefact="old"))
    assert not await database.write(results.refuse_result, old, "late")
    assert not await database.write(results.postpone_result, old, delay=0, error="late")
    assert await database.write(results.keep_receipt, new, Receipt(artefact="new"))
    assert not await database.write(results.keep_receipt, new, Receipt(artefact="twice"))
    assert (await row_of(database, result.id))["artefact"] == "new"


async def test_all_leases_of_others_can_be_taken_away_at_once(database: Database) -> None:
    await ready(database, make_result("run_1"))
    await claim(database, "before the crash")
    assert await database.write(results.release_all, except_owner="me") == 1
    assert len(await claim(database, "me")) == 1


async def test_an_answer_is_noted(database: Database) -> None:
    result = make_result("run_1")
    await ready(database, result)
    [held] = await claim(database)
    await database.write(results.keep_receipt, held, Receipt())
    await database.write(results.mark_answered, result.id)
    [settled] = (await database.read(results.settled_results, ["run_1"]))["run_1"]
    assert settled.answered


@pytest.mark.parametrize("text", ["a\x00b", "🦊", "x" * 300_000])
async def test_any_words_of_the_agent_arrive_as_they_are(database: Database, text: str) -> None:
    result = make_result("run_1").model_copy(update={"arguments": {"text": text}})
    await ready(database, result)
    [held] = await claim(database)
    assert held.result == result


async def test_wanting_and_failing_leaves_neither_row_nor_message(database: Database) -> None:
    def want_and_fail(connection: Connection) -> None:
        results.want_result(connection, make_result("run_1"), tool_use_id=None)
        raise LookupError

    with pytest.raises(LookupError):
        await database.write(want_and_fail)
    assert await database.read(results.slots_of, "run_1") == {}
    assert (await database.read(outbox.depth))[0] == 0
