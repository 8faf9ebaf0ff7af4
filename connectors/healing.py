"""Looks regularly for what vendors could not deliver, and stores what it finds as the webhooks that should have come.

One process at a time per connection, by a lease in the database. Knows no vendor: each connector's `Healer` asks.
Nothing here posts or starts anything: what is found takes the way of every webhook, through the same unique keys.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final

import structlog

from connectors.base import Identity, Outcome, Request, UnreadableError
from connectors.healer import Harvest, Healer, Memory, PageGoneError
from connectors.ingress import Announce, Inbound, message_of, prepare
from connectors.observations import Observations
from connectors.outbox import Outbound
from connectors.poster import PostError, PostRefusedError, PostRetryError
from schemas.event import Event
from storage import healing
from storage.database import Database, StorageUnavailableError
from storage.deliveries import Incoming
from storage.healing import Claim, Cursor, LostLeaseError
from storage.tables import DeliveryOrigin

log = structlog.get_logger(__name__)

RENEW_SECONDS: Final = 86_400.0
RENEW_AGAIN_SECONDS: Final = 3600.0
"""After a renewal that failed."""
OFF_SECONDS: Final = 86_400.0
"""How long a stream that the vendor refuses is left alone: permissions change, and nobody tells us."""
MAX_DELAY_SECONDS: Final = 3600.0


@dataclass(frozen=True, slots=True)
class Pace:
    """How often and how far, in seconds where not said otherwise."""

    interval: float = 600.0
    """Between two sweeps of a connection."""
    overlap: float = 600.0
    """How far behind the cursor is read again: vendors' indexes lag, and so do their own late retries."""
    grace: float = 60.0
    """What happened so recently may still be on its way as a webhook, and is left to the next sweep. Must be smaller
    than `overlap`, or it would be missed."""
    look: float = 5.0
    """Between two looks for a connection that is due."""
    lease: float = 120.0
    """Longer than a page takes to be read and stored."""
    pages: int = 20
    """Most pages of one stream in one sweep; the next goes on where this one stopped."""
    retry: float = 60.0
    """After a sweep that was cut short, where the vendor names no time, or that left something to read."""

    def __post_init__(self) -> None:
        if self.grace >= self.overlap:
            msg = f"grace {self.grace} must be below overlap {self.overlap}: what is left out once must be read again"
            raise ValueError(msg)


class Healing:
    """One per process with the role `poster`, which has the credentials."""

    def __init__(
        self,
        connections: Callable[[], Mapping[str, Outbound]],
        database: Database,
        *,
        owner: str,
        announce: Announce,
        observations: Observations,
        held_back: Callable[[], Collection[str]] = tuple,
        pace: Pace | None = None,
    ) -> None:
        self._connections = connections
        self._database = database
        self._owner = owner
        self._announce = announce
        self._observations = observations
        self._held_back = held_back
        self._pace = pace or Pace()
        self._identities: dict[str, tuple[Outbound, Identity]] = {}
        self._told: set[tuple[str, str, str]] = set()
        """Refusals that were logged: said once, not at every sweep."""

    async def run(self) -> None:
        """Sweep whatever is due until cancelled. Never ends by a failure of a vendor or the database."""
        while True:
            try:
                while await self.sweep_one():
                    pass
            except StorageUnavailableError as error:
                log.warning("gaps could not be looked for", error=str(error))
            except LostLeaseError as error:
                log.warning("a search for gaps was taken over", reason=str(error))
            except Exception:
                log.exception("the search for gaps failed unexpectedly")
            await asyncio.sleep(self._pace.look * random.uniform(0.75, 1.25))  # noqa: S311 - spreading load, not a secret

    async def sweep_one(self) -> bool:
        """Sweep the connection that has been due for longest. False: none is due."""
        able = {name: one for name, one in self._connections().items() if one.healer is not None}
        names = sorted(set(able) - set(self._held_back()))
        if not names:
            return False
        await self._database.write(healing.ensure, names)
        held = await self._database.write(healing.claim, names, owner=self._owner, lease=self._pace.lease)
        if held is None:
            return False
        outbound = able[held.connection]
        assert outbound.healer is not None  # noqa: S101 - chosen by it above
        sweep = _Sweep(self, held, outbound, outbound.healer)
        error, delay = await sweep.run()
        renew_in = await sweep.renew() if error is None and held.renew_at <= held.now else None
        await self._database.write(healing.finish, held, delay=delay, error=error, renew_in=renew_in)
        return True

    async def identity(self, outbound: Outbound) -> Identity:
        """Who we are at the vendor, asked once: without it our own posts would be fetched as somebody's. Raises
        PostError."""
        known = self._identities.get(outbound.name)
        if known is None or known[0] is not outbound:
            found = await outbound.poster.identify()
            declared = outbound.declared
            known = (
                outbound,
                Identity(
                    actor_ids=declared.actor_ids | found.actor_ids, logins=declared.logins | found.logins
                ),
            )
            self._identities[outbound.name] = known
        return known[1]

    def refused(self, connection: str, stream: str, reason: str) -> None:
        """Say once that a stream is switched off."""
        if (connection, stream, reason) not in self._told:
            self._told.add((connection, stream, reason))
            log.warning(
                "what is lost here cannot be fetched; switched off for a day",
                connection=connection,
                stream=stream,
                reason=reason,
            )


