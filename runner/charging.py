"""What a run's session cost, into the ledger, in the transaction that stores the end of the run's turn."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from sqlalchemy import Connection

from runner.turn import Ending, Turn, cost_cents
from schemas.dispatch import Dispatch
from storage import conversations, ledger, unsettled

AT_WORK: Final = frozenset({None, Ending.UNKNOWN, Ending.GONE})
"""How turns end whose session may not have been seen at rest: what it cost is looked at again."""


def charging(
    dispatch: Dispatch, run_id: str, session_id: str, turn: Turn, usage: dict[str, Any] | None
) -> Callable[[Connection], int | None]:
    """What to do in the transaction; it returns what this run cost, None where the service has not told it."""
    total = cost_cents(usage)

    def store(connection: Connection) -> int | None:
        if session_id and (total is None or turn.ending in AT_WORK):
            unsettled.mark(connection, session_id, run_id=run_id)
        if total is None:
            return None
        cost = conversations.charge_conversation(connection, dispatch.conversation, total)
        ledger.charge(
            connection,
            session_id=session_id,
            total=total,
            run_id=run_id,
            rule=dispatch.rule,
            team=dispatch.team,
        )
        return cost

    return store
