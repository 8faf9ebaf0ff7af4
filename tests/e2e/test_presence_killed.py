"""The hub is killed around its status message, at steps that the outside sees: there is one, and it tells the end."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest
from crash.judge import Books, World, read_books
from crash.outside import Artefact, artefacts, twice
from crash.setups import Embedded, embedded
from crash.webhooks import github_comment
from patience import until

from storage.database import open_database

pytestmark = pytest.mark.timeout(240)
COMMENTS = "/repos/*/issues/*/comments"
EDITS = "*/issues/comments/*"
SECONDS = 120.0


@pytest.fixture
async def setup() -> AsyncIterator[Embedded]:
    async with embedded(presence="status") as found:
        yield found


async def ask(setup: Embedded) -> None:
    async with httpx.AsyncClient(timeout=20, trust_env=False) as http:
        answer = await github_comment(31, 1, "@triggerhub why?").send(http, setup.ingress.url)
        assert answer.status_code == 202, answer.text


async def through(setup: Embedded) -> Books:
    """Wait until the one run and its signs are through."""
    database = open_database(setup.database_url)

    async def done() -> Books | None:
        books = await database.read(read_books)
        return books if books.runs and not books.unfinished else None

    try:
        found: Books = await until(done, seconds=SECONDS)
    finally:
        await database.close()
    assert found.failed_runs == []
    assert found.dropped == []
    return found


async def judged(setup: Embedded) -> Artefact:
    """One status message that tells the end, one answer, nothing twice."""
    books = await through(setup)
    world = World(await setup.sandbox.state(), await setup.sandbox.work())
    found = artefacts(world.state)
    assert twice(found) == []
    (run,) = books.runs
    assert books.told == {run}
    (status,) = (one for one in found if one.slot == "status")
    assert status.run == run
    assert "**Done.**" in status.text
    assert len([one for one in found if one.slot != "status"]) == 1
    return status


async def test_between_the_first_message_and_its_receipt(setup: Embedded) -> None:
    await setup.sandbox.fault("commit_then_hang", service="github", method="POST", path=COMMENTS)
    await ask(setup)
    await until(lambda: setup.sandbox.struck("commit_then_hang"), seconds=SECONDS)
    await setup.kill("hub")
    await judged(setup)


async def test_between_the_last_edit_and_its_receipt(setup: Embedded) -> None:
    await setup.sandbox.fault("commit_then_hang", service="github", method="PATCH", path=EDITS)
    await ask(setup)
    await until(lambda: setup.sandbox.struck("commit_then_hang"), seconds=SECONDS)
    await setup.kill("hub")
    await judged(setup)


async def test_while_the_vendor_is_slow_to_make_it(setup: Embedded) -> None:
    # The vendor does it four seconds after it was asked, though the asker is long dead.
    await setup.sandbox.fault("delay", service="github", method="POST", path=COMMENTS, seconds=4)
    await ask(setup)
    await until(lambda: setup.sandbox.struck("delay"), seconds=SECONDS)
    await setup.kill("hub")
    await judged(setup)


async def test_a_vendor_that_is_down_gets_the_end_when_it_is_back(setup: Embedded) -> None:
    await setup.sandbox.fault("status", service="github", method="PATCH", path=EDITS, status=502, times=3)
    await ask(setup)
    await until(lambda: setup.sandbox.struck("status"), seconds=SECONDS)
    await judged(setup)
