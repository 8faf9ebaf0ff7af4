"""Every table, here or in the modules that this imports. Ids are strings, times seconds since the epoch on the database's
clock (`storage.clock`).

A change here needs a migration under storage/migrations; a test compares the two.
"""

from __future__ import annotations

from enum import StrEnum

from sqlalchemy import Column, Double, Index, LargeBinary, String, Text
from sqlmodel import Field, SQLModel

import storage.canary_tables
import storage.healing_tables
import storage.hub_tables
import storage.presence_tables
import storage.spend_tables  # noqa: F401 - registers its tables on the metadata
from storage.approval_tables import ApprovalRow, ApprovalStatus, ApprovalVote
from storage.conversation_tables import ConversationRow, ConversationSubject, LinkRow, PlaceRow
from storage.credential_tables import CredentialFailure
from storage.run_tables import ACTIVE_RUN, RunRow, RunStatus

__all__ = [
    "ACTIVE_RUN",
    "ApprovalRow",
    "ApprovalStatus",
    "ApprovalVote",
    "ConversationRow",
    "ConversationSubject",
    "CredentialFailure",
    "LinkRow",
    "PlaceRow",
    "RunRow",
    "RunStatus",
]


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
    """What the configuration has (an agent, a vault, a file …), as it stands at the Managed Agents service."""

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
