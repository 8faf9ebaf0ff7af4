"""Answering what the agent asks for: publishing through the hub, permissions, and calls that nobody granted.

What is open is derived from the session's events each time, never remembered from deeds: an answer counts when the
service has taken it. One try per look; whatever did not get through is tried again a little later.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import structlog

from runner.approvals import is_allowed
from runner.asking import Call, denial
from runner.closing import readers_refusal
from runner.errors import RefusedError, ServiceError
from runner.report import hosts_of, tool_answer, tool_result
from runner.turn import ToolCall, Turn
from schemas.dispatch import Grant
from schemas.policy.approval import APPROVAL
from schemas.policy.shapes import Allowed, Judgement, NeedsApproval, Refusal, Staged
from schemas.result import Result
from storage.results import Settled
from storage.tables import ResultStatus

if TYPE_CHECKING:
    from runner.execution import RunExecution

log = structlog.get_logger(__name__)

NO_APPROVAL: Final = "This needs a person's approval, and the rule provides for none. Find another way."
OLD_CALL: Final = "This belongs to a task that is over; it was not done."
STAGED: Final = "Staged; not posted: this rule only shows what would be. Go on as if it had been done."
MAX_REFUSED: Final = 10
"""Refusals of one output in a run, after which it is not judged any more: an agent that learns nothing costs money."""
MAX_DENIED: Final = 5
"""Denied or expired approvals of one run, after which nobody is asked again: people are no place to try things out."""
NOT_AGAIN: Final = (
    f"People did not approve {MAX_DENIED} requests of this run; nobody is asked again. Find another way."
)
MAX_REFUSALS: Final = 3
"""Answers to one call that the service may refuse while its history shows none, before the run fails over it."""


class Answers:
    """The open questions of one turn."""

    def __init__(self, run: RunExecution, turn: Turn) -> None:
        self._run = run
        self._turn = turn
        self._timing = run.world.timing
        self._settled: dict[str, Settled] = {}
        self._wanted: set[str] = set()
        self._held: set[str] = set()
        """Calls that people have to approve first."""
        self._refusals: dict[str, int] = {}
        self._delay = self._timing.first_delay
        self.again_at = float("inf")
        """Loop time at which to look again at what did not get through."""
        self._log = log.bind(run=run.claim.run_id, session=run.session_id)

    def take(self, settled: list[Settled]) -> None:
        """Results of this run that are through."""
        for result in settled:
            if result.tool_use_id is not None:
                self._settled[result.tool_use_id] = result

    async def give(self) -> None:
        """Answer, deny or have published whatever is open. Raises RefusedError, LostError."""
        if asyncio.get_running_loop().time() < self.again_at < float("inf"):
            return
        self.again_at = float("inf")
        for call in self._turn.pending:
            await self._call(call)
        for tool_use_id, _ in self._turn.asking:
            await self._tool(self._turn.asked(tool_use_id))
        self._run.results.expect(expected=bool((self._wanted | self._held) - self._turn.answered))

    def waits_for_people(self) -> set[str] | None:
        """The calls for which the session waits, where only people can move it. None: something else may come yet."""
        waiting = {call.id for call in self._turn.pending} | {id_ for id_, _ in self._turn.asking}
        if not waiting or not self._turn.is_blocked or self._turn.reread or self.again_at < float("inf"):
            return None
        found = {call: self._run.approvals.of(call) for call in waiting}
        return waiting if all(one is not None and one.is_open for one in found.values()) else None

    async def _tool(self, asked: ToolCall) -> None:
        """Allow or deny a tool that asks, or have people asked about it."""
        run, call = self._run, Call(asked.id, asked.name, asked.input)
        policy = next((one for one in run.claim.dispatch.approve if one.covers(asked.name)), None)
        if not self._turn.is_own(asked):
            await self._confirm(asked, OLD_CALL)
        elif policy is None or run.claim.dispatch.staged:
            await self._confirm(asked, NO_APPROVAL)
        else:
            known = run.approvals.of(asked.id)
            if known is None and run.approvals.denials >= MAX_DENIED:
                await self._confirm(asked, NOT_AGAIN)
                return
            known = known or await run.approvals.ask_for_tool(call, policy.policy)
            if known.is_open:
                self._held.add(asked.id)
            elif is_allowed(known, call):
                await self._confirm(asked, None)
            else:
                await self._confirm(asked, denial(known))

    async def _confirm(self, asked: ToolCall, why_not: str | None) -> None:
        answer = {"type": "user.tool_confirmation", "tool_use_id": asked.id, "result": "allow"}
        if why_not is not None:
            self._log.info("a tool asked for approval and was denied", tool=asked.name)
            answer |= {"result": "deny", "deny_message": why_not}
        await self._send(answer, asked.id)

    async def _call(self, call: ToolCall) -> None:
        run = self._run
        dispatch = run.claim.dispatch
        settled = self._settled.get(call.id)
        grant = next((grant for grant in dispatch.grants if grant.name == call.name), None)
        if not self._turn.is_own(call):
            await self._send(tool_answer(call.id, OLD_CALL, is_error=True), call.id)
        elif settled is not None:
            if await self._send(_told(settled, call.id), call.id):
                await run.results.answered(settled)
        elif grant is None:
            granted = ", ".join(grant.name for grant in dispatch.grants) or "none"
            text = f"There is no tool {call.name!r} here. Granted are: {granted}."
            await self._send(tool_answer(call.id, text, is_error=True), call.id)
        elif (known := run.approvals.of(call.id)) is not None:
            (self._held if known.is_open else self._wanted).add(call.id)
        elif call.id not in self._wanted:
            await self._judged(grant, call)

    async def _judged(self, grant: Grant, call: ToolCall) -> None:
        """Have it published, or settle it here and now: refused by the rule, or shown only."""
        run, results = self._run, self._run.results
        dispatch = run.claim.dispatch
        result = tool_result(dispatch, run.claim.run_id, grant, call)
        others = {slot for slot in results.slots if slot.startswith(f"{grant.name}:") and slot != result.slot}
        refused = others & results.refused
        if len(refused) >= MAX_REFUSED:
            text = f"{grant.name} was refused {len(refused)} times in this run; it is not looked at again."
            await self._send(tool_answer(call.id, text, is_error=True), call.id)
            return
        narrow = await readers_refusal(run.world, dispatch, result)
        judgement: Judgement
        if len(others - refused) >= grant.max:
            text = f"{grant.name} may be used {grant.max} times in a run, and that is used up."
            judgement = Refusal("max", text)
        elif narrow is not None:
            judgement = narrow
        else:
            judgement = await asyncio.to_thread(
                run.world.gate.judge,
                grant.policy,
                call.input,
                target=grant.target,
                code=grant.code,
                hosts=hosts_of(dispatch),
                staged=dispatch.staged,
            )
        match judgement:
            case Allowed(arguments):
                await results.want(_with(result, arguments), tool_use_id=call.id)
                self._wanted.add(call.id)
                return
            case NeedsApproval() if run.approvals.denials >= MAX_DENIED:
                settled = await results.settle(
                    _with(result, {}),
                    status=ResultStatus.REFUSED,
                    tool_use_id=call.id,
                    error=NOT_AGAIN,
                    clause=APPROVAL,
                )
            case NeedsApproval(policy, arguments):
                await run.approvals.hold(grant, _with(result, arguments), policy, call.id)
                self._held.add(call.id)
                return
            case Staged(arguments):
                settled = await results.settle(
                    _with(result, arguments), status=ResultStatus.STAGED, tool_use_id=call.id
                )
            case Refusal(clause, reason):
                self._log.info("an output was refused by the rule", output=grant.output, clause=clause)
                settled = await results.settle(
                    _with(result, {}),  # without the arguments: they may hold the secret it is about
                    status=ResultStatus.REFUSED,
                    tool_use_id=call.id,
                    error=reason,
                    clause=clause,
                )
        self._settled[call.id] = settled
        if await self._send(_told(settled, call.id), call.id):
            await results.answered(settled)

    async def _send(self, answer: dict[str, Any], tool_use_id: str) -> bool:
        """Send one answer; True when the service has it. A second answer is refused, which is as good as given."""
        try:
            async with self._run.lease.held():
                await self._run.world.service.send(self._run.session_id, [answer])
        except ServiceError as error:
            if isinstance(error, RefusedError) and not error.unauthorised:
                return await self._refused(tool_use_id, error)
            self._log.info("an answer did not get through", tool_use=tool_use_id, reason=str(error))
            self._later(getattr(error, "retry_after", None))
            return False
        self._turn.answered.add(tool_use_id)
        self._delay = self._timing.first_delay
        return True

    async def _refused(self, tool_use_id: str, error: RefusedError) -> bool:
        if error.gone:
            raise error
        try:
            await self._run.reread(self._turn)
        except ServiceError:
            self._later(None)
            return False
        if tool_use_id in self._turn.answered or self._turn.ending is not None:
            return True
        count = self._refusals[tool_use_id] = self._refusals.get(tool_use_id, 0) + 1
        self._log.warning("an answer was refused", tool_use=tool_use_id, reason=str(error), count=count)
        if count >= MAX_REFUSALS:
            raise error
        self._later(None)
        return False

    def _later(self, retry_after: float | None) -> None:
        wait = self._delay if retry_after is None else min(retry_after, self._timing.longest_wait)
        self.again_at = min(self.again_at, asyncio.get_running_loop().time() + wait)
        self._delay = min(self._timing.max_delay, self._delay * 2)


def _with(result: Result, arguments: Mapping[str, Any]) -> Result:
    return result.model_copy(update={"arguments": dict(arguments)})


def _told(settled: Settled, tool_use_id: str) -> dict[str, Any]:
    """What the agent learns of a result."""
    if settled.status is ResultStatus.STAGED:
        return tool_answer(tool_use_id, STAGED, is_error=False)
    if settled.status is not ResultStatus.POSTED:
        return tool_answer(tool_use_id, f"Not done: {settled.error}", is_error=True)
    receipt = settled.receipt
    parts = ["Done.", receipt.url if receipt else None, receipt.note if receipt else None]
    return tool_answer(tool_use_id, " ".join(part for part in parts if part), is_error=False)
