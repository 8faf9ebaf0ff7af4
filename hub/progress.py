"""Health that means progress: each role says when it last got something done, and readiness is judged from that."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import structlog

from hub.broker import Broker
from hub.metrics import Metrics
from schemas.topics import DISPATCHES, EVENTS, RESULTS
from storage import outbox, workers
from storage.database import Database, StorageUnavailableError

log = structlog.get_logger(__name__)

REPORT_SECONDS: Final = 5.0
STUCK_SECONDS: Final = 45.0
"""A role that did nothing for this long, though it looks for work every second, is wedged."""
CONSUMERS: Final = {EVENTS.name: "router", DISPATCHES.name: "runner", RESULTS.name: "poster"}
"""Which role consumes a topic."""
FED: Final = "router"
"""It only moves when messages come: with none waiting, silence is no trouble. The other roles look for work by
themselves."""


@dataclass(frozen=True, slots=True)
class Check:
    """One line of `/readyz`."""

    name: str
    ok: bool
    detail: str


class Progress:
    """One per process."""

    def __init__(
        self, database: Database, broker: Broker, metrics: Metrics, *, instance: str, roles: frozenset[str]
    ) -> None:
        self._database = database
        self._broker = broker
        self._metrics = metrics
        self._instance = instance
        self._roles = roles
        self._beats: dict[str, float] = {}
        self._stored_at = 0.0
        self._reached_at = 0.0
        self._waiting: dict[str, float] = {}
        """Age of the oldest message of each topic that this process's roles consume."""
        self.held_back: Callable[[], Mapping[str, float]] = dict
        """Connections that get no posts at present, with seconds until one is tried."""
        self.silent: Callable[[], Mapping[str, str]] = dict
        """Connections that get no webhooks against their habit, with the reason."""
        self.started = False
        self.stopping = False

    def beat(self, role: str) -> None:
        """The role's loop came round."""
        self._beats[role] = time.monotonic()

    async def run(self) -> None:
        """Report to the database and look at the broker until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._report(), name="progress-report")
            tasks.create_task(self._reach(), name="progress-broker")

    def checks(self) -> list[Check]:
        """Everything that must be well for this process to be ready."""
        now = time.monotonic()
        found = [
            Check("started", self.started, "consuming" if self.started else "still starting"),
            Check("stopping", not self.stopping, "stopping" if self.stopping else "no"),
            self._recent("database", self._stored_at, now, "last written"),
            self._recent("broker", self._reached_at, now, "last answered"),
            self._messages(),
            Check(
                "consuming", self._broker.poisoned is None, self._broker.poisoned or "records are readable"
            ),
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
        found += [self._role(role, now) for role in sorted(self._roles & set(self._beats))]
        return found

    def _messages(self) -> Check:
        """Whether what this process consumes comes round. Other roles' topics are other processes' business."""
        if not self._waiting:
            return Check("messages", ok=True, detail="none waits for the roles of this process")
        topic, age = max(self._waiting.items(), key=lambda item: item[1])
        return Check(
            "messages", age < STUCK_SECONDS, f"oldest message not consumed is {age:.0f} s old, of {topic}"
        )

    def _role(self, role: str, now: float) -> Check:
        check = self._recent(role, self._beats.get(role, 0.0), now, "last looked for work")
        if role == FED and not check.ok and EVENTS.name not in self._waiting:
            return Check(role, ok=True, detail=f"{check.detail}; nothing waits for it")
        return check

    @staticmethod
    def _recent(name: str, at: float, now: float, what: str) -> Check:
        if not at:
            return Check(name, ok=False, detail=f"{what} never")
        return Check(name, now - at < STUCK_SECONDS, f"{what} {now - at:.0f} s ago")

    async def _report(self) -> None:
        while True:
            try:
                count, age = await self._database.read(outbox.depth)
                waiting = await self._database.read(outbox.oldest)
                self._waiting = {
                    topic: seconds
                    for topic, seconds in waiting.items()
                    if CONSUMERS.get(topic) in self._roles
                }
                self._metrics.outbox.set(count)
                self._metrics.outbox_age.set(age)
                now = time.monotonic()
                for role in sorted(self._roles):
                    recent = role not in self._beats or self._role(role, now).ok
                    await self._database.write(
                        workers.report, role=role, instance=self._instance, progressed=recent
                    )
                self._stored_at = time.monotonic()
            except StorageUnavailableError as error:
                log.warning("the database does not take writes", error=str(error))
            await asyncio.sleep(REPORT_SECONDS)

    async def _reach(self) -> None:
        while True:
            try:
                if await self._broker.ping():
                    self._reached_at = time.monotonic()
            except Exception as error:  # noqa: BLE001 - any failure to reach it means not ready
                log.warning("the broker does not answer", error=type(error).__name__)
            await asyncio.sleep(REPORT_SECONDS)
