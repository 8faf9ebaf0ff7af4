"""What the JSON API answers and the command line shows: one set of shapes for both. No queries here."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from hub.presence_views import PresenceView
from schemas.event import Event


class Answer(BaseModel):
    """Readers must ignore fields that a newer hub adds."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Problem(Answer):
    """Every answer that is not a success."""

    error: str
    """One sentence: what is wrong and what to do."""
    near: tuple[str, ...] = ()
    """Ids like the one that was not found."""


class EventSummary(Answer):
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


class VerdictView(Answer):
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


class ResultView(Answer):
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
    clause: str | None
    """The part of the rule's policy that refused it, such as `links` or `max_diff_lines`."""
    shown: dict[str, Any] | None
    """What would have been posted: of staged results only."""
    attempts: int
    created_at: datetime
    updated_at: datetime


class RunSummary(Answer):
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


class SubjectView(Answer):
    """A subject that belongs to a conversation."""

    connection: str
    subject: str
    how: str
    """`origin`, or how it came to belong: `posted`, `branch`, `key`, `url`, `remote_link`, `payload`."""
    reference: str | None
    """The link by which it was recognised."""
    since: datetime


class LinkView(Answer):
    """A subject of a conversation names another."""

    connection: str
    subject: str
    """Where it is named."""
    reference: str
    """What is named."""
    how: str
    proven: bool
    """Whether an event there would reach the conversation."""
    by: str
    """`triggerhub`, or the trust of whoever wrote it."""
    evidence: str
    """Event, run or result in which it stands."""
    since: datetime


class GraphView(Answer):
    """A conversation: its subjects, and how they hang together."""

    visibility: str
    """Of the place where it began."""
    taint: str
    """The narrowest place it was told of: nothing it says goes to a wider one."""
    subjects: tuple[SubjectView, ...]
    links: tuple[LinkView, ...]


class RunDetail(RunSummary):
    """One run whole."""

    root_event_id: str
    """With what it all began: the run's own event, or that of the first run of a chain in which each came of what the
    last one opened or wrote."""
    depth: int
    """How many runs of that chain came before this one."""
    follow_up: str | None
    """What it does to a session at work, where it is a follow-up: `steer`, `queue`, `interrupt`."""
    joined_to: str | None
    """The run in whose message or turn this follow-up was told."""
    told: tuple[str, ...]
    """Follow-ups that were told in this run's message or turn."""
    graph: GraphView | None

    agent_id: str | None
    agent_version: int | None
    environment_id: str | None
    final_text: str | None
    """The agent's last message."""
    held: str | None = None
    """By what it was held back, while it was queued: `paused`. Where it is queued still, it is held now."""
    held_at: datetime | None = None
    """When that was first."""
    waits_for: tuple[str, ...] = ()
    """Codes of the approvals for which it waits, or `budget`."""
    broken_credentials: tuple[str, ...] = ()
    """`vault/credential` of each in its vaults that can no longer be renewed, where that was so before the run ended."""
    evaluation: dict[str, Any] | None = None
    """Where the rule has an outcome, the grader's last judgement: `result`, `iteration` (from 0), `explanation`."""
    usage: dict[str, Any] | None
    """The session's cumulated usage when the run ended, as the service tells it."""
    results: tuple[ResultView, ...]
    presence: tuple[PresenceView, ...] = ()
    """What people see of it where it came from."""


class DispatchView(Answer):
    """A rule matched, and no runner has taken the work yet."""

    id: str
    rule: str
    conversation: str
    created_at: datetime


class DeliveryView(Answer):
    """One webhook that was signed by its vendor, or one that was rebuilt from what the vendor told when asked."""

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
    origin: str
    """`delivered`, or `fetched`: the vendor could not deliver it, and was asked for what happened."""


class ReplayView(Answer):
    """A person wanted the rules asked about an event once more."""

    event_id: str
    number: int
    """1, 2, … for each event."""
    asked_at: datetime
    by: str
    """`api`, or `command:` and the user of the machine it was typed on."""
    again: bool
    """Whether rules that were dispatched before were to be dispatched once more."""
    reason: str | None
    routed_at: datetime | None
    """When the rules were asked; null while it waits for a router."""
    verdicts: tuple[VerdictView, ...] = ()


class EventDetail(EventSummary):
    """One event whole, and everything that came of it."""

    event: Event
    delivery: DeliveryView | None
    verdicts: tuple[VerdictView, ...]
    """Of the first time. Those of replays are with the replay."""
    replays: tuple[ReplayView, ...] = ()
    waiting: tuple[DispatchView, ...]
    runs: tuple[RunDetail, ...]


class RuleView(Answer):
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


class WorkerView(Answer):
    """One role of one process that reported in the last hour."""

    role: str
    instance: str
    seen_seconds_ago: float
    progress_seconds_ago: float
    note: str


class CancelView(Answer):
    """A person asked for a run to be stopped."""

    id: str
    status_before: str
    """`queued`: it is cancelled now. Else its worker interrupts the session, and the run ends as `cancelled`.
    """


class BudgetView(Answer):
    """A person raised what a run may spend."""

    id: str
    status: str
    """`waiting`: it is taken up again now. `running`: its runner tells the session."""
    budget_usd_before: float
    budget_usd: float


class LetterSummary(Answer):
    """One message that no consumer could take, without its bytes."""

    id: str
    """`<topic>/<partition>/<offset>/<digest of the bytes>`."""
    topic: str
    status: str
    """`dead`, `retrying`, `retried` or `dropped`."""
    reason: str
    """Why it died."""
    at: datetime
    ref: str | None
    """Id of the event, dispatch or result it announced, where the producer named it."""
    repeats: str | None
    """The dead letter whose retry this was: it died again."""
    note: str | None
    """Why it was dropped."""
    resolved_at: datetime | None
    """When a consumer had it again, or it was dropped."""


class LetterDetail(LetterSummary):
    """One message that no consumer could take, whole."""

    size: int
    """Bytes."""
    key_base64: str | None
    value_base64: str


class LetterChange(Answer):
    """A person decided about a dead letter."""

    id: str
    topic: str
    status_before: str
    status: str
    """`retrying`: its bytes are on their way to its topic. `dropped`: they are kept, and go nowhere."""


class _Page(Answer):
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


class LetterPage(_Page):
    """Dead letters, newest first."""

    items: tuple[LetterSummary, ...]


class RuleList(Answer):
    """The rules in force, in the order of the configuration."""

    items: tuple[RuleView, ...]


class WorkerList(Answer):
    """Living roles."""

    items: tuple[WorkerView, ...]
