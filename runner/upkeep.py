"""Looks after sessions at the service that no run looks after, or not at present. At most one process at a time.

Spare sessions come from creates that succeeded although the answer was lost; sessions go on working when their run
had to end without them. Sessions of other programs, and of other hubs in the same workspace, are left alone: only
those whose run is in this database are touched.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from enum import Enum
from typing import Final, TypeVar

import structlog
from anthropic.types.beta import BetaManagedAgentsSession
from sqlalchemy import Connection

from runner.errors import RefusedError, ServiceError
from runner.service import RUNNING, is_over, run_of
from runner.turn import cost_cents, plain_usage
from runner.waiting import READS_SHARE, WaitingRuns
from runner.world import World
from storage import ledger, rates, unsettled
from storage.clock import read_clock
from storage.database import StorageUnavailableError
from storage.sessions import last_use, standing_of
from storage.unsettled import Unsettled

log = structlog.get_logger(__name__)

T = TypeVar("T")

LIMIT: Final = "upkeep"
"""Name of the shared limit that lets one process at a time do this."""
MOST: Final = 5_000
"""Sessions that may cost more than is known which are looked at in one sweep."""
CHUNK: Final = 500
"""Sessions looked up in one query."""
RUNNING_WINDOW: Final = 7 * 24 * 3600.0
"""How far back sessions that still work are looked for: longer than any run may take."""


class Verdict(Enum):
    """What is wrong with a session."""

    SPARE = "spare"
    """Its run has another session, or ended without any."""
    LEFT_ALONE = "left alone"
    """It works, and every run in it ended some time ago."""


class Upkeep:
    """A periodic sweep. One per process; the database decides whose turn it is."""

    def __init__(self, world: World, *, share: int = READS_SHARE) -> None:
        self._world = world
        self._timing = world.timing
        self._share = share
        self._waiting = WaitingRuns(world, share=share)

    async def run(self) -> None:
        """Sweep until cancelled. A failure is logged and the next sweep tries again."""
        while True:
            await asyncio.sleep(self._timing.upkeep)
            try:
                if await self._world.database.write(rates.acquire, LIMIT, limit=1) <= 0:
                    await self.sweep()
            except (ServiceError, StorageUnavailableError) as error:
                log.warning("the upkeep was cut short", reason=str(error))
            except Exception:
                log.exception("the upkeep failed unexpectedly")

    async def sweep(self) -> int:
        """Look once. Return how many sessions were archived or interrupted. Raises ServiceError.

        The lists serve the runs that wait as well.
        """
        now = time.time()
        service = self._world.service
        if unknown := await self._world.database.read(unsettled.unknown):
            await self._world.database.write(_mark, unknown)
        since = await self._world.database.read(read_clock)
        # The lists come first: a run that takes a session after this is seen as active below.
        recent = await service.sessions_since(now - self._timing.upkeep_window, archived=True)
        working = await service.sessions_since(now - RUNNING_WINDOW, statuses=RUNNING)
        busy = {one.id: run_of(one) or "" for one in (*recent, *working) if one.status in RUNNING}
        if busy:
            await self._world.database.write(unsettled.mark_at_work, busy)
        await self._settle((*recent, *working), since=since)
        listed = {session.id: session for session in (*recent, *working) if run_of(session) is not None}
        sessions = {name: session for name, session in listed.items() if not is_over(session)}
        dealt_with = 0
        for some in _chunks(list(sessions.values())):
            for session_id in await self._judge(some):
                # Once more for this one alone: since the first look a run may have taken it.
                session = sessions[session_id]
                verdict = (await self._judge([session])).get(session_id)
                if verdict is Verdict.SPARE:
                    dealt_with += await self._archive(session)
                elif verdict is Verdict.LEFT_ALONE:
                    dealt_with += await self._interrupt(session_id, "its run has ended")
        await self._waiting.look(listed)
        await self._waiting.check_credentials()
        await self._waiting.try_credentials()
        return dealt_with

    async def _settle(self, sessions: Sequence[BetaManagedAgentsSession], *, since: float) -> None:
        """Put into the ledger what sessions cost after their run ended, or what nobody could tell then.

        `sessions` were listed after the database's time `since`. Those in no list are asked for one by one, within a
        share of the reads; one that does not answer holds up no other.
        """
        listed = {one.id: one for one in sessions}
        costs = {one.id: (run_of(one), cost_cents(plain_usage(one.usage))) for one in sessions}
        marked = await self._world.database.read(unsettled.unsettled, limit=MOST)
        for one in marked:
            if one.session_id in costs:
                costs[one.session_id] = one.run_id, costs[one.session_id][1]
        asked: list[str] = []
        for one in [one for one in marked if one.session_id not in listed][: self._most]:
            asked.append(one.session_id)
            try:
                session = await self._world.service.retrieve_session(one.session_id)
            except RefusedError as error:
                if error.gone:
                    await self._world.database.write(_give_up, one, since)
                continue
            except ServiceError as error:
                log.warning("what sessions cost is asked for later", reason=str(error))
                break
            listed[session.id] = session
            costs[session.id] = one.run_id, cost_cents(plain_usage(session.usage))
        if asked:
            await self._world.database.write(unsettled.looked, asked)

        at_rest = {
            one.session_id
            for one in marked
            if (seen := listed.get(one.session_id)) is not None and _is_told(seen)
        }
        ours = {
            id_: (run, cost or 0)
            for id_, (run, cost) in costs.items()
            if run is not None and (cost is not None or id_ in at_rest)
        }
        for some in _chunks(list(ours)):
            known = await self._world.database.read(ledger.seen, some)
            news = {id_: ours[id_] for id_ in some if id_ in at_rest or ours[id_][1] > known.get(id_, 0)}
            if news:
                await self._world.database.write(_settle, news, at_rest.intersection(news), since)

    @property
    def _most(self) -> int:
        return max(1, self._world.service.permits.per_minute("reads") // self._share)

    async def _judge(self, sessions: Sequence[BetaManagedAgentsSession]) -> dict[str, Verdict]:
        """Those of the sessions that need something done."""
        ids = [session.id for session in sessions]
        run_ids = {session.id: run_of(session) or "" for session in sessions}
        standings = await self._world.database.read(standing_of, list(run_ids.values()))
        uses = await self._world.database.read(last_use, ids)
        found: dict[str, Verdict] = {}
        for session in sessions:
            standing = standings.get(run_ids[session.id])
            if standing is None:
                continue  # another hub's
            ended_ago = uses.get(session.id)
            if session.id not in uses:
                age = time.time() - session.created_at.timestamp()
                expected = (
                    standing.session_id is None and not standing.terminal
                )  # its run is about to find it
                if not expected and age >= self._timing.upkeep_grace:
                    found[session.id] = Verdict.SPARE
            elif (
                session.status in RUNNING and ended_ago is not None and ended_ago >= self._timing.upkeep_grace
            ):
                found[session.id] = Verdict.LEFT_ALONE
        return found

    async def _archive(self, session: BetaManagedAgentsSession) -> bool:
        if session.status in RUNNING:
            return await self._interrupt(
                session.id, "it is a spare"
            )  # archived by a later sweep, once it rests
        try:
            await self._world.service.archive_session(session.id)
        except RefusedError as error:
            log.warning("a spare session was not archived", session=session.id, reason=str(error))
            return False
        log.info("a spare session was archived", session=session.id, run=run_of(session))
        return True

    async def _interrupt(self, session_id: str, why: str) -> bool:
        try:
            await self._world.service.interrupt(session_id)
        except RefusedError as error:
            log.warning("a session was not interrupted", session=session_id, reason=str(error))
            return False
        log.info("a session was interrupted", session=session_id, reason=why)
        return True


def _mark(connection: Connection, found: Sequence[Unsettled]) -> None:
    for one in found:
        unsettled.mark(connection, one.session_id, run_id=one.run_id)


def _is_told(session: BetaManagedAgentsSession) -> bool:
    """It rests, and says what it cost: one that did nothing says nothing."""
    usage = plain_usage(session.usage)
    return session.status not in RUNNING and (cost_cents(usage) is not None or not usage.get("output_tokens"))


def _settle(
    connection: Connection, costs: Mapping[str, tuple[str, int]], at_rest: Collection[str], since: float
) -> None:
    for session_id, (run_id, cost) in costs.items():
        ledger.settle_late(connection, session_id, total=cost, made_for=run_id)
    unsettled.settled(connection, at_rest, until=since)


def _give_up(connection: Connection, one: Unsettled, since: float) -> None:
    """The session is gone: what it cost beyond what is known cannot be known any more."""
    ledger.give_up(connection, one.session_id)
    unsettled.settled(connection, [one.session_id], until=since)


def _chunks(sessions: Sequence[T]) -> Iterator[Sequence[T]]:
    for start in range(0, len(sessions), CHUNK):
        yield sessions[start : start + CHUNK]
