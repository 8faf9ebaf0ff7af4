"""From database rows to the shapes of the JSON API, for the API and the command line: both tell the same.

Every function takes an open connection and may be passed to `Database.read`. Only `cancel`,
`raise_budget` and `replay` write.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

import orjson
from sqlalchemy import Connection

from hub.api_models import (
    BudgetView,
    CancelView,
    DeliveryPage,
    DeliveryView,
    DispatchView,
    EventDetail,
    EventPage,
    EventSummary,
    GraphView,
    LinkView,
    ReplayView,
    ResultView,
    RuleList,
    RuleView,
    RunDetail,
    RunPage,
    RunSummary,
    SubjectView,
    VerdictView,
    WorkerList,
    WorkerView,
)
from hub.presence_views import signs_of
from schemas.event import Event
from schemas.result import Receipt, Result
from storage import (
    approvals,
    budgets,
    credentials,
    follow_ups,
    lineage,
    links,
    queries,
    replays,
    runs,
    workers,
)
from storage.queries import Found, Page, Position, Row
from storage.states import RUN_TERMINAL
from storage.tables import RunStatus

if TYPE_CHECKING:
    from router.engine import RuleSet  # the expression library is slow to import, and commands need no rules

MAX_SHOWN_ID: Final = 80
LISTED: Final = {
    "event": "events list",
    "run": "runs list",
    "approval": "approvals list",
    "dead letter": "dlq list",
    "rule": "rules check",
    "team": "rules check",
}
"""Which commands list what."""
CENTS: Final = 100


class UnknownIdError(LookupError):
    """No event, run or dead letter of that id. `near` are ids that begin alike."""

    def __init__(self, what: str, given: str, near: Sequence[str]) -> None:
        shown = given if len(given) <= MAX_SHOWN_ID else given[:MAX_SHOWN_ID] + "…"
        several = [one for one in near if one.startswith(given)]
        if several:
            hint = f"several begin so: {', '.join(several)}; write more of it"
        elif near:
            hint = f"near it: {', '.join(near)}"
        else:
            hint = f"`triggerhub {LISTED[what]}` shows what there is"
        super().__init__(f"no {what} is called {shown!r}; {hint}")
        self.near = tuple(near)


class AlreadyEndedError(RuntimeError):
    """The run cannot be cancelled any more."""


@dataclass(frozen=True, slots=True)
class EventFilter:
    """Which events. None: any."""

    connection: str | None = None
    kind: str | None = None
    subject: str | None = None


@dataclass(frozen=True, slots=True)
class RunFilter:
    """Which runs. None: any. `connection` and `subject` are the event's."""

    status: str | None = None
    rule: str | None = None
    connection: str | None = None
    subject: str | None = None


def events(connection: Connection, wanted: EventFilter, *, limit: int, after: Position | None) -> EventPage:
    """One page of events."""
    page = queries.list_events(
        connection,
        limit=limit,
        after=after,
        connection_name=wanted.connection,
        kind=wanted.kind,
        subject=wanted.subject,
    )
    return EventPage(items=tuple(_event(row) for row in page.rows), next_cursor=cursor_of(page))


def event(connection: Connection, given: str) -> EventDetail:
    """An event by its id or an unmistakable beginning of it. Raises UnknownIdError."""
    event_id = only("event", given, queries.find_event(connection, given))
    row = queries.event_row(connection, event_id)
    if row is None:
        raise UnknownIdError("event", given, ())
    delivery = queries.delivery_row(connection, row["delivery_id"]) if row["delivery_id"] else None
    run_rows = queries.runs_of_event(connection, event_id)
    results = _results(connection, [run["id"] for run in run_rows])
    verdicts: dict[int, list[VerdictView]] = {}
    for one in queries.verdict_rows(connection, event_id):
        verdicts.setdefault(one["replay"], []).append(_verdict(one))
    return EventDetail(
        **_event_fields(row),
        event=Event.model_validate_json(row["body"]),
        delivery=_delivery(delivery) if delivery else None,
        verdicts=tuple(verdicts.get(0, ())),
        replays=tuple(
            _replay(one, verdicts.get(one["number"], ())) for one in queries.replay_rows(connection, event_id)
        ),
        waiting=tuple(
            DispatchView(
                id=one["id"],
                rule=one["rule"],
                conversation=one["conversation"],
                created_at=time_of(one["created_at"]),
            )
            for one in queries.waiting_dispatches(connection, event_id)
        ),
        runs=tuple(_run_detail(connection, run, results.get(run["id"], ())) for run in run_rows),
    )


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
    return _run_detail(connection, row, _results(connection, [run_id]).get(run_id, ()))


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


