"""Health that means progress: each role says when it last got something done, and readiness is judged from that."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Final

import structlog

from hub.broker import Broker
from hub.metrics import Metrics
from storage import outbox, workers
from storage.database import Database, StorageUnavailableError

log = structlog.get_logger(__name__)

REPORT_SECONDS: Final = 5.0
STUCK_SECONDS: Final = 45.0
"""A role that did nothing for this long, though it looks for work every second, is wedged."""


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
        self._outbox_age = 0.0
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
            Check(
                "messages",
                self._outbox_age < STUCK_SECONDS,
                f"oldest message not consumed is {self._outbox_age:.0f} s old",
            ),
            Check(
                "consuming", self._broker.poisoned is None, self._broker.poisoned or "records are readable"
            ),
        ]
        found += [
            self._recent(role, self._beats.get(role, 0.0), now, "last looked for work")
            for role in sorted(self._roles & set(self._beats))
        ]
        return found

    @staticmethod
    def _recent(name: str, at: float, now: float, what: str) -> Check:
        if not at:
            return Check(name, ok=False, detail=f"{what} never")
        return Check(name, now - at < STUCK_SECONDS, f"{what} {now - at:.0f} s ago")

    async def _report(self) -> None:
        while True:
            try:
                for role in sorted(self._roles):
                    recent = time.monotonic() - self._beats.get(role, time.monotonic()) < STUCK_SECONDS
                    await self._database.write(
                        workers.report, role=role, instance=self._instance, progressed=recent
                    )
                self._stored_at = time.monotonic()
                count, age = await self._database.read(outbox.depth)
                self._outbox_age = age
                self._metrics.outbox.set(count)
                self._metrics.outbox_age.set(age)
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
