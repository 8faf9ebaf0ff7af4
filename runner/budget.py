"""A run's spending cap: raised when a person asks for it, and waited at where the rule says so.

The cap of a session is what its earlier runs spent plus this run's budget, so setting it twice does no harm. A run
that waits is held by nobody: it is a row that is due when it is raised, stopped, or its time is up.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import structlog
from sqlalchemy import Connection

from runner.errors import RefusedError, ServiceError
from runner.report import budget_notice, budget_slot
from runner.service import RUNNING, cap_of, is_over
from runner.turn import Ending, Turn, cost_cents, plain_usage
from storage import budgets, doorbells
from storage.clock import read_clock
from storage.results import want_result
from storage.runs import usage_json
from storage.tables import RunStatus

if TYPE_CHECKING:
    from runner.execution import RunExecution
    from schemas.result import Result

log = structlog.get_logger(__name__)

NOT_RAISED = "the session reached its budget, and nobody raised it in time"


class Budget:
    """The budget of one claimed run. Cents."""

    def __init__(self, run: RunExecution) -> None:
        self._run = run
        row = run.claim.row
        raised: int | None = row.get("budget_cents")
        self.wanted = raised if raised is not None else run.claim.dispatch.limits.budget_cents
        """What the run may spend in all; None: without limit."""
        self._applied = self.wanted
        if run.doubt and run.status in {RunStatus.RUNNING, RunStatus.WAITING}:
            self._applied = None  # an earlier owner may have died before it raised the session's cap
        self._log = log.bind(run=run.claim.run_id)

    def ask(self, cents: int) -> bool:
        """A person wants it to be this much. True where that is news."""
        if self.wanted == cents:
            return False
        self.wanted = cents
        return True

    @property
    def pending(self) -> bool:
        """The session may not know of it yet."""
        return self.wanted is not None and self.wanted != self._applied

    async def apply(self) -> bool:
        """Tell the session. False: it did not get through, and has to be tried again."""
        run, wanted = self._run, self.wanted
        if wanted is None or not self.pending:
            return True
        try:
            await self._raise(await run.world.service.retrieve_session(run.session_id), wanted)
        except RefusedError as error:
            self._log.warning("the budget was not raised", reason=str(error))
        except ServiceError as error:
            self._log.info("the budget could not be raised yet", reason=str(error))
            return False
        self._applied = wanted
        return True

    async def _raise(self, session: Any, wanted: int) -> bool:
        """Raise the session's cap where it is lower. True where it was."""
        run = self._run
        spent = await run.world.database.read(budgets.spent_before, run.claim.dispatch.conversation)
        cap = cap_of(session)
        if cap is None or spent + wanted <= cap:
            return False
        async with run.lease.held():
            await run.world.service.set_budget(run.session_id, spent + wanted)
        self._log.info("the budget was raised", session=run.session_id, cap_cents=spent + wanted)
        return True

    async def goes_on(self) -> bool:
        """The history says that the budget was reached; whether the session says so too. Raises ServiceError."""
        heard = self._run.heard
        session = await self._run.world.service.retrieve_session(self._run.session_id)
        self._run.rung = heard
        return _may_spend(session)

    def is_waited_at(self, turn: Turn) -> bool:
        """Whether a turn that ended so leaves the run waiting for a person."""
        return (
            turn.ending is Ending.BUDGET
            and self._run.stop_reason is None
            and self._run.claim.dispatch.limits.on_budget == "wait"
        )

    async def wait(self, turn: Turn) -> None:
        """Write down that the run waits, tell the origin once for each budget, and let go of it."""
        run, applied = self._run, self._applied
        limits = run.claim.dispatch.limits
        notice = self._notice()

        def store(connection: Connection) -> bool:
            wanted = budgets.budget_of(connection, run.claim.run_id)
            raised = wanted is not None and applied is not None and wanted > applied
            until = read_clock(connection) + (0.0 if raised else limits.budget_wait_seconds)
            usage = usage_json(turn.usage) if turn.usage is not None else None
            if not budgets.wait_at_budget(
                connection, run.claim, until=until, final_text=turn.last_text, usage=usage
            ):
                return False
            # Who rang since the last look at the session may have raised its budget at the service itself.
            doorbells.wake_again(connection, run.claim.run_id, seen=run.rung)
            if notice is not None and not raised:
                want_result(connection, notice, tool_use_id=None)
            return True

        if not await run.world.database.write(store):
            run.lost()
        run.let_go()
        if notice is not None:
            run.results.announce(notice)
        self._log.info("the run waits at its budget", budget_cents=self.wanted)

    def _notice(self) -> Result | None:
        run, dispatch = self._run, self._run.claim.dispatch
        known = budget_slot(self.wanted or 0) in run.results.slots
        silent = dispatch.report == "none" or dispatch.staged
        if known or silent or not run.world.can_report(dispatch.event.connection):
            return None
        return budget_notice(dispatch, run.claim.run_id, self.wanted or 0)

    async def resume(self) -> None:
        """Take up a run that waits: go on where its budget was raised, end it where its time is up, else let go again.

        Raises ServiceError, LostError.
        """
        run = self._run
        row, limits = run.claim.row, run.claim.dispatch.limits
        turn = Turn(run.message_id, last_text=row.get("final_text"))
        turn.ending, turn.detail = Ending.BUDGET, NOT_RAISED
        if run.stop_reason is not None:
            await run.end_with(turn)
            return
        try:
            session = await run.world.service.retrieve_session(run.session_id)
            if is_over(session):
                turn.ending, turn.detail = Ending.GONE, f"the session is {session.status}"
                await run.end_with(turn)
                return
            raised = self.wanted is not None and await self._raise(session, self.wanted)
        except RefusedError as error:
            if error.gone:
                turn.ending, turn.detail = Ending.GONE, f"the session is gone: {error}"
                await run.end_with(turn)
                return
            self._log.warning("the budget was not raised", reason=str(error))
            raised = False
        else:
            raised = raised or _may_spend(session)
        if raised:
            self._applied = self.wanted
            await run.go_on(seconds=limits.timeout_seconds)
        elif await run.world.database.read(lambda connection: budgets.is_due(connection, row["deadline_at"])):
            await run.end_with(turn)
        elif await run.world.database.write(budgets.wait_on, run.claim):
            run.let_go()
        else:
            run.lost()


def _may_spend(session: Any) -> bool:
    """The session works, or could: somebody raised or removed its cap."""
    cap, spent = cap_of(session), cost_cents(plain_usage(getattr(session, "usage", None)))
    return session.status in RUNNING or cap is None or (spent is not None and spent < cap)