def replay(connection: Connection, given: str, *, again: bool, by: str, reason: str | None) -> ReplayView:
    """Ask for an event to be routed again. Raises UnknownIdError, NotReplayableError. Writes."""
    event_id = only("event", given, queries.find_event(connection, given))
    asked = replays.ask_replay(connection, event_id, again=again, by=by, reason=reason)
    if asked is None:
        raise UnknownIdError("event", given, ())
    return _replay(queries.replay_rows(connection, event_id)[-1], ())


def deliveries(
    connection: Connection,
    *,
    connection_name: str | None,
    outcome: str | None,
    limit: int,
    after: Position | None,
) -> DeliveryPage:
    """One page of deliveries."""
    page = queries.list_deliveries(
        connection, limit=limit, after=after, connection_name=connection_name, outcome=outcome
    )
    return DeliveryPage(items=tuple(_delivery(row) for row in page.rows), next_cursor=cursor_of(page))


def living_workers(connection: Connection) -> WorkerList:
    """Every role that reported in the last hour."""
    return WorkerList(
        items=tuple(
            WorkerView(
                role=one.role,
                instance=one.instance,
                seen_seconds_ago=round(one.seen_ago, 3),
                progress_seconds_ago=round(one.progress_ago, 3),
                note=one.note,
            )
            for one in workers.living(connection)
        )
    )


def rule_list(rules: RuleSet) -> RuleList:
    """The rules in force. Reads no database."""
    return RuleList(
        items=tuple(
            RuleView(
                name=one.name,
                team=one.rule.team,
                enabled=one.rule.enabled,
                match=one.match.model_dump(mode="json", by_alias=True, exclude_none=True),
                who=one.rule.who,
                agent=one.rule.agent,
                environment=one.environment,
                repository=one.rule.repository.name if one.rule.repository else None,
                outputs=tuple(output.output for output in one.rule.outputs),
                conversation=one.rule.conversation,
                follow_up=one.rule.follow_up,
                budget_usd=_usd(one.rule.limits.budget_cents),
                timeout_seconds=one.rule.limits.timeout.total_seconds(),
            )
            for one in rules.rules
        )
    )


def only(what: str, given: str, found: Found) -> str:
    """The id that was found. Raises UnknownIdError."""
    if found.id is None:
        raise UnknownIdError(what, given, found.near)
    return found.id


def _event_fields(row: Row) -> dict[str, Any]:
    return {
        "id": row["id"],
        "connection": row["connection"],
        "source": row["connector"],
        "kind": row["kind"],
        "subject": row["subject"],
        "time": time_of(row["time"]),
        "received_at": time_of(row["received_at"]),
        "routed_at": time_or_none(row["routed_at"]),
        "matched": row["matched"],
        "delivery_id": row["delivery_id"],
    }


def _event(row: Row) -> EventSummary:
    return EventSummary(**_event_fields(row))


def _delivery(row: Row) -> DeliveryView:
    return DeliveryView(
        id=row["id"],
        connection=row["connection"],
        outcome=row["outcome"],
        reason=row["reason"],
        received_at=time_of(row["received_at"]),
        body_size=row["body_size"],
        body_hash=row["body_hash"],
        origin=row["origin"],
    )


def _verdict(row: Row) -> VerdictView:
    return VerdictView(**{**row, "at": time_of(row["at"])})


def _replay(row: Row, verdicts: Sequence[VerdictView]) -> ReplayView:
    times = {"asked_at": time_of(row["asked_at"]), "routed_at": time_or_none(row["routed_at"])}
    return ReplayView(**{**row, **times, "verdicts": tuple(verdicts)})


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
        "cost_usd": _usd(row["cost_cents"]),
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


def _run_detail(connection: Connection, row: Row, results: Sequence[ResultView]) -> RunDetail:
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


def _results(connection: Connection, run_ids: Sequence[str]) -> dict[str, list[ResultView]]:
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


def cursor_of(page: Page) -> str | None:
    """Where the next page begins."""
    return page.following.encode() if page.following else None


def time_of(seconds: float) -> datetime:
    """Seconds since the epoch as UTC."""
    return datetime.fromtimestamp(seconds, tz=UTC)


def time_or_none(seconds: float | None) -> datetime | None:
    """The same for what may not have happened yet."""
    return None if seconds is None else time_of(seconds)


def _usd(cents: int | None) -> float | None:
    return None if cents is None else cents / CENTS
