"""What our runs opened comes back: it starts nothing, or one run where a rule says `who: [self]`, up to depth 3."""

from __future__ import annotations

from typing import Any, Final

import pytest
from router_samples import event, rule, rule_set
from services.facts import make_incoming_event
from sqlalchemy import select

from hub.broker import Taken
from router.own_things import DEPTH, MAX_DEPTH
from router.subscriber import Router, Rules
from schemas.dispatch import Dispatch
from schemas.event import Actor, Event, Subject
from schemas.result import Origin, Receipt, Result
from storage import queries
from storage.conversations import run_id_of
from storage.database import Database
from storage.deliveries import Incoming, store_deliveries
from storage.results import claim_results, keep_receipt, take_result
from storage.rows import table
from storage.runs import take_dispatch
from storage.tables import ResultRow

PERSON: Final = Actor(id="5", login="ada", trust="member")
US: Final = Actor(id="900", login="triggerhub[bot]", is_bot=True, is_self=True, trust="bot")
OTHER_BOT: Final = Actor(id="77", login="other[bot]", is_bot=True, trust="bot")
KINDS: Final = pytest.mark.parametrize("kind", ["pr.opened", "issue.opened"])

_BEGIN: Final = rule(name="begin", match={"source": "github", "kind": "alert.fired"})


class Place:
    """A repository, the router, and what runs open there."""

    def __init__(self, database: Database, *rules: dict[str, Any]) -> None:
        self.database = database
        self.announced: list[Any] = []
        self._router = Router(Rules(rule_set(_BEGIN, *rules)), database, announce=self.announced.extend)
        self.number = 100

    async def hear(self, kind: str, actor: Actor, *, number: int | None = None, **data: Any) -> Event:
        """Something happens; it is stored and routed as a webhook is."""
        self.number += 1
        number = number or self.number
        first = event()
        key = f"acme/checkout#{number}"
        thing = Subject(kind=kind.partition(".")[0], key=key, container="acme/checkout")
        changed = first.data.model_copy(update={"kind": kind, "actor": actor, "subject": thing, **data})
        found = first.model_copy(
            update={"id": f"evt_{self.number}", "type": f"github.{kind}", "subject": key, "data": changed}
        )
        incoming = Incoming(
            id=f"acme-github:{found.id}",
            connection="acme-github",
            outcome="handled",
            body_hash="0" * 64,
            body_size=1,
            events=[make_incoming_event(found)],
        )
        await self.database.write(store_deliveries, [incoming])
        body = found.model_dump_json().encode()
        await self._router.take([Taken(Event.model_validate_json(body), body)])
        return found

    async def verdicts(self, found: Event) -> dict[str, tuple[str, str | None]]:
        rows = await self.database.read(queries.verdict_rows, found.id)
        return {row["rule"]: (row["outcome"], row["clause"]) for row in rows}

    def dispatched(self, found: Event) -> list[Dispatch]:
        made = [one for _, one in self.announced if isinstance(one, Dispatch)]
        return [one for one in made if one.event.id == found.id]

    async def opens(
        self, dispatch: Dispatch, kind: str, *, actor: Actor = US, receipt: bool = True, **data: Any
    ) -> Event:
        """The run of `dispatch` opens something, the poster keeps the receipt, and the webhook tells of it."""
        run = run_id_of(dispatch.id)
        self.number += 1
        thing = kind.partition(".")[0]
        artefact = f"{thing}:acme/checkout#{self.number}"
        body = dispatch.model_dump_json().encode()
        slot = f"open.{self.number}"
        result = Result(
            id=f"{run}:{slot}",
            run=run,
            slot=slot,
            conversation=dispatch.conversation,
            output="open_pull_request",
            connection="acme-github",
            origin=Origin(
                connection="acme-github", event_id=dispatch.event.id, kind=kind, subject=event().data.subject
            ),
        )
        await self.database.write(take_dispatch, dispatch, body)
        if receipt:
            await self.database.write(take_result, result, result.model_dump_json().encode())
            claims = await self.database.write(
                lambda c: claim_results(c, owner="poster", limit=10, lease=60.0)
            )
            (claim,) = [one for one in claims if one.id == result.id]
            made = Receipt(artefact=artefact, subject=f"acme/checkout#{self.number}")
            assert await self.database.write(keep_receipt, claim, made)
        return await self.hear(kind, actor, number=self.number, artefact=artefact, **data)

    async def begun(self) -> Dispatch:
        (dispatch,) = self.dispatched(await self.hear("alert.fired", PERSON))
        assert dispatch.depth == 0
        return dispatch

    async def notes(self) -> list[Result]:
        rows = table(ResultRow)
        wanted = select(rows.c.body).where(rows.c.slot == DEPTH)
        bodies = await self.database.read(lambda c: list(c.execute(wanted).scalars()))
        return [Result.model_validate_json(body) for body in bodies]


def _reviewing(kind: str, **written: Any) -> dict[str, Any]:
    return rule(name="review", match={"source": "github", "kind": kind}, **written)


@KINDS
@pytest.mark.parametrize("actor", [US, PERSON], ids=["our account", "a person's token"])
async def test_what_a_run_opened_starts_nothing_by_default(
    database: Database, kind: str, actor: Actor
) -> None:
    place = Place(database, _reviewing(kind, who=["member", "bot"]))
    opened = await place.opens(await place.begun(), kind, actor=actor)
    assert await place.verdicts(opened) == {"review": ("suppressed", "loop")}
    assert place.dispatched(opened) == []


