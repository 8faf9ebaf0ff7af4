"""Every table. Times are seconds since the epoch on the database's clock (`storage.clock`); ids are strings.

A change here needs a migration under storage/migrations; a test compares the two.
"""

from __future__ import annotations

from enum import StrEnum

from sqlalchemy import Column, Double, Index, Integer, LargeBinary, String, Text, text
from sqlmodel import Field, SQLModel

import storage.canary_tables
import storage.healing_tables
import storage.hub_tables
import storage.presence_tables
import storage.spend_tables  # noqa: F401 - registers its tables on the metadata
from storage.approval_tables import ApprovalRow, ApprovalStatus, ApprovalVote
from storage.conversation_tables import ConversationRow, ConversationSubject, LinkRow, PlaceRow
from storage.credential_tables import CredentialFailure

__all__ = [
    "ApprovalRow",
    "ApprovalStatus",
    "ApprovalVote",
    "ConversationRow",
    "ConversationSubject",
    "CredentialFailure",
    "LinkRow",
    "PlaceRow",
]


class RunStatus(StrEnum):
    """Where a run stands. The allowed moves between these are in `storage.states`."""

    QUEUED = "queued"
    """Wanted, not started, or waiting for its conversation to be free."""
    CREATING = "creating"
    """About to create the session: after a crash, look for it before creating."""
    SENDING = "sending"
    """The session exists; about to send the work: after a crash, look for it before sending."""
    RUNNING = "running"
    """The work was sent; the session is being followed."""
    STOPPING = "stopping"
    """An interrupt is wanted (timeout, cancel, lost repository); waiting for the session to go idle."""
    WAITING = "waiting"
    """The session waits for people: at its budget, or for their approval. Nobody holds the run."""
    REPORTING = "reporting"
    """The session's turn is over; the last posts are on their way."""
    SUCCEEDED = "succeeded"
    """The agent ended its turn and everything it wanted posted was settled."""
    FAILED = "failed"
    """It ended without success; `error` says why."""
    TIMED_OUT = "timed_out"
    """It was interrupted at its deadline."""
    CANCELLED = "cancelled"
    """A person stopped it."""
    INTERRUPTED = "interrupted"
    """A follow-up stopped it; the next run of the conversation goes on."""
    JOINED = "joined"
    """A follow-up that was told to the session in the message or the turn of another run, `joined_to`."""


class ResultStatus(StrEnum):
    """Where a result stands."""

    HELD = "held"
    """Wanted, and people have to approve it first: `approval`."""
    PENDING = "pending"
    """Wanted; not yet taken from Kafka by a poster."""
    READY = "ready"
    """Taken; waiting for a poster or for its next attempt."""
    POSTING = "posting"
    """Claimed under a lease: after a crash, look for the artefact before making it."""
    POSTED = "posted"
    """Done, with a receipt."""
    REFUSED = "refused"
    """Will never be posted; `error` says why, and `clause` names the part of the rule's policy where it was that."""
    STAGED = "staged"
    """Would have been posted; the rule wants it shown only."""


class LetterStatus(StrEnum):
    """Where a dead letter stands."""

    DEAD = "dead"
    """No consumer could take it; a person decides."""
    RETRYING = "retrying"
    """A person wants it tried again: its bytes are on their way to the topic they came from."""
    RETRIED = "retried"
    """A consumer had it again. If it died again, that is a dead letter of its own which names this one."""
    DROPPED = "dropped"
    """A person gave it up; `note` says why."""


class DeliveryOrigin(StrEnum):
    """How a delivery came to us."""

    DELIVERED = "delivered"
    """The vendor sent it."""
    FETCHED = "fetched"
    """The vendor could not deliver it: we asked for what had happened, and built it from the answer."""


