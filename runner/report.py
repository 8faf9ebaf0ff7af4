"""What the origin is told when a run ends, and the results a run asks for. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final
from urllib.parse import urlsplit

from runner.turn import Ending, ToolCall, Turn
from schemas.caps import held_words
from schemas.dispatch import Dispatch, Grant
from schemas.result import Result
from storage.holding import HELD_SLOT
from storage.tables import RunStatus

FINAL_SLOT: Final = "final"
TIMEOUT: Final = "timeout"
REPOSITORY: Final = "repository"
FOLLOW_UP: Final = "follow_up"
"""Reasons of the runner itself to stop a session; any other is a person's."""

_WORDS: Final = {
    RunStatus.FAILED: "could not finish this",
    RunStatus.TIMED_OUT: "ran out of time and was stopped",
    RunStatus.CANCELLED: "was stopped",
}


def tool_result(dispatch: Dispatch, run_id: str, grant: Grant, call: ToolCall) -> Result:
    """The result a tool call asks for. The slot is the call's own id, so a call seen twice is one slot."""
    slot = f"{grant.name}:{call.id}"
    return Result(
        id=f"{run_id}:{slot}",
        run=run_id,
        slot=slot,
        conversation=dispatch.conversation,
        output=grant.output,
        connection=grant.connection or dispatch.event.connection,
        target={**grant.target, **({} if grant.connection else {"to": "origin"})},
        arguments=call.input,
        origin=dispatch.origin,
        policy=grant.policy,
        traceparent=dispatch.traceparent,
    )


def hosts_of(dispatch: Dispatch) -> frozenset[str]:
    """The host of the event's own page, which may be linked to: the vendor named it."""
    try:
        host = urlsplit(dispatch.event.data.subject.url or "").hostname
    except ValueError:
        return frozenset()
    return frozenset({host.lower()} if host else ())


def origins_of(dispatches: Iterable[Dispatch]) -> list[Dispatch]:
    """Of those on one subject the last: each place is answered once, where it was last spoken to."""
    found: dict[tuple[str, str], Dispatch] = {}
    for one in dispatches:
        found[one.event.connection, one.event.subject] = one
    return list(found.values())


def final_result(dispatch: Dispatch, run_id: str, text: str, *, place: int = 0) -> Result:
    """The last message, posted where the event came from. `place` tells the places of one run apart."""
    slot = f"{FINAL_SLOT}.{place}" if place else FINAL_SLOT
    return Result(
        id=f"{run_id}:{slot}",
        run=run_id,
        slot=slot,
        conversation=dispatch.conversation,
        output="comment",
        connection=dispatch.event.connection,
        target={"to": "origin"},
        arguments={"text": text},
        origin=dispatch.origin,
        traceparent=dispatch.traceparent,
    )


def budget_slot(cents: int) -> str:
    """The slot of the words about one budget: no tool's slot is without a colon."""
    return f"budget-{cents}"


def budget_notice(dispatch: Dispatch, run_id: str, cents: int) -> Result:
    """What the origin is told when a run waits at its budget. Nothing in it is the agent's."""
    hours = dispatch.limits.budget_wait_seconds / 3600
    slot = budget_slot(cents)
    text = (
        f"The agent has used up its budget of ${cents / 100:.2f} and waits. To let it go on, raise the budget: "
        f"`triggerhub runs budget {run_id} --usd {max(1, cents * 2 // 100)}`. "
        f"In {hours:g} hours it gives up."
    )
    return final_result(dispatch, run_id, text).model_copy(update={"id": f"{run_id}:{slot}", "slot": slot})


def held_notice(dispatch: Dispatch, run_id: str, held: str, until: float | None) -> Result:
    """What the origin is told when a run cannot start for a while."""
    text = f"{held_words(held, until)} (run `{run_id}`)"
    changes = {"id": f"{run_id}:{HELD_SLOT}", "slot": HELD_SLOT}
    return final_result(dispatch, run_id, text).model_copy(update=changes)


def outcome_of(turn: Turn, stop_reason: str | None, *, posted: bool) -> tuple[RunStatus, str | None]:
    """How a run ends, and why where it is not success. `posted`: something that the agent asked for was published."""
    if stop_reason is None:
        if turn.ending in {Ending.DONE, Ending.SILENT} and turn.unmet is not None:
            return RunStatus.FAILED, f"the outcome was not satisfied ({turn.unmet})"
        if turn.ending is Ending.DONE or (turn.ending is Ending.SILENT and posted):
            return RunStatus.SUCCEEDED, None
        return RunStatus.FAILED, turn.detail or f"the session ended as {turn.ending or 'unknown'}"
    deaf = f" ({turn.detail})" if turn.ending is Ending.UNKNOWN and turn.detail else ""
    if stop_reason == TIMEOUT:
        return RunStatus.TIMED_OUT, f"the run reached its time limit and was interrupted{deaf}"
    if stop_reason == REPOSITORY:
        why = turn.repository_error or "no detail given"
        return RunStatus.FAILED, f"the repository could not be mounted: {why}{deaf}"
    if stop_reason == FOLLOW_UP and turn.ending is Ending.DONE:
        return RunStatus.SUCCEEDED, None  # it was faster than the interrupt
    if stop_reason == FOLLOW_UP:
        return RunStatus.INTERRUPTED, f"a follow-up interrupted it{deaf}"
    who = "stopped by a person" if stop_reason == "cancelled" else f"stopped: {stop_reason}"
    return RunStatus.CANCELLED, f"{who}{deaf}"


def failure_text(status: RunStatus, error: str | None, run_id: str, *, last_text: str | None) -> str:
    """What people in the thread read when it did not work out."""
    lines = [f"The agent {_WORDS.get(status, 'stopped')}: {error or 'no reason given'}."]
    if last_text:
        quoted = "\n".join(f"> {line}" for line in last_text.strip().splitlines()[:12])
        lines += ["", "The last it said:", "", quoted]
    lines += ["", f"(run `{run_id}`)"]
    return "\n".join(lines)


def tool_answer(tool_use_id: str, text: str, *, is_error: bool) -> dict[str, Any]:
    """The `user.custom_tool_result` event (managed-agents reference §1.3)."""
    return {
        "type": "user.custom_tool_result",
        "custom_tool_use_id": tool_use_id,
        "content": [{"type": "text", "text": text}],
        "is_error": is_error,
    }
