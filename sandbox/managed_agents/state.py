"""Everything the emulated service knows: agents, environments, sessions, vaults, files, and who got which
work.

One object per app, made by `app.build`, reachable as `world.agents`. Must not know HTTP.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sandbox.managed_agents.history import History
from sandbox.managed_agents.identity import Clock, Identifiers
from sandbox.managed_agents.limits import Limits
from sandbox.managed_agents.session import Session
from sandbox.managed_agents.settings import Settings
from sandbox.managed_agents.subscribers import StreamFaults
from sandbox.managed_agents.turns import Cast, Turn
from sandbox.managed_agents.webhooks import Webhooks
from sandbox.managed_agents.worker import CodeHost

QUOTED = 2_000
"""Characters of a message that the work log keeps."""


@dataclass(frozen=True, slots=True)
class Work:
    """A message or an outcome that reached a session: tests count these, and the sessions they went to."""

    session_id: str
    event_id: str
    type: str
    text: str
    """Its text blocks, cut."""
    documents: int
    metadata: dict[str, str]


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file and its metadata as the API shows it."""

    metadata: dict[str, Any]
    content: bytes


class AgentsState:
    """The state behind the routes. All times are UTC; nothing here is kept on disk."""

    def __init__(self, *, code: CodeHost, cast: Cast, settings: Settings) -> None:
        self.code = code
        self.cast = cast
        self.settings = settings
        self.clock = Clock()
        self.ids = Identifiers()
        self.faults = StreamFaults()
        self.limits = Limits(settings)
        self.webhooks = Webhooks(ids=self.ids, clock=self.clock, settings=settings)
        self.agents: dict[str, list[dict[str, Any]]] = {}
        """All versions of each agent, the first one first."""
        self.environments: dict[str, dict[str, Any]] = {}
        self.vaults: dict[str, dict[str, Any]] = {}
        self.credentials: dict[str, dict[str, dict[str, Any]]] = {}
        """By vault. Secrets are not kept."""
        self.broken_credentials: set[str] = set()
        """Those that can no longer be renewed."""
        self.memory_stores: dict[str, dict[str, Any]] = {}
        self.memories: dict[str, dict[str, dict[str, Any]]] = {}
        """By store."""
        self.files: dict[str, StoredFile] = {}
        self.sessions: dict[str, Session] = {}
        self._by_time: list[Session] = []
        self.work: list[Work] = []

    def add_session(self, session: Session) -> None:
        """Put a new session on file. Creation times never go back, so the order is theirs."""
        self.sessions[session.id] = session
        self._by_time.append(session)
        self.webhooks.tell("session.created", session.id)

    def remove_session(self, session: Session) -> None:
        """Delete it for good: turn, events, streams, files."""
        if session.turn is not None:
            session.turn.cancel()
        session.history.close()
        del self.sessions[session.id]
        del self._by_time[self._position(session.created_at)]
        for identifier, file in tuple(self.files.items()):
            scope = file.metadata.get("scope")
            if scope is not None and scope["id"] == session.id:
                del self.files[identifier]

    def sessions_from(self, earliest: datetime | None) -> list[Session]:
        """Sessions made at `earliest` or later, the oldest first."""
        return self._by_time if earliest is None else self._by_time[self._position(earliest) :]

    def history(self, session_id: str) -> History:
        """An empty history for a new session."""
        return History(
            session_id,
            clock=self.clock,
            ids=self.ids,
            faults=self.faults,
            grew=self.webhooks.session_event,
        )

    def begin(self, session: Session) -> None:
        """Start a turn on what the session has to do."""
        Turn(session, settings=self.settings, cast=self.cast).start()

    def note_work(self, session: Session, event: dict[str, Any]) -> None:
        """Enter a message or an outcome in the work log."""
        blocks = event.get("content", ())
        said = "\n".join(block["text"] for block in blocks if block["type"] == "text")
        self.work.append(
            Work(
                session_id=session.id,
                event_id=event["id"],
                type=event["type"],
                text=(said or event.get("description", ""))[:QUOTED],
                documents=sum(block["type"] == "document" for block in blocks),
                metadata=session.metadata,
            )
        )

    def sessions_with_work(self) -> set[str]:
        """Sessions, deleted ones too, that were given anything to do."""
        return {item.session_id for item in self.work}

    def snapshot(self) -> dict[str, Any]:
        """JSON-ready summary."""
        texts: dict[str, list[str]] = {}
        for item in self.work:
            texts.setdefault(item.session_id, []).append(item.text)
        return {
            "agents": [versions[-1] for versions in self.agents.values()],
            "environments": list(self.environments.values()),
            "sessions": [
                {
                    "id": session.id,
                    "status": session.status,
                    "metadata": session.metadata,
                    "archived": session.archived_at is not None,
                    "events": len(session.history.events),
                    "streams": len(session.history.subscribers),
                    "pending": list(session.pending),
                    "token_rotations": dict(session.rotations),
                    "work": texts.get(session.id, []),
                    "cost_cents": int(session.usage_now().get("list_cost", {}).get("amount", 0)),
                }
                for session in self._by_time
            ],
            "vaults": list(self.vaults.values()),
            "memory_stores": list(self.memory_stores.values()),
            "files": [file.metadata for file in self.files.values()],
            "work": len(self.work),
            "sessions_with_work": len(texts),
        }

    def reset(self) -> None:
        """Forget everything; streams end, agents stop."""
        self.close()
        for store in (
            self.agents,
            self.environments,
            self.vaults,
            self.credentials,
            self.memory_stores,
            self.memories,
            self.files,
            self.sessions,
        ):
            store.clear()
        self._by_time.clear()
        self.broken_credentials.clear()
        self.work.clear()
        self.faults.clear()
        self.limits.clear()

    def close(self) -> None:
        """End every stream and stop every agent, as a server does before it shuts down."""
        for session in self._by_time:
            if session.turn is not None:
                session.turn.cancel()
            session.history.close()
        self.webhooks.close()

    def __iter__(self) -> Iterator[Session]:
        return iter(tuple(self._by_time))

    def _position(self, moment: datetime) -> int:
        return bisect_left(self._by_time, moment, key=lambda session: session.created_at)
