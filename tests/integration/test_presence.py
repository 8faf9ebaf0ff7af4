"""The hands that show how runs stand, on a vendor that fails and forgets: one message, few edits, the end last."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, ClassVar

import pytest
from services.facts import body_of, make_dispatch
from sqlalchemy import Connection, select, update

from connectors.base import Identity
from connectors.github.connector import CONNECTOR
from connectors.outbox import Outbound
from connectors.poster import (
    EditPace,
    Post,
    Poster,
    PostError,
    PostGoneError,
    PostRefusedError,
    PostRetryError,
    PostUncertainError,
)
from connectors.presence import Presence
from hub.metrics import Metrics
from schemas.caps import Cap, CapSet
from schemas.marker import Marker
from schemas.policy.gate import Gate
from schemas.result import Origin, Receipt
from storage import claims, pauses, presence, runs
from storage.caps import Admission
from storage.clock import db_now
from storage.conversations import run_id_of
from storage.database import Database
from storage.lineage import marker_key
from storage.presence_tables import PresenceRow
from storage.rows import table
from storage.tables import RunRow, RunStatus

NAME = "acme-github"


class Vendor(Poster):
    """Holds messages by slot, and remembers when each was made or changed."""

    edit_pace: ClassVar[EditPace] = EditPace(seconds=0.5, together=100)

    def __init__(self) -> None:
        self.texts: dict[str, str] = {}
        self.markers: dict[str, Marker] = {}
        self.made: list[str] = []
        self.edits: list[float] = []
        self.errors: list[PostError] = []
        """Raised by the next calls, each after it did its work where it is uncertain."""

    def seen_mark(self, origin: Origin) -> None:
        del origin

    async def find(self, post: Post) -> Receipt | None:
        return Receipt(artefact=post.slot) if post.slot in self.texts else None

    async def create(self, post: Post) -> Receipt:
        return await self._put(post, self.made.append)

    async def update(self, post: Post, receipt: Receipt) -> Receipt:
        if receipt.artefact not in self.texts:
            msg = "it is gone"
            raise PostGoneError(msg)
        return await self._put(post, lambda _slot: self.edits.append(time.monotonic()))

    async def _put(self, post: Post, note: Any) -> Receipt:
        await asyncio.sleep(0)
        error = self.errors.pop(0) if self.errors else None
        if error is not None and not isinstance(error, PostUncertainError):
            raise error
        note(post.slot)
        self.markers[post.slot] = post.marker
        self.texts[post.slot] = str(getattr(post.arguments, "text", ""))
        if error is not None:
            raise error
        return Receipt(artefact=post.slot)

    async def identify(self) -> Identity:
        return Identity()


class Desk:
    """One run with a status message, moved by hand."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.vendor = Vendor()
        self.dispatch = make_dispatch(1, presence="status")
        self.run_id = run_id_of(self.dispatch.id)

    async def make(self) -> None:
        def both(connection: Connection) -> None:
            runs.take_dispatch(connection, self.dispatch, body_of(self.dispatch))
            presence.want(connection, self.dispatch)

        await self.database.write(both)

    async def move(self, status: RunStatus, **values: Any) -> None:
        """As the runner moves it: the sign is touched in the same transaction."""
        rows = table(RunRow)

        def change(connection: Connection) -> None:
            connection.execute(update(rows).values(status=status.value, **values))
            ends = status in {RunStatus.SUCCEEDED, RunStatus.FAILED}
            presence.touch(connection, self.run_id, now=time.time(), waited_for=ends)

        await self.database.write(change)

    async def end(self, status: RunStatus = RunStatus.SUCCEEDED, **values: Any) -> None:
        await self.move(status, started_at=1.0, ended_at=2.0, **values)

    async def hasten(self) -> None:
        """As if every delay had passed."""
        past = db_now() - 1
        change = update(table(PresenceRow)).values(due_at=past, not_before=past, calm_before=past)
        await self.database.write(lambda c: c.execute(change).rowcount)

    async def row(self) -> dict[str, Any]:
        rows = table(PresenceRow)
        query = select(rows).where(rows.c.kind == presence.STATUS)
        return await self.database.read(lambda c: dict(c.execute(query).mappings().one()))

    @asynccontextmanager
    async def showing(self, owner: str = "p1") -> AsyncIterator[None]:
        outbound = {NAME: Outbound(name=NAME, connector=CONNECTOR, poster=self.vendor)}
        hands = Presence(
            lambda: outbound,
            self.database,
            owner=owner,
            lease=60.0,
            gate=Gate(),
            observations=Metrics(),
        )
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(hands.run())
            try:
                yield
            finally:
                await hands.stop()

    async def until(self, **values: Any) -> dict[str, Any]:
        end = time.monotonic() + 20
        while True:
            row = await self.row()
            if all(row[name] == value for name, value in values.items()):
                return row
            assert time.monotonic() < end, row
            await asyncio.sleep(0.02)

    async def says(self, words: str, slot: str = "status") -> None:
        end = time.monotonic() + 20
        while words not in self.vendor.texts.get(slot, ""):
            assert time.monotonic() < end, self.vendor.texts
            await asyncio.sleep(0.02)


@pytest.fixture
async def desk(database: Database) -> Desk:
    made = Desk(database)
    await made.make()
    return made


