"""Runs on both databases: made once, and moved, stopped and charged as their table allows."""

from __future__ import annotations

import asyncio

import pytest
from services.claiming import LEASE, claim, run_row, take, walk
from services.facts import make_dispatch, make_event
from sqlalchemy import select

from storage import conversations, runs
from storage.conversations import run_id_of
from storage.database import Database
from storage.rows import table
from storage.states import MoveError
from storage.tables import ConversationRow, ConversationSubject, RunStatus

# -- making ------------------------------------------------------------------------------------------------------------


async def test_a_dispatch_makes_one_run_however_often_it_arrives(database: Database) -> None:
    dispatch = make_dispatch(1)
    assert await take(database, dispatch) == [True]
    assert await take(database, dispatch, dispatch) == [False, False]
    row = await run_row(database, run_id_of(dispatch.id))
    assert (row["status"], row["attempts"], row["conversation"]) == ("queued", 0, dispatch.conversation)


async def test_two_processes_that_take_the_same_dispatch_make_one_run(
    database: Database, other_database: Database
) -> None:
    made = await asyncio.gather(*(take(where, make_dispatch(1)) for where in [database, other_database] * 6))
    assert sorted(one for part in made for one in part) == [False] * 11 + [True]


async def test_a_repeated_dispatch_does_not_disturb_its_running_run(database: Database) -> None:
    dispatch = make_dispatch(1)
    await take(database, dispatch)
    [held] = await claim(database)
    assert await take(database, dispatch) == [False]
    assert await database.write(runs.move_run, held, RunStatus.CREATING, RunStatus.SENDING)


async def test_the_conversation_is_linked_to_its_subject(database: Database) -> None:
    await take(database, make_dispatch(1), make_dispatch(2))
    links = await database.read(lambda c: c.execute(select(table(ConversationSubject))).mappings().all())
    assert [(link["connection"], link["subject"]) for link in links] == [("acme-github", "acme/checkout#12")]


async def test_odd_text_in_a_dispatch_comes_back_as_it_was(database: Database) -> None:
    dispatch = make_dispatch(1, event=make_event("evt_1", subject="a\x00b 🦊", text="a\x00b 🦊"))
    await take(database, dispatch)
    [held] = await claim(database)
    assert held.dispatch == dispatch


# -- moving ------------------------------------------------------------------------------------------------------------


async def test_a_move_expects_the_status_it_names(database: Database) -> None:
    await take(database, make_dispatch(1))
    [held] = await claim(database)
    assert not await database.write(runs.move_run, held, RunStatus.SENDING, RunStatus.RUNNING)
    assert await database.write(runs.move_run, held, RunStatus.CREATING, RunStatus.SENDING, message_id="m-1")
    row = await run_row(database, held.run_id)
    assert (row["status"], row["message_id"]) == ("sending", "m-1")


async def test_a_move_that_the_table_forbids_is_an_error_and_changes_nothing(database: Database) -> None:
    await take(database, make_dispatch(1))
    [held] = await claim(database)
    with pytest.raises(MoveError, match="creating to succeeded"):
        await database.write(runs.move_run, held, RunStatus.CREATING, RunStatus.SUCCEEDED)
    assert (await run_row(database, held.run_id))["status"] == "creating"


async def test_an_ended_run_is_released_dated_and_never_claimed(database: Database) -> None:
    await take(database, make_dispatch(1))
    [held] = await claim(database)
    await walk(database, held, RunStatus.FAILED)
    row = await run_row(database, held.run_id)
    assert (row["status"], row["lease_owner"], row["lease_until"]) == ("failed", None, None)
    assert row["ended_at"] is not None
    assert await claim(database, "w2") == []
    assert not await database.write(runs.note_run, held, message_id="late")


# -- sessions ----------------------------------------------------------------------------------------------------------


