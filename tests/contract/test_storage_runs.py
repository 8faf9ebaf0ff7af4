"""Runs on both databases: made once, claimed by one owner, in order, and changed only by who still owns them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from services.facts import body_of, make_dispatch, make_event
from sqlalchemy import Connection, select, update

from schemas.dispatch import Dispatch
from storage import claims, conversations, runs
from storage.claims import Claim
from storage.clock import db_now
from storage.conversations import run_id_of
from storage.database import Database
from storage.rows import table
from storage.spacing import Spacing
from storage.states import MoveError
from storage.tables import ConversationRow, ConversationSubject, RunRow, RunStatus

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


# -- claiming ----------------------------------------------------------------------------------------------------------


async def test_a_claim_says_what_is_to_be_done(database: Database) -> None:
    dispatch = make_dispatch(1)
    await take(database, dispatch)
    [held] = await claim(database)
    assert held.dispatch == dispatch
    assert (held.owner, held.fence, held.attempts, held.status) == ("w1", 1, 1, RunStatus.CREATING)
    assert held.row["intent_at"] is not None
    assert await claim(database) == []


async def test_concurrent_claimers_never_share_a_run(database: Database, other_database: Database) -> None:
    await take(database, *(make_dispatch(n, conversation=f"c{n}") for n in range(40)))
    parts = await asyncio.gather(
        *(claim(where, f"w{n}", limit=5) for n, where in enumerate([database, other_database] * 8))
    )
    rest = await claim(database, "last", limit=100)
    got = [held.run_id for part in [*parts, rest] for held in part]
    assert len(got) == len(set(got)) == 40
    assert all(len(part) <= 5 for part in parts)


async def test_one_conversation_has_one_active_run_under_concurrent_claimers(
    database: Database, other_database: Database
) -> None:
    await take(database, *(make_dispatch(n) for n in range(12)))
    for n in range(12):
        parts = await asyncio.gather(
            *(claim(where, f"w{m}") for m, where in enumerate([database, other_database] * 4))
        )
        [held] = [one for part in parts for one in part]
        assert held.run_id == run_id_of(make_dispatch(n).id)
        await walk(
            database, held, RunStatus.SENDING, RunStatus.RUNNING, RunStatus.REPORTING, RunStatus.SUCCEEDED
        )
    assert await claim(database) == []


async def test_runs_of_a_conversation_go_in_the_order_in_which_they_were_taken(database: Database) -> None:
    """A batch is taken within a millisecond or two, and identifiers say nothing about order."""
    order = [n * 7 % 40 for n in range(40)]
    await take(database, *(make_dispatch(n) for n in order))
    seen = []
    for _ in order:
        [held] = await claim(database)
        seen.append(held.run_id)
        await walk(database, held, RunStatus.FAILED)
    assert seen == [run_id_of(make_dispatch(n).id) for n in order]


async def test_a_clock_that_was_set_back_does_not_change_the_order(database: Database) -> None:
    await take(database, make_dispatch(2))
    rows = table(RunRow)
    await database.write(
        lambda c: c.execute(update(rows).values(created_at=rows.c.created_at + 3600)).rowcount
    )
    await take(database, make_dispatch(1))
    [held] = await claim(database)
    assert held.run_id == run_id_of(make_dispatch(2).id)


async def test_another_conversation_is_not_held_up(database: Database) -> None:
    await take(database, make_dispatch(1), make_dispatch(2), make_dispatch(3, conversation="other"))
    assert [held.run_id for held in await claim(database)] == [
        run_id_of(make_dispatch(1).id),
        run_id_of(make_dispatch(3).id),
    ]


async def test_the_limit_is_kept_and_the_oldest_go_first(database: Database) -> None:
    await take(database, *(make_dispatch(n, conversation=f"c{n}") for n in range(5)))
    assert [held.run_id for held in await claim(database, limit=2)] == [
        run_id_of(make_dispatch(n).id) for n in range(2)
    ]


# -- owning ------------------------------------------------------------------------------------------------------------


async def test_an_orphaned_run_is_claimed_again_where_it_stood(database: Database) -> None:
    await take(database, make_dispatch(1))
    [first] = await claim(database, "w1")
    await database.write(runs.adopt_session, first, "sesn_1")
    assert await claim(database, "w2") == []
    await expire(database, first.run_id)
    [second] = await claim(database, "w2")
    assert (second.owner, second.fence, second.status) == ("w2", 2, RunStatus.SENDING)
    assert second.row["session_id"] == "sesn_1"


async def test_the_fence_keeps_the_old_owner_out_of_everything(database: Database) -> None:
    await take(database, make_dispatch(1))
    [old] = await claim(database, "w1")
    await expire(database, old.run_id)
    [new] = await claim(database, "w1")  # even when the same process claims it again
    assert not await database.write(runs.move_run, old, RunStatus.CREATING, RunStatus.SENDING)
    assert not await database.write(runs.adopt_session, old, "sesn_old")
    assert not await database.write(runs.note_run, old, message_id="m")
    assert not await database.write(claims.release_run, old, delay=0, count_attempt=True)
    row = await run_row(database, old.run_id)
    assert (row["status"], row["session_id"], row["message_id"], row["fence"]) == ("creating", None, None, 2)
    assert await database.write(runs.adopt_session, new, "sesn_new")
    conversation = await database.read(lambda c: c.execute(select(table(ConversationRow))).mappings().one())
    assert conversation["session_id"] == "sesn_new"


async def test_only_one_of_many_reclaims_an_orphan(database: Database, other_database: Database) -> None:
    await take(database, make_dispatch(1))
    [first] = await claim(database, "w0")
    await expire(database, first.run_id)
    parts = await asyncio.gather(
        *(claim(where, f"w{n}") for n, where in enumerate([database, other_database] * 6))
    )
    assert [held.fence for part in parts for held in part] == [2]


async def test_attempts_are_counted_when_claiming_and_reset_by_progress(database: Database) -> None:
    await take(database, make_dispatch(1))
    for attempt in (1, 2):
        [held] = await claim(database)
        assert held.attempts == attempt
        await expire(database, held.run_id)
    [held] = await claim(database)
    assert held.attempts == 3
    await walk(database, held, RunStatus.SENDING)
    await expire(database, held.run_id)
    [held] = await claim(database)
    assert held.attempts == 1


async def test_a_released_run_comes_back_after_its_delay(database: Database) -> None:
    await take(database, make_dispatch(1))
    [held] = await claim(database, "w1")
    assert await database.write(claims.release_run, held, delay=3600, count_attempt=True)
    assert await claim(database, "w2") == []
    rows = table(RunRow)
    await database.write(lambda c: c.execute(update(rows).values(due_at=db_now())).rowcount)
    [again] = await claim(database, "w2")
    assert (again.attempts, again.status) == (2, RunStatus.CREATING)
    assert not await database.write(runs.note_run, held, message_id="m")


async def test_what_dies_with_its_claimer_again_and_again_is_spaced_out(database: Database) -> None:
    """Beside it are others, which would be killed with it as often, and given up as early."""
    await take(database, make_dispatch(1))
    spacing = Spacing(base=100, longest=150, free=2)
    due: list[float] = []
    for _ in range(4):
        [held] = await database.write(claims.claim_runs, owner="w", limit=9, lease=60, spacing=spacing)
        row = await run_row(database, held.run_id)
        due.append(row["due_at"] - row["updated_at"])
        await expire(database, held.run_id)
        if due[-1]:
            assert await claim(database) == []  # though its lease ran out
            await database.write(lambda c: c.execute(update(table(RunRow)).values(due_at=db_now())).rowcount)
    assert due[0] == 0.0
    assert 75 <= due[1] <= 125
    assert all(112 <= one <= 188 for one in due[2:])


async def test_progress_ends_the_spacing(database: Database) -> None:
    await take(database, make_dispatch(1))
    spacing = Spacing(base=1000, free=1)
    [held] = await database.write(claims.claim_runs, owner="w", limit=9, lease=60, spacing=spacing)
    await walk(database, held, RunStatus.SENDING)
    await expire(database, held.run_id)
    assert [again.run_id for again in await claim(database)] == [held.run_id]


async def test_a_graceful_stop_does_not_count_as_an_attempt(database: Database) -> None:
    await take(database, make_dispatch(1))
    for _ in range(3):
        [held] = await claim(database)
        assert held.attempts == 1
        assert await database.write(claims.release_run, held, delay=0, count_attempt=False)


async def test_leases_are_renewed_for_what_is_still_held(database: Database) -> None:
    await take(database, make_dispatch(1, conversation="c1"), make_dispatch(2, conversation="c2"))
    kept, lost = await claim(database, "w1", lease=30)
    before = (await run_row(database, kept.run_id))["lease_until"]
    await expire(database, lost.run_id)
    [_] = await claim(database, "w2")
    both = [kept.run_id, lost.run_id]
    assert await database.write(claims.renew_leases, both, owner="w1", lease=90) == {kept.run_id}
    assert (await run_row(database, kept.run_id))["lease_until"] > before + 50


async def test_an_expired_lease_is_not_renewed(database: Database) -> None:
    """Between expiry and renewal another process may have begun: whoever was late must stop."""
    await take(database, make_dispatch(1))
    [held] = await claim(database, "w1")
    await expire(database, held.run_id)
    assert await database.write(claims.renew_leases, [held.run_id], owner="w1", lease=90) == set()


async def test_a_lease_that_its_owner_does_not_name_runs_out(database: Database) -> None:
    """A run that could not be given back is in nobody's hand: renewed with the others it would be lost for good."""
    await take(database, make_dispatch(1, conversation="c1"), make_dispatch(2, conversation="c2"))
    kept, dropped = await claim(database, "w1", lease=30)
    before = (await run_row(database, dropped.run_id))["lease_until"]
    assert await database.write(claims.renew_leases, [kept.run_id], owner="w1", lease=90) == {kept.run_id}
    assert (await run_row(database, dropped.run_id))["lease_until"] == before


async def test_all_leases_of_others_can_be_taken_away_at_once(database: Database) -> None:
    await take(database, make_dispatch(1, conversation="c1"), make_dispatch(2, conversation="c2"))
    [mine] = await claim(database, "me", limit=1)
    [theirs] = await claim(database, "them", limit=1)
    assert await database.write(claims.release_all, except_owner="me") == 1
    assert [held.run_id for held in await claim(database, "me")] == [theirs.run_id]
    assert await database.write(runs.note_run, mine, message_id="m")


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


async def test_a_session_that_is_gone_is_forgotten_once(database: Database) -> None:
    dispatch = make_dispatch(1)
    await take(database, dispatch, make_dispatch(2))
    [first] = await claim(database)
    await database.write(runs.adopt_session, first, "sesn_1")
    await database.write(conversations.forget_session, dispatch.conversation, "sesn_other")
    assert await database.read(conversations.owner_of_session, ["sesn_1", "sesn_2"]) == {
        "sesn_1": dispatch.conversation
    }
    await database.write(conversations.forget_session, dispatch.conversation, "sesn_1")
    assert await database.read(conversations.owner_of_session, ["sesn_1"]) == {}
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
