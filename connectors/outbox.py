"""The poster role: takes results from Kafka, claims them from the database, posts each once, keeps the receipt.

Posting once rests on three things: the row (run, slot) is unique; a claim is a lease with a fence; and every attempt
but the first looks for the artefact of an earlier one by its hidden marker. A vendor that is down is left alone
(`circuits`), and its results wait without being given up. Nothing here knows a vendor.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import structlog
from pydantic import ValidationError
from sqlalchemy import Connection

from connectors.base import Connector, Identity
from connectors.circuits import Circuits
from connectors.healer import Healer
from connectors.observations import Observations
from connectors.own_posts import ASK, EDIT, edit
from connectors.poster import (
    Post,
    Poster,
    PostPolicyError,
    PostRefusedError,
    PostRetryError,
    PostUncertainError,
)
from schemas.policy.approval import APPROVAL
from schemas.policy.secrets import NONE_KNOWN, KnownSecrets
from schemas.policy.shapes import Refusal
from schemas.result import Receipt, Result
from storage.bell import Bell
from storage.database import Database, StorageUnavailableError
from storage.results import (
    MAX_ATTEMPTS,
    ResultClaim,
    claim_results,
    give_back_result,
    keep_receipt,
    postpone_result,
    refuse_result,
    take_result,
)

log = structlog.get_logger(__name__)

LEASE_SECONDS: Final = 90.0
ATTEMPT_SHARE: Final = 2 / 3
"""Of the lease, counted from before the claim: what an attempt may use, waiting for its turn included. A claim
that outlived its lease could post while the next owner looks and finds nothing: 1 would break posting once."""
CONCURRENCY: Final = 32
PER_CONNECTION: Final = 6
POLL_SECONDS: Final = 0.5
MAX_DELAY_SECONDS: Final = 300.0
EXCUSED_SECONDS: Final = 86_400.0
"""A result older than this is not excused any more by a vendor that is down: whoever waits for it hears of it."""


class TakenResult(Protocol):
    """A decoded record of `triggerhub.results`."""

    @property
    def value(self) -> Result: ...

    @property
    def body(self) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Outbound:
    """One connection as the poster sees it."""

    name: str
    connector: Connector
    poster: Poster
    healer: Healer | None = None
    """What finds deliveries that the vendor could not make; None: it cannot be asked, or shall not."""
    heals_all: bool = False
    """Also of sorts that no webhook brought before."""
    declared: Identity = field(default_factory=Identity)
    """Who we are by the configuration."""


class Outbox:
    """One per process with the role `poster`."""

    def __init__(
        self,
        connections: Callable[[], Mapping[str, Outbound]],
        database: Database,
        *,
        owner: str,
        settled: Bell,
        observations: Observations,
        lease: float = LEASE_SECONDS,
        on_progress: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
        known: Callable[[], KnownSecrets] = lambda: NONE_KNOWN,
    ) -> None:
        self._known = known
        self._connections = connections
        self._database = database
        self._owner = owner
        self._lease = lease
        self._settled = settled
        self._observations = observations
        self._on_progress = on_progress
        self._bell = Bell()
        self._circuits = Circuits(
            clock=clock,
            on_change=lambda name, is_open: self._switched(name, is_open=is_open),
        )
        self._probes: set[str] = set()
        """Claims that ask, each for its connection, whether the vendor is back."""
        self._free = CONCURRENCY
        self._busy: dict[str, asyncio.Semaphore] = {}
        self.stopping = False
        self._stopped = asyncio.Event()

    async def take(self, batch: Sequence[TakenResult]) -> None:
        """Kafka handler: note that the results are wanted, and return. Raises StorageUnavailableError."""

        def store(connection: Connection) -> None:
            for taken in batch:
                take_result(connection, taken.value, taken.body)

        await self._database.write(store)
        self._bell.ring()

    async def run(self) -> None:
        """Claim and post until cancelled, or until `stopping` and nothing is in hand."""
        self._on_progress()
        async with asyncio.TaskGroup() as tasks:
            while not (self.stopping and self._free == CONCURRENCY):
                claims: list[ResultClaim] = []
                well = True
                # From before the claim: its answer may be late, and the lease runs on the database's clock.
                until = asyncio.get_running_loop().time() + self._lease * ATTEMPT_SHARE
                if self._free and not self.stopping:
                    try:
                        claims = await self._claim()
                    except StorageUnavailableError as error:
                        log.warning("results could not be claimed", error=str(error))
                        well = False
                for claim in claims:
                    self._free -= 1
                    tasks.create_task(self._carry_out(claim, until=until), name=f"post-{claim.id}")
                if well:
                    self._on_progress()
                if not claims:
                    await self._bell.wait(POLL_SECONDS)
        self._stopped.set()

    def is_full(self) -> bool:
        """Whether it has as many posts in hand as it may, and claims no more. Each of them has its time limit."""
        return self._free == 0

    def held_back(self) -> dict[str, float]:
        """Connections that get no posts at present, with the seconds until one is tried."""
        return self._circuits.held_back()

    async def _claim(self) -> list[ResultClaim]:
        """Results of connections whose circuit is closed, and one for each whose time is over."""
        closed_to, ripe, limit = set(self._circuits.held_back()), self._circuits.ripe(), self._free

        def work(connection: Connection) -> tuple[list[ResultClaim], list[ResultClaim]]:
            probes: list[ResultClaim] = []
            for name in ripe[:limit]:
                probes += claim_results(connection, owner=self._owner, limit=1, lease=self._lease, only=name)
            others = claim_results(
                connection,
                owner=self._owner,
                limit=limit - len(probes),
                lease=self._lease,
                without=closed_to,
            )
            return probes, others

        probes, others = await self._database.write(work)
        for claim in probes:
            self._probes.add(claim.id)
            self._circuits.begin_probe(claim.result.connection)
        return probes + others

    def _switched(self, name: str, *, is_open: bool) -> None:
        if is_open:
            log.warning("a vendor does not take posts; they wait", connection=name)
        else:
            log.info("a vendor takes posts again", connection=name)
        self._observations.circuit(connection=name, is_open=is_open)

    async def stop(self) -> None:
        """Claim no more, and return when what is in hand is done."""
        self.stopping = True
        self._bell.ring()
        await self._stopped.wait()

    async def _carry_out(self, claim: ResultClaim, *, until: float) -> None:
        began = time.perf_counter()
        outcome = "lost"
        gate = self._busy.setdefault(claim.result.connection, asyncio.Semaphore(PER_CONNECTION))
        try:
            outcome = await self._in_turn(claim, gate, until=until)
        except StorageUnavailableError as error:
            # The lease runs out and somebody looks for the artefact before posting again.
            log.warning("the outcome of a post could not be stored", result=claim.id, error=str(error))
        finally:
            self._free += 1
            if claim.id in self._probes:
                self._probes.discard(claim.id)
                self._circuits.end_probe(claim.result.connection)
            self._observations.post(
                connection=claim.result.connection,
                output=claim.result.output,
                outcome=outcome,
                seconds=time.perf_counter() - began,
            )
            self._bell.ring()

    async def _in_turn(self, claim: ResultClaim, gate: asyncio.Semaphore, *, until: float) -> str:
        try:
            async with asyncio.timeout_at(until):
                await gate.acquire()
        except TimeoutError:
            return await self._give_back(claim)
        try:
            if asyncio.get_running_loop().time() >= until:  # the claim's own answer took too long
                return await self._give_back(claim)
            held = self._circuits.wait(claim.result.connection)
            if held is not None and claim.id not in self._probes:  # it opened while this one waited
                return await self._give_back(claim, delay=held)
            return await self._attempt(claim, until=until)
        finally:
            gate.release()

    async def _attempt(self, claim: ResultClaim, *, until: float) -> str:
        if claim.counted > MAX_ATTEMPTS:
            return await self._refuse(claim, f"given up after {MAX_ATTEMPTS} attempts")
        try:
            post, poster = self._prepare(claim)
            async with asyncio.timeout_at(until):
                found = None
                if post.output == EDIT:
                    receipt = await edit(
                        poster, post, self._outbound(claim.result).connector.own_outputs[ASK]
                    )
                else:
                    found = await poster.find(post) if claim.attempts > 1 else None
                    receipt = found or await poster.create(post)
        except PostRefusedError as error:
            clause = error.clause if isinstance(error, PostPolicyError) else None
            return await self._refuse(claim, str(error), clause=clause)
        except PostRetryError as error:
            return await self._failed(claim, str(error), wait=error.retry_after, outcome="retry")
        except (PostUncertainError, TimeoutError) as error:
            return await self._failed(
                claim, str(error) or "no answer in time", wait=None, outcome="uncertain"
            )
        except Exception as error:  # a poster broke its contract: never lose the result over it
            log.exception("a poster failed unexpectedly", result=claim.id, output=claim.result.output)
            return await self._postpone(
                claim, f"unexpected {type(error).__name__}", wait=None, outcome="uncertain"
            )
        self._circuits.succeeded(claim.result.connection)
        return await self._keep(claim, receipt, found=found is not None)

    def _outbound(self, result: Result) -> Outbound:
        outbound = self._connections().get(result.connection)
        if outbound is None:
            msg = f"no connection is called {result.connection!r}; it was removed from the configuration"
            raise PostRefusedError(msg)
        return outbound

    def _prepare(self, claim: ResultClaim) -> tuple[Post, Poster]:
        result = claim.result
        outbound = self._outbound(result)
        spec = outbound.connector.outputs.get(result.output)
        spec = spec or outbound.connector.own_outputs.get(result.output)
        if spec is None:
            known = ", ".join(sorted(outbound.connector.outputs))
            msg = f"{outbound.connector.source} has no output {result.output!r}; it has {known}"
            raise PostRefusedError(msg)
        if result.policy.approve is not None:
            msg = "it needs people's approval, which only a run of this hub can ask for"
            raise PostPolicyError(Refusal(APPROVAL, msg))
        secrets = self._known()
        if any(secrets.inside(text) for text in _texts(result.arguments)):
            # Judged before, where a run wanted it; another program's result comes this way unjudged.
            msg = "it contains a secret of this hub"
            raise PostPolicyError(Refusal("secrets", msg))
        target = dict(result.target)
        to_origin = target.pop("to", None) == "origin"
        try:
            return (
                Post(
                    run=result.run,
                    slot=result.slot,
                    output=result.output,
                    target=spec.target.model_validate(target),
                    arguments=spec.arguments.model_validate(result.arguments),
                    origin=result.origin,
                    to_origin=to_origin,
                    policy=result.policy,
                    known=secrets,
                    wanted_at=claim.wanted_at,
                    lineage=claim.lineage,
                ),
                outbound.poster,
            )
        except ValidationError as error:
            raise PostRefusedError(_explain(result.output, error)) from None

    async def _keep(self, claim: ResultClaim, receipt: Receipt, *, found: bool) -> str:
        kept = await self._database.write(keep_receipt, claim, receipt)
        log.info(
            "posted", result=claim.id, output=claim.result.output, url=receipt.url, found=found, kept=kept
        )
        self._settled.ring()
        return "found" if found else "posted"

    async def _refuse(self, claim: ResultClaim, error: str, *, clause: str | None = None) -> str:
        await self._database.write(refuse_result, claim, error, clause=clause)
        log.warning("post refused", result=claim.id, output=claim.result.output, reason=error)
        self._settled.ring()
        return "refused"

    async def _give_back(self, claim: ResultClaim, *, delay: float = 0.0) -> str:
        log.info("a post was not tried", result=claim.id, output=claim.result.output, delay=round(delay, 1))
        await self._database.write(give_back_result, claim, delay=delay)
        return "waited"

    async def _failed(self, claim: ResultClaim, error: str, *, wait: float | None, outcome: str) -> str:
        """The vendor did not do it, or did not say: come again, and count it against the vendor first."""
        name = claim.result.connection
        self._circuits.failed(name, probe=claim.id in self._probes, retry_after=wait)
        excused = claim.age < EXCUSED_SECONDS and self._circuits.excuses(name, counted=claim.counted)
        return await self._postpone(claim, error, wait=wait, outcome=outcome, excused=excused)

    async def _postpone(
        self, claim: ResultClaim, error: str, *, wait: float | None, outcome: str, excused: bool = False
    ) -> str:
        delay = wait if wait is not None else backoff(claim.counted)
        log.info(
            "post postponed",
            result=claim.id,
            output=claim.result.output,
            reason=error,
            delay=round(delay, 1),
            excused=excused,
        )
        await self._database.write(postpone_result, claim, delay=delay, error=error, excused=excused)
        return outcome


def backoff(attempts: int) -> float:
    """Seconds before the next attempt: 1, 2, 4 … up to five minutes, with a quarter of jitter."""
    delay: float = min(MAX_DELAY_SECONDS, 2.0 ** (attempts - 1))
    return delay * random.uniform(0.75, 1.25)  # noqa: S311 - spreading load, not a secret


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _texts(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _texts(inner)


def _explain(output: str, error: ValidationError) -> str:
    """What the agent is told about arguments it got wrong."""
    details: list[dict[str, Any]] = [
        dict(item) for item in error.errors(include_url=False, include_input=False)
    ]
    problems = "; ".join(
        f"{'.'.join(map(str, item['loc'])) or output}: {item['msg']}" for item in details[:8]
    )
    return f"{output} was not accepted: {problems}"
