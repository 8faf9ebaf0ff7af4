"""Shows at its origin that a run was seen, how it stands and how it ended. Part of the role `poster`.

It has its own queue and its own hands, so that nothing waits behind posts. Each look reads how the run stands now;
what shows something else already is edited in place. Must not know a vendor, nor when a run changes.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final
from urllib.parse import urlsplit

import structlog
from sqlalchemy import Connection

from connectors.observations import Observations
from connectors.outbox import Outbound, backoff
from connectors.poster import Check, OutputSpec, Post, PostError, PostGoneError, PostRefusedError
from connectors.presence_words import check_words, link_of, status_text
from schemas.marker import Lineage
from schemas.policy.gate import Gate
from schemas.result import Receipt
from storage import presence
from storage.bell import Bell
from storage.database import Database, StorageUnavailableError
from storage.lineage import lineage_of
from storage.presence import CHECK, SEEN, STATUS, Outcome, PresenceClaim, Wanted, quiet_for
from storage.presence_tables import PresenceStatus
from storage.standing import Standing, pulls_of, standing_of
from storage.states import RUN_TERMINAL
from storage.tables import RunStatus

log = structlog.get_logger(__name__)

ATTEMPT_SHARE: Final = 2 / 3
"""Of the lease, counted from before the claim. An edit that outlived it could undo a later one: 1 would break that the
last state wins."""
CONCURRENCY: Final = 16
PER_CONNECTION: Final = 4
POLL_SECONDS: Final = 0.5
SEEN_SECONDS: Final = 600.0
"""A mark that comes later tells nobody anything."""
GIVE_UP_SECONDS: Final = 86_400.0
"""Since it last showed something new, where it failed meanwhile as often as this and more."""
GIVE_UP_FAILURES: Final = 20
HOLD_SECONDS: Final = 60.0
"""The longest that a connection is left alone for failures in a row, where the vendor names no time."""


@dataclass(slots=True)
class _Held:
    """What is known of a vendor in trouble."""

    failures: int = 0
    until: float = 0.0


@dataclass(frozen=True, slots=True)
class _Look:
    """A claim, and how its run stands."""

    claim: PresenceClaim
    standing: Standing | None
    pulls: list[tuple[str, str]] = field(default_factory=list)
    lineage: Lineage | None = None


class Presence:
    """One per process with the role `poster`."""

    def __init__(
        self,
        connections: Callable[[], Mapping[str, Outbound]],
        database: Database,
        *,
        owner: str,
        gate: Gate,
        observations: Observations,
        lease: float,
        held_back: Callable[[], Collection[str]] = tuple,
        on_progress: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._connections = connections
        self._database = database
        self._owner = owner
        self._gate = gate
        self._observations = observations
        self._lease = lease
        self._held_back = held_back
        self._on_progress = on_progress
        self._clock = clock
        self._bell = Bell()
        self._free = CONCURRENCY
        self._busy: dict[str, asyncio.Semaphore] = {}
        self._trouble: dict[str, _Held] = {}
        self.stopping = False
        self._stopped = asyncio.Event()

    async def run(self) -> None:
        """Look and show until cancelled, or until `stopping` and nothing is in hand."""
        self._on_progress()
        async with asyncio.TaskGroup() as tasks:
            while not (self.stopping and self._free == CONCURRENCY):
                looks: list[_Look] = []
                until = asyncio.get_running_loop().time() + self._lease * ATTEMPT_SHARE
                try:
                    if self._free and not self.stopping and await self._database.read(presence.is_due):
                        looks = await self._database.write(self._claim, limit=self._free)
                    self._on_progress()
                except StorageUnavailableError as error:
                    log.warning("signs of presence could not be claimed", error=str(error))
                for look in looks:
                    self._free -= 1
                    tasks.create_task(
                        self._carry_out(look, until=until), name=f"presence-{look.claim.run_id}"
                    )
                if not looks:
                    await self._bell.wait(POLL_SECONDS)
        self._stopped.set()

    async def stop(self) -> None:
        """Claim no more, and return when what is in hand is done."""
        self.stopping = True
        self._bell.ring()
        await self._stopped.wait()

    def _claim(self, connection: Connection, *, limit: int) -> list[_Look]:
        now = self._clock()
        held = {name for name, one in self._trouble.items() if one.until > now} | set(self._held_back())
        claims = presence.claim_presence(
            connection, owner=self._owner, limit=limit, lease=self._lease, without=held
        )
        looks = []
        for claim in claims:
            if claim.kind == SEEN:
                looks.append(_Look(claim, None))
                continue
            standing = standing_of(connection, claim.run_id, claim.wanted)
            if claim.kind == STATUS:
                looks.append(_Look(claim, standing, lineage=lineage_of(connection, claim.run_id)))
            else:
                looks.append(
                    _Look(claim, standing, pulls_of(connection, claim.run_id) if claim.kind == CHECK else [])
                )
        return looks

    async def _carry_out(self, look: _Look, *, until: float) -> None:
        claim, began = look.claim, time.perf_counter()
        gate = self._busy.setdefault(claim.connection, asyncio.Semaphore(PER_CONNECTION))
        outcome = Outcome(claim, untried=True, delay=1.0)
        try:
            async with asyncio.timeout_at(until):
                async with gate:
                    outcome = await self._show(look)
        except PostGoneError as error:
            outcome = self._gone(look, str(error))
        except PostRefusedError as error:
            # What stands there and cannot be changed is of no more use than what somebody deleted.
            is_edit = claim.kind == STATUS and claim.receipt is not None
            dropped = Outcome(claim, PresenceStatus.DROPPED, error=str(error))
            outcome = self._gone(look, str(error)) if is_edit else dropped
        except PostError as error:
            outcome = self._failed(claim, str(error), getattr(error, "retry_after", None))
        except TimeoutError:
            outcome = self._failed(claim, "no answer in time", None)
        except StorageUnavailableError as error:
            outcome = Outcome(claim, delay=5.0, error=str(error), failed=True)
        except Exception as error:  # a poster broke its contract: the others' signs must go on
            log.exception("a sign of presence failed unexpectedly", run=claim.run_id, kind=claim.kind)
            outcome = self._failed(claim, f"unexpected {type(error).__name__}", None)
        try:
            await self._database.write(presence.settle, [outcome])
        except StorageUnavailableError as error:
            # The lease runs out, and somebody looks for the artefact before making it again.
            log.warning("a sign of presence could not be noted", run=claim.run_id, error=str(error))
        finally:
            self._free += 1
            self._tell(outcome, time.perf_counter() - began)
            self._bell.ring()

    def _tell(self, outcome: Outcome, seconds: float) -> None:
        claim = outcome.claim
        name = f"presence_{claim.kind.partition(':')[0]}"
        if outcome.status is PresenceStatus.DROPPED and outcome.error:
            log.warning("not shown", run=claim.run_id, kind=claim.kind, reason=outcome.error)
        word = "retry" if outcome.failed else "refused" if outcome.error else "posted"
        if outcome.shown is not None or outcome.error is not None:
            self._observations.post(connection=claim.connection, output=name, outcome=word, seconds=seconds)

    # What is shown --------------------------------------------------------------------------------------------------

    async def _show(self, look: _Look) -> Outcome:
        claim = look.claim
        outbound = self._connections().get(claim.connection)
        if outbound is None:
            msg = f"no connection that can post is called {claim.connection!r}"
            raise PostRefusedError(msg)
        if claim.kind == SEEN:
            outcome = await self._seen(claim, outbound)
        elif look.standing is None:
            return Outcome(claim, PresenceStatus.DROPPED, error="the run is not there any more")
        elif claim.kind == STATUS:
            outcome = await self._status(look, look.standing, outbound)
        else:
            outcome = await self._check(look, look.standing, outbound)
        if outcome.shown is not None:
            self._trouble.pop(claim.connection, None)
        return outcome

    async def _seen(self, claim: PresenceClaim, outbound: Outbound) -> Outcome:
        mark = outbound.poster.seen_mark(claim.wanted.origin)
        if mark is None or claim.age > SEEN_SECONDS:
            return Outcome(claim, PresenceStatus.DROPPED)
        output, arguments = mark
        post = _post(outbound, claim.run_id, SEEN, output, arguments, claim.wanted)
        # A mark set twice is one mark: nothing has to be looked for.
        receipt = await outbound.poster.create(post)
        return Outcome(claim, PresenceStatus.SHOWN, receipt=receipt, shown=SEEN)

    async def _status(self, look: _Look, standing: Standing, outbound: Outbound) -> Outcome:
        claim = look.claim
        ended = standing.status in RUN_TERMINAL
        if claim.receipt is None and claim.wanted.follow_up and claim.shown is None:
            # It may be told with others, in another run's message: then that run's status speaks for it.
            if standing.status is RunStatus.QUEUED:
                delay = min(presence.LOOK_SECONDS, max(presence.SOON_SECONDS, claim.age / 4))
                return Outcome(claim, delay=delay, untried=True)
            if standing.status is RunStatus.JOINED:
                return Outcome(claim, PresenceStatus.DROPPED)
        if claim.gone and not _must_tell(standing):
            # Somebody deleted it and does not want to read on; only a failure must not go unheard.
            status = PresenceStatus.DROPPED if ended else PresenceStatus.OPEN
            return Outcome(claim, status, delay=presence.LOOK_SECONDS, untried=True)
        text = status_text(standing, claim.wanted, activity=claim.activity)
        text = await asyncio.to_thread(self._gate.own_words, text, hosts=_hosts(claim.wanted))
        shown = _hash(text)
        status = PresenceStatus.SHOWN if ended else PresenceStatus.OPEN
        if shown == claim.shown and claim.receipt is not None:
            return Outcome(claim, status, delay=quiet_for(claim), untried=True)
        post = _post(outbound, claim.run_id, claim.slot, "comment", {"text": text}, claim.wanted)
        post = replace(post, lineage=look.lineage)
        poster, receipt = outbound.poster, claim.receipt
        if receipt is None and claim.tried > 1:
            receipt = await poster.find(post)
        if receipt is None:
            receipt = await poster.create(post)
        else:
            receipt = await poster.update(post, receipt)
        return _shown(claim, status, outbound, receipt, shown)

    async def _check(self, look: _Look, standing: Standing, outbound: Outbound) -> Outcome:
        claim, wanted = look.claim, look.claim.wanted
        if claim.kind == CHECK and look.pulls:

            def want(connection: Connection) -> None:
                for name, pull in look.pulls:
                    if pull != _pull(wanted):
                        presence.want_check(connection, claim, connection_name=name, pull=pull)

            await self._database.write(want)
        ended = standing.status in RUN_TERMINAL
        status = PresenceStatus.SHOWN if ended else PresenceStatus.OPEN
        pull = _pull(wanted)
        state, title = check_words(standing)
        shown = _hash(f"{state}\n{title}")
        if pull is None or shown == claim.shown:
            # Without a pull request of its own it waits for those that the run opens.
            return Outcome(claim, status, delay=presence.LOOK_SECONDS, untried=True)
        text = await asyncio.to_thread(self._gate.own_words, title, hosts=_hosts(wanted))
        check = Check(
            run=claim.run_id,
            name=wanted.check or "triggerhub",
            pull=pull,
            state=state,
            title=text,
            url=link_of(standing),
        )
        receipt = await outbound.poster.show_check(check, claim.receipt)
        return _shown(claim, status, outbound, receipt, shown)

    # What goes wrong ------------------------------------------------------------------------------------------------

    def _gone(self, look: _Look, error: str) -> Outcome:
        claim = look.claim
        if claim.kind != STATUS or claim.gone:
            return Outcome(claim, PresenceStatus.DROPPED, error=error)
        return Outcome(claim, delay=presence.SOON_SECONDS, gone=True, error=error)

    def _failed(self, claim: PresenceClaim, error: str, wait: float | None) -> Outcome:
        """The vendor did not do it, or did not say. Nothing is given up for a day."""
        held = self._trouble.setdefault(claim.connection, _Held())
        held.failures += 1
        pause = wait if wait is not None else min(HOLD_SECONDS, 2.0 ** min(10, held.failures - 1))
        held.until = max(held.until, self._clock() + pause)
        if claim.kind == SEEN and claim.age + pause > SEEN_SECONDS:
            return Outcome(claim, PresenceStatus.DROPPED, error=error)
        if claim.now - claim.updated_at > GIVE_UP_SECONDS and claim.failures >= GIVE_UP_FAILURES:
            return Outcome(claim, PresenceStatus.DROPPED, error=error)
        delay = max(pause, min(HOLD_SECONDS, backoff(claim.failures + 1)))
        return Outcome(claim, delay=delay, error=error, failed=True)


def _post(
    outbound: Outbound, run_id: str, slot: str, output: str, arguments: Mapping[str, Any], wanted: Wanted
) -> Post:
    spec: OutputSpec = outbound.connector.outputs[output]
    return Post(
        run=run_id,
        slot=slot,
        output=output,
        target=spec.target.model_validate({}),
        arguments=spec.arguments.model_validate(dict(arguments)),
        origin=wanted.origin,
        to_origin=True,
    )


def _shown(
    claim: PresenceClaim, status: PresenceStatus, outbound: Outbound, receipt: Receipt, shown: str
) -> Outcome:
    pace = outbound.poster.edit_pace
    return Outcome(
        claim,
        status,
        delay=max(presence.LOOK_SECONDS, pace.seconds),
        receipt=receipt,
        shown=shown,
        edit_seconds=pace.seconds,
        together=pace.together,
    )


def _must_tell(standing: Standing) -> bool:
    return standing.status in {RunStatus.FAILED, RunStatus.TIMED_OUT, RunStatus.CANCELLED}


def _pull(wanted: Wanted) -> str | None:
    """The pull request that the check is on."""
    if wanted.pull is not None:
        return wanted.pull
    subject = wanted.origin.subject
    return subject.key if subject.kind == "pr" else None


def _hosts(wanted: Wanted) -> tuple[str, ...]:
    try:
        host = urlsplit(wanted.origin.subject.url or "").hostname
    except ValueError:
        return ()
    return (host.lower(),) if host else ()


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]