class Delivery(SQLModel, table=True):
    """One webhook that was acknowledged, or was refused as unreadable after a good signature; or one that was fetched."""

    __tablename__ = "delivery"

    id: str = Field(primary_key=True)
    """`<connection>:<vendor's delivery id>`."""
    connection: str
    outcome: str
    """`connectors.base.Outcome`, or `unreadable`."""
    reason: str | None = None
    received_at: float = Field(sa_column=Column(Double, nullable=False, index=True))
    body_hash: str
    body_size: int
    body: bytes | None = Field(default=None, sa_column=Column(LargeBinary))
    """Kept only where no event holds it: unreadable deliveries."""
    origin: str = Field(
        default=DeliveryOrigin.DELIVERED.value,
        sa_column=Column(String, nullable=False, server_default=DeliveryOrigin.DELIVERED.value),
    )
    """`DeliveryOrigin`."""


class EventRow(SQLModel, table=True):
    """One event. Its primary key is the semantic identity of the fact: whoever loses the insert race stops."""

    __tablename__ = "event"
    __table_args__ = (Index("ix_event_received_at", "received_at"),)

    id: str = Field(primary_key=True)
    connection: str
    connector: str
    kind: str
    subject: str
    delivery_id: str | None = None
    time: float = Field(sa_column=Column(Double, nullable=False))
    received_at: float = Field(sa_column=Column(Double, nullable=False))
    body: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    """The whole CloudEvents JSON."""
    routed_at: float | None = Field(default=None, sa_column=Column(Double))
    matched: int = 0


class OutboxRow(SQLModel, table=True):
    """A message that has to reach its consumer. It stays until the consumer's own transaction deletes it, so that a
    broker that forgets loses nothing."""

    __tablename__ = "outbox"

    topic: str = Field(primary_key=True)
    ref: str = Field(primary_key=True)
    """Id of the event, dispatch or result; the value is that row's `body`."""
    key: str = Field(sa_column=Column(Text, nullable=False))
    created_at: float = Field(sa_column=Column(Double, nullable=False))
    due_at: float = Field(sa_column=Column(Double, nullable=False, index=True))
    """When the sweep publishes it (again), unless it was consumed before."""
    attempts: int = 0


class VerdictRow(SQLModel, table=True):
    """What one candidate rule said about one event, each time it was asked."""

    __tablename__ = "verdict"

    event_id: str = Field(primary_key=True)
    replay: int = Field(default=0, primary_key=True)
    """0: when the event came. Else the number of the replay."""
    rule: str = Field(primary_key=True)
    outcome: str
    clause: str | None = None
    expected: str | None = Field(default=None, sa_column=Column(Text))
    seen: str | None = Field(default=None, sa_column=Column(Text))
    reason: str = Field(sa_column=Column(Text, nullable=False))
    dispatch_id: str | None = None
    at: float = Field(sa_column=Column(Double, nullable=False))


class ScheduleRow(SQLModel, table=True):
    """A rule's schedule, and up to which time it was dealt with."""

    __tablename__ = "schedule"

    rule: str = Field(primary_key=True)
    spec: str
    """Cron fields and time zone. Another one begins anew."""
    checked_at: float = Field(sa_column=Column(Double, nullable=False))
    fired_at: float | None = Field(default=None, sa_column=Column(Double))
    """The latest scheduled time that became an event."""
    missed: int = 0
    """Firings that were left out because nobody was there."""


class ReplayRow(SQLModel, table=True):
    """A person wanted the rules asked about an event once more."""

    __tablename__ = "replay"

    event_id: str = Field(primary_key=True)
    number: int = Field(primary_key=True)
    """1, 2, … for each event."""
    asked_at: float = Field(sa_column=Column(Double, nullable=False))
    by: str
    """`api`, or `command:` and the user of the machine it was typed on."""
    again: bool
    """Whether rules that have a dispatch for the event get another."""
    reason: str | None = Field(default=None, sa_column=Column(Text))
    routed_at: float | None = Field(default=None, sa_column=Column(Double))
    """When the rules were asked. At most one replay of an event waits."""


