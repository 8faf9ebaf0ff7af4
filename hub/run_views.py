"""Runs from database rows to the shapes of the JSON API, for the API and the command line.

Every function takes an open connection and may be passed to `Database.read`. `cancel` and `raise_budget` write.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

import orjson
from sqlalchemy import Connection

from hub.api_models import (
    BudgetView,
    CancelView,
    GraphView,
    LinkView,
    ResultView,
    RunDetail,
    RunPage,
    RunSummary,
    SubjectView,
)
from hub.api_values import CENTS, UnknownIdError, cursor_of, only, time_of, time_or_none, usd_of
from hub.presence_views import signs_of
from schemas.result import Receipt, Result
from storage import approvals, budgets, credentials, follow_ups, lineage, links, queries, runs
from storage.queries import Position, Row
from storage.states import RUN_TERMINAL
from storage.tables import RunStatus


class AlreadyEndedError(RuntimeError):
    """The run cannot be cancelled any more."""


@dataclass(frozen=True, slots=True)
class RunFilter:
    """Which runs. None: any. `connection` and `subject` are the event's."""

    status: str | None = None
    rule: str | None = None
    connection: str | None = None
    subject: str | None = None


def run_page(connection: Connection, wanted: RunFilter, *, limit: int, after: Position | None) -> RunPage:
    """One page of runs."""
    page = queries.list_runs(
        connection,
        limit=limit,
        after=after,
        status=wanted.status,
        rule=wanted.rule,
        connection_name=wanted.connection,
        subject=wanted.subject,
    )
    return RunPage(
        items=tuple(RunSummary(**_run_fields(row)) for row in page.rows), next_cursor=cursor_of(page)
    )


def run(connection: Connection, given: str) -> RunDetail:
    """A run by its id or an unmistakable beginning of it. Raises UnknownIdError."""
    run_id = only("run", given, queries.find_run(connection, given))
    row = queries.run_row(connection, run_id)
    if row is None:
        raise UnknownIdError("run", given, ())
    return run_detail(connection, row, results_of(connection, [run_id]).get(run_id, ()))


def cancel(connection: Connection, given: str) -> CancelView:
    """Ask for a run to be stopped. Raises UnknownIdError, AlreadyEndedError. Writes."""
    run_id = only("run", given, queries.find_run(connection, given))
    before = runs.ask_to_stop(connection, run_id, reason="cancelled")
    if before is None:
        raise UnknownIdError("run", given, ())
    if RunStatus(before) in RUN_TERMINAL:
        msg = f"the run {run_id} has ended already ({before}); nothing is left to cancel"
        raise AlreadyEndedError(msg)
    return CancelView(id=run_id, status_before=before)


def raise_budget(connection: Connection, given: str, *, usd: Decimal) -> BudgetView:
    """Raise what a run may spend in all. Raises UnknownIdError, BudgetError. Writes."""
    run_id = only("run", given, queries.find_run(connection, given))
    found = budgets.raise_budget(connection, run_id, cents=int(usd * CENTS))
    if found is None:
        raise UnknownIdError("run", given, ())
    return BudgetView(
        id=run_id,
        status=found.status,
        budget_usd_before=found.before / CENTS,
        budget_usd=found.after / CENTS,
    )


_PLAIN: Final = (
    *("id", "event_id", "dispatch_id", "rule", "team", "agent", "conversation"),
    *("status", "error", "stop_reason", "session_id", "attempts"),
)


def _run_fields(row: Row) -> dict[str, Any]:
    return {
        **{name: row[name] for name in _PLAIN},
        **{name: time_or_none(row[name]) for name in ("started_at", "deadline_at", "ended_at")},
        "created_at": time_of(row["created_at"]),
        "updated_at": time_of(row["updated_at"]),
        "cost_usd": usd_of(row["cost_cents"]),
    }


def _graph(connection: Connection, conversation: str) -> GraphView | None:
    found = links.graph_of(connection, conversation)
    if found is None:
        return None
    return GraphView(
        visibility=found.visibility,
        taint=found.taint,
        subjects=tuple(
            SubjectView(
                **{name: one[name] for name in ("connection", "subject", "how", "reference")},
                since=time_of(one["created_at"]),
            )
            for one in found.subjects
        ),
        links=tuple(
            LinkView(
                **{name: one[name] for name in _LINK},
                since=time_of(one["created_at"]),
            )
            for one in found.links
        ),
    )


_LINK: Final = ("connection", "subject", "reference", "how", "proven", "by", "evidence")


def run_detail(connection: Connection, row: Row, results: Sequence[ResultView]) -> RunDetail:
    usage = orjson.loads(row["usage"]) if row["usage"] else None
    root, depth = lineage.came_of(connection, row["id"]) or (row["event_id"], 0)
    return RunDetail(
        **_run_fields(row),
        root_event_id=root,
        depth=depth,
        follow_up=row["manner"],
        joined_to=row["joined_to"] if row["status"] == RunStatus.JOINED else None,
        told=tuple(follow_ups.ids_told_in(connection, row["id"])),
        graph=_graph(connection, row["conversation"]),
        held=row["held"],
        held_at=time_or_none(row["held_at"]),
        waits_for=_waits_for(connection, row),
        broken_credentials=tuple(
            f"{one.vault}/{one.credential_id}"
            for one in credentials.hurting(connection, row["dispatch_id"], until=row["ended_at"])
        ),
        agent_id=row["agent_id"],
        agent_version=row["agent_version"],
        environment_id=row["environment_id"],
        final_text=row["final_text"],
        evaluation=orjson.loads(row["evaluation"]) if row["evaluation"] else None,
        usage=usage if isinstance(usage, dict) else None,
        results=tuple(results),
        presence=signs_of(connection, row["id"]),
    )


def _waits_for(connection: Connection, row: Row) -> tuple[str, ...]:
    found = approvals.of_runs(connection, [row["id"]]).get(row["id"], [])
    codes = tuple(one.code for one in found if one.is_open)
    return codes or (("budget",) if row["status"] == RunStatus.WAITING and row["waits_for"] is None else ())


def results_of(connection: Connection, run_ids: Sequence[str]) -> dict[str, list[ResultView]]:
    found: dict[str, list[ResultView]] = {}
    for row in queries.result_rows(connection, run_ids):
        receipt = Receipt.model_validate_json(row["receipt"]) if row["receipt"] else None
        found.setdefault(row["run_id"], []).append(
            ResultView(
                id=row["id"],
                slot=row["slot"],
                output=row["output"],
                connection=row["connection"],
                status=row["status"],
                url=receipt.url if receipt else None,
                note=(receipt.note or None) if receipt else None,
                artefact=row["artefact"],
                error=row["error"],
                clause=row["clause"],
                shown=_shown(row["body"]) if row["body"] is not None else None,
                attempts=row["attempts"],
                created_at=time_of(row["created_at"]),
                updated_at=time_of(row["updated_at"]),
            )
        )
    return found


def _shown(body: bytes) -> dict[str, Any]:
    """The part of a staged result that people want to see."""
    result = Result.model_validate_json(body)
    return {"target": result.target, **result.arguments}
