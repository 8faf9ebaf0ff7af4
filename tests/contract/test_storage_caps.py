"""Caps on both databases: what is beyond waits, in the claim's own transaction, and costs nothing where there is none."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest
from services.facts import body_of, make_dispatch, make_result
from sqlalchemy import Connection, event, select, update

from schemas.caps import Cap, CapSet
from schemas.dispatch import Dispatch, Limits
from schemas.result import Receipt
from storage import claims, ledger, presence, runs
from storage.caps import Admission
from storage.claims import Claim
from storage.clock import read_clock
from storage.conversations import run_id_of
from storage.database import Database
from storage.holding import TELL_AFTER
from storage.presence import Outcome
from storage.rows import table
from storage.standing import standing_of
from storage.tables import ResultRow, RunRow, RunStatus


def of(number: int, rule: str = "one", *, cents: int | None = 100, **values: Any) -> Dispatch:
    return make_dispatch(
        number, rule=rule, conversation=f"{rule}:{number}", limits=Limits(budget_cents=cents), **values
    )


async def take(database: Database, *dispatches: Dispatch) -> None:
    def all_of(connection: Connection) -> None:
        for one in dispatches:
            runs.take_dispatch(connection, one, body_of(one))

    await database.write(all_of)


async def claim(
    database: Database, caps: CapSet, *, owner: str = "w1", limit: int = 10, **more: Any
) -> list[Claim]:
    asked = Admission(caps, **more)
    return await database.write(claims.claim_runs, owner=owner, limit=limit, lease=60.0, admission=asked)


async def set_all(database: Database, **values: Any) -> None:
    rows = table(RunRow)
    await database.write(lambda c: c.execute(update(rows).values(**values)).rowcount)


async def held(database: Database) -> dict[str, int]:
    return await database.read(ledger.held)


async def end(database: Database, claim: Claim, *, cents: int) -> None:
    """The run's turn ends, its session having cost so much."""

    def store(connection: Connection) -> None:
        session = f"sesn_{claim.run_id}"
        ledger.charge(
            connection, session_id=session, total=cents, run_id=claim.run_id, rule=claim.dispatch.rule,
            team=claim.dispatch.team,
        )  # fmt: skip
        rows = table(RunRow)
        done = {"status": RunStatus.SUCCEEDED.value, "lease_owner": None, "lease_until": None}
        connection.execute(update(rows).where(rows.c.id == claim.run_id).values(**done))

    await database.write(store)


RULE, TEAM = {"one": Cap(concurrent=2)}, {"shop": Cap(concurrent=2)}


@pytest.mark.parametrize(
    ("caps", "by"),
    [
        (CapSet(rules=RULE), "rule.concurrent"),
        (CapSet(teams=TEAM), "team.concurrent"),
        (CapSet(Cap(concurrent=2)), "all.concurrent"),
        (CapSet(rules={"one": Cap(starts_per_hour=2)}), "rule.starts_per_hour"),
        (CapSet(Cap(per_day_cents=299)), "all.per_day_usd"),
    ],
)
async def test_what_is_beyond_a_cap_is_held_by_its_name(database: Database, caps: CapSet, by: str) -> None:
    await take(database, *(of(n, team="shop") for n in range(1, 6)))
    assert len(await claim(database, caps)) == 2
    assert await held(database) == {by: 3}


async def test_others_behind_what_is_held_start_at_once(database: Database) -> None:
    await take(database, *(of(n) for n in range(1, 8)), of(20, "two"))
    found = await claim(database, CapSet(rules={"one": Cap(concurrent=1)}), limit=4)
    assert sorted(one.dispatch.rule for one in found) == ["one", "two"]


async def test_a_place_that_gets_free_is_taken(database: Database) -> None:
    caps = CapSet(rules={"one": Cap(concurrent=1)})
    await take(database, of(1), of(2))
    (first,) = await claim(database, caps)
    assert await claim(database, caps) == []
    await end(database, first, cents=10)
    await set_all(database, due_at=0.0)
    assert [one.run_id for one in await claim(database, caps)] == [run_id_of(of(2).id)]
    await set_all(database, due_at=0.0)
    assert await held(database) == {}


async def test_a_day_is_reserved_and_then_settled(database: Database) -> None:
    caps = CapSet(Cap(per_day_cents=250))
    await take(database, *(of(n) for n in range(1, 5)))
    first, second = await claim(database, caps)
    await end(database, first, cents=40)
    await set_all(database, due_at=0.0)
    (third,) = await claim(database, caps)  # 40 spent and 100 reserved leave 110
    await end(database, second, cents=100)
    await end(database, third, cents=100)
    await set_all(database, due_at=0.0)
    assert await claim(database, caps) == []  # 240 are spent, and 100 would go beyond
    spent = await database.read(lambda c: ledger.entries(c, since=0))
    assert [(one.rule, one.cents, one.runs) for one in spent] == [("one", 240, 3)]
    assert await held(database) == {"all.per_day_usd": 1}


async def test_a_dead_runners_reservation_is_kept_and_not_made_twice(database: Database) -> None:
    caps = CapSet(Cap(per_day_cents=150))
    await take(database, of(1), of(2))
    await claim(database, caps, limit=1)
    await set_all(database, due_at=0.0, lease_until=0.0)
    (again,) = await claim(database, caps, owner="w2")
    assert (again.run_id, again.fence) == (run_id_of(of(1).id), 2)
    (reserved,) = await database.read(ledger.reserved)
    assert (reserved.cents, reserved.runs) == (100, 1)


async def test_runners_that_claim_at_once_never_go_beyond(
    database: Database, other_database: Database
) -> None:
    caps = CapSet(Cap(per_day_cents=750))
    await take(database, *(of(n) for n in range(1, 31)))
    found = await asyncio.gather(
        *(claim(one, caps, owner=f"w{n}", limit=3) for n in range(6) for one in (database, other_database))
    )
    assert sum(map(len, found)) == 7


