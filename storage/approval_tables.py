"""Tables of approvals: what people are asked about before it is done, and how they voted.

Imported by `storage.tables`, where everything else imports them from.
"""

from __future__ import annotations

from enum import StrEnum

from sqlalchemy import Boolean, Column, Double, LargeBinary, Text
from sqlmodel import Field, SQLModel


class ApprovalStatus(StrEnum):
    """Where an approval stands. Only the first can change."""

    ASKED = "asked"
    """People are asked; whoever waits for it is held by nobody."""
    APPROVED = "approved"
    """Enough people said yes."""
    DENIED = "denied"
    """Somebody said no."""
    EXPIRED = "expired"
    """Its time was over before enough people had said yes."""
    WITHDRAWN = "withdrawn"
    """What it was about is not wanted any more: the run ended."""


class ApprovalRow(SQLModel, table=True):
    """One thing that an agent wants and that people must approve."""

    __tablename__ = "approval"

    id: str = Field(primary_key=True)
    """Derived from run, call and content: asking twice for the same is one approval."""
    run_id: str = Field(index=True)
    rule: str
    conversation: str = Field(index=True)
    call: str
    """The session event that asked for it."""
    name: str
    """Of the output's tool, or of the tool."""
    result_id: str | None = None
    """The result that is held; None where a tool of the session asks."""
    digest: str
    """Hex SHA-256 of exactly what is approved: the result's body, or `body`."""
    body: bytes | None = Field(default=None, sa_column=Column(LargeBinary))
    """The call of a tool, as JSON."""
    code: str = Field(index=True)
    """What people type."""
    what: str = Field(sa_column=Column(Text, nullable=False))
    """In plain words. Written by the hub around what the agent wants."""
    policy: str = Field(sa_column=Column(Text, nullable=False))
    """JSON of `schemas.policy.approval.ApprovalPolicy`, as it was when it was asked."""
    asker: str | None = None
    """Key of whoever caused the event."""
    status: str = Field(index=True)
    needed: int
    """How many people must say yes."""
    asked_at: float = Field(sa_column=Column(Double, nullable=False))
    expires_at: float = Field(sa_column=Column(Double, nullable=False))
    decided_at: float | None = Field(default=None, sa_column=Column(Double))
    decided_by: str | None = Field(default=None, sa_column=Column(Text))
    reason: str | None = Field(default=None, sa_column=Column(Text))
    """Why not, in words of a person or of the hub."""
    ask: str | None = None
    """Slot of the result that asks; None where nobody could be asked but through the API and the command line."""
    stale: bool = Field(default=False, sa_column=Column(Boolean, nullable=False, index=True))
    """What was posted does not say how it stands any more."""
    told: int = 0
    """How many times what was posted was changed."""
    home: str | None = None
    """The connection where the run came from."""


class ApprovalVote(SQLModel, table=True):
    """What one person said of an approval. One row each, however often they click."""

    __tablename__ = "approval_vote"

    approval: str = Field(primary_key=True)
    voter: str = Field(primary_key=True)
    """`<connector>:<id>`, or `operator:<who>`."""
    approve: bool
    trust: str
    name: str = ""
    evidence: str
    """The event in which they said so; or the API, or the command line."""
    at: float = Field(sa_column=Column(Double, nullable=False))
