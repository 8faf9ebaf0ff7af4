"""The posts that ask people to approve: which of them do not say how it stands any more, and who changes them.

What is asked about, and the votes, are in `storage.approvals`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, and_, or_, select, update

from schemas.result import Result
from storage.approvals import Approval, as_approval
from storage.results import want_result
from storage.rows import table
from storage.tables import ApprovalRow, ResultRow, ResultStatus


def to_tell(connection: Connection, *, limit: int = 50) -> list[Approval]:
    """Approvals whose question was posted and does not say how they stand, as far as no change of it is under way."""
    rows, results = table(ApprovalRow), table(ResultRow)
    under_way = select(results.c.id).where(
        and_(
            results.c.run_id == rows.c.run_id,
            or_(results.c.slot == rows.c.ask, results.c.slot.startswith(rows.c.ask + ".")),
            results.c.status.in_(
                [ResultStatus.PENDING.value, ResultStatus.READY.value, ResultStatus.POSTING.value]
            ),
        )
    )
    query = (
        select(rows)
        .where(and_(rows.c.stale.is_(True), rows.c.ask.is_not(None), ~under_way.exists()))
        .order_by(rows.c.asked_at)
        .limit(limit)
    )
    return [as_approval(row) for row in connection.execute(query).mappings()]


def note_told(connection: Connection, found: Approval, change: Result | None) -> bool:
    """What was posted is changed by `change`; None: nothing was posted. False: somebody else was first."""
    rows = table(ApprovalRow)
    same = and_(rows.c.id == found.id, rows.c.stale.is_(True), rows.c.told == found.told)
    if not connection.execute(update(rows).where(same).values(stale=False, told=found.told + 1)).rowcount:
        return False
    if change is not None:
        want_result(connection, change, tool_use_id=None)
    return True


def question_of(connection: Connection, found: Approval) -> Mapping[Any, Any] | None:
    """The posted question: its result's row, with body and receipt."""
    rows = table(ResultRow)
    query = select(rows.c.body, rows.c.receipt, rows.c.status, rows.c.error).where(
        and_(rows.c.run_id == found.run_id, rows.c.slot == found.ask)
    )
    return connection.execute(query).mappings().one_or_none()
