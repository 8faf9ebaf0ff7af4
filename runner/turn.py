"""One turn of a session as its events tell it: what is pending, what was said, how it ended. Pure; no input or output.

Events arrive from the history and from the stream, some of them twice (the echo of a queued message comes with and
without `processed_at`). Types are compared as strings, because the SDK gives unknown ones the first class of its union.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

MAX_TEXT: Final = 60_000


class Ending(StrEnum):
    """How a turn ended."""

    DONE = "done"
    """end_turn, with something to show."""
    SILENT = "silent"
    """end_turn without a message and without a result: nobody would ever hear of it."""
    EXHAUSTED = "exhausted"
    """The service gave up after retries, or a terminal error was reported."""
    BUDGET = "budget"
    """The session stands at its spending cap."""
    REFUSED = "refused"
    """The model refused."""
    GONE = "gone"
    """The session was terminated or deleted."""
    UNKNOWN = "unknown"
    """A stop reason this version does not know: ended, and needs a person's attention."""


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A custom tool call that waits for an answer. `id` is the event id."""

    id: str
    name: str
    input: dict[str, Any]


@dataclass(slots=True)
class Turn:
    """Everything known about the turn that began with the message `message_id`."""

    message_id: str | None
    started: bool = False
    """The message was taken up: an idle seen before that belongs to an earlier turn."""
    calls: dict[str, ToolCall] = field(default_factory=dict)
    answered: set[str] = field(default_factory=set)
    confirmations: dict[str, str] = field(default_factory=dict)
    """Tool uses that ask for a permission: event id → tool name."""
    last_text: str | None = None
    error: str | None = None
    """The last error that was not followed by a running session."""
    error_final: bool = False
    repository_error: str | None = None
    ending: Ending | None = None
    detail: str | None = None
    incomplete: bool = False
    """The session waits for answers to calls this turn has not seen: the history must be read again."""
    usage: dict[str, Any] | None = None
    _seen: set[str] = field(default_factory=set)

    @property
    def pending(self) -> list[ToolCall]:
        """Calls without an answer, in order."""
        return [call for id_, call in self.calls.items() if id_ not in self.answered]

    def read_history(self, events: Iterable[Any]) -> None:
        """Apply a whole history, oldest first. Only what follows this turn's message counts as this turn's."""
        listed = list(events)
        anchor = next((n for n, event in enumerate(listed) if event.id == self.message_id), None)
        for n, event in enumerate(listed):
            type_ = event.type
            if type_ == "user.custom_tool_result":
                self.answered.add(event.custom_tool_use_id)
            elif type_ == "user.tool_confirmation":
                self.answered.add(event.tool_use_id)
            elif type_ == "session.usage":
                self.usage = _plain(event.usage)
            elif type_ in {"session.status_terminated", "session.deleted"}:
                self._apply(event)
            if anchor is None or n < anchor:
                continue
            self.apply(event)
        self.incomplete = False

    def apply(self, event: Any) -> None:
        """Apply one event of the stream or, after the anchor, of the history. Repeats are harmless."""
        key = event.id or f"{event.type}:{getattr(event, 'processed_at', None)}"
        repeated = key in self._seen
        if event.type == "user.message":
            # Comes twice: queued without a time, then taken up with one.
            if event.id == self.message_id and getattr(event, "processed_at", None) is not None:
                self.started = True
            return
        self._seen.add(key)
        if repeated and not event.type.startswith("session.status_"):
            return
        self._apply(event)

    def _apply(self, event: Any) -> None:  # noqa: C901, PLR0912 - one branch per event type
        match event.type:
            case "agent.message":
                self.started = True
                text = "".join(block.text for block in event.content or [] if getattr(block, "type", "") == "text")
                if text.strip():
                    self.last_text = text[:MAX_TEXT]
            case "agent.custom_tool_use":
                self.started = True
                self.calls[event.id] = ToolCall(event.id, event.name, dict(event.input or {}))
            case "agent.tool_use" | "agent.mcp_tool_use":
                self.started = True
                if getattr(event, "evaluated_permission", None) == "ask":
                    self.confirmations[event.id] = event.name
            case "user.custom_tool_result":
                self.answered.add(event.custom_tool_use_id)
            case "user.tool_confirmation":
                self.answered.add(event.tool_use_id)
            case "session.status_running":
                self.started = True
                self.ending = None
                self.error, self.error_final = None, False
            case "session.usage":
                self.usage = _plain(event.usage)
            case "session.error":
                self._error(event.error)
            case "session.status_terminated" | "session.deleted":
                self.ending, self.detail = Ending.GONE, f"the session was {event.type.rpartition('_')[2].rpartition('.')[2]}"
            case "session.status_idle":
                self._idle(event)
            case _:
                pass  # progress, threads, spans, and whatever the service adds later

    def _error(self, error: Any) -> None:
        kind = getattr(error, "type", "unknown_error") or "unknown_error"
        message = f"{kind}: {getattr(error, 'message', '') or ''}"[:500]
        retry = getattr(getattr(error, "retry_status", None), "type", None)
        self.error = message
        self.error_final = retry in {"exhausted", "terminal"}
        if kind.startswith("repository_"):
            self.repository_error = message

    def _idle(self, event: Any) -> None:
        if not self.started:
            return
        reason = getattr(event.stop_reason, "type", None)
        if reason == "requires_action":
            known = set(self.calls) | set(self.confirmations)
            wanted = set(getattr(event.stop_reason, "event_ids", None) or [])
            self.incomplete = bool(wanted - known)
            return
        self.detail = None
        if reason == "end_turn":
            if self.error_final:
                self.ending, self.detail = Ending.EXHAUSTED, self.error
            elif self.last_text or self.calls:
                self.ending = Ending.DONE
            else:
                self.ending, self.detail = Ending.SILENT, "the agent ended its turn without a word"
        elif reason == "retries_exhausted":
            self.ending, self.detail = Ending.EXHAUSTED, self.error or "the service gave up after retries"
        elif reason == "budget_reached":
            self.ending, self.detail = Ending.BUDGET, "the session reached its budget"
        elif reason == "refusal":
            details = getattr(event, "stop_details", None)
            category = getattr(details, "category", None) or "no category given"
            explanation = getattr(details, "explanation", None) or ""
            self.ending, self.detail = Ending.REFUSED, f"the model refused ({category}) {explanation}".strip()
        else:
            self.ending, self.detail = Ending.UNKNOWN, f"the session stopped with the unknown reason {reason!r}"


def _plain(usage: Any) -> dict[str, Any]:
    if hasattr(usage, "model_dump"):
        dumped: dict[str, Any] = usage.model_dump(mode="json", exclude_none=True)
        return dumped
    return dict(usage or {})


def cost_cents(usage: dict[str, Any] | None) -> int | None:
    """List cost of the session so far in whole US cents; None where the service has not told it."""
    amount = ((usage or {}).get("list_cost") or {}).get("amount")
    try:
        return int(amount) if amount is not None else None
    except (TypeError, ValueError):
        return None