async def test_the_next_run_of_a_conversation_goes_into_its_session(database: Database) -> None:
    await take(database, make_dispatch(1), make_dispatch(2))
    [first] = await claim(database)
    assert await database.write(runs.adopt_session, first, "sesn_1", agent_id="agent_1")
    await walk(database, first, RunStatus.RUNNING, RunStatus.REPORTING, RunStatus.SUCCEEDED)
    [second] = await claim(database)
    assert (second.status, second.row["session_id"]) == (RunStatus.SENDING, "sesn_1")


async def session_of(database: Database, conversation: str) -> str | None:
    rows = table(ConversationRow)
    query = select(rows.c.session_id).where(rows.c.key == conversation)
    found: str | None = await database.read(lambda c: c.execute(query).scalar_one())
    return found


async def test_a_session_that_is_gone_is_forgotten_once(database: Database) -> None:
    dispatch = make_dispatch(1)
    await take(database, dispatch, make_dispatch(2))
    [first] = await claim(database)
    await database.write(runs.adopt_session, first, "sesn_1")
    await database.write(conversations.forget_session, dispatch.conversation, "sesn_other")
    assert await session_of(database, dispatch.conversation) == "sesn_1"
    await database.write(conversations.forget_session, dispatch.conversation, "sesn_1")
    assert await session_of(database, dispatch.conversation) is None
    await walk(database, first, RunStatus.FAILED)
    [second] = await claim(database)
    assert (second.status, second.row["session_id"]) == (RunStatus.CREATING, None)


async def test_a_conversation_is_charged_what_was_added(database: Database) -> None:
    dispatch = make_dispatch(1)
    await take(database, dispatch)
    charged = [
        await database.write(conversations.charge_conversation, dispatch.conversation, cents)
        for cents in (30, 30, 75, 10)
    ]
    assert charged == [30, 0, 45, 0]
    assert await database.write(conversations.charge_conversation, "no such", 5) == 5


# -- stopping ----------------------------------------------------------------------------------------------------------


async def test_a_queued_run_that_is_stopped_never_starts(database: Database) -> None:
    await take(database, make_dispatch(1), make_dispatch(2))
    run_id = run_id_of(make_dispatch(1).id)
    assert await database.write(runs.ask_to_stop, run_id, reason="cancelled") == "queued"
    row = await run_row(database, run_id)
    assert (row["status"], row["stop_reason"]) == ("cancelled", "cancelled")
    assert row["ended_at"] is not None
    assert [held.run_id for held in await claim(database)] == [run_id_of(make_dispatch(2).id)]


async def test_an_active_run_is_asked_and_its_owner_hears_of_it(database: Database) -> None:
    await take(database, make_dispatch(1))
    [held] = await claim(database)
    assert await database.read(runs.stop_wanted, [held.run_id]) == {}
    assert await database.write(runs.ask_to_stop, held.run_id, reason="cancelled") == "creating"
    assert await database.read(runs.stop_wanted, [held.run_id, "run_other"]) == {held.run_id: "cancelled"}
    await walk(database, held, RunStatus.STOPPING)
    assert await database.read(runs.stop_wanted, [held.run_id]) == {}


async def test_stopping_what_is_over_or_unknown_changes_nothing(database: Database) -> None:
    await take(database, make_dispatch(1))
    [held] = await claim(database)
    await walk(database, held, RunStatus.FAILED)
    assert await database.write(runs.ask_to_stop, held.run_id, reason="cancelled") == "failed"
    assert (await run_row(database, held.run_id))["stop_reason"] is None
    assert await database.write(runs.ask_to_stop, "run_none", reason="cancelled") is None


async def test_stopping_and_claiming_at_once_never_loses_the_wish(
    database: Database, other_database: Database
) -> None:
    for n in range(12):
        await take(database, make_dispatch(n, conversation=f"c{n}"))
        run_id = run_id_of(make_dispatch(n).id)
        held, _ = await asyncio.gather(
            claim(database, lease=LEASE), other_database.write(runs.ask_to_stop, run_id, reason="cancelled")
        )
        row = await run_row(database, run_id)
        if row["status"] == "cancelled":
            assert not held
        else:
            assert row["stop_reason"] == "cancelled"
            assert [one.run_id for one in held] == [run_id]