class DispatchRow(SQLModel, table=True):
    """One (event, rule) that matched; one more for each replay that asked for it."""

    __tablename__ = "dispatch"
    __table_args__ = (Index("ix_dispatch_conversation_artefact", "conversation", "artefact"),)

    id: str = Field(primary_key=True)
    event_id: str = Field(index=True)
    rule: str
    conversation: str
    body: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    created_at: float = Field(sa_column=Column(Double, nullable=False))
    kind: str | None = None
    """Of the event."""
    artefact: str | None = None
    """Of the event: what was told before is known by it when it is edited."""
    folded: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    """Further events of the same kind that came while its run waited for them (`debounce`)."""
    root_event: str | None = None
    """With what it all began; None: written before this was kept, and it is the dispatch's own event."""
    depth: int = Field(default=0, sa_column_kwargs={"server_default": "0"})


ACTIVE_RUN = "status IN ('creating','sending','running','stopping','waiting','reporting')"


class RunRow(SQLModel, table=True):
    """One piece of work for one session: the state machine of the runner."""

    __tablename__ = "run"
    __table_args__ = (
        # One run at a time per conversation: a second claim of the same conversation fails on this index.
        Index(
            "ux_run_active_conversation",
            "conversation",
            unique=True,
            sqlite_where=text(ACTIVE_RUN),
            postgresql_where=text(ACTIVE_RUN),
        ),
        Index("ix_run_status_due", "status", "due_at"),
        Index("ix_run_lease", "lease_until"),
        Index("ix_run_conversation_created", "conversation", "created_at"),
        Index("ix_run_intent", "intent_at"),
    )

    id: str = Field(primary_key=True)
    """Derived from the dispatch: the same dispatch is the same run."""
    dispatch_id: str = Field(unique=True)
    event_id: str = Field(index=True)
    rule: str
    team: str | None = None
    agent: str
    conversation: str
    status: str
    error: str | None = Field(default=None, sa_column=Column(Text))
    stop_reason: str | None = None
    """Why an interrupt was wanted: `timeout`, `cancelled`, `repository`."""
    outcome: str | None = None
    """The terminal status that REPORTING leads to."""
    session_id: str | None = Field(default=None, index=True)
    agent_id: str | None = None
    agent_version: int | None = None
    environment_id: str | None = None
    message_id: str | None = None
    """Id of the session event that carried the work: later turns of the session begin after it."""
    final_text: str | None = Field(default=None, sa_column=Column(Text))
    usage: str | None = Field(default=None, sa_column=Column(Text))
    """JSON of the session's cumulated usage at this run's end."""
    cost_cents: int | None = None
    """This run's share of the session's list cost."""
    attempts: int = 0
    """Claims since the last progress: counted when claiming, so that a crash loop ends."""
    due_at: float = Field(sa_column=Column(Double, nullable=False))
    lease_owner: str | None = None
    lease_until: float | None = Field(default=None, sa_column=Column(Double))
    """NULL while nobody may claim it by lease (queued, ended); 0 when an active run was given back."""
    fence: int = 0
    created_at: float = Field(sa_column=Column(Double, nullable=False))
    intent_at: float | None = Field(default=None, sa_column=Column(Double))
    """When the first session create was about to be sent: sessions older than this are not ours."""
    started_at: float | None = Field(default=None, sa_column=Column(Double))
    deadline_at: float | None = Field(default=None, sa_column=Column(Double))
    ended_at: float | None = Field(default=None, sa_column=Column(Double))
    updated_at: float = Field(sa_column=Column(Double, nullable=False))
    evaluation: str | None = Field(default=None, sa_column=Column(Text))
    """JSON of the grader's last judgement, where the rule has an outcome."""
    manner: str | None = None
    """What this follow-up does to a session at work: `steer`, `queue`, `interrupt`. None: it is no follow-up."""
    gather: float = Field(default=0.0, sa_column=Column(Double, nullable=False, server_default="0"))
    """Seconds of quiet before follow-ups are told together. 0: each alone."""
    joined_to: str | None = Field(default=None, index=True)
    """The run in whose message or turn this follow-up is told. Set while it is queued: it may have been told."""
    budget_cents: int | None = None
    """What the run may spend, where a person raised it; else the dispatch says so."""
    held: str | None = None
    """By what it was held back last, while it was queued: `paused`, `rule.concurrent` … It is held now if it is queued
    still."""
    held_at: float | None = Field(default=None, sa_column=Column(Double))
    """When it was first held back."""
    waits_for: str | None = None
    """What a run waits for that is `waiting`: `people` who approve; None for a budget that is raised."""
    reserved_cents: int | None = None
    """What it may spend, as its dispatch said when it was claimed. It counts while the run is at work."""
    rung: int = Field(default=0, sa_column=Column(Integer, nullable=False, server_default="0"))
    """How often somebody rang: something happened to the session, and the run shall look."""
    looked_at: float | None = Field(default=None, sa_column=Column(Double))
    """When the session of this run, which waits, was last looked at."""
    look_at: float | None = Field(default=None, sa_column=Column(Double))
    """When it is next."""
    seen_as: str | None = None
    """How it was then."""


