"""Makes the events of scheduled rules when their time has come. It decides nothing about runs: the router does.

Every process with the role `router` does this; the database sees to it that one firing is one event.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Final

import structlog

from router.schedules import due, following
from router.subscriber import Rules
from schemas.config import Schedule
from schemas.event import Event
from schemas.schedule import schedule_event
from schemas.topics import EVENTS
from storage import schedules
from storage.database import Database, StorageUnavailableError
from storage.deliveries import IncomingEvent
from storage.outbox import Message
from storage.schedules import Firing

log = structlog.get_logger(__name__)

LOOK_SECONDS: Final = 1.0

Announce = Callable[[Sequence[tuple[Message, Event | None]]], None]


class Scheduler:
    """One per process with the role `router`."""

    def __init__(
        self,
        rules: Rules,
        database: Database,
        *,
        announce: Announce,
        look_seconds: float = LOOK_SECONDS,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._rules = rules
        self._database = database
        self._announce = announce
        self._look_seconds = look_seconds
        self._clock = clock
        self._known: object = None
        """The rules that were last looked at."""
        self._next: dict[str, float] = {}
        """When each rule's schedule has to be asked about again, by this process's clock. A missing one: at once."""

    async def run(self) -> None:
        """Look until cancelled. A failure is logged, and the next look tries again: what was due is still due."""
        while True:
            try:
                await self.look()
            except StorageUnavailableError as error:
                log.warning("schedules could not be looked at", error=str(error))
            except Exception:
                log.exception("looking at schedules failed unexpectedly")
            await asyncio.sleep(self._look_seconds)

    async def look(self) -> list[Event]:
        """Make what is due; return what this process made. Raises StorageUnavailableError."""
        current = self._rules.current
        scheduled = {
            rule.name: rule.rule.schedule
            for rule in current.rules
            if rule.rule.schedule is not None and rule.rule.enabled
        }
        if current is not self._known:
            await self._database.write(schedules.forget_others, list(scheduled))
            self._known, self._next = current, {}
        made: list[Event] = []
        for name, schedule in scheduled.items():
            now = self._clock()
            if now < self._next.get(name, 0.0):
                continue
            event, at = await self._fire(name, schedule)
            if event is not None:
                made.append(event)
            # The database's clock says when, this one only for how long to wait.
            self._next[name] = now + following(schedule.cron, schedule.timezone, after=at) - at
        return made

    async def _fire(self, name: str, schedule: Schedule) -> tuple[Event | None, float]:
        def decide(since: float, now: float) -> Firing[Event] | None:
            found = due(schedule.cron, schedule.timezone, since=since, now=now)
            if found is None:
                return None
            event = schedule_event(
                name,
                at=found.at,
                cron=schedule.cron,
                timezone=schedule.timezone,
                local=found.local,
                missed=found.missed,
            )
            return Firing(found.at, found.missed, _stored(event), event)

        spec = f"{schedule.cron} {schedule.timezone}"
        fired, now = await self._database.write(
            lambda connection: schedules.fire(connection, name, spec, decide=decide)
        )
        if fired is None:
            return None, now
        event = fired.what
        log.info("a schedule fired", rule=name, event_id=event.id, at=event.data.payload["scheduled_at"])
        if fired.missed:
            log.warning("firings were missed and are left out", rule=name, missed=fired.missed)
        body = fired.event.body
        self._announce([(Message(EVENTS.name, event.id, event.subject, body), event)])
        return event, now


def _stored(event: Event) -> IncomingEvent:
    return IncomingEvent.of(event, event.model_dump_json().encode())
