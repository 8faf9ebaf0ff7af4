"""What a run wants and people must approve: asked once, waited for without a connection, taken up when it is decided.

The table of approvals knows everything; a run keeps what it read only until it looks again. Nothing here posts, and
nobody's vote is judged here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Final

import structlog
from sqlalchemy import Connection

from runner import asking
from runner.asking import Call
from runner.closing import readers_refusal
from runner.turn import Turn
from schemas.dispatch import Grant
from schemas.policy.approval import ApprovalPolicy, AskAt, digest_of
from schemas.policy.shapes import OutputPolicy
from schemas.result import Receipt, Result
from schemas.topics import RESULTS
from storage import approvals, doorbells, questions
from storage.approvals import Approval
from storage.database import Database
from storage.outbox import Message
from storage.runs import usage_json
from storage.tables import ApprovalStatus, ResultStatus

if TYPE_CHECKING:
    from runner.execution import RunExecution

log = structlog.get_logger(__name__)

ENDED: Final = "the run ended before anybody had decided"


class Approvals:
    """The approvals of one claimed run."""

    def __init__(self, run: RunExecution) -> None:
        self._run = run
        self._known: dict[str, Approval] = {}
        self._log = log.bind(run=run.claim.run_id)

    def load(self, connection: Connection) -> None:
        """Read what an earlier owner asked for."""
        self.take(approvals.of_runs(connection, [self._run.claim.run_id]).get(self._run.claim.run_id, []))

    def take(self, found: Iterable[Approval]) -> None:
        """How they stand now."""
        self._known |= {one.call: one for one in found}

    @property
    def is_waiting(self) -> bool:
        """Whether any is open."""
        return any(one.is_open for one in self._known.values())

    def of(self, call_id: str) -> Approval | None:
        """The approval of a call."""
        return self._known.get(call_id)

    @property
    def denials(self) -> int:
        """How often people said no, or nothing."""
        no = {ApprovalStatus.DENIED, ApprovalStatus.EXPIRED}
        return sum(one.status in no for one in self._known.values())

    async def hold(self, grant: Grant, result: Result, policy: ApprovalPolicy, call_id: str) -> Approval:
        """Ask people for a result. Raises LostError."""
        # Its policy is what was judged by. Whoever posts it need not, and cannot, ask again.
        held = result.model_copy(update={"policy": result.policy.model_copy(update={"approve": None})})
        place = asking.place_of(self._run.claim.dispatch, grant)
        return await self._ask(Call(call_id, grant.name, held.arguments, place), policy, result=held)

    async def ask_for_tool(self, call: Call, policy: ApprovalPolicy) -> Approval:
        """Ask people for a tool of the session. Raises LostError."""
        return await self._ask(call, policy, result=None)

    async def _ask(self, call: Call, policy: ApprovalPolicy, *, result: Result | None) -> Approval:
        run = self._run
        dispatch = run.claim.dispatch
        wanted = asking.wanted(dispatch, run.claim.run_id, call, policy, result=result)
        question = await self._question(wanted, call, policy)
        found = await run.owned(
            lambda connection: approvals.ask(connection, wanted, result=result, question=question)
        )
        self._known[call.id] = found
        if result is not None:
            run.results.stored(result)
        if question is not None:
            run.results.stored(question)
            run.results.announce(question)
        self._log.info("people are asked to approve", tool=call.name, approval=found.id)
        return found

    async def _question(self, wanted: Approval, call: Call, policy: ApprovalPolicy) -> Result | None:
        run, dispatch = self._run, self._run.claim.dispatch
        connection = policy.ask.connection if isinstance(policy.ask, AskAt) else dispatch.event.connection
        if not run.world.can_report(connection):
            return None  # there is no origin that we can write to: the API and the command line are left
        shown = asking.question(dispatch, wanted, call, show=True)
        if await readers_refusal(run.world, dispatch, shown) is not None:
            shown = asking.question(dispatch, wanted, call, show=False)
        text = str(shown.arguments["text"])
        # Addresses stay: in a block of code nobody can follow them, and who approves must see them.
        safe = await asyncio.to_thread(run.world.gate.own_words, text, policy=OutputPolicy(links="any"))
        return shown.model_copy(update={"arguments": {**shown.arguments, "text": safe}})

    def withdraw(self, connection: Connection) -> None:
        """The run ends: nothing that it asked for is wanted any more."""
        approvals.withdraw(connection, self._run.claim.run_id, reason=ENDED)

    async def wait(self, turn: Turn) -> None:
        """Write down that the run waits for what the turn has open, and let go of it. Raises LostError."""
        run = self._run
        awaited = {call.id for call in turn.pending} | {id_ for id_, _ in turn.asking}
        ids = [one.id for call in awaited if (one := self._known.get(call)) is not None]
        usage = usage_json(turn.usage) if turn.usage is not None else None

        def store(connection: Connection) -> bool:
            if not approvals.wait_for_people(
                connection, run.claim, ids, final_text=turn.last_text, usage=usage
            ):
                return False
            # Who rang since the last look at the session may have ended it, or answered in the Console.
            doorbells.wake_again(connection, run.claim.run_id, seen=run.rung)
            return True

        if not await run.world.database.write(store):
            run.lost()
        run.let_go()
        self._log.info("the run waits for people", approvals=len(ids))

    async def resume(self) -> None:
        """Take up a run that waits: the session's history says what is open, the table what was decided."""
        await self._run.world.database.read(self.load)
        await self._run.go_on(seconds=self._run.claim.dispatch.limits.timeout_seconds)


async def look_after(
    database: Database, announce: Callable[[Sequence[tuple[Message, Result | None]]], None]
) -> None:
    """Close what nobody decided in time, and have the questions say how they stand. Any process; twice does no harm."""
    if await database.read(approvals.is_any_over):
        await database.write(approvals.expire)
    changes = await database.write(_tell) if await database.read(questions.to_tell, limit=1) else []
    announce(
        [
            (Message(RESULTS.name, one.id, one.conversation, one.model_dump_json().encode()), one)
            for one in changes
        ]
    )


def _tell(connection: Connection) -> list[Result]:
    changes: list[Result] = []
    for found in questions.to_tell(connection):
        row = questions.question_of(connection, found)
        change = None
        if row is not None and row["status"] == ResultStatus.POSTED and row["receipt"]:
            asked, receipt = (
                Result.model_validate_json(row["body"]),
                Receipt.model_validate_json(row["receipt"]),
            )
            votes = sum(bool(one["approve"]) for one in approvals.votes_of(connection, found.id))
            change = asking.change(found, asked, receipt, votes=votes)
        if questions.note_told(connection, found, change) and change is not None:
            changes.append(change)
    return changes


def is_allowed(approval: Approval, call: Call) -> bool:
    """Whether a tool may run: people approved, and exactly this call."""
    same = digest_of(asking.canonical(call)) == approval.digest
    return approval.status is ApprovalStatus.APPROVED and same
