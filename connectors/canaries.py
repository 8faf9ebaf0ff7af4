"""Sends canaries: events of our own that go the whole durable way of a webhook and start nothing.

Nothing signs them and no vendor is asked: what is measured is intake, database, Kafka and router. The router knows them
by `schemas.event.Event.is_canary`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from datetime import UTC, datetime
from typing import Final

import structlog

from connectors.ingress import Announce, encode, message_of
from connectors.intake import Intake
from connectors.observations import Observations
from schemas.event import CANARY, CANARY_CONNECTION, CANARY_TYPE, Actor, Event, EventData, Subject
from storage import canaries
from storage.canaries import Canary
from storage.database import Database, StorageUnavailableError
from storage.deliveries import Incoming, IncomingEvent

log = structlog.get_logger(__name__)

STORE_SECONDS: Final = 10.0
MAX_AWAITED: Final = 1000


class Canaries:
    """One per process with the role `ingress`. Of several processes, one sends the canary of an interval."""

    def __init__(
        self,
        names: Callable[[], Collection[str]],
        database: Database,
        intake: Intake,
        *,
        announce: Announce,
        observations: Observations,
        interval: float,
    ) -> None:
        self._names = names
        self._database = database
        self._intake = intake
        self._announce = announce
        self._observations = observations
        self._interval = interval
        self._awaited: dict[str, None] = {}
        """Event ids of canaries that this process sent and has not seen come through."""

    async def run(self) -> None:
        """Send and look until cancelled."""
        while True:
            try:
                await self._round()
            except StorageUnavailableError as error:
                log.warning("canaries could not be looked after", error=str(error))
            except Exception:
                log.exception("looking after canaries failed unexpectedly")
            await asyncio.sleep(min(1.0, self._interval / 4))

    async def _round(self) -> None:
        names = list(self._names())
        if names:
            begun = await self._database.write(canaries.begin, names, interval=self._interval)
            await asyncio.gather(*(self._send(one) for one in begun))
        await self._measure()
        await self._database.write(canaries.forget)

    async def _send(self, canary: Canary) -> None:
        event = event_of(canary)
        stored = IncomingEvent.of(event, encode(event, {}))
        incoming = Incoming(
            id=canaries.delivery_of(event.id),
            connection=event.connection,
            outcome="handled",
            reason="a canary",
            body_hash="",
            body_size=0,
            events=[stored],
        )
        try:
            async with asyncio.timeout(STORE_SECONDS):
                await self._intake.store(incoming)
        except (StorageUnavailableError, TimeoutError) as error:
            log.warning(
                "a canary was not stored", connection=canary.connection, error=str(error) or "too slow"
            )
            return
        self._awaited[event.id] = None
        while len(self._awaited) > MAX_AWAITED:
            del self._awaited[next(iter(self._awaited))]
        self._announce([(message_of(event, stored), event)])

    async def _measure(self) -> None:
        if self._awaited:
            for one in await self._database.read(canaries.arrived, list(self._awaited)):
                del self._awaited[one.event_id]
                seconds = (one.came_at or one.sent_at) - one.sent_at
                self._observations.canary(connection=one.connection, seconds=seconds)
        for standing in await self._database.read(canaries.standing):
            if standing.came_ago is not None:
                self._observations.canary_age(connection=standing.connection, seconds=standing.came_ago)


def event_of(canary: Canary) -> Event:
    """The event. It says of itself that triggerhub caused it, so that no rule of any version starts for it."""
    return Event(
        id=canary.event_id,
        source=f"{CANARY}/{canary.connection}",
        type=CANARY_TYPE,
        subject=canary.connection,
        time=datetime.fromtimestamp(canary.sent_at, UTC),
        connection=CANARY_CONNECTION,
        data=EventData(
            kind="ping",
            actor=Actor(id="triggerhub", is_bot=True, is_self=True, trust="system"),
            subject=Subject(kind="connection", key=canary.connection),
        ),
    )