class _Sweep:
    """One connection, once."""

    def __init__(self, healing_: Healing, held: Claim, outbound: Outbound, healer: Healer) -> None:
        self._healing = healing_
        self._held = held
        self._outbound = outbound
        self._healer = healer
        self._database = healing_._database  # noqa: SLF001 - two halves of one thing
        self._pace = healing_._pace  # noqa: SLF001 - the same
        self._memory: Memory | None = None

    async def run(self) -> tuple[str | None, float]:
        """Read every stream. Returns why it was cut short (None: it was not) and the seconds until the next sweep."""
        interval = self._pace.interval * random.uniform(0.9, 1.1)  # noqa: S311 - spreading load, not a secret
        try:
            memory = await self._remember()
            if memory.scopes is not None and not memory.scopes and not self._healer.exact:
                # No webhook ever came: what the vendor would send is not known. The cursors wait.
                return None, interval
            ended = [await self._stream(stream, memory) for stream in await self._healer.streams(memory)]
        except PostRetryError as error:
            wait = error.retry_after if error.retry_after is not None else self._pace.retry
            return str(error), min(max(wait, 1.0), MAX_DELAY_SECONDS)
        except PostRefusedError as error:
            self._healing.refused(self._held.connection, "", str(error))
            return str(error), interval
        except PostError as error:
            return str(error), self._pace.retry
        return None, interval if all(ended) else min(interval, self._pace.retry)

    async def renew(self) -> float:
        """Lengthen subscriptions. Returns the seconds until it is tried again."""
        try:
            memory = self._memory or await self._remember()
            done = await self._healer.renew(memory, now=self._held.now)
        except PostRefusedError as error:
            self._healing.refused(self._held.connection, "renewal", str(error))
            return RENEW_SECONDS
        except PostError as error:
            log.warning("a subscription was not renewed", connection=self._held.connection, reason=str(error))
            return RENEW_AGAIN_SECONDS
        if done is not None:
            log.info("a subscription was renewed", connection=self._held.connection, what=done)
        return RENEW_SECONDS

    async def _remember(self) -> Memory:
        held, name = self._held, self._held.connection
        brought = await self._database.read(healing.brought, held)
        scopes = {
            scope for kind, subject in brought if (scope := self._healer.scope(kind, subject)) is not None
        }
        # A sort that is always wanted proves as well that webhooks come.
        known = await self._database.write(healing.learn, held, scopes | ({""} if brought else set()))
        account = await self._database.read(healing.account, name)
        recent = await self._database.read(healing.subjects, name, since=held.now - healing.FARTHEST)

        async def delivered(keys: Collection[str]) -> frozenset[str]:
            ids = {f"{name}:{key}": key for key in keys}
            found = await self._database.read(healing.known_deliveries, list(ids))
            return frozenset(ids[one] for one in found)

        scoped = None if self._outbound.heals_all else known
        self._memory = Memory(name, account, recent, scoped, delivered)
        return self._memory

    async def _stream(self, stream: str, memory: Memory) -> bool:
        """Read one stream to its end, or as far as one sweep may. False: there is more."""
        cursor = await self._database.write(healing.cursor, self._held, stream)
        if cursor.off:
            return True
        upto = cursor.upto if cursor.page is not None and cursor.upto is not None else None
        page = cursor.page if upto is not None else None
        for _ in range(self._pace.pages):
            now = await self._database.write(healing.hold, self._held, lease=self._pace.lease)
            upto = now if upto is None else upto
            try:
                harvest = await self._page(stream, cursor, memory, upto=upto, page=page)
            except PageGoneError as error:
                log.info("a search for gaps begins anew", stream=stream, reason=str(error))
                await self._database.write(healing.begin_anew, self._held, stream)
                return False
            except PostRefusedError as error:
                self._healing.refused(self._held.connection, stream, str(error))
                await self._database.write(
                    healing.switch_off, self._held, stream, reason=str(error), seconds=OFF_SECONDS
                )
                return True
            await self._keep(stream, harvest, memory, upto=upto)
            page = harvest.page
            if page is None:
                return True
        return False

    async def _page(
        self, stream: str, cursor: Cursor, memory: Memory, *, upto: float, page: str | None
    ) -> Harvest:
        since = max(self._held.begun_at, cursor.since - self._pace.overlap)
        async with asyncio.timeout(self._pace.lease / 2):
            try:
                return await self._healer.missed(
                    stream, since=since, until=upto - self._pace.grace, page=page, memory=memory
                )
            except TimeoutError:
                msg = f"reading {stream} took longer than {self._pace.lease / 2:.0f} s"
                raise PostRetryError(msg) from None

    async def _keep(self, stream: str, harvest: Harvest, memory: Memory, *, upto: float) -> None:
        # Where nothing is rebuilt, who we are need not be known: not every token may ask.
        us = await self._healing.identity(self._outbound) if harvest.requests else Identity()
        inbound = Inbound(self._held.connection, self._outbound.connector, (), us)
        prepared = [
            one
            for request in harvest.requests
            if (one := read_missed(inbound, request, self._wanted(memory))) is not None
        ]
        ids = {event.id for _, events in prepared for event in events}
        known = await self._database.read(healing.known_events, ids) if ids else frozenset[str]()
        lacking = [
            (incoming, events) for incoming, events in prepared if not {event.id for event in events} <= known
        ]
        fresh = await self._database.write(
            healing.advance,
            self._held,
            stream,
            upto=upto,
            page=harvest.page,
            found=[incoming for incoming, _ in lacking],
            redelivered=harvest.redelivered,
            lease=self._pace.lease,
        )
        self._tell(stream, lacking, fresh, redelivered=harvest.redelivered)

    def _tell(
        self,
        stream: str,
        lacking: Sequence[tuple[Incoming, list[Event]]],
        fresh: set[str],
        *,
        redelivered: int,
    ) -> None:
        name, observations = self._held.connection, self._healing._observations  # noqa: SLF001 - see above
        announced = {
            event.id: (message_of(event, stored), event)
            for incoming, events in lacking
            for event, stored in zip(events, incoming.events, strict=True)
            if event.id in fresh
        }
        if announced:
            self._healing._announce(list(announced.values()))  # noqa: SLF001 - see above
            observations.healed(connection=name, how="fetched", count=len(announced))
            log.warning(
                "events were fetched that no webhook brought",
                connection=name,
                stream=stream,
                count=len(announced),
            )
        if redelivered:
            observations.healed(connection=name, how="redelivered", count=redelivered)
            log.warning(
                "the vendor was asked to deliver again", connection=name, stream=stream, count=redelivered
            )

    def _wanted(self, memory: Memory) -> Callable[[str, str], bool]:
        def wanted(kind: str, subject: str) -> bool:
            scope = self._healer.scope(kind, subject)
            return memory.scopes is None or scope is None or scope in memory.scopes

        return wanted