async def test_the_message_and_its_edits_are_signed(desk: Desk) -> None:
    async with desk.showing():
        await desk.says("Queued")
        first = desk.vendor.markers.pop(presence.STATUS)
        await desk.move(RunStatus.RUNNING)
        await desk.hasten()
        await desk.says("At work")
    edited = desk.vendor.markers[presence.STATUS]
    assert edited == first
    assert first.is_genuine(await desk.database.read(marker_key))
    assert first.lineage is not None
    assert first.lineage.root == desk.dispatch.event.id


async def test_changes_that_come_thick_are_few_edits_and_the_last_one_stays(desk: Desk) -> None:
    async with desk.showing():
        await desk.says("Queued")
        await desk.move(RunStatus.RUNNING)
        began = time.monotonic()
        for number in range(100):
            words = {desk.run_id: f"did thing {number}"}
            await desk.database.write(presence.note_activities, words)
            await asyncio.sleep(0.02)
        await desk.end()
        await desk.until(status="shown")
        lasted = time.monotonic() - began
    assert "**Done.**" in desk.vendor.texts["status"]
    assert desk.vendor.made == ["status"]
    edits = desk.vendor.edits
    assert 2 <= len(edits) <= lasted / 0.5 + 1
    assert min(after - before for before, after in itertools.pairwise(edits)) > 0.45


@pytest.mark.parametrize("error", [PostUncertainError("cut"), PostRetryError("busy", retry_after=0.1)])
async def test_a_call_that_fails_is_made_good(desk: Desk, error: PostError) -> None:
    desk.vendor.errors = [error]
    async with desk.showing():
        await desk.says("Queued")
        await desk.until(failures=0, tried=2)
        desk.vendor.errors = [error]
        await desk.end()
        await desk.until(status="shown")
    assert desk.vendor.made == ["status"]
    assert "**Done.**" in desk.vendor.texts["status"]


async def test_what_a_dead_process_had_made_is_found(desk: Desk) -> None:
    (held,) = (
        one
        for one in await desk.database.write(
            lambda c: presence.claim_presence(c, owner="dead", limit=9, lease=60)
        )
        if one.kind == presence.STATUS
    )
    desk.vendor.texts["status"] = "posted, and then it died"
    assert held.tried == 1
    await desk.database.write(presence.release_all, except_owner="p1")
    await desk.end()
    async with desk.showing():
        await desk.until(status="shown")
    assert desk.vendor.made == []
    assert "**Done.**" in desk.vendor.texts["status"]


async def test_a_run_that_a_cap_holds_back_says_so_and_when_it_is_over(desk: Desk) -> None:
    full = Admission(CapSet(rules={desk.dispatch.rule: Cap(concurrent=0)}))

    async def claim(admission: Admission | None) -> int:
        rows = table(RunRow)
        await desk.database.write(lambda c: c.execute(update(rows).values(due_at=0.0)).rowcount)
        return len(
            await desk.database.write(claims.claim_runs, owner="w1", limit=1, lease=60.0, admission=admission)
        )

    async with desk.showing():
        await desk.says("Queued")
        assert await claim(full) == 0
        await desk.says("**Held back.** The rule that this is for has as many runs at work as it may")
        await desk.database.write(pauses.pause, "all", "", by="api", reason=None)
        assert await claim(full) == 0
        await desk.says("**Paused.**")
        await desk.database.write(pauses.resume, "all", "")
        assert await claim(None) == 1
        await desk.move(RunStatus.RUNNING)
        await desk.hasten()
        await desk.says("At work")
    assert desk.vendor.made == ["status"]


async def test_a_deleted_message_stays_away(desk: Desk) -> None:
    async with desk.showing():
        await desk.says("Queued")
        desk.vendor.texts.clear()
        await desk.end()
        await desk.until(status="dropped")
    assert desk.vendor.texts == {}


async def test_a_failure_is_told_though_the_message_was_deleted(desk: Desk) -> None:
    async with desk.showing():
        await desk.says("Queued")
        desk.vendor.texts.clear()
        await desk.end(RunStatus.FAILED, error="the repository is gone")
        await desk.says("the repository is gone", slot="status-end")
        await desk.until(status="shown")
    assert desk.vendor.made == ["status", "status-end"]


async def test_a_vendor_that_refuses_is_asked_once(desk: Desk) -> None:
    desk.vendor.errors = [PostRefusedError("no permission")]
    async with desk.showing():
        row = await desk.until(status="dropped")
    assert row["error"] == "no permission"
    assert desk.vendor.made == []
    assert not await desk.database.read(presence.tells, desk.run_id)


@pytest.mark.parametrize("how", [RunStatus.FAILED, RunStatus.TIMED_OUT])
async def test_a_failure_is_told_though_the_vendor_lets_nobody_edit(desk: Desk, how: RunStatus) -> None:
    """The report leaves the failure to the message, which can no longer be changed."""
    async with desk.showing():
        await desk.says("Queued")
        assert await desk.database.read(presence.tells, desk.run_id)
        desk.vendor.errors = [PostRefusedError("edit_window_closed")]
        await desk.end(how, error="the repository is gone")
        row = await desk.until(status="shown")
    assert desk.vendor.made == ["status", "status-end"]
    assert desk.vendor.texts["status-end"].startswith(
        "**Failed" if how is RunStatus.FAILED else "**Out of time"
    )
    assert row["error"] is None


async def test_the_reason_of_a_failure_is_made_safe(desk: Desk) -> None:
    async with desk.showing():
        await desk.end(RunStatus.FAILED, error="see https://evil-host.net/?q=1 and tell @octo-dev")
        await desk.until(status="shown")
    said = desk.vendor.texts["status"]
    assert "https://evil-host.net" not in said
    assert "**Failed.**" in said
