"""The signed marker: what carries our words further is one deeper, wherever it turns up, and by the third it ends."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

import pytest
from router_place import OTHER_BOT, PERSON, US, Place
from router_samples import rule

from connectors.markers import marker
from router.lineage import DEPTH, MAX_DEPTH
from schemas.dispatch import Dispatch
from schemas.event import Actor
from schemas.marker import Lineage, Marker, signed
from storage.database import Database

AS_A_PERSON: Final = Actor(id="88", login="grace-on-duty", trust="member")
"""A program that works with a person's token: nothing tells it from her but the marker in what it says."""
CARRIERS: Final = pytest.mark.parametrize(
    "carrier", [OTHER_BOT, AS_A_PERSON], ids=["a bot", "a person's token"]
)


def _answering(*kinds: str, **written: Any) -> dict[str, Any]:
    return rule(
        name="answer", match={"source": "github", "kind": list(kinds)}, who=["member", "bot"], **written
    )


async def _carried(place: Place, found: Marker, carrier: Actor, **data: Any) -> list[Dispatch]:
    """A program opens another issue each time, with our words in it."""
    heard = await place.hear(
        "issue.opened",
        carrier,
        artefact=f"issue:acme/checkout#{place.number + 1}",
        marked=found.words,
        text="It says that the rounding is wrong.",
        **data,
    )
    return place.dispatched(heard)


@CARRIERS
async def test_a_chain_through_ever_new_issues_ends_by_the_third_and_says_so_once(
    database: Database, carrier: Actor
) -> None:
    place = Place(database, _answering("issue.opened"))
    begun = await place.begun()
    dispatch, depths = begun, list[int]()
    for round_ in range(6):
        found = await place.posts(dispatch, f"comment:{round_}")
        if not (made := await _carried(place, found, carrier)):
            break
        (dispatch,) = made
        depths.append(dispatch.depth)
        assert dispatch.root == begun.event.id, "it all began there"
    assert depths == list(range(1, MAX_DEPTH))
    last = f"evt_{place.number}"
    assert await place.outcomes(last) == {"answer": ("suppressed", DEPTH)}
    (note,) = await place.notes()
    assert str(MAX_DEPTH) in note.arguments["text"]
    assert await _carried(place, found, carrier) == []
    assert len(await place.notes()) == 1


async def test_a_person_who_says_something_of_their_own_begins_anew(database: Database) -> None:
    place = Place(database, _answering("issue.opened"))
    begun = await place.begun()
    deep = signed(await place.key(), run="run_0123456789abcdef", root=begun.event.id, depth=MAX_DEPTH - 1)
    assert await _carried(place, Marker("run_0123456789abcdef", "comment.1", deep), OTHER_BOT) == []
    (dispatch,) = place.dispatched(await place.hear("issue.opened", PERSON, artefact="issue:acme/checkout#9"))
    assert (dispatch.depth, dispatch.root) == (0, None)


async def test_what_a_person_does_to_a_thing_of_ours_is_the_persons(database: Database) -> None:
    """The webhook of a label carries the text of the thing, with the marker in it."""
    place = Place(database, _answering("pr.labeled"))
    begun = await place.begun()
    found = await place.posts(begun, "pr:acme/checkout#35")
    words: dict[str, Any] = {"number": 35, "text": "Rounds once.", "marked": found.words}
    (dispatch,) = place.dispatched(await place.hear("pr.labeled", PERSON, **words))
    assert dispatch.depth == 0
    (dispatch,) = place.dispatched(await place.hear("pr.labeled", OTHER_BOT, **words))
    assert (dispatch.depth, dispatch.root) == (1, begun.event.id), "a program carries it on"


@pytest.mark.parametrize("receipt", [True, False], ids=["receipt kept", "receipt not yet kept"])
async def test_our_words_in_a_strangers_post_are_ours_until_the_receipt_says_otherwise(
    database: Database,
    receipt: bool,  # noqa: FBT001 - a case's value
) -> None:
    place = Place(database, _answering("comment.created"))
    found = await place.posts(await place.begun(), "comment:71", receipt=receipt)
    heard = await place.hear("comment.created", PERSON, artefact="comment:72", marked=found.words)
    wanted = ("matched", None) if receipt else ("suppressed", "loop")
    assert await place.verdicts(heard) == {"answer": wanted}
    itself = await place.hear("comment.created", US, artefact="comment:71", marked=found.words)
    assert await place.verdicts(itself) == {"answer": ("suppressed", "loop")}


@pytest.mark.parametrize(
    "forge",
    [
        lambda lineage: replace(lineage, depth=0),
        lambda lineage: replace(lineage, root="evt_other"),
        lambda lineage: replace(lineage, signature="0" * 32),
        lambda _: None,
    ],
    ids=["less deep", "another root", "another signature", "unsigned"],
)
async def test_a_forged_marker_of_a_run_of_ours_stops_as_an_unsigned_one_does(
    database: Database, forge: Any
) -> None:
    place = Place(database, _answering("issue.opened"))
    first = await place.begun()
    (second,) = await _carried(place, await place.posts(first, "comment:1"), OTHER_BOT)
    found = await place.posts(second, "comment:2")
    assert found.lineage is not None
    assert found.lineage.depth == 1
    forged = replace(found, lineage=forge(found.lineage))
    assert await _carried(place, forged, OTHER_BOT) == []
    assert await place.outcomes(f"evt_{place.number}") == {"answer": ("suppressed", "loop")}


async def test_a_marker_of_another_hub_is_nothing_to_us(database: Database) -> None:
    """Another key, and no run of ours: whatever it says, anybody could have written it."""
    place = Place(database, _answering("issue.opened"))
    run = "run_fedcba9876543210"
    for lineage in (signed(b"theirs", run=run, root="evt_1", depth=9), None):
        (dispatch,) = await _carried(place, Marker(run, "comment.1", lineage), PERSON)
        assert (dispatch.depth, dispatch.root) == (0, None)


async def test_the_deepest_of_several_counts_and_text_that_shows_is_read_too(database: Database) -> None:
    place = Place(database, _answering("issue.opened"))
    begun = await place.begun()
    key, run = await place.key(), "run_00000000000000aa"
    other: Lineage = signed(key, run=run, root="evt_root", depth=1)
    first = await place.posts(begun, "comment:1")
    text = f"> ```\n> {marker(first)}\n> ```\n\n{marker(Marker(run, 'comment.1', other))}"
    heard = await place.hear("issue.opened", OTHER_BOT, artefact="issue:acme/checkout#8", text=text)
    (dispatch,) = place.dispatched(heard)
    assert (dispatch.depth, dispatch.root) == (2, "evt_root")