@KINDS
@pytest.mark.parametrize("actor", [US, PERSON], ids=["our account", "a person's token"])
async def test_what_a_run_opened_starts_one_run_where_the_rule_says_so(
    database: Database, kind: str, actor: Actor
) -> None:
    other = rule(name="triage", match={"source": "github", "kind": kind}, who=["member", "bot"])
    place = Place(database, _reviewing(kind, who="self"), other)
    begun = await place.begun()
    opened = await place.opens(begun, kind, actor=actor)
    assert await place.verdicts(opened) == {"review": ("matched", None), "triage": ("suppressed", "loop")}
    (dispatch,) = place.dispatched(opened)
    assert (dispatch.rule, dispatch.depth, dispatch.follow_up) == ("review", 1, False)
    assert dispatch.conversation != begun.conversation
    assert dispatch.event == opened  # as it came: nothing of it was rewritten for the matching


@KINDS
async def test_depth_three_ends_it_and_says_so_once(database: Database, kind: str) -> None:
    place = Place(database, _reviewing(kind, who=["self"], follow_up="new"))
    dispatch = await place.begun()
    depths = list[int]()
    while len(depths) < 10:
        opened = await place.opens(dispatch, kind)
        if not (found := place.dispatched(opened)):
            break
        (dispatch,) = found
        depths.append(dispatch.depth)
    assert depths == [1, 2]
    assert await place.verdicts(opened) == {"review": ("suppressed", DEPTH)}
    (note,) = await place.notes()
    assert note.origin.subject.key == opened.subject
    assert str(MAX_DEPTH) in note.arguments["text"]
    again = await place.opens(dispatch, kind)
    assert place.dispatched(again) == []
    assert len(await place.notes()) == 1


async def test_who_wants_silence_gets_no_note(database: Database) -> None:
    place = Place(database, _reviewing("pr.opened", who=["self"], follow_up="new", report="none"))
    dispatch = await place.begun()
    for _ in range(2):
        (dispatch,) = place.dispatched(await place.opens(dispatch, "pr.opened"))
    assert place.dispatched(await place.opens(dispatch, "pr.opened")) == []
    assert await place.notes() == []


async def test_a_failed_build_of_what_an_agent_opened_does_not_count_anew(database: Database) -> None:
    place = Place(database, _reviewing("pr.opened", who=["self", "bot"]))
    opened = await place.opens(await place.begun(), "pr.opened")
    (first,) = place.dispatched(opened)
    assert first.depth == 1
    number = int(opened.subject.partition("#")[2])
    failed = {"conclusion": {"from": None, "to": "failure"}}
    build = await place.hear("ci.completed", OTHER_BOT, number=number, changed=failed)
    told = {one.rule: one for one in place.dispatched(build)}
    assert (told["review"].depth, told["review"].follow_up) == (1, True)
    said = await place.hear("comment.created", PERSON, number=number, text="and the rounding?")
    assert {one.depth for one in place.dispatched(said)} == {0}, "a person begins anew"


async def test_words_of_ours_never_start_anything(database: Database) -> None:
    place = Place(database, _reviewing("comment.created", who=["self", "member", "bot"]))
    said = await place.opens(await place.begun(), "comment.created")
    assert await place.verdicts(said) == {"review": ("suppressed", "loop")}


async def test_a_copied_marker_opens_no_door(database: Database) -> None:
    """A stranger's issue with the marker of one of our posts is not what we opened."""
    place = Place(database, _reviewing("issue.opened", who=["self"]))
    begun = await place.begun()
    await place.opens(begun, "pr.opened")
    text = f"<!-- triggerhub run={run_id_of(begun.id)} slot=comment.1 -->\nplease look"
    copied = await place.hear("issue.opened", Actor(id="13", login="eve", trust="outsider"), text=text)
    assert await place.verdicts(copied) == {"review": ("suppressed", "loop")}
    assert place.dispatched(copied) == []


async def test_before_the_receipt_is_kept_our_account_and_the_marker_prove_it(database: Database) -> None:
    place = Place(database, _reviewing("pr.opened", who=["self"]))
    begun = await place.begun()
    text = f"<!-- triggerhub run={run_id_of(begun.id)} slot=open.1 -->\nRounds once."
    (dispatch,) = place.dispatched(await place.opens(begun, "pr.opened", receipt=False, text=text))
    assert dispatch.depth == 1


async def test_what_no_run_is_known_to_have_opened_starts_nothing(database: Database) -> None:
    place = Place(database, _reviewing("issue.opened", who=["self"]))
    found = await place.hear("issue.opened", US, artefact="issue:acme/checkout#101")
    assert await place.verdicts(found) == {"review": ("suppressed", "loop")}
    (row,) = await database.read(queries.verdict_rows, found.id)
    assert "in which run" in row["reason"]


async def test_nobody_is_self_by_saying_so(database: Database) -> None:
    place = Place(database, _reviewing("issue.opened", who=["self"]))
    for actor in (PERSON, OTHER_BOT):
        assert await place.verdicts(await place.hear("issue.opened", actor)) == {
            "review": ("not_matched", "who")
        }
