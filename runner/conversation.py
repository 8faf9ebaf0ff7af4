"""Following one turn of a session without loss (managed-agents reference §1.6), and answering what it asks.

A reader task keeps a stream open and reads the history whenever something may have been missed; this side applies what
arrives, one thing at a time, and acts. Pending calls are derived from events, never remembered from deeds.
"""

from __future__ import annotations

import asyncio
import random
import time
from typing import TYPE_CHECKING, Any, Final

import anthropic
import httpx2
import structlog

from runner.report import tool_answer, tool_result
from runner.service import BusyError, RefusedError, ServiceError, UncertainError
from runner.turn import Ending, ToolCall, Turn
from storage.database import StorageUnavailableError
from storage.results import Settled, mark_answered
from storage.runs import note_run
from storage.tables import ResultStatus, RunStatus

if TYPE_CHECKING:
    from runner.execution import RunExecution

log = structlog.get_logger(__name__)

FIRST_RECONNECT: Final = 0.5
MAX_RECONNECT: Final = 10.0
SILENCE_SECONDS: Final = 90.0
"""No event for this long: ask the service whether the session still runs, in case the end was missed."""
INTERRUPT_SECONDS: Final = 20.0
INTERRUPTS: Final = 6
"""After this many interrupts without an answer the run ends; the session is looked after by the upkeep."""
NO_APPROVAL: Final = "This needs a person's approval, and the rule provides for none. Find another way."


