"""Follow-ups that wait, on both databases: gathered, folded into one message, reserved before they are sent, joined."""

from __future__ import annotations

from typing import Any

import pytest
from services.facts import body_of, make_dispatch, make_event
from sqlalchemy import Connection, select, update

from schemas.dispatch import Dispatch
from storage import follow_ups
from storage.claims import Claim, claim_runs
from storage.clock import read_clock
from storage.conversations import run_id_of
from storage.database import Database
from storage.rows import table
from storage.runs import take_dispatch
from storage.tables import ConversationRow, RunRow


def word(number: int, *, gather: float = 5.0, **values: Any) -> Dispatch:
    event = make_event(f"evt_w{number}", text=f"Word {number}.", artefact=f"issue_comment:{number}")
    given = {"manner": "steer", "gather_seconds": gather, "follow_up": True, "event": event, **values}
    return make_dispatch(number, **given)


async def take(database: Database, *dispatches: Dispatch) -> list[str]:
    for one in dispatches:
        await database.write(take_dispatch, one, body_of(one))
    return [run_id_of(one.id) for one in dispatches]


async def row(database: Database, run_id: str) -> dict[str, Any]:
    rows = table(RunRow)
    return await database.read(
        lambda c: dict(c.execute(select(rows).where(rows.c.id == run_id)).mappings().one())
    )


async def hurry(database: Database) -> None:
    """It has been quiet for long enough."""
    rows = table(RunRow)

    def now(connection: Connection) -> None:
        connection.execute(update(rows).where(rows.c.status == "queued").values(due_at=0.0))

    await database.write(now)


async def claim(database: Database) -> list[Claim]:
    return await database.write(claim_runs, owner="one", limit=10, lease=60.0)


async def running(database: Database, run_id: str) -> None:
    rows = table(RunRow)

    def go(connection: Connection) -> None:
        connection.execute(update(rows).where(rows.c.id == run_id).values(status="running"))

    await database.write(go)


async def test_each_one_that_comes_makes_the_others_wait_but_not_for_ever(database: Database) -> None:
    first, second = await take(database, word(1), word(2))
    a, b = await row(database, first), await row(database, second)
    assert a["due_at"] == pytest.approx(b["due_at"], abs=0.5)
    assert a["due_at"] >= a["created_at"] + 5.0
    rows = table(RunRow)

    def age(connection: Connection) -> None:
        connection.execute(update(rows).where(rows.c.id == first).values(created_at=rows.c.created_at - 24.0))

    await database.write(age)
    await take(database, word(3))
    a, b = await row(database, first), await row(database, second)
    assert a["due_at"] == pytest.approx(a["created_at"] + 25.0, abs=0.1)
    assert b["due_at"] > a["due_at"]


async def test_nothing_is_claimed_before_it_is_quiet(database: Database) -> None:
    await take(database, word(1))
    assert await claim(database) == []
    await hurry(database)
    assert len(await claim(database)) == 1


async def test_those_that_wait_are_told_with_the_first(database: Database) -> None:
    ids = await take(database, word(1), word(2), word(3, gather=0.0), word(4))
    await hurry(database)
    (claimed,) = await claim(database)
    assert claimed.run_id == ids[0]
    states = [((found := await row(database, run_id))["status"], found["joined_to"]) for run_id in ids]
    assert states == [
        ("sending", None) if claimed.row["session_id"] else ("creating", None),
        ("joined", ids[0]),
        ("queued", None),
        ("joined", ids[0]),
    ]
    carried = await database.read(follow_ups.carried, ids[0])
    assert [one.event.data.text for one in carried] == ["Word 2.", "Word 4."]
    told = await database.read(follow_ups.told_in, ids[0])
    assert [one.event.data.text for one in told] == ["Word 2.", "Word 4."]


async def at_work(database: Database) -> tuple[str, str]:
    begun = make_dispatch(100)
    (run_id,) = await take(database, begun)
    await claim(database)
    await running(database, run_id)
    return run_id, begun.conversation


