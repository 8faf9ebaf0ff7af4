"""The table of run states: complete, explained, without a way out of an end or a trap before it."""

from __future__ import annotations

import ast
import inspect
import re
from enum import StrEnum

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage import tables
from storage.states import RESULT_TERMINAL, RUN_ACTIVE, RUN_MOVES, RUN_TERMINAL, MoveError, check_move
from storage.tables import ACTIVE_RUN, LetterStatus, ResultStatus, RunRow, RunStatus

ENDS = {
    RunStatus.SUCCEEDED,
    RunStatus.FAILED,
    RunStatus.TIMED_OUT,
    RunStatus.CANCELLED,
    RunStatus.INTERRUPTED,
    RunStatus.JOINED,
}


def explained(status: type[StrEnum]) -> dict[str, str]:
    """The text under each member of an enumeration, read from the source."""
    [body] = [
        node.body for node in ast.parse(inspect.getsource(status)).body if isinstance(node, ast.ClassDef)
    ]
    found: dict[str, str] = {}
    for member, after in zip(body, [*body[1:], None], strict=True):
        if isinstance(member, ast.Assign) and isinstance(member.targets[0], ast.Name):
            text = ""
            if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
                text = str(after.value.value)
            found[member.targets[0].id] = text
    return found


@pytest.mark.parametrize("status", [RunStatus, ResultStatus, LetterStatus])
def test_every_status_is_explained(status: type[StrEnum]) -> None:
    texts = explained(status)
    assert set(texts) == {member.name for member in status}
    assert all(len(text) >= 20 for text in texts.values()), texts
    assert getattr(tables, status.__name__) is status


def test_the_table_covers_every_status_and_names_no_other() -> None:
    assert set(RUN_MOVES) == set(RunStatus)
    assert {after for moves in RUN_MOVES.values() for after in moves} <= set(RunStatus)
    assert all(status not in moves for status, moves in RUN_MOVES.items())


def test_an_end_has_no_way_out_and_nothing_else_is_an_end() -> None:
    assert RUN_TERMINAL == ENDS
    assert all(RUN_MOVES[status] == frozenset() for status in ENDS)


def test_nothing_comes_back_to_the_queue() -> None:
    """A run that began may have a session: queueing it again would make a second one."""
    assert all(RunStatus.QUEUED not in moves for moves in RUN_MOVES.values())


def reach(start: RunStatus) -> set[RunStatus]:
    seen, todo = {start}, [start]
    while todo:
        fresh = RUN_MOVES[todo.pop()] - seen
        seen |= fresh
        todo += fresh
    return seen


def test_every_status_is_reached_from_the_queue_and_reaches_every_kind_of_end() -> None:
    assert reach(RunStatus.QUEUED) == set(RunStatus)
    for status in RUN_ACTIVE:
        assert reach(status) >= {
            RunStatus.FAILED,
            RunStatus.SUCCEEDED,
            RunStatus.CANCELLED,
            RunStatus.TIMED_OUT,
        }


def test_success_is_only_reported() -> None:
    """Nothing may count as done before its posts were settled."""
    assert {status for status, moves in RUN_MOVES.items() if RunStatus.SUCCEEDED in moves} == {
        RunStatus.REPORTING
    }


def test_a_session_is_looked_for_before_work_is_sent() -> None:
    """The work is sent only by a run that stood in SENDING: a crash there means looking, not sending.

    A run that waits at its budget was at work before, so its work was sent.
    """
    before = {
        after: {status for status, moves in RUN_MOVES.items() if after in moves}
        for after in (RunStatus.RUNNING, RunStatus.WAITING)
    }
    assert before == {
        RunStatus.RUNNING: {RunStatus.SENDING, RunStatus.WAITING},
        RunStatus.WAITING: {RunStatus.RUNNING},
    }


def test_only_what_was_never_begun_joins_another_run() -> None:
    """A run that began has a session of its own to answer for."""
    assert {status for status, moves in RUN_MOVES.items() if RunStatus.JOINED in moves} == {RunStatus.QUEUED}
    assert {status for status, moves in RUN_MOVES.items() if RunStatus.INTERRUPTED in moves} == {
        RunStatus.REPORTING
    }


def test_active_is_what_the_partial_index_says() -> None:
    """The index lets one run of a conversation be active: if the two differ, two sessions may run, or none."""
    assert set(RunStatus) - ENDS - {RunStatus.QUEUED} == RUN_ACTIVE
    assert set(re.findall(r"'(\w+)'", ACTIVE_RUN)) == {status.value for status in RUN_ACTIVE}
    [index] = [one for one in RunRow.__table__.indexes if one.name == "ux_run_active_conversation"]  # type: ignore[attr-defined]  # set by SQLModel
    assert index.unique
    assert [column.name for column in index.columns] == ["conversation"]
    for dialect in ("sqlite", "postgresql"):
        assert str(index.dialect_options[dialect]["where"]) == ACTIVE_RUN


def test_results_end_posted_or_refused() -> None:
    assert {ResultStatus.POSTED, ResultStatus.REFUSED, ResultStatus.STAGED} == RESULT_TERMINAL


@given(st.lists(st.sampled_from(list(RunStatus)), max_size=12))
def test_random_moves_are_allowed_exactly_where_the_table_says(wanted: list[RunStatus]) -> None:
    """Whatever is tried in whatever order: a move passes or raises by the table, and an end stays an end."""
    status = RunStatus.QUEUED
    for after in wanted:
        if after in RUN_MOVES[status]:
            check_move(status, after)
            status = after
        else:
            with pytest.raises(MoveError, match=f"from {status} to {after}"):
                check_move(status, after)
        if status in RUN_TERMINAL:
            for other in RunStatus:
                with pytest.raises(MoveError, match="allowed: nothing"):
                    check_move(status, other)
