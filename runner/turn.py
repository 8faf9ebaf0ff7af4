"""One turn of a session as its events tell it: what is pending, what was said, how it ended. Pure; no input or output.

Events arrive from the history and from the stream, some of them twice (the echo of a queued message comes with and
without `processed_at`). Types are compared as strings, because the SDK gives unknown ones the first class of its
union; fields are read with care, because it does not check that they are there.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

MAX_TEXT: Final = 60_000
MAX_EXPLANATION: Final = 4_000


class Ending(StrEnum):
    """How a turn ended."""

    DONE = "done"
    """end_turn, with something to show."""
    SILENT = "silent"
    """end_turn without a message: unless something was posted, nobody would ever hear of it."""
    EXHAUSTED = "exhausted"
    """The service gave up after retries, or a terminal error was reported."""
    BUDGET = "budget"
    """The session stands at its spending cap."""
    REFUSED = "refused"
    """The model refused."""
    INTERRUPTED = "interrupted"
    """An interrupt ended it: ours where the run has a stop reason, otherwise somebody else's."""
    GONE = "gone"
    """The session was terminated or deleted."""
    WAITING = "waiting"
    """Not ended: the session waits for answers that people have to give first."""
    UNKNOWN = "unknown"
    """It ended in a way this version does not know, and needs a person's attention."""


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A custom tool call. `id` is the event id."""

    id: str
    name: str
    input: dict[str, Any]


@dataclass(slots=True)
class Turn:
    """Everything known about the turn that began with the message `message_id`."""

    message_id: str | None
    graded: bool = False
    """An outcome was defined with the message: the turn ends when it has been judged."""
    evaluation: dict[str, Any] | None = None
    """The grader's last judgement: `result`, `iteration` (from 0), `explanation`."""
    started: bool = False
    """The message was taken up. Whatever was seen before that belongs to an earlier turn."""
    last_text: str | None = None
    error: str | None = None
    """The last error that was not followed by a running session."""
    error_final: bool = False
    repository_error: str | None = None
    """Wherever in the session it happened: without its repository the session is of no use to its run."""
    ending: Ending | None = None
    detail: str | None = None
    usage: dict[str, Any] | None = None
    reread: bool = False
    """Something was missed: the history must be read (again)."""
    answered: set[str] = field(default_factory=set)
    interrupted: bool = False
    held: Ending | None = None
    """It would have ended so, but a further message was sent that is not taken up yet."""
    _further: dict[str, str | None] = field(default_factory=dict)
    """Messages sent into the turn while it goes on: first line → event id, None while it was not seen."""
    _taken: set[str] = field(default_factory=set)
    """First lines of those that were taken up."""
    _calls: dict[str, ToolCall] = field(default_factory=dict)
    _asks: dict[str, ToolCall] = field(default_factory=dict)
    """Tool uses that ask for a permission, by event id."""
    _own: set[str] = field(default_factory=set)
    """Tool uses of this turn."""
    _blocking: set[str] = field(default_factory=set)
    """Tool uses that the session says it waits for; only a window of them (managed-agents reference §1.7)."""
    _known: set[str] = field(default_factory=set)
    _seen: set[str] = field(default_factory=set)
    _gone: str | None = None

    @property
    def pending(self) -> list[ToolCall]:
        """Calls without an answer, in order: this turn's, and those of an earlier one that block the session."""
        return [call for id_, call in self._calls.items() if self._open(id_)]

    @property
    def asking(self) -> list[tuple[str, str]]:
        """(event id, tool name) of tools that wait for a permission."""
        return [(id_, call.name) for id_, call in self._asks.items() if self._open(id_)]

    def asked(self, id_: str) -> ToolCall:
        """A tool use that asks for a permission; the name is `server/tool` where an MCP server has it."""
        return self._asks[id_]

    @property
    def is_blocked(self) -> bool:
        """The session is idle and waits for answers, as far as they are known."""
        return bool(self._blocking - self.answered)

    @property
    def unmet(self) -> str | None:
        """Why the outcome is not met, where one was judged and is not."""
        if self.evaluation is None or self.evaluation["result"] == "satisfied":
            return None
        iteration = self.evaluation["iteration"]
        times = f" after {iteration + 1} iterations" if isinstance(iteration, int) and iteration else ""
        explanation = self.evaluation["explanation"]
        return f"{self.evaluation['result']}{times}{f': {explanation}' if explanation else ''}"

    @property
    def _awaits_judgement(self) -> bool:
        if not self.graded or self.interrupted or self.error_final:
            return False
        return self.evaluation is None or self.evaluation["result"] == "needs_revision"

    def expect(self, mark: str, message_id: str | None = None) -> None:
        """A further message of this turn begins with this line; `message_id` once it is known to be sent."""
        if self._further.get(mark) is None:
            self._further[mark] = message_id

    def sent(self, mark: str) -> str | None:
        """The id of a further message, once it was seen in the session."""
        return self._further.get(mark)

    @property
    def taken(self) -> list[tuple[str, str]]:
        """(first line, id) of the further messages that the session has taken up."""
        return [(mark, id_) for mark, id_ in self._further.items() if id_ is not None and mark in self._taken]

    @property
    def outstanding(self) -> bool:
        """A further message was sent and is not taken up: the turn goes on with it."""
        return any(id_ is not None and mark not in self._taken for mark, id_ in self._further.items())

    def is_own(self, call: ToolCall) -> bool:
        """False for a call of an earlier turn."""
        return call.id in self._own

    def read_history(self, events: Iterable[Any], *, idle: bool = False) -> None:
        """Apply a whole history, oldest first.

        `idle`: the session is known not to run. Then nothing is queued, and the message was taken up even where
        its event does not say so.
        """
        listed = list(events)
        self.reread = False
        anchor = None
        for n, event in enumerate(listed):
            self._note(event)
            if self.message_id is not None and _field(event, "id") == self.message_id:
                anchor = n
        if anchor is None:
            self.reread = self.message_id is not None
        elif idle or _field(listed[anchor], "processed_at") is not None:
            self.started = True
            for event in listed[anchor + 1 :]:
                self._take(event)
        self._end_if_gone()
        self._look_for_gaps()

    def read_past(self, events: Iterable[Any]) -> None:
        """Take what matters from a history that was read before the message was sent."""
        for event in events:
            self._note(event)
        self._end_if_gone()

    def apply(self, event: Any) -> None:
        """Apply one event of the stream. Repeats are harmless."""
        self._take(event)
        self._end_if_gone()
        self._look_for_gaps()

    # ----------------------------------------------------------------------------------------------------------------

    def _take(self, event: Any) -> None:
        if self.ending is not None and self.ending is not Ending.BUDGET:
            return  # what follows belongs to a later turn
        self._note(event)
        kind, id_ = _field(event, "type"), _field(event, "id")
        if kind == "user.message":
            # Comes twice: queued without a time, then taken up with one.
            if id_ == self.message_id and _field(event, "processed_at") is not None:
                self.started = True
        elif self.started:
            key = f"{id_ or kind}:{_field(event, 'processed_at')}"
            if key not in self._seen or kind.startswith("session.status_"):
                self._seen.add(key)
                self._apply(kind, event)
        elif kind == "session.status_idle":
            # An earlier turn's, or the echo of our message was lost: only the history can tell.
            self.reread = True

    def _open(self, id_: str) -> bool:
        return id_ not in self.answered and (id_ in self._own or id_ in self._blocking)

    def _note(self, event: Any) -> None:
        """What counts wherever in the session it stands."""
        kind, id_ = _field(event, "type"), _field(event, "id")
        self._note_further(kind, id_, event)
        match kind:
            case "agent.custom_tool_use" if id_:
                given = _field(event, "input")
                arguments = dict(given) if isinstance(given, dict) else {}
                self._calls.setdefault(id_, ToolCall(id_, str(_field(event, "name")), arguments))
                self._known.add(id_)
            case "agent.tool_use" | "agent.mcp_tool_use" if id_:
                self._known.add(id_)
                if _field(event, "evaluated_permission") == "ask":
                    server, given = _field(event, "mcp_server_name"), _field(event, "input")
                    name = str(_field(event, "name"))
                    call = ToolCall(
                        id_,
                        f"{server}/{name}" if isinstance(server, str) and server else name,
                        dict(given) if isinstance(given, dict) else {},
                    )
                    self._asks.setdefault(id_, call)
            case "user.custom_tool_result":
                self.answered.add(str(_field(event, "custom_tool_use_id")))
            case "user.tool_confirmation" | "user.tool_result":
                self.answered.add(str(_field(event, "tool_use_id")))
            case "session.error":
                text = _error_text(_field(event, "error"))
                if text.startswith("repository_"):
                    url = _field(_field(event, "error"), "repository_url")
                    self.repository_error = f"{text} ({url})"[:600] if isinstance(url, str) and url else text
            case "session.status_terminated":
                self._gone = "the session was terminated"
            case "session.deleted":
                self._gone = "the session was deleted"
            case "session.status_idle":
                self._blocking = _waited_for(event)
            case "session.status_running":
                self._blocking = set()
            case _:
                pass

    def _note_further(self, kind: str, id_: str, event: Any) -> None:
        if kind != "user.message" or not id_ or not self._further:
            return
        mark = first_line(event)
        if mark in self._further:
            self._further[mark] = id_
            if _field(event, "processed_at") is not None:
                self._taken.add(mark)

    def _apply(self, kind: str, event: Any) -> None:
        """What counts for this turn only."""
        match kind:
            case "agent.message":
                text = "".join(
                    part
                    for block in _field(event, "content") or []
                    if _field(block, "type") == "text" and isinstance(part := _field(block, "text"), str)
                )
                if text.strip():
                    self.last_text = text[:MAX_TEXT]
            case "agent.custom_tool_use" | "agent.tool_use" | "agent.mcp_tool_use":
                self._own.add(str(_field(event, "id")))
            case "user.interrupt":
                self.interrupted = self.interrupted or _field(event, "processed_at") is not None
            case "session.status_running":
                self.ending, self.detail, self.held = None, None, None
                self.error, self.error_final = None, False
                self.interrupted = False
            case "span.outcome_evaluation_end":
                self.evaluation = {
                    "result": str(_field(event, "result") or "unknown"),
                    "iteration": _field(event, "iteration"),
                    "explanation": str(_field(event, "explanation") or "")[:MAX_EXPLANATION],
                }
            case "session.usage":
                self.usage = plain_usage(_field(event, "usage"))
            case "session.error":
                error = _field(event, "error")
                self.error = _error_text(error)
                self.error_final = _field(_field(error, "retry_status"), "type") in {"exhausted", "terminal"}
            case "session.status_idle":
                self._idle(event)
            case _:
                pass  # progress, threads, spans, and whatever the service adds later

    def _idle(self, event: Any) -> None:
        reason = _field(_field(event, "stop_reason"), "type")
        self.detail = None
        if reason == "requires_action":
            return
        if reason == "end_turn" and self._awaits_judgement:
            return  # the grader sends it back, or has yet to look
        if reason == "end_turn":
            if self.interrupted:
                self.ending, self.detail = Ending.INTERRUPTED, "the session was interrupted"
            elif self.error_final:
                self.ending, self.detail = Ending.EXHAUSTED, self.error
            elif self.last_text:
                self.ending = Ending.DONE
            else:
                self.ending, self.detail = Ending.SILENT, "the agent ended its turn without a word"
            if self.ending in {Ending.DONE, Ending.SILENT} and self.outstanding:
                self.held, self.ending = self.ending, None
        elif reason == "retries_exhausted":
            self.ending, self.detail = Ending.EXHAUSTED, self.error or "the service gave up after retries"
        elif reason == "budget_reached":
            self.ending, self.detail = Ending.BUDGET, "the session reached its budget"
        elif reason == "refusal":
            details = _field(event, "stop_details")
            category = _field(details, "category") or "no category given"
            explanation = _field(details, "explanation") or ""
            self.ending, self.detail = (
                Ending.REFUSED,
                f"the model refused ({category}) {explanation}"[:500].strip(),
            )
        else:
            self.ending = Ending.UNKNOWN
            self.detail = f"the session stopped with the unknown reason {str(reason)[:100]!r}"

    def _end_if_gone(self) -> None:
        if self._gone is not None and self.ending is None:
            self.ending = Ending.GONE
            self.detail = f"{self._gone} ({self.error})" if self.error else self._gone

    def _look_for_gaps(self) -> None:
        """The session waits for calls that were never seen: they were made while nobody listened."""
        if self._blocking - self._known - self.answered:
            self.reread = True


