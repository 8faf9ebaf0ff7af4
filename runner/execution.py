"""One run from claim to end: open the session, send the work, follow it, answer its tools, report.

Every durable step is written before or together with what it stands for, under the claim's fence; after a crash the
next owner starts at the stored status and looks before it repeats anything. Nothing here posts to a vendor.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any, Final

import structlog
from sqlalchemy import Connection

from runner.catalogue import UnknownDefinitionError
from runner.conversation import Following
from runner.messages import marker_of, work_message
from runner.opening import open_session
from runner.report import FINAL_SLOT, failure_text, final_result, outcome_of
from runner.service import BusyError, RefusedError, ServiceError
from runner.turn import Turn, cost_cents
from runner.world import MountError, World
from schemas.result import Result
from schemas.topics import RESULTS
from storage import runs
from storage.database import StorageUnavailableError
from storage.outbox import Message
from storage.results import Settled, slots_of, want_result
from storage.runs import Claim
from storage.tables import ResultStatus, RunStatus

log = structlog.get_logger(__name__)

RETRY_SECONDS: Final = 5.0


class LostError(Exception):
    """Another owner has the run now: stop without writing anything."""


class RunExecution:
    """Drives one claimed run. `inbox` is how the worker hands it settled results and stop requests."""

    def __init__(self, world: World, claim: Claim, *, watch: Callable[[str, bool], None]) -> None:
        self.world = world
        self.claim = claim
        self.status = claim.status
        self.stop_reason: str | None = claim.row.get("stop_reason")
        self.session_id: str = claim.row.get("session_id") or ""
        self.inbox: asyncio.Queue[tuple[str, Any]] = asyncio.Queue()
        self.slots: dict[str, str] = {}
        self._watch = watch
        self._log = log.bind(run=claim.run_id, rule=claim.dispatch.rule)

    async def run(self) -> None:
        """Bring the run as far as it goes. Returns when it ended, was lost, or was given back for later."""
        try:
            if self.claim.attempts > runs.MAX_ATTEMPTS:
                await self._end_with(Turn(None), RunStatus.FAILED, f"given up after {runs.MAX_ATTEMPTS} attempts")
            elif self.claim.attempts > 1 or self.status not in {RunStatus.CREATING, RunStatus.SENDING}:
                self.slots = await self.world.database.read(slots_of, self.claim.run_id)
            await self._advance()
        except LostError:
            self._log.warning("the run was taken over by another runner")
        except (StorageUnavailableError, ServiceError, MountError) as error:
            wait = getattr(error, "retry_after", None)
            await self._give_back(str(error), delay=RETRY_SECONDS if wait is None else min(wait, 300.0))

    async def _advance(self) -> None:
        try:
            while self.status is not RunStatus.REPORTING and self.status not in runs.RUN_TERMINAL:
                if self.status is RunStatus.CREATING:
                    await self._open()
                else:
                    turn = await self._follow()
                    if turn is not None:
                        await self._end_with(turn, *outcome_of(turn, self.stop_reason))
        except RefusedError as error:
            await self._end_with(Turn(None), RunStatus.FAILED, str(error))
        except UnknownDefinitionError as error:
            await self._end_with(Turn(None), RunStatus.FAILED, str(error))
        except MountError as error:
            if not error.permanent:
                raise
            await self._end_with(Turn(None), RunStatus.FAILED, str(error))
        if self.status is RunStatus.REPORTING:
            await self._finish()

    # Session --------------------------------------------------------------------------------------------------------

    async def _open(self) -> None:
        session_id, facts = await open_session(self.world, self.claim, doubt=self.claim.attempts > 1)
        owned = await self.world.database.write(runs.adopt_session, self.claim, session_id, **facts)
        if not owned:
            # The session stays empty; its next owner finds it by metadata, or the sweep archives it.
            raise LostError
        self.status, self.session_id = RunStatus.SENDING, session_id
        self._log.info("session opened", session=session_id)

    async def replace_session(self) -> None:
        """The conversation's session is gone for good: forget it and make another."""
        gone = self.session_id

        def forget(connection: Connection) -> bool:
            runs.forget_session(connection, self.claim.dispatch.conversation, gone)
            return runs.move_run(
                connection, self.claim, RunStatus.SENDING, RunStatus.CREATING, session_id=None, message_id=None
            )

        if not await self.world.database.write(forget):
            raise LostError
        self.status, self.session_id = RunStatus.CREATING, ""
        self._log.info("the session is gone; opening another", session=gone)

    async def move(self, after: RunStatus, **values: Any) -> None:
        """Change the stored status, or find out that the run was lost."""
        if not await self.world.database.write(runs.move_run, self.claim, self.status, after, **values):
            raise LostError
        self.status = after

    async def _follow(self) -> Turn | None:
        following = Following(self, doubt=self.claim.attempts > 1 and self.status is RunStatus.SENDING)
        return await following.until_end()

    # Results --------------------------------------------------------------------------------------------------------

    async def want(self, result: Result, *, tool_use_id: str | None) -> None:
        """Store a wanted result and announce it."""
        new = await self.world.database.write(want_result, result, tool_use_id=tool_use_id)
        self.slots[result.slot] = result.output
        if new:
            self._announce(result)
        self._watch(self.claim.run_id, True)  # noqa: FBT003 - a switch

    def _announce(self, result: Result) -> None:
        body = result.model_dump_json().encode()
        self.world.announce([(Message(RESULTS.name, result.id, result.conversation, body), result)])

    # Ending ---------------------------------------------------------------------------------------------------------

    async def _end_with(self, turn: Turn, status: RunStatus, error: str | None) -> None:
        """Store how it ended together with the last result, in one transaction."""
        dispatch = self.claim.dispatch
        usage = turn.usage
        if usage is None and self.session_id:
            usage = await self._usage()
        total = cost_cents(usage)
        text = turn.last_text
        if status is not RunStatus.SUCCEEDED:
            text = failure_text(status, error, self.claim.run_id, last_text=turn.last_text)
        elif any(output == "comment" for slot, output in self.slots.items() if slot != FINAL_SLOT):
            text = None  # the agent answered by its own comment; its closing words would only repeat it
        wanted = None
        told = dispatch.report == "origin" or (dispatch.report == "failures" and status is not RunStatus.SUCCEEDED)
        if text and told and self.world.can_report(dispatch.event.connection):
            wanted = final_result(dispatch, self.claim.run_id, text)

        def store(connection: Connection) -> bool:
            cost = None
            if total is not None:
                cost = runs.charge_conversation(connection, dispatch.conversation, total)
            moved = runs.move_run(
                connection,
                self.claim,
                self.status,
                RunStatus.REPORTING,
                outcome=status.value,
                error=error,
                final_text=turn.last_text,
                usage=runs.usage_json(usage) if usage is not None else None,
                cost_cents=cost,
            )
            if moved and wanted is not None:
                want_result(connection, wanted, tool_use_id=None)
            if not moved:
                raise LostError
            return True

        await self.world.database.write(store)
        if wanted is not None:
            self.slots[FINAL_SLOT] = wanted.output
            self._announce(wanted)
        self.claim.row.update(outcome=status.value, error=error)
        self.status = RunStatus.REPORTING
        self._log.info("session ended its turn", outcome=status.value, error=error, cost_cents=total)

    async def _usage(self) -> dict[str, Any] | None:
        try:
            session = await self.world.service.retrieve_session(self.session_id)
        except ServiceError:
            return None
        return session.usage.model_dump(mode="json", exclude_none=True) if session.usage else None

    async def _finish(self) -> None:
        """Wait until everything the run wanted posted is settled, then close the books."""
        if self.claim.row.get("outcome") is None:
            msg = f"run {self.claim.run_id} is reporting without an outcome"
            raise RuntimeError(msg)
        outcome = RunStatus(self.claim.row["outcome"])
        error: str | None = self.claim.row.get("error")
        settled: dict[str, Settled] = {}
        while set(self.slots) - set(settled):
            self._watch(self.claim.run_id, True)  # noqa: FBT003 - a switch
            kind, payload = await self.inbox.get()
            if kind == "results":
                settled |= {result.slot: result for result in payload}
        final = settled.get(FINAL_SLOT)
        if final is not None and final.status is ResultStatus.REFUSED and outcome is RunStatus.SUCCEEDED:
            outcome, error = RunStatus.FAILED, f"the answer could not be posted: {final.error}"
        await self.move(outcome, error=error)
        self._watch(self.claim.run_id, False)  # noqa: FBT003 - a switch
        self._log.info("run ended", outcome=outcome.value, error=error)

    async def _give_back(self, reason: str, *, delay: float) -> None:
        self._log.warning("the run is given back for later", reason=reason, delay=delay, attempts=self.claim.attempts)
        try:
            await self.world.database.write(runs.release_run, self.claim, delay=delay, count_attempt=True)
        except StorageUnavailableError:
            pass  # the lease runs out by itself

    def mark(self) -> str:
        """The line that finds this run's message in a session."""
        return marker_of(self.claim.run_id)

    def message(self) -> dict[str, Any]:
        """The work."""
        return work_message(self.claim.dispatch, self.claim.run_id)

    def deadline(self) -> float:
        """Monotonic time at which the run is interrupted."""
        started = self.claim.row.get("started_at")
        limit = self.claim.dispatch.limits.timeout_seconds
        if started is None:
            return time.monotonic() + limit
        return time.monotonic() + max(0.0, float(started) + limit - time.time())


__all__ = ["BusyError", "LostError", "RunExecution"]
