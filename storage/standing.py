"""How a run stands, as people at its origin may be told: read from the run and its results. Reads only.

What stands in narrower places than the origin is left out here, so that no wording can tell it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import Connection, and_, func, or_, select

from schemas.event import level_of
from schemas.policy.readers import container_of, judge_readers
from schemas.result import Receipt, Result
from storage.approvals import PEOPLE
from storage.caps import held_until
from storage.clock import read_clock
from storage.links import readers_of, taint_of
from storage.presence import Wanted
from storage.rows import table
from storage.states import RUN_ACTIVE
from storage.tables import ResultRow, ResultStatus, RunRow, RunStatus

MAX_POSTS: Final = 200


@dataclass(frozen=True, slots=True)
class Made:
    """A result of the run that people at the origin may hear of."""

    output: str
    slot: str
    status: ResultStatus
    url: str | None = None
    subject: str | None = None
    """Subject key of what was made, such as a pull request."""
    connection: str = ""
    clause: str | None = None


@dataclass(frozen=True, slots=True)
class Standing:
    """Everything that a sign of presence may tell."""

    run_id: str
    status: RunStatus
    error: str | None = None
    """None too where the readers of the origin may not read it."""
    stop_reason: str | None = None
    cost_cents: int | None = None
    budget_cents: int | None = None
    created_at: float = 0.0
    started_at: float | None = None
    ended_at: float | None = None
    deadline_at: float | None = None
    waits_for_people: bool = False
    """For their approval; else a run that waits does so at its budget."""
    ahead: str | None = None
    """The run of the same conversation that this one waits behind."""
    held: str | None = None
    """By what it is kept from starting, where no run of its conversation is before it."""
    held_until: float | None = None
    """When that ends by itself, where it does."""
    retried: bool = False
    """It was given back, and waits for its next attempt."""
    joined_to: str | None = None
    heard: int = 0
    """Follow-ups that were told in it."""
    made: tuple[Made, ...] = ()
    refused: tuple[Made, ...] = field(default=())

    @property
    def seconds(self) -> float | None:
        """From the start of the work to its end; None where it never began or goes on."""
        if self.ended_at is None or self.started_at is None:
            return None
        return max(0.0, self.ended_at - self.started_at)


def standing_of(connection: Connection, run_id: str, wanted: Wanted) -> Standing | None:
    """How the run stands, for the readers of its origin. None: there is no such run."""
    runs = table(RunRow)
    row = connection.execute(select(runs).where(runs.c.id == run_id)).mappings().one_or_none()
    if row is None:
        return None
    status = RunStatus(row["status"])
    may_read = judge_readers(
        taint_of(connection, row["conversation"]), wanted.origin.readers, wanted.publish_to
    )
    made = _made(connection, run_id, wanted)
    ahead = _ahead(connection, row) if status is RunStatus.QUEUED else None
    held = row["held"] if status is RunStatus.QUEUED and ahead is None else None
    until = None
    if held is not None:
        of = {"rule": row["rule"], "team": row["team"]}
        until = held_until(connection, held, **of, now=read_clock(connection))
    budget = row["budget_cents"] if row["budget_cents"] is not None else wanted.budget_cents
    return Standing(
        run_id=run_id,
        status=status,
        error=row["error"] if may_read is None else None,
        stop_reason=row["stop_reason"],
        cost_cents=row["cost_cents"] if row["cost_cents"] is not None else _so_far(row["usage"]),
        budget_cents=budget,
        created_at=row["created_at"],
        started_at=row["started_at"],
        ended_at=row["ended_at"],
        deadline_at=row["deadline_at"],
        waits_for_people=row["waits_for"] == PEOPLE,
        ahead=ahead,
        held=held,
        held_until=until,
        retried=status in {RunStatus.CREATING, RunStatus.SENDING}
        and row["lease_owner"] is None
        and row["error"] is not None,
        joined_to=row["joined_to"],
        heard=_heard(connection, run_id),
        made=tuple(one for one in made if one.status is not ResultStatus.REFUSED),
        refused=tuple(one for one in made if one.status is ResultStatus.REFUSED),
    )


def pulls_of(connection: Connection, run_id: str) -> list[tuple[str, str]]:
    """(connection, `owner/repo#12`) of the pull requests that the run has opened."""
    rows = table(ResultRow)
    query = select(rows.c.connection, rows.c.receipt).where(
        and_(
            rows.c.run_id == run_id,
            rows.c.output == "open_pull_request",
            rows.c.status == ResultStatus.POSTED.value,
        )
    )
    found = []
    for name, receipt in connection.execute(query):
        subject = Receipt.model_validate_json(receipt).subject if receipt else None
        if subject:
            found.append((str(name), subject))
    return found


def _ahead(connection: Connection, row: Any) -> str | None:
    runs = table(RunRow)
    active = runs.c.status.in_(sorted(status.value for status in RUN_ACTIVE))
    earlier = and_(runs.c.status == RunStatus.QUEUED.value, runs.c.created_at < row["created_at"])
    query = (
        select(runs.c.id)
        .where(and_(runs.c.conversation == row["conversation"], runs.c.id != row["id"], or_(active, earlier)))
        .order_by(runs.c.created_at)
        .limit(1)
    )
    found: str | None = connection.execute(query).scalar_one_or_none()
    return found


def _heard(connection: Connection, run_id: str) -> int:
    runs = table(RunRow)
    steered = select(runs.c.id).where(
        and_(runs.c.joined_to == run_id, runs.c.status == RunStatus.JOINED.value)
    )
    told = and_(
        runs.c.status == RunStatus.JOINED.value,
        or_(runs.c.joined_to == run_id, runs.c.joined_to.in_(steered)),
    )
    count: int = connection.execute(select(func.count()).select_from(runs).where(told)).scalar_one()
    return count


def _made(connection: Connection, run_id: str, wanted: Wanted) -> list[Made]:
    """Results that are through, of places that are no narrower than the origin."""
    rows = table(ResultRow)
    query = (
        select(rows)
        .where(
            and_(
                rows.c.run_id == run_id,
                rows.c.status.in_([ResultStatus.POSTED.value, ResultStatus.REFUSED.value]),
            )
        )
        .order_by(rows.c.created_at)
        .limit(MAX_POSTS)
    )
    here = level_of(wanted.origin.readers)
    found = []
    for row in connection.execute(query).mappings():
        if level_of(_place(connection, row, wanted)) > here:
            continue
        receipt = Receipt.model_validate_json(row["receipt"]) if row["receipt"] else Receipt()
        found.append(
            Made(
                output=row["output"],
                slot=row["slot"],
                status=ResultStatus(row["status"]),
                url=receipt.url,
                subject=receipt.subject,
                connection=row["connection"],
                clause=row["clause"],
            )
        )
    return found


def _place(connection: Connection, row: Any, wanted: Wanted) -> str | None:
    """Who reads the place of a result. None, which counts as private, where nothing is known of it."""
    try:
        result = Result.model_validate_json(row["body"])
    except ValueError:
        return "restricted"
    if result.target.get("to") == "origin":
        same = result.origin.subject.key == wanted.origin.subject.key
        return wanted.origin.readers if same else result.origin.readers
    container = container_of(result.target, result.arguments)
    if container is None:
        return None
    return readers_of(connection, connection_name=result.connection, container=container)


def _so_far(usage: str | None) -> int | None:
    """A run that waits at its budget has its cost in its usage only."""
    try:
        cost = json.loads(usage or "{}").get("list_cost") or {}
        return round(float(cost["amount"]))
    except (KeyError, TypeError, ValueError, AttributeError):
        return None
