"""The events of one session: what is kept, what waits in the queue, and who listens.

A stream gets what is emitted after it subscribed and nothing older; only the history is complete. Must not
decide what an agent does.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

import orjson

from sandbox.managed_agents.identity import Clock, Identifiers, stamp
from sandbox.managed_agents.subscribers import StreamFaults, Subscriber


class History:
    """Processed events in order, and behind them the queued ones with `processed_at: null`."""

    __slots__ = (
        "_clock",
        "_faults",
        "_grew",
        "_ids",
        "closed",
        "events",
        "queue",
        "session_id",
        "subscribers",
    )

    def __init__(
        self,
        session_id: str,
        *,
        clock: Clock,
        ids: Identifiers,
        faults: StreamFaults,
        grew: Callable[[str, dict[str, Any]], None] | None = None,
    ) -> None:
        """`grew` is told of every event that is kept."""
        self.session_id = session_id
        self._grew = grew
        self._clock = clock
        self._ids = ids
        self._faults = faults
        self.events: list[dict[str, Any]] = []
        self.queue: list[dict[str, Any]] = []
        self.subscribers: set[Subscriber] = set()
        self.closed = False

    def beside(self) -> History:
        """An empty history of another thread of the session."""
        return History(self.session_id, clock=self._clock, ids=self._ids, faults=self._faults)

    def new_id(self, prefix: str) -> str:
        """An identifier."""
        return self._ids.new(prefix)

    def now(self) -> datetime:
        """A moment later than every event so far."""
        return self._clock.now()

    def emit(self, kind: str, **fields: Any) -> str:
        """Append an event, tell every stream, and return its id."""
        identifier = self._ids.new("sevt")
        self._append({"id": identifier, "type": kind, **fields})
        return identifier

    def enqueue(self, event: dict[str, Any], *, shown: bool) -> dict[str, Any]:
        """Put a client's event in the queue and return it with its id; `shown` tells the streams of it
        already."""
        queued = {"id": self._ids.new("sevt"), **event, "processed_at": None}
        self.queue.append(queued)
        if shown:
            self.broadcast(queued)
        return queued

    def accept(self, event: dict[str, Any]) -> dict[str, Any]:
        """Append a client's event that is processed the moment it arrives, and return it with its id."""
        accepted = {"id": self._ids.new("sevt"), **event}
        self._append(accepted)
        return accepted

    def process(self, event: dict[str, Any]) -> None:
        """Move an event from the queue to the history, now processed."""
        self.queue.remove(event)
        self._append(dict(event))

    def broadcast(self, event: dict[str, Any]) -> None:
        """Tell every stream without keeping it (previews, repeats, frames of no known type)."""
        if not self.subscribers:
            return
        kind = event["type"]
        if self._faults.swallows(self.session_id, kind):
            return
        frame = encode(kind, event)
        for subscriber in tuple(self.subscribers):
            subscriber.offer(frame)

    def preview(self, kind: str, text: str) -> str:
        """Reserve an id and send its text in advance to the streams that asked for deltas of this type."""
        identifier = self._ids.new("sevt")
        wanting = [one for one in self.subscribers if kind in one.deltas]
        if wanting:
            frames = [("event_start", {"type": "event_start", "event": {"type": kind, "id": identifier}})]
            half = len(text) // 2
            for piece in (text[:half], text[half:]) if text else ():
                delta = {"type": "content_delta", "index": 0, "content": {"type": "text", "text": piece}}
                frames.append(
                    ("event_delta", {"type": "event_delta", "event_id": identifier, "delta": delta})
                )
            for name, frame in frames:
                for subscriber in wanting:
                    subscriber.offer(encode(name, frame))
        return identifier

    def emit_as(self, identifier: str, kind: str, **fields: Any) -> None:
        """`emit` under an id that `preview` reserved."""
        self._append({"id": identifier, "type": kind, **fields})

    def subscribe(self, deltas: frozenset[str]) -> Subscriber:
        """Open a stream's ear. The stream must `unsubscribe`."""
        subscriber = Subscriber(deltas=deltas)
        self._faults.apply(self.session_id, subscriber)
        if self.closed:
            subscriber.end()
        else:
            self.subscribers.add(subscriber)
        return subscriber

    def unsubscribe(self, subscriber: Subscriber) -> None:
        """The stream is gone."""
        self.subscribers.discard(subscriber)

    def close(self) -> None:
        """End every stream in good order; later ones end at once."""
        self.closed = True
        for subscriber in tuple(self.subscribers):
            subscriber.end()

    def cut(self) -> int:
        """Break every open stream off in the middle; returns how many there were."""
        cut = tuple(self.subscribers)
        for subscriber in cut:
            subscriber.cut()
        return len(cut)

    def _append(self, event: dict[str, Any]) -> None:
        event["processed_at"] = stamp(self._clock.now())
        self.events.append(event)
        self.broadcast(event)
        if self._grew is not None:
            self._grew(self.session_id, event)


def encode(kind: str, event: dict[str, Any]) -> bytes:
    """One server-sent event. The `event:` line is mandatory: the SDK skips frames without it."""
    return b"event: %s\ndata: %s\n\n" % (kind.encode(), orjson.dumps(event))
