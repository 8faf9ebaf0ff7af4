"""Changing what was posted, at every vendor: one artefact that says the latest, whatever was lost on the way."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from vendor_places import VENDORS, Place, furnish, place_at

from connectors.poster import PostGoneError, PostRefusedError, PostRetryError, PostUncertainError
from sandbox.server import serve
from schemas.event import Subject
from schemas.result import Receipt


@pytest.fixture(params=VENDORS)
async def place(request: pytest.FixtureRequest) -> AsyncIterator[Place]:
    async with serve() as sandbox, httpx.AsyncClient() as http:
        furnish(sandbox)
        yield place_at(request.param, sandbox, http)


async def test_the_artefact_says_the_latest_and_stays_the_same(place: Place) -> None:
    made = await place.poster.create(place.comment("At work since noon."))
    for text in ("Posting.", "Done **well**."):
        changed = await place.poster.update(place.comment(text), made)
        assert (changed.artefact, changed.url) == (made.artefact, made.url)
    (shown,) = place.texts()
    assert "well" in shown
    assert "noon" not in shown


async def test_an_edited_artefact_is_found_by_its_marker(place: Place) -> None:
    made = await place.poster.create(place.comment("At work."))
    await place.poster.update(place.comment("Done."), made)
    found = await place.poster.find(place.comment("Done."))
    assert found is not None
    assert found.artefact == made.artefact
    assert await place.poster.find(place.comment("Done.", slot="another")) is None


@pytest.mark.parametrize("mode", ["status", "commit_then_status", "commit_then_cut", "cut"])
async def test_an_update_whose_answer_was_lost_is_sent_again(place: Place, mode: Any) -> None:
    made = await place.poster.create(place.comment("At work."))
    place.sandbox.world.faults.ask(mode, service=place.vendor)
    with pytest.raises(PostUncertainError):
        await place.poster.update(place.comment("Done."), made)
    await place.poster.update(place.comment("Done."), made)
    (shown,) = place.texts()
    assert "Done." in shown


async def test_what_somebody_deleted_is_said_to_be_gone(place: Place) -> None:
    made = await place.poster.create(place.comment("At work."))
    place.remove()
    with pytest.raises(PostGoneError):
        await place.poster.update(place.comment("Done."), made)
    assert place.texts() == []


async def test_a_rate_limit_names_its_time(place: Place) -> None:
    made = await place.poster.create(place.comment("At work."))
    place.sandbox.world.faults.ask("rate_limit", service=place.vendor, seconds=30)
    with pytest.raises(PostRetryError) as caught:
        await place.poster.update(place.comment("Done."), made)
    assert caught.value.retry_after is not None
    assert caught.value.retry_after > 20
    assert "At work." in place.texts()[0]


async def test_a_text_of_any_length_stays_one_artefact(place: Place) -> None:
    made = await place.poster.create(place.comment("At work."))
    await place.poster.update(place.comment("long words " * 8_000), made)
    (shown,) = place.texts()
    assert "long words" in shown


async def test_another_thing_than_a_comment_is_not_changed(place: Place) -> None:
    for artefact in (None, "reaction:7", "comment:../../1"):
        with pytest.raises(PostRefusedError, match="change"):
            await place.poster.update(place.comment("x"), Receipt(artefact=artefact))
    assert [
        call for call in place.sandbox.world.log.calls(place.vendor) if call.method in {"PATCH", "PUT"}
    ] == []


@pytest.mark.parametrize("place", ["jira"], indirect=True)
async def test_an_internal_comment_in_jira_stays_internal(place: Place) -> None:
    internal = {"visibility_type": "role", "visibility_value": "Team", "internal": "true"}
    only: dict[str, Any] = {"address": internal, "visibility": "restricted"}
    made = await place.poster.create(place.comment("At work.", **only))
    await place.poster.update(place.comment("Done.", **only), made)
    (note,) = place.sandbox.world.jira.issues["SHOP-7"].comments
    assert note.visibility == {"type": "role", "value": "Team"}
    assert note.properties["sd.public.comment"] == {"internal": True}
    (call,) = place.sandbox.world.log.calls("jira", method="PUT")
    assert call.query == {"notifyUsers": "false"}


@pytest.mark.parametrize("place", ["github"], indirect=True)
async def test_a_comment_on_a_commit_is_changed_where_it_is(place: Place) -> None:
    repository = place.sandbox.world.github.repos["acme/checkout"]
    head = repository.branches[repository.default_branch]
    at: dict[str, Any] = {
        "subject": Subject(kind="commit", key=f"acme/checkout@{head}", container="acme/checkout")
    }
    made = await place.poster.create(place.comment("At work.", **at))
    await place.poster.update(place.comment("Done.", **at), made)
    (note,) = repository.commit_comments
    assert note.body.endswith("Done.")
