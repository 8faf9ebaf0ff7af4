"""Runs an agent's script in a session: steps, waits, interrupts, budget. Must not know what a script says.

A script is a generator that emits events through its turn and yields what it waits for. It is driven by
timers of the event loop, so that a session that waits costs no task, and thousands can run at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final, Literal

from sandbox.managed_agents.session import Memory, Pending, Session
from sandbox.managed_agents.settings import Settings
from sandbox.managed_agents.usage import tokens

PROMPT_OVERHEAD: Final = 1_800
"""Tokens that a request has besides what the client wrote: the harness's own instructions."""
INTERRUPTED: Final = "The call was cancelled: the session was interrupted."


@dataclass(frozen=True, slots=True)
class Pause:
    """Go on after so many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Answers:
    """Go on when all of these calls are answered; the script gets the answers by id."""

    ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Forever:
    """Never go on by itself."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the client said to a call."""

    text: str = ""
    is_error: bool = False
    allowed: bool = True
    """False where a confirmation was denied."""


Step = Pause | Answers | Forever
Script = Generator[Step, dict[str, Answer] | None, None]
Cast = Callable[["Turn", list[dict[str, Any]]], Script]
"""Chooses the script for the events that start a turn."""


class Turn:
    """From `session.status_running` to the idle that ends it. It survives blocking and a reached budget."""

    def __init__(self, session: Session, *, settings: Settings, cast: Cast) -> None:
        self.session = session
        self.settings = settings
        self.pace = settings.pace
        self.interrupt_delay: float | None = None
        """Seconds until an interrupt takes effect; None: one pace."""
        self.deaf = False
        """Interrupts are never applied."""
        self.stop: dict[str, Any] = {"type": "end_turn"}
        self.stop_details: dict[str, Any] | None = None
        self.memory: Memory | None = None
        self.halted = False
        self._cast = cast
        self._loop = asyncio.get_running_loop()
        self._script: Script | None = None
        self._timer: asyncio.Handle | None = None
        self._interrupts: list[dict[str, Any]] = []
        self._awaited: tuple[str, ...] = ()
        self._answers: dict[str, Answer] = {}
        self._waiting: dict[str, Answer] | None = None
        self._span: str | None = None
        self._fresh = 0
        self._produced = 0

    # What the routes call.

    def start(self) -> None:
        """Begin as soon as the request that asked for it is answered."""
        self.session.turn = self
        self.session.enter("running")
        self._timer = self._loop.call_soon(self._begin)

    @property
    def interrupting(self) -> bool:
        """An interrupt has been accepted and not yet applied."""
        return bool(self._interrupts)

    def interrupt(self, event: dict[str, Any]) -> None:
        """Apply a queued interrupt after its delay. At the budget's cap it is only noted."""
        if self.halted:
            self.session.history.process(event)
            return
        self._interrupts.append(event)
        if len(self._interrupts) == 1 and not self.deaf:
            delay = self.pace if self.interrupt_delay is None else self.interrupt_delay
            self._loop.call_later(delay, self._apply_interrupts)

    def answer(self, identifier: str, answer: Answer) -> None:
        """Note the answer to one call. `answered` must follow when all of a request's answers are noted."""
        self._answers[identifier] = answer
        self._fresh += tokens(answer.text)

    def answered(self) -> None:
        """Go on if nothing is missing; else name what is."""
        if self.session.status != "idle" or self.halted or self.interrupting:
            return
        if any(identifier not in self._answers for identifier in self._awaited):
            self._say_idle({"type": "requires_action", "event_ids": self.session.window})
            return
        found = {identifier: self._answers[identifier] for identifier in self._awaited}
        self._awaited = ()
        self.run_again()
        self._timer = self._loop.call_soon(self._advance, found)

    def budget_raised(self) -> None:
        """Continue where the cap stopped it."""
        if self.halted:
            self.halted = False
            waiting, self._waiting = self._waiting, None
            self.run_again()
            self._timer = self._loop.call_soon(self._advance, waiting)

    def cancel(self) -> None:
        """Forget it without a word: the session is being removed."""
        if self._timer is not None:
            self._timer.cancel()
        if self._script is not None:
            self._script.close()
        self.session.turn = None

    # What scripts call.

    def emit(self, kind: str, **fields: Any) -> str:
        """Append an event to the session and return its id."""
        return self.session.history.emit(kind, **fields)

    def open_request(self) -> None:
        """A model request begins."""
        self._span = self.emit("span.model_request_start")
        self._produced = 0

    def say(self, text: str) -> str:
        """An `agent.message`, with previews for the streams that asked for them."""
        history = self.session.history
        identifier = history.preview("agent.message", text)
        history.emit_as(identifier, "agent.message", content=[{"type": "text", "text": text}])
        self._produced += tokens(text)
        return identifier

    def think(self) -> None:
        """An `agent.thinking`: a sign of progress, without words."""
        history = self.session.history
        history.emit_as(history.preview("agent.thinking", ""), "agent.thinking")
        self._produced += 120

    def use(
        self, kind: str, *, waits: bool, elsewhere: bool = False, produced: str = "", **fields: Any
    ) -> str:
        """An `agent.tool_use`, `agent.mcp_tool_use` or `agent.custom_tool_use`; `waits` for the client's
        answer; `elsewhere`: for the result, from the machine that runs it."""
        identifier = self.emit(kind, **fields)
        self._produced += tokens(produced) + 30
        if waits:
            answer: Literal["user.custom_tool_result", "user.tool_result", "user.tool_confirmation"]
            if kind == "agent.custom_tool_use":
                answer = "user.custom_tool_result"
            else:
                answer = "user.tool_result" if elsewhere else "user.tool_confirmation"
            self.session.pending[identifier] = Pending(answer=answer, name=fields["name"])
        return identifier

    def read(self, text: str) -> None:
        """Text that the next model request has to take in."""
        self._fresh += tokens(text)

    def close_request(self, *, is_error: bool = False) -> None:
        """The model request ends, and is counted."""
        session = self.session
        if session.cached_tokens == 0:
            self._fresh += (
                PROMPT_OVERHEAD + tokens(str(session.agent["system"])) + tokens(str(session.agent["tools"]))
            )
        fresh, self._fresh = self._fresh, 0
        usage = session.usage.add(
            session.agent["model"]["id"],
            fresh=min(fresh, 40),
            cached=session.cached_tokens,
            written=max(0, fresh - 40),
            output=self._produced,
        )
        session.cached_tokens += fresh + self._produced
        span, self._span = self._span, None
        self.emit(
            "span.model_request_end", model_request_start_id=span or "", is_error=is_error, model_usage=usage
        )

    def reschedule(self) -> None:
        """The service takes the session off its machine; `run_again` brings it back."""
        self.session.enter("rescheduling")
        self.emit("session.thread_status_rescheduled", **self._thread())
        self.emit("session.status_rescheduled")

    def run_again(self) -> None:
        """The session runs once more, after a wait of whatever kind."""
        self.session.enter("running")
        self.emit("session.status_running")
        self.emit("session.thread_status_running", **self._thread())

    def terminate(self) -> None:
        """The session ends for good and its streams close."""
        session = self.session
        session.enter("terminated")
        session.pending.clear()
        self.emit("session.thread_status_terminated", **self._thread())
        self.emit("session.status_terminated")
        session.turn = None
        session.history.close()

    def flush_queue(self) -> None:
        """A dead turn takes what was queued behind it along."""
        for event in tuple(self.session.history.queue):
            self.session.history.process(event)
        self.session.todo.clear()

    # The engine.

    def _begin(self) -> None:
        self.emit("session.status_running")
        self.emit("session.thread_status_running", **self._thread())
        self._take()

    def _take(self) -> None:
        """Start on everything that is queued."""
        session = self.session
        todo, session.todo = session.todo, []
        for event in todo:
            if event in session.history.queue:
                session.history.process(event)
            self._fresh += tokens(str(event.get("content", event.get("description", ""))))
        self.stop, self.stop_details, self.memory = {"type": "end_turn"}, None, None
        self._script = self._cast(self, todo)
        self._advance(None)

    def _advance(self, value: dict[str, Answer] | None) -> None:
        self._timer = None
        script = self._script
        if script is None:
            return
        while True:
            if self._over_budget():
                self._waiting = value
                self.halted = True
                self._go_idle({"type": "budget_reached"})
                return
            try:
                step = script.send(value)
            except StopIteration:
                self._finish()
                return
            except Exception:
                self._fail()
                raise
            if isinstance(step, Pause):
                self._timer = self._loop.call_later(step.seconds, self._advance, None)
                return
            if isinstance(step, Forever):
                return
            if any(identifier not in self._answers for identifier in step.ids):
                self._awaited = step.ids
                self._go_idle({"type": "requires_action", "event_ids": self.session.window})
                return
            value = {identifier: self._answers[identifier] for identifier in step.ids}

    def _over_budget(self) -> bool:
        cap: Decimal | None = self.session.cap
        return cap is not None and self.session.usage.cents >= cap

    def _finish(self) -> None:
        session = self.session
        self._script = None
        if session.status == "terminated":
            return
        if self.memory is not None:
            session.memories.append(self.memory)
        if self.interrupting and not self.deaf:
            return
        for event in self._interrupts:
            session.history.process(event)
        self._interrupts.clear()
        if session.todo and self.stop["type"] == "end_turn":
            self._take()
            return
        session.turn = None
        self._go_idle(self.stop, self.stop_details)

    def _fail(self) -> None:
        error = {"type": "unknown_error", "message": "Internal error", "retry_status": {"type": "terminal"}}
        self.emit("session.error", error=error)
        self.terminate()

    def _apply_interrupts(self) -> None:
        session = self.session
        if session.status == "terminated" or session.turn is not self:
            return
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._script is not None:
            self._script.close()
            self._script = None
        for event in self._interrupts:
            session.history.process(event)
        self._interrupts.clear()
        for identifier, pending in session.pending.items():
            self._cancel_call(identifier, pending)
        session.pending.clear()
        if self._span is not None:
            self.close_request()
        session.turn = None
        self._go_idle({"type": "end_turn"})
        if session.todo:
            Turn(session, settings=self.settings, cast=self._cast).start()

    def _cancel_call(self, identifier: str, pending: Pending) -> None:
        content = [{"type": "text", "text": INTERRUPTED}]
        if pending.answer == "user.custom_tool_result":
            self.emit(
                "user.custom_tool_result", custom_tool_use_id=identifier, content=content, is_error=True
            )
        else:
            self.emit("agent.tool_result", tool_use_id=identifier, content=content, is_error=True)

    def _go_idle(self, stop: dict[str, Any], details: dict[str, Any] | None = None) -> None:
        self.session.enter("idle")
        self.emit("session.thread_status_idle", **self._thread(), stop_reason=stop, stop_details=details)
        self._say_idle(stop, details)

    def _say_idle(self, stop: dict[str, Any], details: dict[str, Any] | None = None) -> None:
        self.emit("session.usage", usage=self.session.usage_now(), budget=self.session.budget)
        self.emit("session.status_idle", stop_reason=stop, stop_details=details)

    def _thread(self) -> dict[str, str]:
        return {"session_thread_id": self.session.thread_id, "agent_name": self.session.agent["name"]}
