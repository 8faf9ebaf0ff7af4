"""One session: its fields, its status, what it waits for, and its shape on the wire. Must not decide what
an agent does."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, Literal

from sandbox.managed_agents.history import History
from sandbox.managed_agents.identity import stamp
from sandbox.managed_agents.usage import Usage

if TYPE_CHECKING:
    from sandbox.managed_agents.threads import Child
    from sandbox.managed_agents.turns import Turn

Status = Literal["rescheduling", "running", "idle", "terminated"]
STATUSES: Final = frozenset({"rescheduling", "running", "idle", "terminated"})
WINDOW: Final = 5
"""`requires_action` names at most so many events at a time (reference §1.7)."""


@dataclass(frozen=True, slots=True)
class Pending:
    """A call that waits for the client."""

    answer: Literal["user.custom_tool_result", "user.tool_result", "user.tool_confirmation"]
    """The type of event that answers it."""
    name: str


@dataclass(frozen=True, slots=True)
class Memory:
    """What a session remembers of one finished turn."""

    asked: str
    links: tuple[str, ...] = ()
    branch: str | None = None


@dataclass(slots=True, eq=False)
class Session:
    """A session, which is its own primary thread. `agent` is the snapshot taken at creation and may be
    shared."""

    id: str
    thread_id: str
    created_at: datetime
    agent: dict[str, Any]
    environment_id: str
    self_hosted: bool
    history: History
    born: float
    """Loop time of creation, for the delay before lists show it."""
    title: str | None = None
    metadata: dict[str, str] = field(default_factory=dict)
    resources: list[dict[str, Any]] = field(default_factory=list)
    vault_ids: list[str] = field(default_factory=list)
    budget: dict[str, Any] | None = None
    outcomes: list[dict[str, Any]] = field(default_factory=list)
    status: Status = "idle"
    updated_at: datetime | None = None
    archived_at: datetime | None = None
    usage: Usage = field(default_factory=Usage)
    pending: dict[str, Pending] = field(default_factory=dict)
    todo: list[dict[str, Any]] = field(default_factory=list)
    """Events that start work and were not begun yet."""
    turn: Turn | None = None
    status_lag: float = 0.0
    """This session's own delay before `status` follows the stream, seconds."""
    idle_since: float | None = None
    cached_tokens: int = 0
    memories: list[Memory] = field(default_factory=list)
    children: list[Child] = field(default_factory=list)
    """Threads of agents that its own agent called."""
    rotations: dict[str, int] = field(default_factory=dict)
    """How often each repository's token was replaced. The tokens themselves are not kept."""
    _running_since: float | None = None

    @property
    def blocked(self) -> bool:
        """Idle, waiting for the client to answer calls."""
        return self.status == "idle" and bool(self.pending) and not (self.turn and self.turn.interrupting)

    @property
    def at_budget(self) -> bool:
        """Paused at the cap: only a change of the budget continues it."""
        return self.turn is not None and self.turn.halted

    @property
    def cap(self) -> Decimal | None:
        """The budget in cents."""
        return Decimal(self.budget["max_list_cost"]["amount"]) if self.budget else None

    @property
    def window(self) -> list[str]:
        """The unanswered calls that an idle event names."""
        return list(self.pending)[:WINDOW]

    def now(self) -> float:
        """Loop time, seconds."""
        return asyncio.get_running_loop().time()

    def enter(self, status: Status) -> None:
        """Change status; only `running` is metered."""
        moment = self.now()
        if self._running_since is not None:
            self.usage.active_seconds += moment - self._running_since
        self._running_since = moment if status == "running" else None
        self.idle_since = moment if status == "idle" else None
        self.status = status

    def visible(self, lag: float) -> Status:
        """The status that a retrieve shows: idle appears `lag` seconds after the stream said so."""
        if self.idle_since is not None and self.now() - self.idle_since < max(lag, self.status_lag):
            return "running"
        return self.status

    def usage_now(self) -> dict[str, Any]:
        """Usage up to this moment."""
        if self._running_since is not None:
            moment = self.now()
            self.usage.active_seconds += moment - self._running_since
            self._running_since = moment
        return self.usage.as_dict()

    def tools(self, kind: str) -> list[dict[str, Any]]:
        """The agent's tools of one type, as they are now."""
        return [tool for tool in self.agent["tools"] if tool["type"] == kind]

    def as_dict(self, *, lag: float = 0.0) -> dict[str, Any]:
        """The body of a retrieve. Every required field is filled: the SDK does not check."""
        usage = self.usage_now()
        return {
            "id": self.id,
            "type": "session",
            "status": self.visible(lag),
            "title": self.title,
            "agent": self.agent,
            "environment_id": self.environment_id,
            "deployment_id": None,
            "budget": self.budget,
            "metadata": self.metadata,
            "resources": self.resources,
            "vault_ids": self.vault_ids,
            "outcome_evaluations": self.outcomes,
            "stats": {
                "active_seconds": usage["active_seconds"],
                "duration_seconds": round(self.now() - self.born, 3),
            },
            "usage": usage,
            "created_at": stamp(self.created_at),
            "updated_at": stamp(self.updated_at or self.created_at),
            "archived_at": stamp(self.archived_at) if self.archived_at else None,
        }

    def thread(self, *, lag: float = 0.0) -> dict[str, Any]:
        """The body of the primary thread."""
        usage = self.usage_now()
        return {
            "id": self.thread_id,
            "type": "session_thread",
            "session_id": self.id,
            "parent_thread_id": None,
            "workflow_run_id": None,
            "status": self.visible(lag),
            "agent": {name: value for name, value in self.agent.items() if name != "multiagent"},
            "stats": {
                "active_seconds": usage["active_seconds"],
                "duration_seconds": round(self.now() - self.born, 3),
                "startup_seconds": 0.0,
            },
            "usage": usage,
            "created_at": stamp(self.created_at),
            "updated_at": stamp(self.updated_at or self.created_at),
            "archived_at": stamp(self.archived_at) if self.archived_at else None,
        }
