"""A page with status 200 that is not the vendor's: a proxy's sign-in, a wrong address. It tells nothing of a post."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest
from vendor_places import VENDORS, Place, furnish, place_at

from connectors.poster import PostRetryError, PostUncertainError
from sandbox.server import serve

PAGE = "<html>Please sign in</html>"


@pytest.fixture(params=VENDORS)
async def place(request: pytest.FixtureRequest) -> AsyncIterator[Place]:
    async with serve() as sandbox, httpx.AsyncClient() as http:
        furnish(sandbox)
        yield place_at(request.param, sandbox, http)


async def test_a_page_is_not_taken_for_a_post(place: Place) -> None:
    place.sandbox.world.faults.ask(
        "status", service=place.vendor, method="POST", status=200, body=PAGE, times=None
    )
    with pytest.raises(PostUncertainError) as refused:
        await place.poster.create(place.comment("At work."))
    assert PAGE not in str(refused.value)
    assert place.texts() == []


async def test_a_page_does_not_say_that_nothing_is_there(place: Place) -> None:
    await place.poster.create(place.comment("At work."))
    place.sandbox.world.faults.ask("status", service=place.vendor, status=200, body=PAGE, times=None)
    with pytest.raises((PostRetryError, PostUncertainError)):
        await place.poster.find(place.comment("At work."))
    place.sandbox.world.faults.clear()
    assert await place.poster.find(place.comment("At work.")) is not None
    assert len(place.texts()) == 1
