"""A poster whose vendor is down: it leaves the vendor alone, gives nothing up, and goes on when the vendor is back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from services.facts import make_result
from sqlalchemy import select, update

from connectors.base import Identity
from connectors.circuits import FIRST_PAUSE_SECONDS, THRESHOLD
from connectors.github.connector import CONNECTOR
from connectors.outbox import EXCUSED_SECONDS, PER_CONNECTION, Outbound, Outbox
from connectors.poster import Post, Poster, PostError, PostRefusedError, PostRetryError, PostUncertainError
from hub.broker import Taken
from hub.metrics import Metrics
from schemas.policy.secrets import KnownSecrets
from schemas.result import Receipt, Result
from storage.bell import Bell
from storage.clock import db_now
from storage.database import Database
from storage.results import MAX_ATTEMPTS, want_result
from storage.rows import table
from storage.tables import ResultRow

NAME = "acme-github"


class Vendor(Poster):
    """Does, finds or fails as it is told, and remembers what it was asked."""

    def __init__(self) -> None:
        self.error: Callable[[Post], PostError | None] = lambda _post: None
        self.asked: list[tuple[str, str]] = []
        self.made: list[str] = []

    async def find(self, post: Post) -> Receipt | None:
        self.asked.append(("find", post.slot))
        return Receipt(url=f"https://example.com/{post.slot}") if post.slot in self.made else None

    async def create(self, post: Post) -> Receipt:
        self.asked.append(("create", post.slot))
        await asyncio.sleep(0)
        error = self.error(post)
        if error is not None:
            raise error
        self.made.append(post.slot)
        return Receipt(url=f"https://example.com/{post.slot}")

    async def identify(self) -> Identity:
        return Identity()

    def tried(self) -> int:
        return sum(what == "create" for what, _ in self.asked)


class Desk:
    """A poster with two connections, one of them to be troubled, and a clock that stands still."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.now = 1000.0
        self.vendor, self.other = Vendor(), Vendor()
        self.metrics = Metrics()
        posters = {NAME: self.vendor, "other": self.other}
        outbound = {
            name: Outbound(name=name, connector=CONNECTOR, poster=one) for name, one in posters.items()
        }
        self.outbox = Outbox(
            lambda: outbound,
            database,
            owner="p1",
            settled=Bell(),
            observations=self.metrics,
            clock=lambda: self.now,
            known=lambda: KnownSecrets(["hub-webhook-secret-4711"]),
        )

    async def want(self, *slots: str, connection: str = NAME, text: str = "Done.") -> None:
        batch: list[Taken[Result]] = []
        for slot in slots:
            result = make_result("run_1", slot).model_copy(
                update={
                    "connection": connection,
                    "target": {"to": "origin"},
                    "arguments": {"text": text},
                }
            )
            await self.database.write(want_result, result, tool_use_id=None)
            batch.append(Taken(result, result.model_dump_json().encode()))
        await self.outbox.take(batch)

    async def rows(self) -> dict[str, Any]:
        rows = table(ResultRow)
        found = await self.database.read(lambda c: c.execute(select(rows)).mappings().all())
        return {row["slot"]: dict(row) for row in found}

    async def hasten(self, **values: Any) -> None:
        """As if every delay of a result had passed; not the circuit's."""
        rows = table(ResultRow)
        waits = rows.c.status == "ready"
        await self.database.write(
            lambda c: c.execute(update(rows).where(waits).values(due_at=db_now() - 1, **values)).rowcount
        )
        self.outbox._bell.ring()  # noqa: SLF001 - or each step would wait for the next poll

    async def calm(self) -> None:
        """Wait until nothing is being posted, and the poster has looked for more."""
        await asyncio.sleep(0.1)
        async with asyncio.timeout(20):
            while any(row["status"] == "posting" for row in (await self.rows()).values()):
                await asyncio.sleep(0.02)

    async def statuses(self) -> set[str]:
        return {row["status"] for row in (await self.rows()).values()}

    def gauge(self) -> float | None:
        return self.metrics.registry.get_sample_value("triggerhub_circuit_open", {"connection": NAME})


@asynccontextmanager
async def running(database: Database) -> AsyncIterator[Desk]:
    desk = Desk(database)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(desk.outbox.run())
        yield desk
        await desk.outbox.stop()


@pytest.fixture
async def desk(sqlite_database: Database) -> AsyncIterator[Desk]:
    async with running(sqlite_database) as one:
        yield one


async def test_another_programs_result_with_a_secret_of_ours_is_refused_unposted(desk: Desk) -> None:
    await desk.want("comment:1", text="It is hub-webhook-secret-4711.")
    async with asyncio.timeout(20):
        while await desk.statuses() != {"refused"}:
            await asyncio.sleep(0.02)
    (row,) = (await desk.rows()).values()
    assert row["clause"] == "secrets"
    assert "4711" not in row["error"]
    assert desk.vendor.asked == []


def down(_post: Post) -> PostError:
    return PostUncertainError("502 bad gateway")


