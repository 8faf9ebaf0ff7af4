"""The router replays an event under the rules now in force, and never does twice what was done, unless it is told to."""

from __future__ import annotations

from typing import Any

from router_samples import event, rule, rule_set
from services.facts import make_delivery
from sqlalchemy import select

from hub.broker import Taken
from router.subscriber import Router, Rules
from schemas.dispatch import Dispatch
from schemas.event import Event
from storage import outbox, queries, replays
from storage.database import Database
from storage.deliveries import store_deliveries
from storage.outbox import Message
from storage.rows import table
from storage.tables import DispatchRow

OPENED = event()
BUGS = rule(name="bugs", match={"source": "github", "kind": "issue.opened"})
OTHERS = rule(name="others", match={"source": "github", "kind": "issue.closed"})


class Desk:
    """A router over one database, its announcements, and the messages it is handed by hand."""

    def __init__(self, database: Database, *rules: dict[str, Any]) -> None:
        self.database = database
        self.announced: list[str] = []
        self.rules = Rules(rule_set(*rules))
        self.router = Router(self.rules, database, announce=self._announce)

    def _announce(self, messages: Any) -> None:
        self.announced += [message.ref for message, _ in messages]

    async def came(self) -> None:
        """The event comes and is routed."""
        incoming = make_delivery("d-1", OPENED)
        await self.database.write(store_deliveries, [incoming])
        await self.take(OPENED.model_dump_json().encode())

    async def take(self, body: bytes) -> None:
        await self.router.take([Taken(Event.model_validate_json(body), body)])

    async def replay(self, *, again: bool = False) -> list[dict[str, Any]]:
        """Ask, sweep, route; the verdicts of that replay."""
        await self.database.write(replays.ask_replay, OPENED.id, again=again, by="api", reason=None)
        swept: list[Message] = [
            one for one in await self.database.write(outbox.sweep) if one.ref == OPENED.id
        ]
        for message in swept:
            await self.take(message.value)
        number = (await self.database.read(queries.replay_rows, OPENED.id))[-1]["number"]
        kept = await self.database.read(queries.verdict_rows, OPENED.id)
        return [dict(row) for row in kept if row["replay"] == number]

    async def dispatches(self) -> list[Dispatch]:
        rows = table(DispatchRow)
        bodies = await self.database.read(
            lambda c: c.execute(select(rows.c.body).order_by(rows.c.created_at, rows.c.id)).scalars().all()
        )
        return [Dispatch.model_validate_json(body) for body in bodies]


async def test_what_was_dispatched_before_is_left_alone(database: Database) -> None:
    desk = Desk(database, BUGS, OTHERS)
    await desk.came()
    [before] = await desk.dispatches()
    assert desk.announced == [before.id]
    verdicts = {row["rule"]: row for row in await desk.replay()}
    assert (verdicts["bugs"]["outcome"], verdicts["bugs"]["clause"]) == ("suppressed", "replay")
    assert (verdicts["bugs"]["seen"], verdicts["bugs"]["dispatch_id"]) == (before.id, None)
    assert await desk.dispatches() == [before]
    assert desk.announced == [before.id]


async def test_a_rule_that_matches_now_starts_under_its_usual_name(database: Database) -> None:
    desk = Desk(database, BUGS)
    await desk.came()
    repaired = {**OTHERS, "match": {"source": "github", "kind": "issue.*"}}
    desk.rules.current = rule_set(BUGS, repaired)
    verdicts = {row["rule"]: row["outcome"] for row in await desk.replay()}
    assert verdicts == {"bugs": "suppressed", "others": "matched"}
    first, second = sorted(await desk.dispatches(), key=lambda one: one.rule)
    assert (first.rule, second.rule) == ("bugs", "others")
    # Its name is what the first routing would have given it: another replay cannot start it once more.
    assert {row["outcome"] for row in await desk.replay()} == {"suppressed"}
    assert len(await desk.dispatches()) == 2
    [row] = (await database.read(queries.list_events, limit=5)).rows
    assert row["matched"] == 2


async def test_again_dispatches_once_more_for_each_replay(database: Database) -> None:
    desk = Desk(database, BUGS)
    await desk.came()
    for _ in range(2):
        [verdict] = await desk.replay(again=True)
        assert (verdict["outcome"], verdict["clause"]) == ("matched", None)
    dispatches = await desk.dispatches()
    assert len({one.id for one in dispatches}) == 3
    assert {one.conversation for one in dispatches} == {dispatches[0].conversation}
    assert desk.announced == [one.id for one in dispatches]
    [row] = (await database.read(queries.list_events, limit=5)).rows
    assert row["matched"] == 1


async def test_a_copy_of_the_message_replays_nothing(database: Database) -> None:
    desk = Desk(database, BUGS)
    await desk.came()
    for _ in range(2):
        await desk.take(OPENED.model_dump_json().encode())
    assert {row["replay"] for row in await database.read(queries.verdict_rows, OPENED.id)} == {0}
    await desk.replay(again=True)
    await desk.take(OPENED.model_dump_json().encode())
    assert len(await desk.dispatches()) == 2


async def test_what_is_replayed_is_what_was_stored(database: Database) -> None:
    """Whoever may write to the topic cannot smuggle other words in under the name of an event."""
    desk = Desk(database, {**BUGS, "match": {"source": "github", "if": 'event.text == ""'}})
    await desk.came()
    await database.write(replays.ask_replay, OPENED.id, again=True, by="api", reason=None)
    forged = OPENED.model_copy(update={"data": OPENED.data.model_copy(update={"text": "other words"})})
    await desk.take(forged.model_dump_json().encode())
    assert [one.event.data.text for one in await desk.dispatches()] == ["", ""]
