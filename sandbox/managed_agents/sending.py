"""Taking in the events that a client sends: every rule of the reference §1.3, and what an accepted event sets
going.

A request is checked whole before any of it counts. Must not know HTTP.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from sandbox.managed_agents.errors import invalid, not_found
from sandbox.managed_agents.session import WINDOW, Pending, Session
from sandbox.managed_agents.state import AgentsState
from sandbox.managed_agents.turns import Answer

ANSWERS: Final = {
    "user.tool_confirmation": "tool_use_id",
    "user.custom_tool_result": "custom_tool_use_id",
    "user.tool_result": "tool_use_id",
}
"""Answering event → its field that names the call."""
AT_BUDGET: Final = frozenset({*ANSWERS, "user.interrupt"})
WORK: Final = frozenset({"user.message", "user.define_outcome"})
SPEAKS_BEFORE_SYSTEM: Final = frozenset({"user.message", "user.custom_tool_result", "user.tool_result"})
SYSTEM_MODELS: Final = ("claude-fable-5", "claude-mythos", "claude-opus-4-8", "claude-opus-5")
MOST_BLOCKS: Final = 1_000
MOST_ITERATIONS: Final = 20
MOST_RUBRIC: Final = 262_144
MOST_INITIAL: Final = 50
OPEN_OUTCOMES: Final = frozenset({"pending", "running", "evaluating"})


def send(state: AgentsState, session: Session, events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Check and take in the events; returns the echo of each with its id. Raises ApiError."""
    _check_open(session)
    if not events:
        raise invalid("events: List should have at least 1 item after validation")
    _Check(state, session).all(events)
    echoes = [_apply(state, session, event) for event in events]
    if session.turn is not None:
        session.turn.answered()
    elif session.todo:
        state.begin(session)
    return echoes


def check_initial(state: AgentsState, session: Session, events: list[dict[str, Any]]) -> None:
    """Check the `initial_events` of a new session. Raises ApiError."""
    if len(events) > MOST_INITIAL:
        raise invalid(f"initial_events: List should have at most {MOST_INITIAL} items after validation")
    if sum(event["type"] == "user.define_outcome" for event in events) > 1:
        raise invalid("initial_events: at most one user.define_outcome event is allowed")
    _Check(state, session, field="initial_events").all(events)


def start_initial(state: AgentsState, session: Session, events: list[dict[str, Any]]) -> None:
    """Take in checked `initial_events`; the session runs at once."""
    for event in events:
        _apply(state, session, event)
    if session.todo:
        state.begin(session)


def _check_open(session: Session) -> None:
    if session.archived_at is not None:
        raise invalid("Cannot send events to archived session")
    if session.status == "terminated":
        raise invalid("Cannot send events to terminated session")


