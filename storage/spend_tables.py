"""The tables of what is stopped and what was spent. Part of `storage.tables`, which imports it."""

from __future__ import annotations

from sqlalchemy import Column, Double, Index, Text
from sqlmodel import Field, SQLModel


class PauseRow(SQLModel, table=True):
    """A person stopped a rule, a team or everything. The row goes when it is resumed."""

    __tablename__ = "pause"

    scope: str = Field(primary_key=True)
    """`rule`, `team` or `all`."""
    name: str = Field(primary_key=True)
    """Of the rule or team; empty for everything."""
    by: str
    """`api`, or `command:` and the user of the machine it was typed on."""
    reason: str | None = Field(default=None, sa_column=Column(Text))
    at: float = Field(sa_column=Column(Double, nullable=False))


class SpendRow(SQLModel, table=True):
    """What one session cost in one run on one day. The rows of a session add up to its list cost."""

    __tablename__ = "spend"
    __table_args__ = (Index("ix_spend_day", "day"),)

    session_id: str = Field(primary_key=True)
    run_id: str = Field(primary_key=True)
    day: int = Field(primary_key=True)
    """Days since the epoch, UTC, by the database's clock."""
    rule: str
    team: str | None = None
    cents: int = 0


class UnsettledRow(SQLModel, table=True):
    """A session that may cost more than the ledger says: it worked when it was last seen, or nobody could say what it
    cost. Gone again once it was seen at rest and charged."""

    __tablename__ = "unsettled"

    session_id: str = Field(primary_key=True)
    run_id: str
    """A run that had it, or that it was made for."""
    since: float = Field(sa_column=Column(Double, nullable=False))
    """When it was last known to be so."""
    looked_at: float = Field(default=0.0, sa_column=Column(Double, nullable=False, server_default="0"))
    """When the service was last asked for it alone."""
