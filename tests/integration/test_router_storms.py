"""Storms: ten thousand events of one fault start one run, which knows how many there were."""

from __future__ import annotations

from typing import Any

from router_samples import event, rule, rule_set
from services.facts import body_of, make_delivery
from sqlalchemy import func, select, update

from hub.broker import Taken
from router.subscriber import Router, Rules
from runner.messages import instructions
from schemas.dispatch import Dispatch
from schemas.event import Event
from storage import claims, runs
from storage.conversations import run_id_of
from storage.database import Database
from storage.deliveries import store_deliveries
from storage.rows import table
from storage.tables import DispatchRow, RunRow, VerdictRow

STORM = 10_000
BATCH = 500


class Storm:
    """A router with a rule on alerts, over a database."""

    def __init__(self, database: Database, **written: Any) -> None:
        self.database = database
        self.announced: list[Any] = []
        fixing = rule(name="fix", match={"source": "github", "kind": "issue.opened"}, **written)
        self._router = Router(Rules(rule_set(fixing)), database, announce=self.announced.extend)
        self._number = 0

    async def take(self, count: int) -> None:
        """Store so many events of one subject, and route them as one batch."""
        found = []
        for _ in range(count):
            self._number += 1
            found.append(event().model_copy(update={"id": f"evt_{self._number:05}"}))
        incoming = make_delivery(found[0].id, *found)
        await self.database.write(store_deliveries, [incoming])
        bodies = [one.model_dump_json().encode() for one in found]
        await self._router.take([Taken(Event.model_validate_json(body), body) for body in bodies])

    def dispatches(self) -> list[Dispatch]:
        return [one for _, one in self.announced if isinstance(one, Dispatch)]

    async def claim(self) -> list[claims.Claim]:
        """Take the dispatches, let the time they wait pass, and claim."""
        rows = table(RunRow)
        for one in self.dispatches():
            await self.database.write(runs.take_dispatch, one, body_of(one))
        assert await self.database.write(claims.claim_runs, owner="w", limit=9, lease=60.0) == []
        await self.database.write(lambda c: c.execute(update(rows).values(due_at=0.0)).rowcount)
        return await self.database.write(claims.claim_runs, owner="w", limit=9, lease=60.0)

    async def clauses(self) -> dict[str | None, int]:
        rows = table(VerdictRow)
        query = select(rows.c.clause, func.count()).group_by(rows.c.clause)
        return await self.database.read(lambda c: {clause: n for clause, n in c.execute(query)})  # noqa: C416


async def test_ten_thousand_events_of_one_fault_start_one_session_that_knows_the_count(
    sqlite_database: Database,
) -> None:
    storm = Storm(sqlite_database, debounce="1m")
    for _ in range(STORM // BATCH):
        await storm.take(BATCH)
    (claim,) = await storm.claim()
    assert claim.dispatch.folded == STORM - 1
    assert f"{STORM - 1} further events of the same kind came" in instructions(claim.dispatch, claim.run_id)
    assert (await storm.clauses())["folded"] == STORM - 1


async def test_after_the_time_the_next_begins_a_run_of_its_own(database: Database) -> None:
    storm = Storm(database, debounce="30s", follow_up="new")
    await storm.take(3)
    rows = table(DispatchRow)
    await database.write(lambda c: c.execute(update(rows).values(created_at=rows.c.created_at - 31)).rowcount)
    await storm.take(2)
    first, second = storm.dispatches()
    folded = {one.run_id: one.dispatch.folded for one in await storm.claim()}
    assert folded == {run_id_of(first.id): 2, run_id_of(second.id): 1}


async def test_without_debounce_each_event_is_told(database: Database) -> None:
    storm = Storm(database)
    await storm.take(3)
    assert len(storm.dispatches()) == 3
    assert [one.debounce_seconds for one in storm.dispatches()] == [0.0] * 3
