"""Programs that answer one another: it ends by the third turn without any marker, says so once, and a person ends it."""

from __future__ import annotations

from typing import Any

import pytest
from router_samples import event, rule, rule_set
from services.facts import make_delivery
from sqlalchemy import select

from hub.broker import Taken
from router.loops import CLAUSE, is_too_deep
from router.subscriber import Router, Rules
from schemas.event import Actor, Event
from storage import queries, replays
from storage.database import Database
from storage.deliveries import store_deliveries
from storage.rows import table
from storage.tables import ResultRow

BOT = Actor(id="77", login="review-bot[bot]", is_bot=True, trust="bot")
PERSON = Actor(id="5", login="ada", trust="member")


class Thread:
    """An issue in which a rule that lets programs in has a session for each event, or one for all."""

    def __init__(self, database: Database, **written: Any) -> None:
        self.database = database
        self.announced: list[Any] = []
        answering = rule(
            name="talk",
            match={"source": "github", "kind": "comment.created"},
            who=["member", "bot"],
            **written,
        )
        self._router = Router(Rules(rule_set(answering)), database, announce=self.announced.extend)
        self.number = 0

    async def say(self, actor: Actor, **changed: Any) -> tuple[str, str | None]:
        self.number += 1
        first = event()
        data = first.data.model_copy(
            update={"kind": "comment.created", "text": "and what about this?", "actor": actor, **changed}
        )
        found = first.model_copy(
            update={"id": f"evt_said_{self.number}", "type": f"github.{data.kind}", "data": data}
        )
        incoming = make_delivery(found.id, found)
        await self.database.write(store_deliveries, [incoming])
        return await self.route(found)

    async def route(self, found: Event) -> tuple[str, str | None]:
        body = found.model_dump_json().encode()
        await self._router.take([Taken(Event.model_validate_json(body), body)])
        rows = await self.database.read(queries.verdict_rows, found.id)
        return rows[-1]["outcome"], rows[-1]["clause"]

    async def notes(self) -> list[str]:
        rows = table(ResultRow)
        return await self.database.read(lambda c: list(c.execute(select(rows.c.slot)).scalars()))


@pytest.mark.parametrize(
    "written",
    [{}, {"conversation": "event"}, {"follow_up": "new"}],
    ids=["one session", "a session each", "new sessions"],
)
async def test_two_programs_stop_by_the_third_turn(database: Database, written: dict[str, Any]) -> None:
    thread = Thread(database, **written)
    turns = [await thread.say(BOT) for _ in range(10)]
    assert [outcome for outcome, _ in turns] == ["matched"] * 3 + ["suppressed"] * 7
    assert {clause for _, clause in turns[3:]} == {CLAUSE}
    assert await thread.notes() == [CLAUSE]
    told = [message.topic for message, _ in thread.announced]
    assert len(told) == 4  # three turns and the note


async def test_a_person_begins_and_a_person_lets_it_go_on(database: Database) -> None:
    thread = Thread(database)
    assert (await thread.say(PERSON))[0] == "matched"
    assert [(await thread.say(BOT))[0] for _ in range(4)] == ["matched"] * 2 + ["suppressed"] * 2
    assert (await thread.say(PERSON))[0] == "matched"
    assert [(await thread.say(BOT))[0] for _ in range(3)] == ["matched"] * 2 + ["suppressed"]
    assert await thread.notes() == [CLAUSE] * 2  # one for each talk


async def test_people_are_never_counted(database: Database) -> None:
    thread = Thread(database)
    assert {(await thread.say(PERSON))[0] for _ in range(8)} == {"matched"}
    assert await thread.notes() == []


async def test_who_wants_silence_gets_no_note(database: Database) -> None:
    thread = Thread(database, report="none")
    assert [(await thread.say(BOT))[0] for _ in range(4)][-1] == "suppressed"
    assert await thread.notes() == []


async def test_a_replay_is_a_persons_will(database: Database) -> None:
    thread = Thread(database)
    for _ in range(4):
        await thread.say(BOT)
    await database.write(replays.ask_replay, "evt_said_4", again=False, by="api", reason=None)
    body = await database.read(lambda c: queries.event_row(c, "evt_said_4"))
    assert body is not None
    assert (await thread.route(Event.model_validate_json(body["body"])))[0] == "matched"


@pytest.mark.parametrize(
    ("turns", "deep"),
    [
        ([], False),
        ([True, True], False),
        ([True, True, True], True),
        ([True, True, False], True),
        ([True, False, True], False),
        ([False, True, True], False),
    ],
)
def test_how_deep_is_too_deep(turns: list[bool], deep: bool) -> None:  # noqa: FBT001 - a case's value
    assert is_too_deep(turns) == deep
