"""What our runs opened comes back: it starts nothing, or one run where a rule says `who: [self]`, up to depth 3."""

from __future__ import annotations

from typing import Any, Final

import pytest
from router_place import OTHER_BOT, PERSON, US, Place
from router_samples import rule

from router.lineage import DEPTH, MAX_DEPTH
from schemas.event import Actor
from storage import queries
from storage.conversations import run_id_of
from storage.database import Database

KINDS: Final = pytest.mark.parametrize("kind", ["pr.opened", "issue.opened"])


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
