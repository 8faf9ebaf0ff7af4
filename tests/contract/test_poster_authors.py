"""Whose an earlier comment is, at every vendor: a stranger who copies our marker is not taken for us."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest
from vendor_places import VENDORS, Place, furnish, place_at

from sandbox.server import serve

Make = Callable[..., Place]


@pytest.fixture(params=VENDORS)
async def make(request: pytest.FixtureRequest) -> AsyncIterator[Make]:
    async with serve() as sandbox, httpx.AsyncClient() as http:
        furnish(sandbox)
        yield lambda **settings: place_at(request.param, sandbox, http, **settings)


async def test_ours_is_found_below_a_strangers_copy(make: Make) -> None:
    place = make()
    made = await place.poster.create(place.comment("At work."))
    place.copy_as_stranger()
    found = await place.poster.find(place.comment("At work."))
    assert found is not None
    assert found.artefact == made.artefact


async def test_a_strangers_copy_alone_is_not_ours_and_the_post_is_made(make: Make) -> None:
    place = make()
    made = await place.poster.create(place.comment("At work."))
    place.copy_as_stranger()
    place.remove_first()
    again = make()
    """A process that began later."""
    assert await again.poster.find(again.comment("At work.")) is None
    anew = await again.poster.create(again.comment("At work."))
    assert anew.artefact not in {None, made.artefact}
    found = await again.poster.find(again.comment("At work."))
    assert found is not None
    assert found.artefact == anew.artefact, "once, and not a third time"


STRANGER: dict[str, str] = {
    "github": str(1000 + sum(b"mallory")),
    "jira": "712020:mallory",
    "sentry": "4242",
    "slack": "U0MALLORY",
}


async def test_who_is_declared_to_be_us_is_us(make: Make) -> None:
    """A second account, such as one whose token was used before."""
    place = make(self_ids=tuple(STRANGER.values()))
    await place.poster.create(place.comment("At work."))
    place.copy_as_stranger()
    place.remove_first()
    assert await place.poster.find(place.comment("At work.")) is not None


WHO: dict[str, str] = {
    "github": "/user",
    "jira": "/rest/api/3/myself",
    "sentry": "/api/0/",
    "slack": "/auth.test",
}


async def test_who_may_not_ask_who_it_is_trusts_the_marker(make: Make) -> None:
    """Some tokens may not: a post that was made must not be made again for that."""
    place = make()
    made = await place.poster.create(place.comment("At work."))
    later = make()
    later.sandbox.world.faults.ask("status", service=later.vendor, status=403, path=WHO[later.vendor])
    found = await later.poster.find(later.comment("At work."))
    refused = [call.path for call in later.sandbox.world.log.calls(later.vendor) if call.status == 403]
    assert refused == [WHO[later.vendor]], "it did ask"
    assert found is not None
    assert found.artefact == made.artefact


NOBODY: dict[str, Any] = {"github": {}, "jira": {}, "sentry": {"version": "0"}, "slack": {"ok": True}}


async def test_who_is_answered_no_name_trusts_the_marker(make: Make) -> None:
    place = make()
    made = await place.poster.create(place.comment("At work."))
    later = make()
    later.sandbox.world.faults.ask(
        "status", service=later.vendor, status=200, path=WHO[later.vendor], body=NOBODY[later.vendor]
    )
    found = await later.poster.find(later.comment("At work."))
    assert found is not None
    assert found.artefact == made.artefact
