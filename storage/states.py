"""The one table of run states: which moves are allowed. Whoever changes a status asks here first."""

from __future__ import annotations

from typing import Final

from storage.tables import ResultStatus, RunStatus

RUN_MOVES: Final[dict[RunStatus, frozenset[RunStatus]]] = {
    RunStatus.QUEUED: frozenset(
        # JOINED: another run of the conversation told it to the session.
        {RunStatus.CREATING, RunStatus.SENDING, RunStatus.CANCELLED, RunStatus.FAILED, RunStatus.JOINED}
    ),
    RunStatus.CREATING: frozenset(
        {RunStatus.SENDING, RunStatus.FAILED, RunStatus.CANCELLED, RunStatus.REPORTING, RunStatus.STOPPING}
    ),
    RunStatus.SENDING: frozenset(
        # Back to CREATING when the conversation's session turns out to be gone: a replacement is made.
        {RunStatus.RUNNING, RunStatus.CREATING, RunStatus.STOPPING, RunStatus.REPORTING, RunStatus.FAILED}
    ),
    RunStatus.RUNNING: frozenset(
        {RunStatus.STOPPING, RunStatus.WAITING, RunStatus.REPORTING, RunStatus.FAILED}
    ),
    RunStatus.WAITING: frozenset({RunStatus.RUNNING, RunStatus.REPORTING, RunStatus.FAILED}),
    RunStatus.STOPPING: frozenset({RunStatus.REPORTING, RunStatus.FAILED}),
    RunStatus.REPORTING: frozenset(
        {
            RunStatus.SUCCEEDED,
            RunStatus.FAILED,
            RunStatus.TIMED_OUT,
            RunStatus.CANCELLED,
            RunStatus.INTERRUPTED,
        }
    ),
    RunStatus.SUCCEEDED: frozenset(),
    RunStatus.FAILED: frozenset(),
    RunStatus.TIMED_OUT: frozenset(),
    RunStatus.CANCELLED: frozenset(),
    RunStatus.INTERRUPTED: frozenset(),
    RunStatus.JOINED: frozenset(),
}
"""From each status, where a run may go. A terminal status has no way out."""

RUN_TERMINAL: Final = frozenset(status for status, moves in RUN_MOVES.items() if not moves)
RUN_ACTIVE: Final = frozenset(set(RunStatus) - RUN_TERMINAL - {RunStatus.QUEUED})
"""Statuses in which the run owns its conversation (the partial unique index in `storage.tables` names the same)."""

RESULT_TERMINAL: Final = frozenset({ResultStatus.POSTED, ResultStatus.REFUSED, ResultStatus.STAGED})


class MoveError(RuntimeError):
    """A move that the table does not allow: a fault in the program, never in the data."""


def check_move(before: RunStatus, after: RunStatus) -> None:
    """Raise MoveError unless the table allows the move."""
    if after not in RUN_MOVES[before]:
        msg = f"a run may not go from {before} to {after}; allowed: {sorted(RUN_MOVES[before]) or 'nothing'}"
        raise MoveError(msg)
