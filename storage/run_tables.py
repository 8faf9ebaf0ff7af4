"""The table of runs, and the statuses a run may have. Which moves are allowed between them is in `storage.states`.

Imported by `storage.tables`, where everything else imports them from.
"""

from __future__ import annotations

from enum import StrEnum

from sqlalchemy import Column, Double, Index, Integer, Text, text
from sqlmodel import Field, SQLModel


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
