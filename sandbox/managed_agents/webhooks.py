"""What the service tells by webhook: which object changed, never what about it (reference §3).

Webhooks of a session follow its events by their own names. They go out side by side, so their order means nothing; one
that was not taken is sent again twice, and then dropped for good. Must not change any object.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from typing import Any, Final, Protocol, runtime_checkable

import orjson

from sandbox.managed_agents.identity import Clock, Identifiers, stamp
from sandbox.managed_agents.settings import Settings

ATTEMPTS: Final = 3
ORGANIZATION: Final = "org_sandbox"
WORKSPACE: Final = "wrkspc_sandbox"
NAMES: Final = {
    "session.status_running": "session.status_run_started",
    "session.status_idle": "session.status_idled",
    "session.status_terminated": "session.status_terminated",
    "session.status_rescheduled": "session.status_rescheduled",
    "session.updated": "session.updated",
    "session.deleted": "session.deleted",
    "session.thread_created": "session.thread_created",
    "session.thread_status_idle": "session.thread_idled",
    "session.thread_status_terminated": "session.thread_terminated",
    "span.outcome_evaluation_end": "session.outcome_evaluation_ended",
}
"""Events of a session that are told by webhook, and what those are called."""


@runtime_checkable
class Sender(Protocol):
    """Where webhooks go, as `sandbox.vendor.post` does it."""

    def wants(self, service: str) -> bool:
        """Whether anybody subscribed."""
        ...

    async def send_json(self, service: str, event: str, body: bytes, *, tries: int, pause: float) -> None:
        """Deliver to everybody who subscribed. A delivery that is not taken is tried again, `pause` seconds later."""
        ...


def told_of(event: dict[str, Any]) -> Iterator[tuple[str, dict[str, str]]]:
    """Names of the webhooks that tell of a session's event, with what they say besides the session's id."""
    kind = event["type"]
    if kind not in NAMES:
        return
    thread = event.get("session_thread_id")
    further = {"session_thread_id": thread} if thread and ".thread_" in NAMES[kind] else {}
    yield NAMES[kind], further
    if kind == "session.status_idle" and (event.get("stop_reason") or {}).get("type") == "budget_reached":
        yield "session.budget_reached", {}


class Webhooks:
    """The webhooks of one state. Without a sender, or where nobody subscribed, nothing is sent."""

    def __init__(self, *, ids: Identifiers, clock: Clock, settings: Settings) -> None:
        self.sender: Sender | None = None
        self._ids = ids
        self._clock = clock
        self._settings = settings
        self._chance = random.Random(0)  # noqa: S311 - spreads retries, guards nothing
        self._tasks: set[asyncio.Task[None]] = set()

    def session_event(self, session_id: str, event: dict[str, Any]) -> None:
        """A session's history grew by an event."""
        for name, further in told_of(event):
            self.tell(name, session_id, **further)

    def tell(self, name: str, about: str, **further: str) -> None:
        """Send one webhook, in its own time."""
        sender = self.sender
        if sender is None or not sender.wants("anthropic"):
            return
        body = self.body(name, about, **further)
        pause = self._settings.webhook_retry * self._chance.uniform(1.0, 2.0)
        sending = sender.send_json("anthropic", name, body, tries=ATTEMPTS, pause=pause)
        task = asyncio.get_running_loop().create_task(sending, name=f"webhook-{name}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def body(self, name: str, about: str, **further: str) -> bytes:
        """A webhook of its own, with a new id."""
        data = {
            "type": name,
            "id": about,
            "organization_id": ORGANIZATION,
            "workspace_id": WORKSPACE,
            **further,
        }
        event = {
            "type": "event",
            "id": self._ids.new("whe"),
            "created_at": stamp(self._clock.now()),
            "data": data,
        }
        return orjson.dumps(event)

    def close(self) -> None:
        """What is on its way is given up."""
        for task in tuple(self._tasks):
            task.cancel()