class Following:
    """One turn of one run."""

    def __init__(self, run: RunExecution, *, doubt: bool) -> None:
        self._run = run
        self._doubt = doubt
        self._turn = Turn(run.claim.row.get("message_id"))
        self._need_history = run.status is not RunStatus.SENDING
        self._open = asyncio.Event()
        self._handled: set[str] = set()
        self._interrupts = 0
        self._interrupt_at = float("inf")
        self._log = log.bind(run=run.claim.run_id, session=run.session_id)

    async def until_end(self) -> Turn | None:
        """Return the turn when it ended, or None when the session had to be given up for another one."""
        # Not a task group: it would wrap LostError and cancellation of the run in exception groups.
        reader = asyncio.get_running_loop().create_task(self._keep_reading(), name=f"stream-{self._run.claim.run_id}")
        try:
            if self._run.status is RunStatus.SENDING and not await self._send_work():
                return None
            await self._until_end()
            return self._turn
        finally:
            reader.cancel()
            await asyncio.gather(reader, return_exceptions=True)

    # Sending --------------------------------------------------------------------------------------------------------

    async def _send_work(self) -> bool:
        """Send the message once. False: the session is gone and the run needs another."""
        run = self._run
        service = run.world.service
        message_id = await self._find_message() if self._doubt else None
        delay = FIRST_RECONNECT
        resumed = bool(run.claim.dispatch.follow_up) or run.claim.row.get("session_id") == run.session_id
        if message_id is None and resumed and run.claim.dispatch.limits.budget_cents is not None:
            await self._raise_budget()
        while message_id is None:
            # Open the stream first, then send: what happens in between would be seen by nobody.
            await self._open.wait()
            try:
                echoed = await service.send(run.session_id, [run.message()])
                message_id = echoed[0].id if echoed else await self._find_message()
            except RefusedError as error:
                if error.gone:
                    await run.replace_session()
                    return False
                if not error.blocked:
                    raise
                self._log.info("the session waits for an old answer; interrupting it first")
                await service.send(run.session_id, [{"type": "user.interrupt"}])
                await asyncio.sleep(delay)
            except UncertainError as error:
                self._log.warning("the work may have been sent", reason=str(error))
                await asyncio.sleep(delay)
                message_id = await self._find_message()
            except BusyError as error:
                await asyncio.sleep(error.retry_after if error.retry_after is not None else delay)
            delay = min(MAX_RECONNECT, delay * 2)
        now = time.time()
        run.claim.row.update(message_id=message_id, started_at=now)
        self._turn.message_id = message_id
        await run.move(RunStatus.RUNNING, message_id=message_id, started_at=now, session_id=run.session_id)
        if self._doubt:
            self._need_history = True
            await self._reread()
        return True

    async def _find_message(self) -> str | None:
        """The message of an earlier attempt, by the run's marker."""
        run = self._run
        for event in await run.world.service.list_events(run.session_id, types=["user.message"]):
            for block in event.content or []:
                text = getattr(block, "text", None)
                if isinstance(text, str) and text.partition("\n")[0] == run.mark():
                    return str(event.id)
        return None

    async def _raise_budget(self) -> None:
        """A further turn in an old session gets the rule's budget on top of what was spent."""
        run = self._run
        session = await run.world.service.retrieve_session(run.session_id)
        spent = getattr(getattr(session.usage, "list_cost", None), "amount", None)
        cents = run.claim.dispatch.limits.budget_cents
        if spent is None or cents is None or not int(spent):
            return
        await run.world.service.set_budget(run.session_id, int(spent) + cents)

    # Reading --------------------------------------------------------------------------------------------------------

    async def _keep_reading(self) -> None:
        try:
            await self._read()
        except Exception as error:  # noqa: BLE001 - raised again by the run itself
            self._open.set()
            self._run.inbox.put_nowait(("broken", error))

    async def _read(self) -> None:
        """Keep a stream open; after every gap read the whole history."""
        service, inbox, session_id = self._run.world.service, self._run.inbox, self._run.session_id
        delay = FIRST_RECONNECT
        while True:
            try:
                async with service.stream(session_id) as stream:
                    if self._need_history:
                        inbox.put_nowait(("history", await service.list_events(session_id)))
                    self._need_history = True  # from now on any new stream follows a gap
                    self._open.set()
                    async for event in stream:
                        inbox.put_nowait(("event", event))
                        delay = FIRST_RECONNECT
            except RefusedError as error:
                self._open.set()
                inbox.put_nowait(("gone", error))
                return
            except (ServiceError, anthropic.APIError, httpx2.HTTPError) as error:
                self._log.info("the stream broke off", reason=type(error).__name__)
            # A clean end without a terminal event is a gap like any other.
            await asyncio.sleep(delay * random.uniform(0.75, 1.25))  # noqa: S311 - spreading load
            delay = min(MAX_RECONNECT, delay * 2)

    async def _reread(self) -> None:
        self._turn.read_history(await self._run.world.service.list_events(self._run.session_id))

    # Acting ---------------------------------------------------------------------------------------------------------

    async def _until_end(self) -> None:
        deadline = self._run.deadline()
        if self._run.status is RunStatus.STOPPING:
            await self._interrupt()
        elif self._run.stop_reason:
            await self._stop(self._run.stop_reason)
        while self._turn.ending is None:
            await self._act()
            if self._turn.ending is not None:
                break
            now = time.monotonic()
            if now >= deadline and self._run.status is RunStatus.RUNNING:
                await self._stop("timeout")
            if now >= self._interrupt_at:
                if self._interrupts >= INTERRUPTS:
                    self._turn.ending, self._turn.detail = Ending.UNKNOWN, "the session did not react to interrupts"
                    return
                await self._interrupt()
            until = min(deadline if self._run.status is RunStatus.RUNNING else float("inf"), self._interrupt_at)
            try:
                async with asyncio.timeout(max(0.0, min(SILENCE_SECONDS, until - time.monotonic()))):
                    kind, payload = await self._run.inbox.get()
            except TimeoutError:
                if until - time.monotonic() > 1:
                    await self._check_alive()
                continue
            await self._take(kind, payload)

    async def _take(self, kind: str, payload: Any) -> None:
        if kind == "event":
            self._turn.apply(payload)
        elif kind == "history":
            self._turn.read_history(payload)
        elif kind == "results":
            for settled in payload:
                await self._answer(settled)
        elif kind == "stop" and self._run.status is RunStatus.RUNNING:
            await self._stop(payload)
        elif kind == "broken":
            raise payload
        elif kind == "gone":
            self._turn.ending, self._turn.detail = Ending.GONE, f"the session is gone: {payload}"

    async def _act(self) -> None:
        """Ask for what the agent wants published; deny what nobody may approve; read again what was missed."""
        run = self._run
        if run.status is not RunStatus.RUNNING:
            return
        if self._turn.repository_error and run.claim.dispatch.repository is not None:
            await self._stop("repository")
            return
        if self._turn.incomplete:
            self._turn.incomplete = False
            await self._reread()
        for call in self._turn.pending:
            if call.id not in self._handled:
                await self._want(call)
                self._handled.add(call.id)
        for tool_use_id, name in list(self._turn.confirmations.items()):
            if tool_use_id not in self._turn.answered and tool_use_id not in self._handled:
                self._log.info("a tool asked for approval and was denied", tool=name)
                await self._send_answer(
                    {
                        "type": "user.tool_confirmation",
                        "tool_use_id": tool_use_id,
                        "result": "deny",
                        "deny_message": NO_APPROVAL,
                    },
                    tool_use_id,
                )
                self._handled.add(tool_use_id)

    async def _want(self, call: ToolCall) -> None:
        run = self._run
        dispatch = run.claim.dispatch
        grant = next((grant for grant in dispatch.grants if grant.name == call.name), None)
        if grant is None:
            granted = ", ".join(grant.name for grant in dispatch.grants) or "none"
            text = f"There is no tool {call.name!r} here. Granted are: {granted}."
            await self._send_answer(tool_answer(call.id, text, is_error=True), call.id)
            return
        result = tool_result(dispatch, run.claim.run_id, grant, call)
        used = sum(slot.startswith(f"{grant.name}:") for slot in run.slots if slot != result.slot)
        if used >= grant.max:
            text = f"{grant.name} may be used {grant.max} times in a run, and that is used up."
            await self._send_answer(tool_answer(call.id, text, is_error=True), call.id)
            return
        await run.want(result, tool_use_id=call.id)

    async def _answer(self, settled: Settled) -> None:
        """Tell the agent what became of its result."""
        tool_use_id = settled.tool_use_id
        if tool_use_id is None or tool_use_id in self._turn.answered or settled.answered:
            return
        if settled.status is ResultStatus.POSTED:
            receipt = settled.receipt
            parts = ["Done.", receipt.url if receipt else None, receipt.note if receipt else None]
            answer = tool_answer(tool_use_id, " ".join(part for part in parts if part), is_error=False)
        else:
            answer = tool_answer(tool_use_id, f"Not done: {settled.error}", is_error=True)
        if await self._send_answer(answer, tool_use_id):
            try:
                await self._run.world.database.write(mark_answered, settled.id)
            except StorageUnavailableError:
                self._log.warning("an answer was given but not noted; the history tells it", result=settled.id)

    async def _send_answer(self, answer: dict[str, Any], tool_use_id: str) -> bool:
        """Send one answer. Given twice it is refused by the service, which is as good as given."""
        delay = FIRST_RECONNECT
        while True:
            try:
                await self._run.world.service.send(self._run.session_id, [answer])
            except RefusedError as error:
                self._log.info("an answer was not taken", tool_use=tool_use_id, reason=str(error))
                if error.gone:
                    self._turn.ending, self._turn.detail = Ending.GONE, str(error)
                    return False
                self._turn.answered.add(tool_use_id)
                return True
            except (BusyError, UncertainError) as error:
                wait = getattr(error, "retry_after", None)
                await asyncio.sleep(min(wait, 60.0) if wait is not None else delay)
                delay = min(MAX_RECONNECT, delay * 2)
                continue
            self._turn.answered.add(tool_use_id)
            return True

    async def _stop(self, reason: str) -> None:
        """Write down that it shall stop, then interrupt: a crash in between is taken up at the interrupt."""
        self._run.stop_reason = reason
        self._log.info("interrupting the session", reason=reason)
        await self._run.move(RunStatus.STOPPING, stop_reason=reason)
        await self._interrupt()

    async def _interrupt(self) -> None:
        self._interrupts += 1
        self._interrupt_at = time.monotonic() + INTERRUPT_SECONDS
        try:
            await self._run.world.service.send(self._run.session_id, [{"type": "user.interrupt"}])
        except RefusedError as error:
            if error.gone:
                self._turn.ending, self._turn.detail = Ending.GONE, str(error)
        except ServiceError as error:
            self._log.warning("the interrupt may not have arrived", reason=str(error))
            self._interrupt_at = time.monotonic() + FIRST_RECONNECT * 2**self._interrupts
        else:
            # An interrupt does nothing to a session that is idle already, and then no event will come.
            await self._check_alive()

    async def _check_alive(self) -> None:
        """Ask for the session's status; where it does not run, what ended it is in the history."""
        run = self._run
        try:
            session = await run.world.service.retrieve_session(run.session_id)
            if session.status != "running":
                await self._reread()
                if run.status is RunStatus.STOPPING and self._turn.ending is None and session.status == "idle":
                    self._turn.ending, self._turn.detail = Ending.DONE, None
        except RefusedError as error:
            if error.gone:
                self._turn.ending, self._turn.detail = Ending.GONE, str(error)
        except ServiceError as error:
            self._log.info("the session's status could not be read", reason=str(error))


async def note(run: RunExecution, **values: Any) -> bool:
    """Write fields of the run under its fence."""
    return await run.world.database.write(note_run, run.claim, **values)
