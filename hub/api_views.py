"""Events, deliveries, rules and workers in the shapes of the JSON API, for the API and the command line.

What else there is has modules of its own: `run_views`, `approval_views`, `letter_views`, `spend_views`. Every function
takes an open connection and may be passed to `Database.read`. Only `replay` writes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection

from hub.api_models import (
    DeliveryPage,
    DeliveryView,
    DispatchView,
    EventDetail,
    EventPage,
    EventSummary,
    ReplayView,
    RuleList,
    RuleView,
    VerdictView,
    WorkerList,
    WorkerView,
)
from hub.api_values import UnknownIdError, cursor_of, only, time_of, time_or_none, usd_of
from hub.run_views import results_of, run_detail
from schemas.event import Event
from storage import queries, replays, workers
from storage.queries import Position, Row

if TYPE_CHECKING:
    from router.engine import RuleSet  # the expression library is slow to import, and commands need no rules


@dataclass(frozen=True, slots=True)
class EventFilter:
    """Which events. None: any."""

    connection: str | None = None
    kind: str | None = None
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
    results = results_of(connection, [run["id"] for run in run_rows])
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
        runs=tuple(run_detail(connection, run, results.get(run["id"], ())) for run in run_rows),
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
                budget_usd=usd_of(one.rule.limits.budget_cents),
                timeout_seconds=one.rule.limits.timeout.total_seconds(),
            )
            for one in rules.rules
        )
    )


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
