"""Claims of runs on both databases: one owner at a time, in order, under leases that end and a fence."""

from __future__ import annotations

import asyncio

from services.claiming import claim, expire, run_row, take, walk
from services.facts import make_dispatch
from sqlalchemy import select, update

from storage import claims, runs
from storage.clock import db_now
from storage.conversations import run_id_of
from storage.database import Database
from storage.rows import table
from storage.spacing import Spacing
from storage.tables import ConversationRow, RunRow, RunStatus

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
