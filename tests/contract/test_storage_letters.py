"""Dead letters on both databases: a retry is published until it was consumed, and what dies again is another letter."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from services.facts import make_event
from sqlalchemy import select

from schemas.topics import EVENTS, RESULTS
from storage import dead_letters, outbox, queries
from storage.database import Database
from storage.dead_letters import DeadLetter, LetterResolvedError, bury
from storage.outbox import Message, Repeated
from storage.rows import table
from storage.tables import DeadLetterRow, LetterStatus

LETTER = DeadLetter(
    id="triggerhub.events/3/17/0a0b0c0d",
    topic=EVENTS.name,
    key=b"\xff\x00",
    value=b"\x00{nonsense",
    reason="not JSON",
    ref="evt_1",
)
PUBLISHED = Message(EVENTS.name, LETTER.id, "", LETTER.value, Repeated(LETTER.key, "evt_1"))


async def row_of(database: Database, letter_id: str = LETTER.id) -> dict[str, Any]:
    rows = table(DeadLetterRow)
    return await database.read(
        lambda c: dict(c.execute(select(rows).where(rows.c.id == letter_id)).mappings().one())
    )


async def retry(database: Database, letter_id: str = LETTER.id) -> LetterStatus | None:
    return await database.write(dead_letters.retry, letter_id)


async def test_a_retry_is_published_as_it_was_until_it_is_consumed(database: Database) -> None:
    await database.write(bury, LETTER)
    assert await retry(database) is LetterStatus.DEAD
    assert await database.write(outbox.sweep) == [PUBLISHED]
    assert await database.write(outbox.sweep) == []
    await database.write(outbox.make_all_due)  # the broker forgot it, or whoever published it died
    assert await database.write(outbox.sweep) == [PUBLISHED]
    assert (await row_of(database))["status"] == LetterStatus.RETRYING
    await database.write(dead_letters.settle_retry, LETTER.id)
    row = await row_of(database)
    assert row["status"] == LetterStatus.RETRIED
    assert row["resolved_at"] >= row["at"]
    assert await database.read(outbox.depth) == (0, 0.0)


async def test_two_who_retry_at_once_publish_once(database: Database, other_database: Database) -> None:
    await database.write(bury, LETTER)
    before = await asyncio.gather(*(retry(where) for where in [database, other_database] * 4))
    assert sorted(status for status in before if status) == ["dead", *["retrying"] * 7]
    assert (await database.read(outbox.depth))[0] == 1


async def test_what_dies_again_is_another_letter(database: Database) -> None:
    await database.write(bury, LETTER)
    await retry(database)
    again = replace(LETTER, id="triggerhub.events/3/99/0a0b0c0d", repeats=LETTER.id, reason="still not JSON")
    assert await database.write(bury, again)
    assert (await row_of(database))["status"] == LetterStatus.RETRIED
    row = await row_of(database, again.id)
    assert (row["status"], row["repeats"], row["reason"]) == ("dead", LETTER.id, "still not JSON")
    assert await database.read(outbox.depth) == (0, 0.0)
    assert await retry(database, again.id) is LetterStatus.DEAD


async def test_a_letter_that_dies_again_at_the_same_position_is_dead_again(database: Database) -> None:
    """A broker that forgot begins at the same positions."""
    await database.write(bury, LETTER)
    await retry(database)
    assert await database.write(bury, replace(LETTER, repeats=LETTER.id, reason="again"))
    row = await row_of(database)
    assert (row["status"], row["reason"], row["resolved_at"]) == ("dead", "again", None)
    assert await database.read(outbox.depth) == (0, 0.0)
    await database.write(dead_letters.drop, LETTER.id, reason="nobody needs it")
    assert await database.write(bury, LETTER)
    assert (await row_of(database))["status"] == LetterStatus.DEAD


async def test_a_copy_of_a_letter_under_way_changes_nothing(database: Database) -> None:
    await database.write(bury, LETTER)
    assert not await database.write(bury, LETTER)
    await retry(database)
    assert not await database.write(bury, LETTER)
    assert (await row_of(database))["status"] == LetterStatus.RETRYING
    assert (await database.read(outbox.depth))[0] == 1


@pytest.mark.parametrize("under_way", [False, True])
async def test_a_dropped_letter_keeps_its_bytes_and_the_reason(
    database: Database, *, under_way: bool
) -> None:
    await database.write(bury, LETTER)
    if under_way:
        await retry(database)
    before = await database.write(dead_letters.drop, LETTER.id, reason="a test of\x00 last year")
    assert before is (LetterStatus.RETRYING if under_way else LetterStatus.DEAD)
    row = await row_of(database)
    assert (row["status"], row["note"], row["value"]) == (
        "dropped",
        "a test of\ufffd last year",
        LETTER.value,
    )
    assert await database.read(outbox.depth) == (0, 0.0)
    await database.write(dead_letters.settle_retry, LETTER.id)  # its copy was consumed after all
    assert (await row_of(database))["status"] == LetterStatus.DROPPED
    for work in (dead_letters.retry, lambda c, i: dead_letters.drop(c, i, reason="x")):
        with pytest.raises(LetterResolvedError, match="was dropped before"):
            await database.write(work, LETTER.id)


async def test_what_cannot_be_retried(database: Database) -> None:
    assert await retry(database, "no such letter") is None
    assert await database.write(dead_letters.drop, "no such letter", reason="x") is None
    strange = DeadLetter(id="old.topic/0/0/x", topic="old.topic", key=None, value=b"", reason="empty")
    await database.write(bury, strange)
    with pytest.raises(LetterResolvedError, match="nobody consumes"):
        await retry(database, strange.id)
    assert await database.write(dead_letters.drop, strange.id, reason="gone") is LetterStatus.DEAD


async def test_letters_are_listed_without_bytes_and_found_by_a_beginning(database: Database) -> None:
    await database.write(bury, LETTER)
    await database.write(bury, replace(LETTER, id="triggerhub.results/0/1/x", topic=RESULTS.name))
    await retry(database)
    page = await database.read(queries.list_letters, limit=10, status="dead")
    assert [row["id"] for row in page.rows] == ["triggerhub.results/0/1/x"]
    assert "value" not in page.rows[0]
    page = await database.read(queries.list_letters, limit=10, topic=EVENTS.name)
    assert [row["status"] for row in page.rows] == ["retrying"]
    assert (await database.read(queries.find_letter, "triggerhub.events/3/17")).id == LETTER.id
    assert (await database.read(queries.find_letter, "triggerhub.")).id is None


async def test_the_oldest_message_of_each_topic_counts_retries_with_their_topic(database: Database) -> None:
    assert await database.read(outbox.oldest) == {}
    await database.write(bury, LETTER)
    await retry(database)

    def put(connection: Any) -> None:
        outbox.put(connection, RESULTS.name, ref="r", key="k", now=make_event("evt_1").time.timestamp())

    await database.write(put)
    ages = await database.read(outbox.oldest)
    assert set(ages) == {EVENTS.name, RESULTS.name}
    assert ages[EVENTS.name] < 60 < ages[RESULTS.name]
