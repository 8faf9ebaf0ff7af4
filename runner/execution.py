"""One run from claim to end: open the session, send the work, follow it, answer its tools, report.

Every durable step is written before or together with what it stands for, under the claim's fence; after a crash the
next owner starts at the stored status and looks before it repeats anything. Nothing here posts to a vendor.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any, Final, NoReturn, TypeVar

import structlog
from sqlalchemy import Connection

from runner.activity import Activity
from runner.approvals import Approvals
from runner.budget import Budget
from runner.catalogue import UnknownDefinitionError
from runner.charging import charging
from runner.closing import closing_words, with_broken_vaults
from runner.conversation import Following
from runner.errors import RefusedError, ServiceError
from runner.lease import Lease, LostError
from runner.messages import marker_of
from runner.opening import open_session
from runner.reader import Inbox
from runner.report import REPOSITORY, outcome_of
from runner.results import Results
from runner.sending import SessionGoneError
from runner.turn import Ending, Turn, cost_cents, plain_usage
from runner.work import Work, gather_work
from runner.world import MountError, World
from schemas.redaction import without_secrets
from storage import conversations, runs
from storage.approvals import PEOPLE
from storage.claims import Claim, release_run
from storage.database import StorageUnavailableError
from storage.results import (
    Settled,
    settle_result,
    want_result,
)
from storage.states import RUN_TERMINAL
from storage.tables import ResultStatus, RunStatus

log = structlog.get_logger(__name__)

T = TypeVar("T")

AT_WORK: Final = frozenset({RunStatus.RUNNING, RunStatus.STOPPING})


class StopWantedError(Exception):
    """Somebody wants the run stopped, and nothing was sent yet."""


class RunExecution:
    """Drives one claimed run. `inbox` is how the worker and the reader hand things to it."""

    def __init__(
        self,
        world: World,
        claim: Claim,
        *,
        watch: Callable[[str, bool], None],
        lease: Lease | None = None,
    ) -> None:
        self.world = world
        self.claim = claim
        self.lease = lease or Lease()
        self.status = claim.status
        row = claim.row
        self.stop_reason: str | None = row.get("stop_reason")
        self.deadline_at: float | None = row.get("deadline_at")
        self.session_id: str = row.get("session_id") or ""
        self.message_id: str | None = row.get("message_id")
        self.started_at: float | None = row.get("started_at")
        self.doubt = claim.fence > 1 or row.get("joined_to") is not None
        """An earlier owner may have done the step that this status stands for. False after a step of our own."""
        self.opened = row.get("agent_id") is not None
        """This run opened the session, now or in an earlier attempt: an old session has its agent from another run."""
        self.made_session = False
        """The session was made by this claim, so it is empty and ready."""
        self.tokens_due = 0.0
        """Loop time at which the repositories' tokens must be replaced. Whoever did not give them does it at once."""
        self.rung: int = row.get("rung") or 0
        """How often it was rung for, up to the last look at the session."""
        self.heard = self.rung
        """How often it was rung for, as far as the worker saw."""
        self.budget = Budget(self)
        self.approvals = Approvals(self)
        self.activity = Activity(claim.dispatch)
        self.given_back = False
        """Nobody holds the run any more: it waits for a person."""
        self.inbox: Inbox = asyncio.Queue()
        self.work = Work()
        self.results = Results(self, watch=watch)
        self._attempts = claim.attempts
        self._stop_scope: asyncio.Timeout | None = None
        self._log = log.bind(run=claim.run_id, rule=claim.dispatch.rule)

    async def run(self) -> None:
        """Bring the run as far as it goes. Returns when it ended, was lost, or was given back for later."""
        try:
            if self.doubt:
                await self.world.database.read(self._load)
            if self._attempts > self.world.timing.max_attempts and self.status is not RunStatus.REPORTING:
                await self._fail(self._given_up())
            await self._advance()
        except LostError:
            self._log.warning("the run was taken over by another runner")
        except (StorageUnavailableError, ServiceError, MountError) as error:
            await self._give_back(str(error), wait=getattr(error, "retry_after", None))
        except Exception as error:  # noqa: BLE001 - logged by a bound logger, which the rule does not know
            # A fault of ours in one run must not take the others down; it is tried again, but not for ever.
            self._log.exception("a run failed unexpectedly")
            await self._give_back(f"unexpected {type(error).__name__} in the runner", wait=None)

    def ask_to_stop(self, reason: str) -> None:
        """The worker saw that somebody wants the run stopped."""
        if self.stop_reason is None:
            self.stop_reason = reason
            self.inbox.put_nowait(("stop", None))
            if self._stop_scope is not None:
                self._stop_scope.reschedule(asyncio.get_running_loop().time())

    def ask_to_raise(self, cents: int) -> None:
        """The worker saw that somebody raised the budget."""
        if self.budget.ask(cents):
            self.inbox.put_nowait(("budget", None))

    def ask_to_look(self, rung: int) -> None:
        """The worker saw that somebody rang: something happened to the session."""
        if rung > self.heard:
            self.heard = rung
            self.inbox.put_nowait(("rung", rung))

    async def unless_stopped(self, waiting: Coroutine[Any, Any, T]) -> T:
        """Wait for something that can be given up at no loss. Raises StopWantedError when the run shall stop."""
        if self.stop_reason is not None:
            waiting.close()
            raise StopWantedError(self.stop_reason)
        try:
            async with asyncio.timeout(None) as self._stop_scope:
                return await waiting
        except TimeoutError:
            if self.stop_reason is None:
                raise
            raise StopWantedError(self.stop_reason) from None
        finally:
            self._stop_scope = None

    def _load(self, connection: Connection) -> None:
        self.results.load(connection)
        self.approvals.load(connection)

    async def _advance(self) -> None:
        try:
            while self.status is not RunStatus.REPORTING and self.status not in RUN_TERMINAL:
                if self.given_back:
                    return
                if self.status is RunStatus.CREATING:
                    await self._open()
                elif self.status is RunStatus.WAITING and self.claim.row.get("waits_for") == PEOPLE:
                    await self.approvals.resume()
                elif self.status is RunStatus.WAITING:
                    await self.budget.resume()
                else:
                    await self._follow()
        except StopWantedError:
            await self.end_with(Turn(None))
        except (RefusedError, UnknownDefinitionError) as error:
            await self._fail(str(error))
        except MountError as error:
            if not error.permanent:
                raise
            await self._fail(str(error))
        if self.status is RunStatus.REPORTING:
            await self._finish()

    # Session --------------------------------------------------------------------------------------------------------

    async def gather_work(self) -> None:
        """Read what the message tells besides its own event."""
        self.work = await gather_work(self.world, self.claim, is_own_session=self.opened)

    async def _open(self) -> None:
        if self.stop_reason is not None and not self.doubt:
            raise StopWantedError(self.stop_reason)
        session_id, facts = await open_session(self, doubt=self.doubt)
        owned = await self.world.database.write(
            lambda connection: runs.adopt_session(connection, self.claim, session_id, **facts)
        )
        if not owned:
            # The session stays empty; its next owner finds it by metadata, or the upkeep archives it.
            raise LostError
        self._progressed(RunStatus.SENDING)
        self.session_id, self.made_session, self.opened = session_id, True, True
        self._log.info("session opened", session=session_id)

    async def _follow(self) -> None:
        try:
            turn = await Following(self).until_end()
        except SessionGoneError as error:
            if self.status is not RunStatus.SENDING:
                raise
            await self._replace_session(str(error))
        else:
            if turn.ending is Ending.WAITING:
                await self.approvals.wait(turn)
            elif self.budget.is_waited_at(turn):
                await self.budget.wait(turn)
            else:
                await self.end_with(turn)

    async def _replace_session(self, reason: str) -> None:
        """The conversation's session is of no use any more: forget it and make another."""
        gone = self.session_id

        def forget(connection: Connection) -> bool:
            conversations.forget_session(connection, self.claim.dispatch.conversation, gone)
            before, after = RunStatus.SENDING, RunStatus.CREATING
            if not runs.move_run(connection, self.claim, before, after, session_id=None, message_id=None):
                raise LostError
            return True

        await self.world.database.write(forget)
        self._progressed(RunStatus.CREATING)
        self.session_id, self.inbox = "", asyncio.Queue()
        self._log.info("the session is replaced by another", session=gone, reason=reason)

    async def move(self, after: RunStatus, **values: Any) -> None:
        """Change the stored status, or find out that the run was lost."""
        before = self.status
        if not await self.world.database.write(
            lambda connection: runs.move_run(connection, self.claim, before, after, **values)
        ):
            raise LostError
        self._progressed(after)

    async def go_on(self, *, seconds: float) -> None:
        """A run that waited is at work again, with its whole time limit before it."""
        self.deadline_at = time.time() + seconds
        await self.move(RunStatus.RUNNING, deadline_at=self.deadline_at)

    def let_go(self) -> None:
        """The run was written down as held by nobody."""
        self.given_back = True

    def lost(self) -> NoReturn:
        """Somebody else holds the run."""
        raise LostError

    def _progressed(self, status: RunStatus) -> None:
        self.status, self.doubt, self._attempts = status, False, 0

    async def reread(self, turn: Turn, *, idle: bool = False) -> None:
        """Read the session's whole history into the turn. Raises ServiceError."""
        turn.read_history(await self.world.service.list_events(self.session_id), idle=idle)

    async def owned(self, work: Callable[[Connection], T]) -> T:
        """Write something as the run's owner, in one transaction with the proof that it is. Raises LostError."""

        def store(connection: Connection) -> T:
            if not runs.note_run(connection, self.claim):
                raise LostError
            return work(connection)

        return await self.world.database.write(store)

    # Ending ---------------------------------------------------------------------------------------------------------

    async def _fail(self, error: str) -> None:
        """End the run for a reason outside its turn. What the session may still be doing is interrupted."""
        if self.status in AT_WORK:
            try:
                async with self.lease.held():
                    await self.world.service.interrupt(self.session_id)
            except ServiceError as failure:
                self._log.warning("the session was not interrupted; the upkeep will", reason=str(failure))
        await self.end_with(Turn(None), error=error)

    async def _catch_up(self) -> None:
        """Read what was posted. The answer to a call may have arrived without our hearing of it: the rows know."""
        if self.results.slots:
            await self.world.database.read(self._load)

    async def end_with(self, turn: Turn, *, error: str | None = None) -> None:
        """Store how it ended together with the last result, in one transaction."""
        dispatch = self.claim.dispatch
        await self._catch_up()
        if turn.repository_error is not None and dispatch.mounts and self.stop_reason is None:
            self.stop_reason = REPOSITORY  # it ended before it could be interrupted for this
        status, reason = outcome_of(turn, self.stop_reason, posted=self.results.posted)
        evaluation = None if turn.evaluation is None else json.dumps(turn.evaluation)
        if error is not None:
            status, reason = RunStatus.FAILED, error
        reason = None if reason is None else without_secrets(reason)
        reason = await with_broken_vaults(self.world, dispatch, status, reason)
        usage = turn.usage
        if cost_cents(usage) is None and self.session_id and self.message_id is not None:
            usage = await self._usage() or usage
        wanted = await closing_words(
            self.world, self.claim, turn, status=status, error=reason, settled=self.results.settled
        )
        shown: list[Settled] = []
        useless = turn.ending is Ending.GONE or self.stop_reason == REPOSITORY
        charged = charging(dispatch, self.claim.run_id, self.session_id, turn, usage)

        def store(connection: Connection) -> None:
            cost = charged(connection)
            if not runs.move_run(
                connection,
                self.claim,
                self.status,
                RunStatus.REPORTING,
                outcome=status.value,
                error=reason,
                stop_reason=self.stop_reason,
                final_text=turn.last_text,
                evaluation=evaluation,
                usage=runs.usage_json(usage) if usage is not None else None,
                cost_cents=cost,
            ):
                raise LostError
            self.approvals.withdraw(connection)
            for result in wanted:
                if dispatch.staged:
                    staged = settle_result(connection, result, status=ResultStatus.STAGED, tool_use_id=None)
                    shown.append(staged)
                else:
                    want_result(connection, result, tool_use_id=None)
            if useless:
                conversations.forget_session(connection, dispatch.conversation, self.session_id)

        await self.world.database.write(store)
        self._progressed(RunStatus.REPORTING)
        for settled in shown:
            self.results.heard(settled)
        for result in wanted:
            self.results.stored(result)
            if not dispatch.staged:
                self.results.announce(result)
        self.claim.row.update(outcome=status.value, error=reason)
        self._log.info(
            "session ended its turn", outcome=status.value, error=reason, cost_cents=cost_cents(usage)
        )

    async def _usage(self) -> dict[str, Any] | None:
        try:
            session = await self.world.service.retrieve_session(self.session_id)
        except ServiceError:
            return None
        return plain_usage(getattr(session, "usage", None)) or None

    async def _finish(self) -> None:
        """Wait until everything the run wanted posted is settled, then close the books."""
        outcome = RunStatus(self.claim.row.get("outcome") or RunStatus.FAILED)
        error: str | None = self.claim.row.get("error")
        await self.results.all_settled()
        final = self.results.final
        if final is not None and final.status is ResultStatus.REFUSED and outcome is RunStatus.SUCCEEDED:
            error = f"the answer could not be posted: {final.error}"
            if not self.results.posted:  # nobody would hear of it
                outcome = RunStatus.FAILED
        await self.move(outcome, error=error)
        self._log.info("run ended", outcome=outcome.value, error=error)

    def _given_up(self) -> str:
        last = self.claim.row.get("error") or "its runner died each time"
        return f"given up after {self._attempts - 1} attempts; the last: {last}"

    async def _give_back(self, reason: str, *, wait: float | None) -> None:
        timing = self.world.timing
        if wait is None:
            wait = timing.give_back * 2.0 ** min(10, max(0, self._attempts - 1))
        delay = min(timing.max_give_back, wait)
        self._log.warning(
            "the run is given back for later", reason=reason, delay=delay, attempts=self._attempts
        )
        claim = replace(self.claim, attempts=self._attempts)

        def release(connection: Connection) -> None:
            if runs.note_run(connection, claim, error=reason[:500]):
                release_run(connection, claim, delay=delay, count_attempt=True)

        try:
            await self.world.database.write(release)
        except StorageUnavailableError as error:
            self._log.warning("a run could not be given back; its lease runs out", error=str(error))

    # For those who send -------------------------------------------------------------------------------------------

    def mark(self) -> str:
        """The line that finds this run's message in a session."""
        return marker_of(self.claim.run_id)

    async def events(self) -> list[dict[str, Any]]:
        """The work, and what goes with it. Raises ServiceError, UnknownDefinitionError."""
        dispatch = self.claim.dispatch
        rubric = dispatch.outcome.rubric_file if self.graded and dispatch.outcome is not None else None
        rubric_id = None if rubric is None else await self.world.stores.file(rubric)
        return self.work.events(dispatch, self.claim.run_id, opening=self.opened, rubric_id=rubric_id)

    @property
    def graded(self) -> bool:
        """The turn ends only when a grader has judged it."""
        return self.opened and self.claim.dispatch.outcome is not None

    def seconds_left(self) -> float:
        """Until the run is interrupted for having taken too long. Negative when it has."""
        limit = self.claim.dispatch.limits.timeout_seconds
        return limit if self.deadline_at is None else self.deadline_at - time.time()