@dataclass(slots=True)
class _Check:
    """Goes through a request as if each event before it had been applied."""

    state: AgentsState
    session: Session
    field: str = "events"
    blocked: bool = False
    outcome_open: bool = False

    def all(self, events: list[dict[str, Any]]) -> None:
        session = self.session
        self.blocked = session.blocked
        self.outcome_open = any(one["result"] in OPEN_OUTCOMES for one in session.outcomes)
        pending = dict(session.pending)
        for place, event in enumerate(events):
            self._one(place, event, pending, events)

    def _one(
        self, place: int, event: dict[str, Any], pending: dict[str, Pending], events: list[dict[str, Any]]
    ) -> None:
        kind, at = event["type"], f"{self.field}[{place}]"
        if self.session.at_budget and kind not in AT_BUDGET:
            accepted = ", ".join(sorted(AT_BUDGET))
            raise invalid(f"Invalid {kind} event at {at}: the budget is reached; only {accepted} may be sent")
        if kind in ANSWERS:
            self._answer(kind, event, pending, at)
        elif kind == "user.interrupt":
            thread = event.get("session_thread_id")
            if thread not in {None, self.session.thread_id}:
                raise not_found("Session thread", str(thread))
            self.blocked = False
            pending.clear()
        elif kind == "system.message":
            self._system(place, events, at)
        elif kind in WORK:
            self._work(kind, event, pending, at)

    def _answer(self, kind: str, event: dict[str, Any], pending: dict[str, Pending], at: str) -> None:
        name = ANSWERS[kind]
        identifier = event[name]
        if kind == "user.tool_result" and not self.session.self_hosted:
            raise invalid(
                f"Invalid {kind} event at {at}: only sessions in self_hosted environments accept it"
            )
        waiting = pending.get(identifier)
        if waiting is None or waiting.answer != kind:
            raise invalid(f"Invalid {kind} event at {at}: {self._why_not(identifier, kind, name)}")
        if (
            kind == "user.tool_confirmation"
            and event.get("deny_message") is not None
            and event["result"] != "deny"
        ):
            raise invalid(f"Invalid {kind} event at {at}: deny_message is only allowed with result deny")
        del pending[identifier]
        if not pending:
            self.blocked = False

    def _why_not(self, identifier: str, kind: str, name: str) -> str:
        known = next((one for one in self.session.history.events if one["id"] == identifier), None)
        if known is None:
            return f"{name} {identifier} does not match any tool use event of this session"
        if kind == "user.tool_confirmation" and known.get("evaluated_permission") != "ask":
            return f"event {identifier} does not wait for a confirmation: its evaluated_permission is not ask"
        if kind == "user.custom_tool_result" and known["type"] != "agent.custom_tool_use":
            return f"event {identifier} is a {known['type']}, not an agent.custom_tool_use"
        return f"event {identifier} has already been answered"

    def _work(self, kind: str, event: dict[str, Any], pending: dict[str, Pending], at: str) -> None:
        if self.blocked and pending:
            waiting = ", ".join(list(pending)[:WINDOW])
            raise invalid(
                f"Invalid {kind} event at {at}: waiting on responses to events [{waiting}]; "
                f"only {_accepted(pending)} may be sent"
            )
        if kind == "user.message":
            if not event["content"]:
                raise invalid(f"{at}.content: List should have at least 1 item after validation")
            for block in event["content"]:
                source = block.get("source", {})
                if source.get("type") == "file" and source["file_id"] not in self.state.files:
                    raise not_found("File", source["file_id"])
            return
        if self.outcome_open:
            raise invalid(f"Invalid {kind} event at {at}: the session already works towards an outcome")
        self.outcome_open = True
        rounds = event.get("max_iterations")
        if rounds is not None and not 1 <= rounds <= MOST_ITERATIONS:
            raise invalid(f"{at}.max_iterations: Input should be from 1 to {MOST_ITERATIONS}")
        rubric = event["rubric"]
        if rubric["type"] == "file" and rubric["file_id"] not in self.state.files:
            raise not_found("File", rubric["file_id"])
        if rubric["type"] == "text" and len(rubric["content"]) > MOST_RUBRIC:
            raise invalid(f"{at}.rubric.content: String should have at most {MOST_RUBRIC} characters")

    def _system(self, place: int, events: list[dict[str, Any]], at: str) -> None:
        model = self.session.agent["model"]["id"]
        if not model.startswith(SYSTEM_MODELS):
            raise invalid(
                f"Invalid system.message event at {at}: model {model} does not support it",
                code="model_does_not_support_mid_conversation_system",
            )
        if place != len(events) - 1 or place == 0 or events[place - 1]["type"] not in SPEAKS_BEFORE_SYSTEM:
            raise invalid(
                f"Invalid system.message event at {at}: it must be the last of the request, right after a "
                "user.message or a tool result"
            )
        if not 1 <= len(events[place]["content"]) <= MOST_BLOCKS:
            raise invalid(f"{at}.content: List should have from 1 to {MOST_BLOCKS} items")


def _accepted(pending: dict[str, Pending]) -> str:
    """`a or b`, `a, b, or c`: what may be sent while these calls wait."""
    kinds: list[str] = sorted({one.answer for one in pending.values()}, reverse=True)
    if len(kinds) == 1:
        return f"{kinds[0]} or user.interrupt"
    return f"{', '.join(kinds)}, or user.interrupt"


def _apply(state: AgentsState, session: Session, event: dict[str, Any]) -> dict[str, Any]:
    kind, history = event["type"], session.history
    if kind == "user.define_outcome":
        return _define_outcome(state, session, event)
    if kind in {"user.custom_tool_result", "user.tool_result"}:
        accepted = history.accept(event)
        _hand_over(session, event[ANSWERS[kind]], _result(event))
        return dict(accepted)
    busy = session.turn is not None and session.status != "idle"
    queued = history.enqueue(event, shown=busy or state.settings.echo_queued)
    echo = dict(queued)
    if kind == "user.tool_confirmation":
        history.process(queued)
        allowed = event["result"] == "allow"
        _hand_over(
            session, event["tool_use_id"], Answer(text=event.get("deny_message") or "", allowed=allowed)
        )
    elif kind == "user.interrupt":
        if session.turn is None:
            history.process(queued)
        else:
            session.turn.interrupt(queued)
    elif kind == "system.message" and not session.todo:
        history.process(queued)
    else:
        session.todo.append(queued)
        if kind == "user.message":
            state.note_work(session, queued)
    return echo


def _define_outcome(state: AgentsState, session: Session, event: dict[str, Any]) -> dict[str, Any]:
    outcome_id = state.ids.new("outc")
    accepted = session.history.accept(
        {**event, "max_iterations": event.get("max_iterations") or 3, "outcome_id": outcome_id}
    )
    session.outcomes.append(
        {
            "type": "outcome_evaluation",
            "outcome_id": outcome_id,
            "description": event["description"],
            "iteration": 0,
            "result": "pending",
            "explanation": None,
            "completed_at": None,
        }
    )
    session.todo.append(accepted)
    state.note_work(session, accepted)
    return dict(accepted)


def _hand_over(session: Session, identifier: str, answer: Answer) -> None:
    del session.pending[identifier]
    if session.turn is not None:
        session.turn.answer(identifier, answer)


def _result(event: dict[str, Any]) -> Answer:
    said = [block["text"] for block in event.get("content", ()) if block["type"] == "text"]
    return Answer(text="\n".join(said), is_error=bool(event.get("is_error")))
