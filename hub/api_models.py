"""What the JSON API answers and the command line shows: one set of shapes for both. No queries here."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from schemas.event import Event


class _Answer(BaseModel):
    """Readers must ignore fields that a newer hub adds."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Problem(_Answer):
    """Every answer that is not a success."""

    error: str
    """One sentence: what is wrong and what to do."""
    near: tuple[str, ...] = ()
    """Ids like the one that was not found."""


class EventSummary(_Answer):
    """One event without what it says."""

    id: str
    connection: str
    source: str
    """The connector: `github`, `jira`, …; or what another program named itself."""
    kind: str
    subject: str
    time: datetime
    """When it happened, by the vendor."""
    received_at: datetime
    routed_at: datetime | None
    """When the rules were asked; null while it waits."""
    matched: int
    """How many rules it started or fed a run for."""
    delivery_id: str | None


class VerdictView(_Answer):
    """What one rule said of one event."""

    rule: str
    outcome: str
    """`matched`, `not_matched` or `suppressed`."""
    clause: str | None
    expected: str | None
    seen: str | None
    reason: str
    dispatch_id: str | None
    at: datetime


class ResultView(_Answer):
    """One thing that a run wanted posted."""

    id: str
    slot: str
    output: str
    connection: str
    status: str
    url: str | None
    """Where it can be seen, once it is posted."""
    note: str | None
    artefact: str | None
    error: str | None
    """Why it was refused, or what the last attempt met."""
    attempts: int
    created_at: datetime
    updated_at: datetime


class RunSummary(_Answer):
    """One run without its text."""

    id: str
    event_id: str
    dispatch_id: str
    rule: str
    team: str | None
    agent: str
    conversation: str
    status: str
    error: str | None
    stop_reason: str | None
    """Why it is being stopped, or was: `timeout`, `cancelled`, …"""
    session_id: str | None
    cost_usd: float | None
    """List price of this run's share of the session; null until it is known."""
    attempts: int
    created_at: datetime
    started_at: datetime | None
    deadline_at: datetime | None
    ended_at: datetime | None
    updated_at: datetime


class RunDetail(RunSummary):
    """One run whole."""

    agent_id: str | None
    agent_version: int | None
    environment_id: str | None
    final_text: str | None
    """The agent's last message."""
    usage: dict[str, Any] | None
    """The session's cumulated usage when the run ended, as the service tells it."""
    results: tuple[ResultView, ...]


class DispatchView(_Answer):
    """A rule matched, and no runner has taken the work yet."""

    id: str
    rule: str
    conversation: str
    created_at: datetime


class DeliveryView(_Answer):
    """One webhook that was signed by its vendor."""

    id: str
    connection: str
    outcome: str
    """`handled`, `ignored`, `unsupported` or `unreadable`."""
    reason: str | None
    received_at: datetime
    body_size: int
    """Bytes."""
    body_hash: str
    """Hex SHA-256."""


class EventDetail(EventSummary):
    """One event whole, and everything that came of it."""

    event: Event
    delivery: DeliveryView | None
    verdicts: tuple[VerdictView, ...]
    waiting: tuple[DispatchView, ...]
    runs: tuple[RunDetail, ...]


class RuleView(_Answer):
    """One rule in force, as it was written."""

    name: str
    team: str | None
    enabled: bool
    match: dict[str, Any]
    who: tuple[str, ...]
    agent: str
    environment: str
    repository: str | None
    outputs: tuple[str, ...]
    conversation: str
    follow_up: str
    budget_usd: float | None
    timeout_seconds: float


class WorkerView(_Answer):
    """One role of one process that reported in the last hour."""

    role: str
    instance: str
    seen_seconds_ago: float
    progress_seconds_ago: float
    note: str


class CancelView(_Answer):
    """A person asked for a run to be stopped."""

    id: str
    status_before: str
    """`queued`: it is cancelled now. Else its worker interrupts the session, and the run ends as `cancelled`.
    """


class _Page(_Answer):
    next_cursor: str | None = Field(default=None)
    """Give it as `cursor` for the next page; null at the end."""


class EventPage(_Page):
    """Events, newest first."""

    items: tuple[EventSummary, ...]


class RunPage(_Page):
    """Runs, newest first."""

    items: tuple[RunSummary, ...]


class DeliveryPage(_Page):
    """Deliveries, newest first."""

    items: tuple[DeliveryView, ...]


class RuleList(_Answer):
    """The rules in force, in the order of the configuration."""

    items: tuple[RuleView, ...]


class WorkerList(_Answer):
    """Living roles."""

    items: tuple[WorkerView, ...]
