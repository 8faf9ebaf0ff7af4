"""Runs one set-up under load through its schedule, lets it settle, and has it judged."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from typing import Final

import httpx

from crash.judge import Books, World, judge, left_alone, read_books
from crash.outside import artefacts
from crash.report import Report
from crash.schedule import Act, schedule
from crash.setups import Embedded, SetUp
from crash.sweeps import lost, overdue
from crash.webhooks import Load, Webhook
from storage.database import StorageUnavailableError, open_database

SENDERS: Final = 12
"""At least: twice as many as deliveries fall on one act of the schedule."""
SPREAD_SECONDS: Final = 2.5
"""The deliveries that fall on one act are spread over so long: some meet what it does."""
VENDOR_SECONDS: Final = 6.0
"""After so long a vendor gives an attempt up and tries again."""
STALL_SECONDS: Final = 75.0
"""While it settles something must get through in every span of this length, but for time in which something waits for a
retry that is not due. How long it settles in all depends on the machine, and is not bounded here."""
LONGEST_SECONDS: Final = 900.0
"""So long may things wait for retries in all: more than the longest pause between two, twice."""
LATE_SECONDS: Final = 60.0
"""In quiet times no sweep may be so late."""
QUIET_SECONDS: Final = 2.0
LOOK_SECONDS: Final = 3.0
"""Between two looks whether every row would be found by some sweep."""


class Harness:
    """One run."""

    def __init__(
        self,
        setup: SetUp,
        load: Load,
        *,
        kills: int = 0,
        acts: Sequence[Act] | None = None,
        say: Callable[[str], None],
    ) -> None:
        self._setup = setup
        self._load = load
        self._acts = schedule(setup, seed=load.seed, kills=kills) if acts is None else acts
        self._done = 0
        self._over = asyncio.Event()
        self._moved = asyncio.Event()
        """Set, and replaced by another, whenever the schedule goes on."""
        self._say = say
        self.report = Report(setup.name, load.seed, setup.folder)

    async def run(self, *, stall: float = STALL_SECONDS) -> Report:
        """Returns the report; its violations say whether it passed. `stall`: see `STALL_SECONDS`."""
        began = time.monotonic()
        deliveries = self._load.deliveries()
        report = self.report
        report.deliveries, report.facts = len(deliveries), len(self._load.facts)
        report.copies = sum(one.copy > 0 for one in deliveries)
        report.wanted = sum(fact.rule is not None for fact in self._load.facts)
        async with self._looking():
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._send_all(deliveries))
                tasks.create_task(self._hurt())
            hurt = time.monotonic()
            await self._calm()
            books = await self._settle(stall)
        report.settled_after = time.monotonic() - hurt
        world = World(await self._setup.sandbox.state(), await self._setup.sandbox.work())
        report.violations += judge(books, world, self._load.facts)
        self._count(books, world)
        report.seconds = time.monotonic() - began
        return report

    # Load -----------------------------------------------------------------------------------------------------------

    async def _send_all(self, deliveries: Sequence[Webhook]) -> None:
        """As the vendors do: side by side, each again and again until it is answered 2xx."""
        waiting = iter(enumerate(deliveries))
        total = len(deliveries)
        chance = random.Random(self._load.seed)  # noqa: S311 - pauses, not a secret
        senders = max(SENDERS, 2 * total // max(1, len(self._acts)))
        limits = httpx.Limits(max_connections=senders * 2, max_keepalive_connections=senders)

        async def sender() -> None:
            for n, webhook in waiting:
                while not self._over.is_set() and n > total * self._share:
                    await self._moved.wait()
                await asyncio.sleep(chance.uniform(0, SPREAD_SECONDS))
                await self._deliver(http, webhook)

        async with (
            httpx.AsyncClient(timeout=VENDOR_SECONDS, limits=limits, trust_env=False) as http,
            asyncio.TaskGroup() as tasks,
        ):
            for _ in range(senders):
                tasks.create_task(sender())

    @property
    def _share(self) -> float:
        """Of the load, what may be sent by now: load and schedule end together."""
        return (self._done + 1) / max(1, len(self._acts))

    async def _deliver(self, http: httpx.AsyncClient, webhook: Webhook) -> None:
        delay = 0.1
        while True:
            self.report.attempts += 1
            try:
                answer = await webhook.send(http, self._setup.ingress.url)
            except httpx.HTTPError as error:
                self.report.answers[type(error).__name__] += 1
            else:
                self.report.answers[str(answer.status_code)] += 1
                if answer.is_success:
                    return
                if answer.status_code not in {408, 503}:
                    self.report.violations.append(f"a good webhook was answered {answer.status_code}")
                    return
            await asyncio.sleep(delay)
            delay = min(2.0, delay * 1.7)
            webhook = replace(webhook, retried=webhook.retried + 1)

    # Hurt -----------------------------------------------------------------------------------------------------------

    async def _hurt(self) -> None:
        try:
            for n, act in enumerate(self._acts):
                await asyncio.sleep(act.pause)
                await self._do(act)
                self._done = n + 1
                self._go_on()
                if act.kind == "kill" and self.report.kills.total() % 10 == 0:
                    self._say(f"{self._setup.name}: {self.report.kills.total()} kills")
        finally:
            self._over.set()
            self._go_on()

    def _go_on(self) -> None:
        moved, self._moved = self._moved, asyncio.Event()
        moved.set()

    async def _do(self, act: Act) -> None:
        setup, report = self._setup, self.report
        await self._raise_the_dead()
        match act.kind:
            case "kill":
                report.kills[act.target] += 1
                await setup.kill(act.target)
            case "away":
                report.kills[act.target] += 1
                report.others[f"{act.target} refuses connections"] += 1
                await setup.kill_service(act.target, away=act.seconds)
            case "freeze":
                report.others[f"freeze {act.target}"] += 1
                await setup.freeze(act.target, act.seconds)
            case "hold" if isinstance(setup, Embedded):
                report.others["hold broker"] += 1
                await setup.freeze_broker()
            case "disk" if isinstance(setup, Embedded):
                report.others["full disk"] += 1
                report.kills["hub"] += 2
                await setup.fill_disk(act.seconds)
            case "lock" if isinstance(setup, Embedded):
                report.others["database locked"] += 1
                await setup.lock_database(act.seconds)
            case "streams":
                report.others[f"streams {act.fields['do']}"] += 1
                await setup.sandbox.post("/anthropic/_emu/streams/act", **act.fields)
            case _:
                report.others[f"{act.target} {act.fields['mode']}"] += 1
                await setup.sandbox.post("/_sandbox/faults", **act.fields)

    async def _raise_the_dead(self) -> None:
        """Start again what ended without being killed, and remember that it did."""
        for hub in self._setup.hubs.values():
            if not hub.alive():
                why = f"{hub.name}, life {hub.lives}: {hub.last_error()[:300]}"
                if hub.started:
                    self.report.violations.append(f"a hub died of something other than a kill: {why}")
                else:
                    self.report.failed_starts.append(why)
                await self._setup.revive(hub)

    # Settle ---------------------------------------------------------------------------------------------------------

    async def _calm(self) -> None:
        await self._setup.sandbox.calm()
        await self._raise_the_dead()

    async def _settle(self, stall: float) -> Books:
        """Wait until nothing is under way, or nothing got through for `stall` seconds."""
        database = open_database(self._setup.database_url)
        try:
            began = moved = time.monotonic()
            over = -1
            quiet_since: float | None = None
            while True:
                await self._raise_the_dead()
                books = None
                with contextlib.suppress(StorageUnavailableError):
                    books = await database.read(read_books)
                now = time.monotonic()
                if books is not None and (
                    books.over != over or (books.pause > 0 and now - began < LONGEST_SECONDS)
                ):
                    over, moved = books.over, now
                if books is not None and not books.unfinished and await self._rests():
                    quiet_since = quiet_since or now
                    if now - quiet_since >= QUIET_SECONDS:
                        return books
                else:
                    quiet_since = None
                if now - began > LATE_SECONDS:
                    with contextlib.suppress(StorageUnavailableError):
                        self._note("later than its sweep", await database.read(overdue, late=LATE_SECONDS))
                if now - moved >= stall and books is not None:
                    self.report.violations.append(f"nothing got through for {stall:.0f} s")
                    return books
                await asyncio.sleep(0.5)
        finally:
            await database.close()

    @contextlib.asynccontextmanager
    async def _looking(self) -> AsyncIterator[None]:
        """Meanwhile, again and again: is there a row that no sweep would find?"""
        async with asyncio.TaskGroup() as tasks:
            looking = tasks.create_task(self._look())
            try:
                yield
            finally:
                looking.cancel()

    async def _look(self) -> None:
        database = open_database(self._setup.database_url)
        try:
            while True:
                with contextlib.suppress(StorageUnavailableError):
                    self._note("no sweep finds", await database.read(lost))
                    self.report.looks += 1
                await asyncio.sleep(LOOK_SECONDS)
        finally:
            await database.close()

    def _note(self, what: str, rows: Sequence[str]) -> None:
        for row in rows:
            text = f"{what} {row}"
            if text not in self.report.violations:
                self.report.violations.append(text)

    async def _rests(self) -> bool:
        """No session at work, and no spare left: what the hub forgot would go on there."""
        return not left_alone(await self._setup.sandbox.get("/anthropic/_emu/state"))

    def _count(self, books: Books, world: World) -> None:
        report = self.report
        report.events, report.runs, report.work = books.events, len(books.runs), len(world.work)
        used = {item["session_id"] for item in world.work}
        report.sessions = len(used)
        sessions = world.state["anthropic"]["sessions"]
        report.empty_sessions = sum(one["id"] not in used and not one["archived"] for one in sessions)
        report.artefacts = len(artefacts(world.state))
