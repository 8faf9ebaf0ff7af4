"""Following one turn of a session to its end: what the reader brings is applied, one thing at a time, and acted on.

Nothing is lost by a cut stream or a crash, because everything that matters is derived from the session's events
(managed-agents reference §1.6) or stands in the database. Posting is not done here, only asked for.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, Final

import structlog

from runner.answers import Answers
from runner.errors import BusyError, RefusedError, ServiceError, UncertainError
from runner.mounts import refresh_tokens
from runner.reader import Reader
from runner.report import FOLLOW_UP, REPOSITORY, TIMEOUT
from runner.sending import Sending
from runner.service import RUNNING
from runner.steering import Steering
from runner.turn import Ending, Turn
from storage.tables import RunStatus

if TYPE_CHECKING:
    from runner.execution import RunExecution

log = structlog.get_logger(__name__)

NEVER = float("inf")
MOST_BUDGET_LOOKS: Final = 8
"""How often a session that says it reached its budget is asked whether it may go on after all."""


class Following:
    """One turn of one run."""

    def __init__(self, run: RunExecution) -> None:
        self._run = run
        self._timing = run.world.timing
        self._service = run.world.service
        self._turn = Turn(run.message_id, graded=run.graded)
        self._answers = Answers(run, self._turn)
        self._steering = Steering(run, self._turn)
        self._sent_at = -NEVER
        """Loop time from which on a history tells of this turn."""
        self._loop = asyncio.get_running_loop()
        self._quiet = self._timing.quiet
        self._check_at = self._loop.time() + self._quiet
        self._at_rest = 0
        self._reread_at = NEVER
        self._reread_delay = self._timing.first_delay
        self._recheck_delay = self._timing.first_delay
        self._interrupt_at = NEVER
        self._give_up_at = NEVER
        self._token_at = NEVER
        self._budget_at = NEVER
        self._budget_looks = 0
        self._log = log.bind(run=run.claim.run_id, session=run.session_id)

    async def until_end(self) -> Turn:
        """Send the work if that is still to do, and return the turn when it ended.

        Raises SessionGoneError, ServiceError and StopWantedError only while the work was not sent; RefusedError and
        LostError at any time.
        """
        run = self._run
        failure: Exception | None = None
        sending = Sending(run)
        before = None
        await run.gather_work()
        if run.status is RunStatus.SENDING:
            before = await sending.find() if run.doubt else None
            if before is None and not run.made_session:
                await sending.prepare()
        else:
            await self._steering.resume()
        # A mount may have failed before the stream opened; and what was sent earlier has a history.
        whole = run.status is not RunStatus.SENDING or before is not None
        whole = whole or bool(run.claim.dispatch.mounts)
        reader = Reader(self._service, run.session_id, run.inbox, timing=self._timing, whole=whole)
        async with asyncio.TaskGroup() as tasks:
            reading = tasks.create_task(reader.run(), name=f"stream-{run.claim.run_id}")
            try:
                if run.status is RunStatus.SENDING:
                    if before is None:
                        before = await sending.send(reader)
                        self._sent_at = sending.first_sent_at
                    await self._begin(before)
                await self._until_end()
                while await self._goes_on():
                    await self._until_end()
                await self._doubt_silence()
            except Exception as error:  # noqa: BLE001 - raised below, without the task group around it
                failure = error
            finally:
                reading.cancel()
        if failure is not None:
            raise failure
        return self._turn

    async def _begin(self, message_id: str) -> None:
        run = self._run
        now = time.time()
        self._turn.message_id = run.message_id = message_id
        run.started_at = now
        run.deadline_at = now + run.claim.dispatch.limits.timeout_seconds
        await run.move(
            RunStatus.RUNNING,
            message_id=message_id,
            session_id=run.session_id,
            started_at=now,
            deadline_at=run.deadline_at,
        )

    # ----------------------------------------------------------------------------------------------------------------

    async def _until_end(self) -> None:
        run = self._run
        self._token_at = run.tokens_due if run.claim.dispatch.mounts else NEVER
        deadline = self._loop.time() + run.seconds_left()
        if run.budget.pending:
            self._budget_at = self._loop.time()
        if run.status is RunStatus.STOPPING:
            self._give_up_at = self._in(self._timing.stop_patience)
            await self._interrupt()
        while True:
            if run.status is RunStatus.RUNNING:
                await self._act(deadline)
            was_due = not self._ended() and await self._when_due()
            await self._steering.note()
            if self._ended():
                return
            if was_due:
                continue  # what a look into the history showed may want an answer
            times = (
                self._check_at,
                self._reread_at,
                self._interrupt_at,
                self._give_up_at,
                self._token_at,
                self._budget_at,
            )
            until = min(
                *times,
                self._answers.again_at,
                self._steering.again_at,
                deadline if run.status is RunStatus.RUNNING else NEVER,
            )
            if until <= self._loop.time():
                continue
            try:
                async with asyncio.timeout_at(until):
                    kind, payload = await run.inbox.get()
            except TimeoutError:
                continue
            self._take(kind, payload)

    def _take(self, kind: str, payload: Any) -> None:
        if kind == "event":
            self._turn.apply(payload)
            self._run.activity.saw(payload)
            self._at_rest = 0
            self._quiet = self._timing.quiet
            if self._run.status is RunStatus.RUNNING:
                self._check_at = self._in(self._quiet)
        elif kind == "history":
            if payload.asked_at < self._sent_at:
                self._turn.read_past(payload.events)
            else:
                self._turn.read_history(payload.events)
        else:
            self._told(kind, payload)
        if self._turn.reread and self._reread_at == NEVER:
            self._reread_at = self._loop.time()
        if self._turn.held is not None:
            # It goes on at once with the message that was sent; if not, the session's status tells.
            self._check_at = min(self._check_at, self._in(self._timing.status_lag))

    def _told(self, kind: str, payload: Any) -> None:
        """What comes from the worker, and how the stream ended."""
        if kind == "results":
            self._answers.take(payload)
        elif kind == "approvals":
            self._run.approvals.take(payload)
        elif kind == "follow_up":
            self._follow_up(payload)
        elif kind == "budget":
            self._budget_at = self._loop.time()
        elif kind == "rung":
            # The stream most likely told already, or is about to: whatever it brings puts the look off again.
            self._check_at = min(self._check_at, self._in(self._timing.status_lag))
        elif kind == "broken":
            raise payload
        elif kind == "gone" and self._turn.ending is None:
            self._turn.ending, self._turn.detail = Ending.GONE, f"the session is gone: {payload}"

    async def _act(self, deadline: float) -> None:
        """Stop it where there is a reason to; otherwise answer what is open."""
        run = self._run
        if self._turn.ending is not None:
            return
        if self._turn.repository_error and run.claim.dispatch.mounts:
            await self._stop(REPOSITORY)
        elif run.stop_reason is not None:
            await self._stop(run.stop_reason)
        elif self._loop.time() >= deadline:
            await self._stop(TIMEOUT)
        else:
            try:
                await self._answers.give()
                await self._steering.give()
                if self._answers.waits_for_people() is not None:
                    self._turn.ending = Ending.WAITING
            except RefusedError as error:
                if not error.gone:
                    raise
                self._turn.ending, self._turn.detail = Ending.GONE, f"the session is gone: {error}"

    def _follow_up(self, manner: str) -> None:
        """A follow-up waits to be told."""
        if manner == "interrupt" and self._run.stop_reason is None:
            self._run.stop_reason = FOLLOW_UP
        self._steering.wanted = True

    async def _when_due(self) -> bool:
        """Do the first thing that is due. False: nothing is."""
        now = self._loop.time()
        if now >= self._give_up_at:
            self._turn.ending = Ending.UNKNOWN
            self._turn.detail = "the session did not react to interrupts"
        elif now >= self._interrupt_at:
            await self._interrupt()
        elif now >= self._check_at:
            await self._check()
        elif now >= self._reread_at:
            await self._fill_gap()
        elif now >= self._token_at:
            await self._refresh_token()
        elif now >= self._budget_at:
            self._budget_at = NEVER if await self._run.budget.apply() else self._in(self._timing.max_delay)
        else:
            return False
        return True

    # ----------------------------------------------------------------------------------------------------------------

    async def _stop(self, reason: str) -> None:
        """Write down that it shall stop, then interrupt: a crash in between is taken up at the interrupt."""
        self._run.stop_reason = reason
        self._log.info("interrupting the session", reason=reason)
        await self._run.move(RunStatus.STOPPING, stop_reason=reason)
        self._run.results.expect(expected=False)
        self._give_up_at = self._in(self._timing.stop_patience)
        await self._interrupt()

    async def _interrupt(self) -> None:
        try:
            async with self._run.lease.held():
                await self._service.interrupt(self._run.session_id)
        except RefusedError as error:
            if error.gone:
                self._turn.ending, self._turn.detail = Ending.GONE, f"the session is gone: {error}"
            self._interrupt_at = self._in(self._timing.interrupt_again)
        except (BusyError, UncertainError) as error:
            self._log.warning("the interrupt may not have arrived", reason=str(error))
            self._interrupt_at = self._in(self._reread_delay)
            self._reread_delay = min(self._timing.max_delay, self._reread_delay * 2)
        else:
            self._interrupt_at = self._in(self._timing.interrupt_again)
            # An interrupt does nothing to a session that is idle already, and then no event will come.
            self._check_at = self._in(self._timing.after_interrupt)

    async def _check(self) -> None:
        """Ask for the session's status; where it does not run, what ended it is in the history."""
        run = self._run
        self._check_at = self._in(self._quiet)
        self._quiet = min(self._timing.max_quiet, self._quiet * 2)
        heard = run.heard
        try:
            session = await self._service.retrieve_session(run.session_id)
            run.rung = heard
            if session.status in RUNNING:
                self._at_rest = 0
                self._recheck_delay = self._timing.first_delay
                return
            await run.reread(self._turn, idle=session.status == "idle")
        except RefusedError as error:
            if error.gone:
                self._turn.ending, self._turn.detail = Ending.GONE, f"the session is gone: {error}"
            return
        except ServiceError as error:
            # Soon again: what made somebody look may be the only sign there is of the turn's end.
            self._log.info("the session's status could not be read", reason=str(error))
            self._check_at = self._in(self._recheck_delay)
            self._recheck_delay = min(self._timing.max_quiet, self._recheck_delay * 2)
            return
        self._recheck_delay = self._timing.first_delay
        if self._turn.ending is None:
            self._rests()

    def _rests(self) -> None:
        """The session is idle and its history does not say why. It may lag; seen twice, that is how it ended."""
        stopping = self._run.status is RunStatus.STOPPING
        if self._turn.pending and not stopping:
            return  # it waits for us
        self._at_rest += 1
        if stopping and (self._turn.started or self._at_rest > 1):
            self._turn.ending = Ending.INTERRUPTED
        elif self._at_rest > 1 and self._turn.held is not None:
            self._turn.ending = self._turn.held
        elif self._at_rest > 1:
            self._turn.ending = Ending.UNKNOWN
            waits = " and its outcome was not judged" if self._run.graded else " and does not say why"
            self._turn.detail = f"the session is idle{waits}"
        else:
            self._check_at = self._in(self._timing.status_lag)

    async def _fill_gap(self) -> None:
        self._reread_at = NEVER
        try:
            await self._run.reread(self._turn)
        except ServiceError as error:
            self._log.info("the history could not be read", reason=str(error))
            self._turn.reread = True
        if self._turn.reread:
            self._reread_at = self._in(self._reread_delay)
            self._reread_delay = min(self._timing.max_quiet, self._reread_delay * 2)
        else:
            self._reread_delay = self._timing.first_delay

    async def _refresh_token(self) -> None:
        run = self._run
        self._token_at = self._in(self._timing.token_least)
        try:
            session = await self._service.retrieve_session(run.session_id)
        except ServiceError as error:
            self._log.warning("a repository's token was not replaced", reason=str(error))
        else:
            due = await refresh_tokens(run.world, run.claim.dispatch.mounts, session)
            self._token_at = run.tokens_due = self._in(due)

    async def _goes_on(self) -> bool:
        """A session at its budget may have been raised meanwhile: then what the history ends with is not the end."""
        if self._turn.ending is not Ending.BUDGET or self._budget_looks >= MOST_BUDGET_LOOKS:
            return False
        self._budget_looks += 1
        try:
            await self._run.budget.apply()
            goes_on = await self._run.budget.goes_on()
        except ServiceError as error:
            self._log.info("the session's budget could not be read", reason=str(error))
            return False
        if goes_on:
            self._turn.ending, self._turn.detail = None, None
            self._check_at = self._in(self._timing.status_lag)
        return goes_on

    async def _doubt_silence(self) -> None:
        """Before a turn is called silent the history is asked: that a stream loses nothing is hearsay."""
        if self._turn.ending is not Ending.SILENT:
            return
        afresh = Turn(self._turn.message_id, graded=self._run.graded)
        try:
            await self._run.reread(afresh)
        except ServiceError as error:
            self._log.info("the history could not be read", reason=str(error))
        else:
            if afresh.ending is not None:
                self._turn = afresh

    def _ended(self) -> bool:
        return self._turn.ending is not None

    def _in(self, seconds: float) -> float:
        return self._loop.time() + seconds