def plain_usage(usage: Any) -> dict[str, Any]:
    """Usage as JSON values."""
    if hasattr(usage, "model_dump"):
        dumped: dict[str, Any] = usage.model_dump(mode="json", exclude_none=True)
        return dumped
    return dict(usage) if isinstance(usage, dict) else {}


def cost_cents(usage: dict[str, Any] | None) -> int | None:
    """List cost of the session so far in whole US cents; None where the service has not told it."""
    cost = (usage or {}).get("list_cost")
    amount = cost.get("amount") if isinstance(cost, dict) else None
    try:
        return round(float(amount)) if amount is not None else None
    except (TypeError, ValueError, OverflowError):
        return None


def first_line(event: Any) -> str:
    """The first line of a message's first text; empty where it has none."""
    for block in _field(event, "content") or []:
        text = _field(block, "text")
        if isinstance(text, str) and text:
            return text.partition("\n")[0]
    return ""


def _waited_for(event: Any) -> set[str]:
    stop_reason = _field(event, "stop_reason")
    if _field(stop_reason, "type") != "requires_action":
        return set()
    return {id_ for id_ in _field(stop_reason, "event_ids") or [] if isinstance(id_, str)}


def _error_text(error: Any) -> str:
    names = (("server", "mcp_server_name"), ("vault", "vault_id"), ("credential", "credential_id"))
    whose = ", ".join(
        f"{word} {value}" for word, name in names if isinstance(value := _field(error, name), str) and value
    )
    text = f"{_field(error, 'type') or 'unknown_error'}: {_field(error, 'message') or ''}"[:500]
    return f"{text} ({whose[:300]})" if whose else text


def _field(value: Any, name: str) -> Any:
    """A field of an SDK object or of a plain mapping, which is what the SDK makes of a shape it does not know."""
    found = value.get(name) if isinstance(value, dict) else getattr(value, name, None)
    return "" if found is None and name == "type" else found
