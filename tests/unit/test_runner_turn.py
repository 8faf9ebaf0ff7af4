"""What a turn makes of events, in whatever order and however often they come. Shapes as in the reference §1.4."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from anthropic.types.beta.sessions import BetaManagedAgentsStreamSessionEvents
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from runner.turn import Ending, Turn, cost_cents

MESSAGE = "sevt_message"
AT = "2026-11-22T08:00:00.123456Z"
FRAMES = Path(__file__).parents[2] / ".." / "shared" / "reference" / "managed-agents-frames.json"


def event(kind: str, id_: str | None = None, **fields: Any) -> dict[str, Any]:
    return {"id": id_ or f"sevt_{kind}", "type": kind, "processed_at": AT, **fields}


def idle(reason: str = "end_turn", n: int = 0, **fields: Any) -> dict[str, Any]:
    return event(
        "session.status_idle", f"sevt_idle{n}", stop_reason={"type": reason, **fields}, stop_details=None
    )


def said(text: str, n: int = 0) -> dict[str, Any]:
    return event("agent.message", f"sevt_said{n}", content=[{"type": "text", "text": text}])


def call(n: int, name: str = "comment") -> dict[str, Any]:
    return event("agent.custom_tool_use", f"sevt_call{n}", name=name, input={"text": "hello"})


def answer(n: int) -> dict[str, Any]:
    return event("user.custom_tool_result", f"sevt_answer{n}", custom_tool_use_id=f"sevt_call{n}")


def error(kind: str, retry: str) -> dict[str, Any]:
    problem = {"type": kind, "message": "sorry", "retry_status": {"type": retry}}
    return event("session.error", f"sevt_{kind}{retry}", error=problem)


OURS = event("user.message", MESSAGE, content=[])
QUEUED = {**OURS, "processed_at": None}
RUNNING = event("session.status_running")


def stream(*events: dict[str, Any]) -> Turn:
    turn = Turn(MESSAGE)
    for one in events:
        turn.apply(one)
    return turn


def history(*events: dict[str, Any], idle: bool = False) -> Turn:
    turn = Turn(MESSAGE)
    turn.read_history(events, idle=idle)
    return turn


def pending(turn: Turn) -> list[str]:
    return [one.id for one in turn.pending]


def test_an_idle_of_an_earlier_turn_ends_nothing_and_asks_for_the_history() -> None:
    turn = stream(said("old"), idle())
    assert turn.ending is None
    assert turn.last_text is None
    assert turn.reread


def test_a_queued_message_does_not_begin_the_turn() -> None:
    assert stream(QUEUED, said("old"), idle()).ending is None
    assert stream(QUEUED, idle(n=1), RUNNING, OURS, said("new"), idle(n=2)).ending is Ending.DONE


def test_only_what_follows_the_message_in_the_history_counts() -> None:
    turn = history(said("old", 1), idle(n=1), RUNNING, OURS, said("new", 2))
    assert (turn.ending, turn.last_text) == (None, "new")
    assert history(said("old", 1), OURS).last_text is None


def test_a_history_without_the_message_is_read_again() -> None:
    turn = history(said("old"), idle())
    assert turn.ending is None
    assert turn.reread


def test_a_queued_message_of_an_idle_session_was_taken_up_all_the_same() -> None:
    listed = (QUEUED, RUNNING, said("new"), idle())
    assert history(*listed).ending is None
    assert history(*listed, idle=True).ending is Ending.DONE


def test_what_comes_after_the_end_belongs_to_a_later_turn() -> None:
    later = event("user.message", "sevt_other", content=[])
    ended = (OURS, said("mine", 1), event("session.usage", usage={"list_cost": {"amount": "3"}}), idle(n=1))
    turn = history(
        *ended, later, RUNNING, said("not mine", 2), idle("refusal", n=2), event("session.deleted")
    )
    assert (turn.ending, turn.last_text) == (Ending.DONE, "mine")
    assert cost_cents(turn.usage) == 3


def test_a_raised_budget_goes_on() -> None:
    turn = history(OURS, idle("budget_reached", n=1), RUNNING, said("more"), idle(n=2))
    assert turn.ending is Ending.DONE


@pytest.mark.parametrize(
    ("events", "ending", "detail"),
    [
        ((said("x"), idle()), Ending.DONE, None),
        ((idle(),), Ending.SILENT, "without a word"),
        ((said("  \n"), idle()), Ending.SILENT, "without a word"),
        ((call(1), answer(1), idle()), Ending.SILENT, "without a word"),
        ((said("x"), idle("retries_exhausted")), Ending.EXHAUSTED, "gave up"),
        (
            (error("model_overloaded_error", "exhausted"), idle("retries_exhausted")),
            Ending.EXHAUSTED,
            "overloaded",
        ),
        ((said("x"), error("billing_error", "exhausted"), idle()), Ending.EXHAUSTED, "billing_error: sorry"),
        ((error("unknown_error", "retrying"), RUNNING, said("x"), idle()), Ending.DONE, None),
        ((error("billing_error", "exhausted"), RUNNING, said("x"), idle()), Ending.DONE, None),
        ((error("model_overloaded_error", "retrying"), said("x"), idle()), Ending.DONE, None),
        ((idle("budget_reached"),), Ending.BUDGET, "budget"),
        ((idle("refusal"),), Ending.REFUSED, "no category"),
        ((idle("moon_phase"),), Ending.UNKNOWN, "moon_phase"),
        ((event("session.status_idle", stop_reason=None),), Ending.UNKNOWN, "unknown reason"),
        ((event("session.status_terminated"),), Ending.GONE, "terminated"),
        (
            (error("unknown_error", "terminal"), event("session.status_terminated")),
            Ending.GONE,
            "unknown_error",
        ),
        ((event("session.deleted"),), Ending.GONE, "deleted"),
        ((said("x"), event("user.interrupt", ""), idle()), Ending.INTERRUPTED, "interrupted"),
        ((event("user.interrupt", processed_at=None), said("x"), idle()), Ending.DONE, None),
        (
            (event("user.interrupt", processed_at=None), event("user.interrupt"), said("x"), idle()),
            Ending.INTERRUPTED,
            "interrupted",
        ),
        ((event("user.interrupt"), RUNNING, said("x"), idle()), Ending.DONE, None),
        ((idle("requires_action", event_ids=[]),), None, None),
    ],
)
def test_how_a_turn_ends(events: Sequence[dict[str, Any]], ending: Ending | None, detail: str | None) -> None:
    for turn in (stream(OURS, *events), history(OURS, *events), history(RUNNING, OURS, *events, idle=True)):
        assert turn.ending is ending
        assert detail is None or detail in (turn.detail or "")


def test_calls_are_open_until_answered_whatever_the_window_names() -> None:
    calls = [call(n) for n in range(7)]
    window = idle("requires_action", event_ids=[f"sevt_call{n}" for n in range(5)])
    turn = stream(OURS, *calls, window)
    assert pending(turn) == [f"sevt_call{n}" for n in range(7)]
    assert not turn.reread
    turn.apply(answer(3))
    turn.apply(calls[3])
    assert pending(turn) == [f"sevt_call{n}" for n in (0, 1, 2, 4, 5, 6)]


def test_a_call_that_was_never_seen_asks_for_the_history() -> None:
    blocked = idle("requires_action", event_ids=["sevt_call1"])
    turn = stream(OURS, blocked)
    missed = turn.reread
    turn.read_history([OURS, call(1), blocked])
    assert (missed, turn.reread) == (True, False)
    assert pending(turn) == ["sevt_call1"]


def test_a_call_of_an_earlier_turn_counts_only_while_it_blocks() -> None:
    assert pending(history(call(1), OURS)) == []
    turn = history(call(1), OURS, idle("requires_action", event_ids=["sevt_call1"]))
    assert [turn.is_own(one) for one in turn.pending] == [False]


def test_permissions_are_asked_for_by_tools_that_say_so() -> None:
    asks = event("agent.mcp_tool_use", "sevt_1", name="push", input={}, evaluated_permission="ask")
    allowed = event("agent.tool_use", "sevt_2", name="bash", input={}, evaluated_permission="allow")
    turn = stream(OURS, asks, allowed, idle("requires_action", event_ids=["sevt_1"]))
    assert turn.asking == [("sevt_1", "push")]
    assert turn.is_blocked
    turn.apply(event("user.tool_confirmation", "sevt_3", tool_use_id="sevt_1", result="deny"))
    assert turn.asking == []


def test_what_a_tool_asks_for_is_known_whole_and_with_its_server() -> None:
    given = {"title": "Rounding", "labels": ["bug"]}
    asks = event(
        "agent.mcp_tool_use",
        "sevt_1",
        name="create_issue",
        mcp_server_name="jira",
        input=given,
        evaluated_permission="ask",
    )
    turn = stream(OURS, asks, idle("requires_action", event_ids=["sevt_1"]))
    wanted = turn.asked("sevt_1")
    assert (wanted.name, wanted.input) == ("jira/create_issue", given)


def test_a_failed_mount_is_seen_wherever_it_stands() -> None:
    broken = error("repository_clone_error", "retrying")
    assert history(broken, OURS).repository_error == "repository_clone_error: sorry"
    assert stream(broken).repository_error == "repository_clone_error: sorry"
    turn = Turn(MESSAGE)
    turn.read_past([broken])
    assert turn.repository_error is not None
    assert not turn.reread


WHOLE = [RUNNING, OURS, said("one", 1), call(1), call(2), answer(1), answer(2), said("two", 2), idle(n=9)]


@given(
    gaps=st.lists(st.tuples(st.integers(0, len(WHOLE)), st.integers(0, len(WHOLE))), max_size=4),
    repeats=st.lists(st.integers(0, len(WHOLE) - 1), max_size=6),
)
def test_gaps_and_repeated_frames_change_nothing_once_the_history_was_read(
    gaps: list[tuple[int, int]], repeats: list[int]
) -> None:
    """Frames between the two ends of a gap are lost; when the stream is open again the history is read."""
    turn = Turn(MESSAGE)
    lost = {n for start, end in gaps for n in range(start, end)}
    for n, one in enumerate(WHOLE):
        if n - 1 in lost and n not in lost:
            turn.read_history(WHOLE[:n])
        if n not in lost:
            turn.apply(one)
        for again in repeats:
            if again <= n and again not in lost:
                turn.apply(WHOLE[again])
    if len(WHOLE) - 1 in lost:
        turn.read_history(WHOLE)
    assert (turn.ending, turn.last_text) == (Ending.DONE, "two")
    assert pending(turn) == []


def test_every_known_frame_is_taken_both_as_the_sdk_reads_it_and_plain() -> None:
    if not FRAMES.exists():
        pytest.skip("the golden frames are not here")
    frames = json.loads(FRAMES.read_text(encoding="utf-8"))["frames"]
    adapter: TypeAdapter[Any] = TypeAdapter(BetaManagedAgentsStreamSessionEvents)
    assert len(frames) > 30
    for frame in frames:
        for one in (frame, adapter.validate_python(frame)):
            stream(OURS, one)
            history(one, OURS, one)


@pytest.mark.parametrize(
    ("usage", "cents"),
    [
        (None, None),
        ({}, None),
        ({"list_cost": None}, None),
        ({"list_cost": {"amount": None}}, None),
        ({"list_cost": {"amount": "lots"}}, None),
        ({"list_cost": {"amount": "nan"}}, None),
        ({"list_cost": {"amount": "11", "currency": "USD"}}, 11),
        ({"list_cost": {"amount": "11.6"}}, 12),
        ({"list_cost": {"amount": 0}}, 0),
    ],
)
def test_cost(usage: dict[str, Any] | None, cents: int | None) -> None:
    assert cost_cents(usage) == cents


def judged(result: str, iteration: int = 0, explanation: str = "Because.") -> dict[str, Any]:
    return event(
        "span.outcome_evaluation_end",
        f"sevt_judged{iteration}",
        outcome_id="outc_1",
        iteration=iteration,
        result=result,
        explanation=explanation,
    )


def graded(*events: dict[str, Any]) -> Turn:
    turn = Turn(MESSAGE, graded=True)
    for one in (OURS, RUNNING, *events):
        turn.apply(one)
    return turn


def test_a_graded_turn_ends_with_its_judgement_and_not_before() -> None:
    assert graded(said("Done."), idle()).ending is None
    assert graded(said("Done."), judged("needs_revision"), idle()).ending is None
    turn = graded(
        said("Done."),
        judged("needs_revision"),
        idle(),
        RUNNING,
        said("Better.", 1),
        judged("satisfied", 1),
        idle(n=1),
    )
    assert (turn.ending, turn.last_text, turn.unmet) == (Ending.DONE, "Better.", None)
    assert turn.evaluation == {"result": "satisfied", "iteration": 1, "explanation": "Because."}


@pytest.mark.parametrize(
    ("result", "unmet"),
    [
        ("max_iterations_reached", "max_iterations_reached after 3 iterations: Because."),
        ("failed", "failed after 3 iterations: Because."),
        ("a_result_of_next_year", "a_result_of_next_year after 3 iterations: Because."),
    ],
)
def test_a_judgement_that_is_not_satisfied_is_told(result: str, unmet: str) -> None:
    turn = graded(said("Done."), judged(result, 2), idle())
    assert (turn.ending, turn.unmet) == (Ending.DONE, unmet)


def test_a_graded_turn_that_broke_off_does_not_wait_for_a_judgement() -> None:
    stopped = event("user.interrupt", "sevt_stop")
    assert graded(stopped, idle()).ending is Ending.INTERRUPTED
    assert graded(error("model_overloaded_error", "exhausted"), idle()).ending is Ending.EXHAUSTED
    assert graded(idle("budget_reached")).ending is Ending.BUDGET


def test_judgements_of_a_turn_that_is_not_graded_are_kept_but_never_waited_for() -> None:
    assert stream(OURS, RUNNING, said("Done."), idle()).ending is Ending.DONE