async def open_circuit(desk: Desk, count: int = 12) -> None:
    desk.vendor.error = down
    await desk.want(*(f"comment:{n:02}" for n in range(count)))
    async with asyncio.timeout(20):
        while not desk.outbox.held_back():
            await asyncio.sleep(0.02)
    await desk.calm()


async def test_a_vendor_that_is_down_is_left_alone_and_others_are_not(desk: Desk) -> None:
    await open_circuit(desk)
    tried = desk.vendor.tried()
    assert THRESHOLD <= tried < THRESHOLD + PER_CONNECTION
    assert desk.outbox.held_back() == {NAME: FIRST_PAUSE_SECONDS}
    assert desk.gauge() == 1.0
    for _ in range(3):
        await desk.hasten()
        await desk.calm()
    assert desk.vendor.tried() == tried
    assert await desk.statuses() == {"ready"}
    await desk.want("comment:other", connection="other")
    await desk.calm()
    assert desk.other.made == ["comment:other"]


async def test_one_probe_after_the_pause_and_a_success_lets_all_through(desk: Desk) -> None:
    await open_circuit(desk)
    tried = desk.vendor.tried()
    desk.now += FIRST_PAUSE_SECONDS
    await desk.hasten()
    await desk.calm()
    assert desk.vendor.tried() == tried + 1
    assert desk.outbox.held_back() == {NAME: 2 * FIRST_PAUSE_SECONDS}
    first = {slot for what, slot in desk.vendor.asked if what == "create"}
    desk.vendor.error = lambda _post: None
    desk.vendor.asked.clear()
    desk.now += 2 * FIRST_PAUSE_SECONDS
    for _ in range(2):
        await desk.hasten()
        await desk.calm()
    assert await desk.statuses() == {"posted"}
    assert sorted(desk.vendor.made) == [f"comment:{n:02}" for n in range(12)]
    assert desk.outbox.held_back() == {}
    assert desk.gauge() == 0.0
    # Whatever was tried before is looked for; what only waited, or was given back untried, is not.
    assert {slot for what, slot in desk.vendor.asked if what == "find"} == first


async def test_a_result_is_not_given_up_while_its_vendor_is_down(desk: Desk) -> None:
    await open_circuit(desk, 1 * THRESHOLD)
    for _ in range(3 * MAX_ATTEMPTS):
        desk.now += 400
        await desk.hasten()
        await desk.calm()
    rows = await desk.rows()
    assert {row["status"] for row in rows.values()} == {"ready"}
    assert sum(row["attempts"] for row in rows.values()) >= 3 * MAX_ATTEMPTS
    assert max(row["attempts"] - row["excused"] for row in rows.values()) <= THRESHOLD


async def test_after_a_day_it_is_given_up_all_the_same(desk: Desk) -> None:
    await open_circuit(desk, 1 * THRESHOLD)
    rows = table(ResultRow)
    await desk.database.write(
        lambda c: (
            c.execute(
                update(rows).values(created_at=rows.c.created_at - EXCUSED_SECONDS, attempts=20, excused=9)
            ).rowcount
        )
    )
    for _ in range(3 * THRESHOLD):
        desk.now += 400
        await desk.hasten()
        await desk.calm()
    assert await desk.statuses() == {"refused"}


async def test_refusals_open_no_circuit(desk: Desk) -> None:
    desk.vendor.error = lambda _post: PostRefusedError("404 no such issue")
    await desk.want(*(f"comment:{n:02}" for n in range(2 * THRESHOLD)))
    await desk.calm()
    assert await desk.statuses() == {"refused"}
    assert (desk.outbox.held_back(), desk.gauge()) == ({}, None)


async def test_a_rate_limit_pauses_the_whole_connection(desk: Desk) -> None:
    desk.vendor.error = lambda _post: PostRetryError("429", retry_after=60)
    await desk.want("comment:01")
    await desk.calm()
    assert desk.outbox.held_back() == {NAME: 60.0}
    await desk.want(*(f"comment:{n:02}" for n in range(2, 9)))
    await desk.hasten()
    await desk.calm()
    assert desk.vendor.tried() == 1
    assert (await desk.rows())["comment:01"]["excused"] == 1
    desk.vendor.error = lambda _post: None
    desk.now += 60
    for _ in range(2):
        await desk.hasten()
        await desk.calm()
    assert await desk.statuses() == {"posted"}
    assert len(desk.vendor.made) == len(set(desk.vendor.made)) == 8


async def test_a_post_that_alone_fails_is_given_up_though_others_succeed(desk: Desk) -> None:
    desk.vendor.error = lambda post: down(post) if post.slot == "comment:bad" else None
    await desk.want("comment:bad")
    await desk.calm()
    for n in range(MAX_ATTEMPTS + 1):
        await desk.want(f"comment:{n:02}")
        await desk.calm()
        await desk.hasten()
        await desk.calm()
    rows = await desk.rows()
    assert rows["comment:bad"]["status"] == "refused"
    assert "given up after 12 attempts" in rows["comment:bad"]["error"]
    assert {row["status"] for slot, row in rows.items() if slot != "comment:bad"} == {"posted"}