def read_missed(
    inbound: Inbound, request: Request, wanted: Callable[[str, str], bool]
) -> tuple[Incoming, list[Event]] | None:
    """The rows of a rebuilt webhook, marked as fetched; None where it tells nothing that is wanted.

    Its delivery id is made of its facts: the vendor's own delivery, should it come after all, is another row.
    """
    try:
        reading = inbound.connector.normalise(request, identity=inbound.identity)
    except UnreadableError as error:
        log.warning("what was fetched cannot be read", connection=inbound.name, reason=str(error))
        return None
    facts = tuple(
        # What we did ourselves starts nothing, and no webhook of it was missed by anybody.
        fact
        for fact in reading.facts
        if not fact.actor.is_self and wanted(fact.kind, fact.subject.key)
    )
    if reading.outcome is not Outcome.HANDLED or not facts:
        return None
    digest = hashlib.sha256("\n".join(sorted(fact.key for fact in facts)).encode("utf-8", "surrogatepass"))
    reading = replace(reading, facts=facts, delivery_key=f"fetched:{digest.hexdigest()}")
    incoming, events = prepare(
        inbound, request, reading, received_at=datetime.fromtimestamp(time.time(), UTC)
    )
    return replace(incoming, origin=DeliveryOrigin.FETCHED), events