async def test_a_message_is_written_down_before_it_is_sent_and_joined_once(database: Database) -> None:
    run_id, conversation = await at_work(database)
    ids = await take(database, word(1), word(2))
    assert await database.read(follow_ups.waiting_for, "one") == {}
    assert await database.write(follow_ups.reserve, run_id, conversation) is None, "it is not quiet yet"
    await hurry(database)
    assert await database.read(follow_ups.waiting_for, "one") == {run_id: "steer"}
    assert await database.read(follow_ups.waiting_for, "another") == {}
    group = await database.write(follow_ups.reserve, run_id, conversation)
    assert group is not None
    assert (group.lead, group.known) == (ids[0], False)
    assert [one.event.data.text for one in group.dispatches] == ["Word 1.", "Word 2."]
    (late,) = await take(database, word(3))
    await hurry(database)
    again = await database.write(follow_ups.reserve, run_id, conversation)
    assert again is not None
    assert (again.lead, again.known, len(again.dispatches)) == (ids[0], True, 2), "nothing is added later"
    assert await database.read(follow_ups.reserved, run_id) == [again]
    now = await database.read(read_clock)
    for _ in range(2):
        await database.write(follow_ups.join, [(ids[0], "sevt_1")], now=now)
    states = [((found := await row(database, one))["status"], found["joined_to"]) for one in ids]
    assert states == [("joined", run_id), ("joined", ids[0])]
    assert await database.read(follow_ups.ids_told_in, run_id) == ids
    assert await database.read(follow_ups.carried, run_id) == ()
    following = await database.write(follow_ups.reserve, run_id, conversation)
    assert following is not None
    assert following.lead == late


async def test_what_may_have_been_sent_is_the_next_turn_with_just_what_it_carried(database: Database) -> None:
    run_id, conversation = await at_work(database)
    ids = await take(database, word(1), word(2))
    await hurry(database)
    await database.write(follow_ups.reserve, run_id, conversation)
    (late,) = await take(database, word(3))
    await hurry(database)
    rows = table(RunRow)

    def end(connection: Connection) -> None:
        ended = {"status": "failed", "lease_owner": None, "lease_until": None}
        connection.execute(update(rows).where(rows.c.id == run_id).values(**ended))

    await database.write(end)
    (claimed,) = await claim(database)
    assert (claimed.run_id, claimed.row["joined_to"]) == (ids[0], run_id)
    carried = await database.read(follow_ups.carried, ids[0])
    assert [one.event.data.text for one in carried] == ["Word 2."]
    assert (await row(database, late))["status"] == "queued"
    assert await database.read(follow_ups.ids_told_in, run_id) == []


async def test_what_waits_its_turn_is_not_steered(database: Database) -> None:
    run_id, conversation = await at_work(database)
    await take(database, word(1, manner="queue"))
    await hurry(database)
    assert await database.read(follow_ups.waiting_for, "one") == {}
    assert await database.write(follow_ups.reserve, run_id, conversation) is None


async def test_what_was_told_of_a_comment_is_known(database: Database) -> None:
    one = word(1)
    await take(database, one)
    known = await database.read(follow_ups.kinds_told, one.conversation, "issue_comment:1")
    assert known == {"issue.opened"}
    assert await database.read(follow_ups.kinds_told, one.conversation, "issue_comment:2") == set()
    assert await database.read(follow_ups.kinds_told, "other", "issue_comment:1") == set()


@pytest.mark.parametrize(
    ("told", "kind", "taint", "visibility"),
    [
        ("restricted", "comment.created", "restricted", "private"),
        ("restricted", "message.posted", "restricted", "restricted"),
        ("public", "comment.created", "private", "private"),
        ("shared", "comment.created", "private", "private"),
    ],
)
async def test_the_narrowest_place_that_was_told_of_is_kept(
    database: Database, told: Any, kind: Any, taint: str, visibility: str
) -> None:
    begun = make_dispatch(1)
    outside = told == "shared"
    event = make_event("evt_narrow", visibility="private" if outside else told, outside=outside)
    event = event.model_copy(update={"data": event.data.model_copy(update={"kind": kind})})
    await take(database, begun, make_dispatch(2, follow_up=True, event=event))
    rows = table(ConversationRow)
    found = await database.read(
        lambda c: c.execute(
            select(rows.c.taint, rows.c.visibility).where(rows.c.key == begun.conversation)
        ).one()
    )
    assert tuple(found) == (taint, visibility)