async def test_without_caps_a_claim_asks_nothing_more(database: Database) -> None:
    await take(database, of(1), of(2, "two"))
    asked: list[str] = []

    def count(connection: Connection) -> None:
        def note(_connection: Any, _cursor: Any, statement: str, *_others: Any) -> None:
            asked.append(statement)

        event.listen(connection, "before_cursor_execute", note)
        capped = CapSet(rules={"three": Cap(concurrent=1)})
        claims.claim_runs(connection, owner="w", limit=5, lease=60.0, admission=Admission(capped))

    await database.write(count)
    assert len(asked) > 2
    assert not [one for one in asked if "advisory" in one or "count(*)" in one or "FROM spend" in one]


async def test_the_origin_is_told_once_after_a_while(database: Database) -> None:
    told: list[str] = []

    def notice(dispatch: Dispatch, run_id: str, by: str, until: float | None) -> Any:
        del dispatch
        assert until is None
        told.append(by)
        return make_result(run_id, "held")

    caps = CapSet(rules={"one": Cap(concurrent=1)})
    await take(database, of(1), of(2))
    await claim(database, caps, notice=notice)
    rows, results = table(RunRow), table(ResultRow)

    async def later(*, since: float, looked: float) -> None:
        def shift(connection: Connection) -> None:
            values = {
                "held_at": rows.c.held_at - since,
                "updated_at": rows.c.updated_at - looked,
                "due_at": 0.0,
            }
            connection.execute(update(rows).where(rows.c.status == "queued").values(**values))

        await database.write(shift)
        assert await claim(database, caps, notice=notice) == []

    await later(since=5.0, looked=5.0)
    assert told == []
    await later(since=TELL_AFTER, looked=2.0)
    await later(since=9.0, looked=9.0)
    assert told == ["rule.concurrent"]
    found = await database.read(lambda c: c.execute(select(results.c.slot)).scalars().all())
    assert found == ["held"]


@pytest.mark.parametrize("by", ["rule.per_day_usd", "team.starts_per_hour"])
async def test_a_status_message_tells_why_a_run_waits_and_until_when(database: Database, by: str) -> None:
    """By itself: then no other words are posted, however long it takes."""
    caps = {
        "rule.per_day_usd": CapSet(rules={"one": Cap(per_day_cents=100)}),
        "team.starts_per_hour": CapSet(teams={"shop": Cap(starts_per_hour=1)}),
    }[by]
    told: list[str] = []

    def notice(dispatch: Dispatch, run_id: str, by: str, until: float | None) -> Any:
        del dispatch, until
        told.append(by)
        return make_result(run_id, "held")

    first, waits = of(1, team="shop", presence="status"), of(2, team="shop", presence="status")
    await take(database, first, waits)
    await database.write(presence.want, waits)
    run_id = run_id_of(waits.id)
    signs = await database.write(presence.claim_presence, owner="p", limit=10, lease=60.0)
    (sign,) = (one for one in signs if (one.run_id, one.kind) == (run_id, presence.STATUS))
    seen = Outcome(sign, receipt=Receipt(artefact="1"), shown="queued", delay=900.0)
    await database.write(presence.settle, [seen])
    await claim(database, caps, notice=notice)
    again = await database.write(presence.claim_presence, owner="p", limit=10, lease=60.0)
    assert [(one.run_id, one.kind) for one in again] == [(run_id, presence.STATUS)], "it is edited at once"
    standing = await database.read(standing_of, run_id, sign.wanted)
    assert standing is not None
    assert (standing.status, standing.held) == (RunStatus.QUEUED, by)
    assert standing.held_until is not None
    now = await database.read(read_clock)
    if by == "rule.per_day_usd":
        assert standing.held_until % ledger.DAY_SECONDS == 0
        assert 0 < standing.held_until - now <= ledger.DAY_SECONDS
    else:
        assert 3590 < standing.held_until - now <= 3600
    rows = table(RunRow)
    later = {"held_at": rows.c.held_at - 2 * TELL_AFTER, "due_at": 0.0}
    await database.write(
        lambda c: c.execute(update(rows).where(rows.c.id == run_id).values(**later)).rowcount
    )
    await claim(database, caps, notice=notice)
    assert told == []


@pytest.mark.parametrize("totals", [(30, 30, 70), (70, 30, 70), (70,)])
async def test_a_sessions_rows_add_up_to_its_cost(database: Database, totals: tuple[int, ...]) -> None:
    def charge(connection: Connection) -> list[int]:
        who: Mapping[str, Any] = {"session_id": "sesn_1", "rule": "one", "team": None}
        return [
            ledger.charge(connection, total=total, run_id=f"run_{n}", **who) for n, total in enumerate(totals)
        ]

    assert sum(await database.write(charge)) == 70
    assert await database.read(ledger.seen, ["sesn_1", "sesn_2"]) == {"sesn_1": 70}


async def test_what_a_session_cost_after_its_run_goes_to_that_run(database: Database) -> None:
    await take(database, of(1))
    (claimed,) = await claim(database, CapSet())
    await database.write(runs.adopt_session, claimed, "sesn_1")
    late: dict[str, Any] = {"total": 55, "made_for": claimed.run_id}
    assert await database.write(ledger.settle_late, "sesn_1", **late) == 0  # its runner charges it
    await set_all(database, status="failed")
    assert await database.write(ledger.settle_late, "sesn_1", **late) == 55
    assert await database.write(ledger.settle_late, "sesn_1", **late) == 0
    rows = table(RunRow)
    assert await database.read(lambda c: c.execute(select(rows.c.cost_cents)).scalars().all()) == [55]