class ResultRow(SQLModel, table=True):
    """One slot of one run, and the receipt once it is posted."""

    __tablename__ = "result"
    __table_args__ = (
        Index("ix_result_status_due", "status", "due_at"),
        Index("ix_result_run", "run_id"),
        Index("ix_result_artefact", "connection", "artefact"),
    )

    id: str = Field(primary_key=True)
    """`<run>:<slot>`."""
    run_id: str
    slot: str
    conversation: str
    output: str
    connection: str
    status: str
    body: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    tool_use_id: str | None = None
    """The session event that asked for it; None for the hub's own report."""
    answered_at: float | None = Field(default=None, sa_column=Column(Double))
    receipt: str | None = Field(default=None, sa_column=Column(Text))
    artefact: str | None = None
    error: str | None = Field(default=None, sa_column=Column(Text))
    attempts: int = 0
    """Claims that were tried, or may have been: any but the first looks for the artefact before making it."""
    excused: int = 0
    """Attempts that failed while the vendor was down, or ended with their process: not counted towards giving up."""
    due_at: float = Field(sa_column=Column(Double, nullable=False))
    lease_owner: str | None = None
    lease_until: float | None = Field(default=None, sa_column=Column(Double))
    fence: int = 0
    created_at: float = Field(sa_column=Column(Double, nullable=False))
    updated_at: float = Field(sa_column=Column(Double, nullable=False))
    clause: str | None = None
    """The part of the rule's policy that refused it."""


class DeadLetterRow(SQLModel, table=True):
    """A message that no consumer can take, with its bytes and the reason."""

    __tablename__ = "dead_letter"

    id: str = Field(primary_key=True)
    """Derived from topic and position, so that a repeat is the same row."""
    topic: str
    key: bytes | None = Field(default=None, sa_column=Column(LargeBinary))
    value: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    reason: str = Field(sa_column=Column(Text, nullable=False))
    ref: str | None = None
    """The event, dispatch or result that the message announced, where the producer named it."""
    repeats: str | None = None
    """The dead letter whose retry this was."""
    status: str = LetterStatus.DEAD.value
    note: str | None = Field(default=None, sa_column=Column(Text))
    """Why it was dropped."""
    resolved_at: float | None = Field(default=None, sa_column=Column(Double))
    """When it was retried or dropped."""
    at: float = Field(sa_column=Column(Double, nullable=False, index=True))


class RemoteObject(SQLModel, table=True):
    """An agent or environment of the configuration as it stands at the Managed Agents service."""

    __tablename__ = "remote_object"

    kind: str = Field(primary_key=True)
    name: str = Field(primary_key=True)
    content_hash: str
    remote_id: str
    version: int | None = None
    updated_at: float = Field(sa_column=Column(Double, nullable=False))


class RateUse(SQLModel, table=True):
    """Calls made in one second of one shared limit."""

    __tablename__ = "rate_use"

    name: str = Field(primary_key=True)
    second: int = Field(primary_key=True)
    used: int = 0


class WorkerRow(SQLModel, table=True):
    """A living process and role: when it last lived, and when it last got something done."""

    __tablename__ = "worker"

    role: str = Field(primary_key=True)
    instance: str = Field(primary_key=True)
    started_at: float = Field(sa_column=Column(Double, nullable=False))
    seen_at: float = Field(sa_column=Column(Double, nullable=False))
    progress_at: float = Field(sa_column=Column(Double, nullable=False))
    note: str = ""
