"""Health that means progress: each role says when it last got something done, and readiness is judged from that.

Collects what was seen and hands it to `checks`; starts and stops nothing.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import count
from typing import Any, Final

import structlog
from sqlalchemy import Connection

from hub import checks
from hub.broker import Broker, Handler, Taken
from hub.checks import REPORTS, Beat, Check, Seen
from hub.clocks import Clocks
from hub.metrics import Metrics
from hub.settings import STUCK_SECONDS
from hub.spend_metrics import spend_facts
from schemas.topics import DISPATCHES, EVENTS, RESULTS
from storage import canaries, credentials, outbox, overdue, workers
from storage.canaries import Standing
from storage.clock import read_clock
from storage.database import Database, StorageUnavailableError

log = structlog.get_logger(__name__)

CONSUMERS: Final = {EVENTS.name: "router", DISPATCHES.name: "runner", RESULTS.name: "poster"}
"""Which role consumes a topic."""
TOPICS: Final = {role: topic for topic, role in CONSUMERS.items()}
PUBLISHER: Final = "publisher"
"""Every process has one: it beats like a role, and shows as `outbox`."""


class Progress:
    """One per process."""

    def __init__(
        self,
        database: Database,
        broker: Broker,
        metrics: Metrics,
        *,
        instance: str,
        roles: frozenset[str],
        stuck: float = STUCK_SECONDS,
        clocks: Clocks | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._broker = broker
        self._metrics = metrics
        self._instance = instance
        self._roles = roles
        self._stuck = stuck
        self._report_seconds = stuck / REPORTS
        self._clocks = clocks if clocks is not None else Clocks()
        self._now = now
        self._seen = {role: Seen(now()) for role in (*sorted(roles), PUBLISHER)}
        self._numbers = count()
        self._stored_at = 0.0
        self._reached_at = 0.0
        self._waiting: dict[str, float] = {}
        """Age of the oldest message of each topic that this process's roles consume."""
        self._canaries: list[Standing] = []
        self.held_back: Callable[[], Mapping[str, float]] = dict
        """Connections that get no posts at present, with seconds until one is tried."""
        self.silent: Callable[[], Mapping[str, str]] = dict
        """Connections that get no webhooks against their habit, with the reason."""
        self.full: dict[str, Callable[[], bool]] = {}
        """By role: whether it has all that it can hold at once."""
        self.intake_age: Callable[[], float] = lambda: 0.0
        """Seconds for which the delivery that waits longest has waited to be stored."""
        self.started = False
        self.stopping = False

    def beat(self, role: str, part: str = "work", *, every: float = 0.0) -> None:
        """A loop of the role came round. `every`: seconds that it rests in between by design."""
        self._seen[role].beats[part] = Beat(self._now(), every)

    def taking(self, role: str, handler: Handler) -> Handler:
        """The role's Kafka handler, watched."""
        seen = self._seen[role]

        async def watched(batch: Sequence[Taken[Any]]) -> None:
            number = next(self._numbers)
            seen.in_hand[number] = self._now()
            try:
                await handler(batch)
                seen.taken_at = self._now()
            finally:
                del seen.in_hand[number]

        return watched

    async def run(self) -> None:
        """Report to the database and look at the broker until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._report(), name="progress-report")
            tasks.create_task(self._reach(), name="progress-broker")

    def checks(self) -> list[Check]:
        """Everything that must be well for this process to be ready."""
        now, stuck = self._now(), self._stuck
        published = self._seen[PUBLISHER]
        poisoned = self._broker.poisoned
        found = [
            Check("started", self.started, "consuming" if self.started else "still starting"),
            Check("stopping", not self.stopping, "stopping" if self.stopping else "no"),
            checks.recent("database", self._stored_at, now=now, what="last written", stuck=stuck),
            checks.recent("broker", self._reached_at, now=now, what="last answered", stuck=stuck),
            checks.messages(self._waiting, stuck=stuck),
            Check("consuming", poisoned is None, poisoned or "records are readable"),
            checks.outbox(published.beats.get("sweep"), published.due, now=now, stuck=stuck),
            checks.clock(self._clocks.differences()),
            checks.canary(self._canaries, self._roles, stuck=stuck),
        ]
        if "poster" in self._roles:
            held = ", ".join(
                f"{name} (tried again in {seconds:.0f} s)"
                for name, seconds in sorted(self.held_back().items())
            )
            # Never a failure: a vendor that is down is no reason to take this process out.
            found.append(
                Check("vendors", ok=True, detail=f"posts wait for {held}" if held else "all take posts")
            )
            quiet = "; ".join(f"{name}: {why}" for name, why in sorted(self.silent().items()))
            # Never a failure either: whoever fell silent, it is not this process.
            found.append(
                Check("arrivals", ok=True, detail=quiet or "no connection is silent against its habit")
            )
        return found + [self._role(role) for role in sorted(self._roles - {"web"})]

    def _role(self, role: str) -> Check:
        if role == "ingress":
            return checks.ingress(self.intake_age(), stuck=self._stuck)
        topic = TOPICS.get(role, "")
        return checks.role(
            role,
            self._seen[role],
            now=self._now(),
            stuck=self._stuck,
            topic=topic,
            waits=self._waiting.get(topic, 0.0),
            full=self.full[role]() if role in self.full else False,
        )

    async def _report(self) -> None:
        while True:
            try:
                await self._look()
                for role in sorted(self._roles):
                    check = self._role(role) if role != "web" else Check(role, ok=True, detail="")
                    await self._database.write(
                        workers.report,
                        role=role,
                        instance=self._instance,
                        progressed=check.ok,
                        note="" if check.ok else check.detail,
                    )
                self._stored_at = self._now()
            except StorageUnavailableError as error:
                log.warning("the database does not take writes", error=str(error))
            except Exception:  # the check of the database turns bad by itself
                log.exception("looking at the progress failed unexpectedly")
            await asyncio.sleep(self._report_seconds)

    async def _look(self) -> None:
        """At what waits, and at the database's clock."""
        count_, age = await self._database.read(outbox.depth)
        waiting = await self._database.read(outbox.oldest)
        self._waiting = {
            topic: seconds for topic, seconds in waiting.items() if CONSUMERS.get(topic) in self._roles
        }
        self._metrics.outbox.set(count_)
        self._metrics.outbox_age.set(age)
        self._metrics.broken_credentials.set(await self._database.read(credentials.count))
        self._metrics.spend.show(await self._database.read(spend_facts))
        held = tuple(self.held_back())

        def heads(connection: Connection) -> dict[str, str | None]:
            found = {PUBLISHER: overdue.first_message(connection)}
            if "runner" in self._roles:
                found["runner"] = overdue.first_run(connection)
            if "poster" in self._roles:
                found["poster"] = overdue.first_result(connection, without=held)
            return found

        for role, first in (await self._database.read(heads)).items():
            self._seen[role].due.saw(first, now=self._now())
        await self._database.read(self._compare_clocks)
        if self._roles & {"ingress", "router"}:
            self._canaries = await self._database.read(canaries.standing)

    def _compare_clocks(self, connection: Connection) -> None:
        if connection.dialect.name == "sqlite":
            return  # its clock is this machine's
        before = self._clocks.clock()
        there = read_clock(connection)
        self._clocks.saw_database(there, before=before, after=self._clocks.clock())

    async def _reach(self) -> None:
        while True:
            try:
                if await self._broker.ping():
                    self._reached_at = self._now()
            except Exception as error:  # noqa: BLE001 - any failure to reach it means not ready
                log.warning("the broker does not answer", error=type(error).__name__)
            await asyncio.sleep(self._report_seconds)
