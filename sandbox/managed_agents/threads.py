"""Threads of agents that the session's agent calls: their own events, and what the session's stream shows of them.

The primary thread is the session itself. Must not know HTTP.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sandbox.managed_agents.history import History
from sandbox.managed_agents.identity import stamp
from sandbox.managed_agents.turns import Answer, Answers, Pause, Step, Turn
from sandbox.managed_agents.usage import Usage


@dataclass(slots=True, eq=False)
class Child:
    """One called agent at work in a session."""

    id: str
    session_id: str
    parent: str
    name: str
    agent: dict[str, Any]
    """A snapshot of the agent, or of an advisor."""
    history: History
    created_at: datetime
    updated_at: datetime
    status: str = "running"
    archived_at: datetime | None = None
    usage: Usage = field(default_factory=Usage)

    def as_dict(self) -> dict[str, Any]:
        """The body of the thread."""
        seconds = (self.updated_at - self.created_at).total_seconds()
        return {
            "id": self.id,
            "type": "session_thread",
            "session_id": self.session_id,
            "parent_thread_id": self.parent,
            "workflow_run_id": None,
            "status": self.status,
            "agent": self.agent,
            "stats": {"active_seconds": seconds, "duration_seconds": seconds, "startup_seconds": 0.0},
            "usage": self.usage.as_dict(),
            "created_at": stamp(self.created_at),
            "updated_at": stamp(self.updated_at),
            "archived_at": stamp(self.archived_at) if self.archived_at else None,
        }

    def place(self) -> dict[str, str]:
        """What events of the session say of it."""
        return {"session_thread_id": self.id, "agent_name": self.name}


def callable_agents(agent: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Every agent that this one may call, an advisor too, in the order written."""
    multiagent = agent.get("multiagent")
    if multiagent is None:
        return
    if multiagent["type"] == "coordinator":
        yield from multiagent["agents"]
        return
    if multiagent["subagents"]["type"] == "enabled":
        yield from multiagent["subagents"]["predefined_agents"]
    advisor = multiagent["advisor"]
    if advisor["type"] == "enabled":
        yield {"type": "advisor", "model": advisor["model"]}


def delegate(
    turn: Turn, agent: dict[str, Any], words: str, *, command: str | None = None
) -> Generator[Step, dict[str, Answer] | None, str]:
    """Give a called agent a task in a thread of its own; its answer. `command`: it asks to be allowed that first."""
    session, history = turn.session, turn.session.history
    now = history.now()
    child = Child(
        id=history.new_id("sthr"),
        session_id=session.id,
        parent=session.thread_id,
        name=str(agent.get("name") or agent["type"]),
        agent=agent,
        history=history.beside(),
        created_at=now,
        updated_at=now,
    )
    session.children.append(child)
    content = [{"type": "text", "text": words}]
    turn.emit("session.thread_created", **child.place(), workflow_run_id=None)
    turn.emit(
        "agent.thread_message_sent", to_session_thread_id=child.id, to_agent_name=child.name, content=content
    )
    child.history.emit(
        "agent.thread_message_received",
        from_session_thread_id=session.thread_id,
        from_agent_name=session.agent["name"],
        content=content,
    )
    turn.emit("session.thread_status_running", **child.place())
    yield Pause(turn.pace)
    allowed = True
    if command is not None:
        allowed = yield from _asked(turn, child, command)
    model = agent["model"] if isinstance(agent["model"], str) else agent["model"]["id"]
    for usage in (child.usage, session.usage):
        usage.add(model, fresh=400, cached=0, written=0, output=80)
    answer = f"{child.name}: {'looked at it, and agrees' if allowed else 'was not allowed to look at it'}."
    said = [{"type": "text", "text": answer}]
    child.history.emit("agent.message", content=said)
    child.updated_at, child.status = history.now(), "idle"
    turn.emit(
        "session.thread_status_idle", **child.place(), stop_reason={"type": "end_turn"}, stop_details=None
    )
    turn.emit(
        "agent.thread_message_received",
        from_session_thread_id=child.id,
        from_agent_name=child.name,
        content=said,
    )
    yield Pause(turn.pace)
    return answer


def archive(turn_history: History, child: Child) -> None:
    """A child thread ends for good; the session's stream says so."""
    child.archived_at = child.updated_at = turn_history.now()
    child.status = "terminated"
    child.history.close()
    turn_history.emit("session.thread_status_terminated", **child.place())


def _asked(turn: Turn, child: Child, command: str) -> Generator[Step, dict[str, Answer] | None, bool]:
    """The child asks for a permission: its call is shown in the session too, with the child's thread."""
    call: dict[str, Any] = {
        "name": "bash",
        "input": {"command": command},
        "evaluated_permission": "ask",
        "evaluation": {"type": "always_ask"},
    }
    identifier = turn.use("agent.tool_use", waits=True, session_thread_id=child.id, **call)
    answers = yield Answers((identifier,))
    answer = (answers or {})[identifier]
    text = "done" if answer.allowed else answer.text or "The user denied permission to use this tool."
    turn.emit(
        "agent.tool_result",
        tool_use_id=identifier,
        content=[{"type": "text", "text": text}],
        is_error=not answer.allowed,
    )
    return answer.allowed
