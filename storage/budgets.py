"""What a run may spend: raised by people, and runs that wait for that. Cents."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, and_, or_, select, update

from schemas.dispatch import Dispatch
from storage.claims import Claim
from storage.clock import read_clock
from storage.rows import table
from storage.runs import let_wait
from storage.states import RUN_TERMINAL
from storage.tables import ConversationRow, DispatchRow, RunRow, RunStatus

RAISABLE = frozenset(
    {RunStatus.QUEUED, RunStatus.CREATING, RunStatus.SENDING, RunStatus.RUNNING, RunStatus.WAITING}
)
"""Statuses in which a budget still means something."""


class BudgetError(ValueError):
    """The budget cannot be set so. The text names the remedy."""


@dataclass(frozen=True, slots=True)
class Raised:
    """A budget that was raised."""

    run_id: str
    status: str
    before: int
    after: int


def raise_budget(connection: Connection, run_id: str, *, cents: int) -> Raised | None:
    """A person wants the run to be able to spend `cents` in all. None: no such run. Raises BudgetError.

    A run that waits is taken up at once; one at work is told by its runner.
    """
    rows, dispatches = table(RunRow), table(DispatchRow)
    query = (
        select(rows.c.status, rows.c.budget_cents, rows.c.usage, rows.c.conversation, dispatches.c.body)
        .join(dispatches, dispatches.c.id == rows.c.dispatch_id)
        .where(rows.c.id == run_id)
    )
    row = connection.execute(query).one_or_none()
    if row is None:
        return None
    if RunStatus(row.status) not in RAISABLE:
        over = "has ended" if RunStatus(row.status) in RUN_TERMINAL else "is about to end"
        raise BudgetError(f"the run {run_id} {over} ({row.status}): its budget means nothing any more")
    before = row.budget_cents
    if before is None:
        before = Dispatch.model_validate_json(row.body).limits.budget_cents
    if before is None:
        raise BudgetError(f"the run {run_id} has no budget: its rule sets none, so nothing stops it")
    spent = max(0, _cost(row.usage) - spent_before(connection, row.conversation))
    if cents <= max(before, spent):
        used = f", of which ${spent / 100:.2f} are spent" if spent else ""
        raise BudgetError(f"the budget of {run_id} is ${before / 100:.2f}{used}: name more than that")
    now = read_clock(connection)
    change = {"budget_cents": cents, "updated_at": now}
    waiting = and_(rows.c.id == run_id, rows.c.status == RunStatus.WAITING.value)
    if not connection.execute(update(rows).where(waiting).values(**change, due_at=now)).rowcount:
        connection.execute(update(rows).where(rows.c.id == run_id).values(**change))
    return Raised(run_id, str(row.status), before, cents)


def raised(connection: Connection, run_ids: Collection[str]) -> dict[str, int]:
    """Those of the runs whose budget a person set, and to what."""
    rows = table(RunRow)
    query = select(rows.c.id, rows.c.budget_cents).where(
        and_(rows.c.id.in_(list(run_ids)), rows.c.budget_cents.is_not(None))
    )
    return {run_id: cents for run_id, cents in connection.execute(query)}  # noqa: C416 - rows are not tuples


def budget_of(connection: Connection, run_id: str) -> int | None:
    """What a person set for the run, or None."""
    rows = table(RunRow)
    found: int | None = connection.execute(
        select(rows.c.budget_cents).where(rows.c.id == run_id)
    ).scalar_one_or_none()
    return found


def spent_before(connection: Connection, conversation: str) -> int:
    """What earlier runs spent in the conversation's session."""
    rows = table(ConversationRow)
    found = connection.execute(
        select(rows.c.session_cost_cents).where(rows.c.key == conversation)
    ).scalar_one_or_none()
    return found or 0


def wait_at_budget(connection: Connection, /, claim: Claim, *, until: float, **values: Any) -> bool:
    """Let the run wait until `until` for a budget that is raised. False: it was lost."""
    return let_wait(connection, claim, until=until, waits_for=None, **values)


def wait_on(connection: Connection, claim: Claim) -> bool:
    """Let go of a run that was claimed and still waits: it is due at its deadline. False: it was lost.

    A budget that was raised, a stop that was wanted or a ring in the meantime makes it due at once.
    """
    rows = table(RunRow)
    mine = and_(rows.c.id == claim.run_id, rows.c.lease_owner == claim.owner, rows.c.fence == claim.fence)
    known = claim.row.get("budget_cents")
    other = rows.c.budget_cents.is_not(None) if known is None else rows.c.budget_cents != known
    free = {"lease_owner": None, "lease_until": 0.0, "attempts": 0}
    rung = rows.c.rung != (claim.row.get("rung") or 0)
    news = and_(mine, or_(other, rung, rows.c.stop_reason.is_not(None)))
    if connection.execute(update(rows).where(news).values(**free, due_at=read_clock(connection))).rowcount:
        return True
    return (
        connection.execute(update(rows).where(mine).values(**free, due_at=rows.c.deadline_at)).rowcount == 1
    )


def is_due(connection: Connection, moment: float | None) -> bool:
    """Whether a moment has come, by the database's clock."""
    return moment is None or read_clock(connection) >= moment


def _cost(usage: str | None) -> int:
    try:
        cost = json.loads(usage or "{}").get("list_cost") or {}
        return round(float(cost.get("amount") or 0))
    except (TypeError, ValueError, AttributeError):
        return 0
