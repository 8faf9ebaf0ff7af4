"""The table of what people see of a run while it goes on. Part of `storage.tables`, which imports it.

Times are seconds on the database's clock, as everywhere.
"""

from __future__ import annotations

from enum import StrEnum

from sqlalchemy import Column, Double, Index, Text
from sqlmodel import Field, SQLModel


class PresenceStatus(StrEnum):
    """Where a sign of presence stands."""

    OPEN = "open"
    """It shows, or is to show, how the run stands; looked at again at `due_at`."""
    SHOWN = "shown"
    """It shows the last there is to show."""
    DROPPED = "dropped"
    """It will show nothing more; `error` says why."""


class PresenceRow(SQLModel, table=True):
    """One sign of one run at its origin. What it is to show is not stored: it is read from the run at each look."""

    __tablename__ = "presence"
    __table_args__ = (
        Index("ix_presence_due", "status", "priority", "due_at"),
        Index("ix_presence_artefact", "connection", "artefact"),
    )

    run_id: str = Field(primary_key=True)
    kind: str = Field(primary_key=True)
    """`seen`, `status`, `check`, or `check:` and the pull request."""
    connection: str
    wanted: str = Field(sa_column=Column(Text, nullable=False))
    """JSON: where it shows, and what of the rule it needs."""
    status: str
    priority: int
    """Lower ones are claimed first: what tells people that they were heard does not wait behind edits."""
    activity: str | None = None
    """What the agent did last, in words of ours."""
    receipt: str | None = Field(default=None, sa_column=Column(Text))
    artefact: str | None = None
    shown: str | None = None
    """Hash of what it shows."""
    gone: bool = False
    """Somebody deleted it, or it cannot be changed any more."""
    tried: int = 0
    """Claims that may have made it: any but the first looks for it before making it."""
    failures: int = 0
    """In a row."""
    error: str | None = Field(default=None, sa_column=Column(Text))
    due_at: float = Field(sa_column=Column(Double, nullable=False))
    not_before: float = Field(sa_column=Column(Double, nullable=False))
    """No edit before then, whatever happens: the vendor's limit for one artefact."""
    calm_before: float = Field(sa_column=Column(Double, nullable=False))
    """No edit before then but one that people wait for: the share of the vendor's limit for all artefacts together."""
    changes: int = 0
    """How often something happened that people wait for. A look that began before the last of them is not the last."""
    lease_owner: str | None = None
    lease_until: float | None = Field(default=None, sa_column=Column(Double))
    fence: int = 0
    created_at: float = Field(sa_column=Column(Double, nullable=False))
    updated_at: float = Field(sa_column=Column(Double, nullable=False))
    """When it last changed what it shows, or was made."""
