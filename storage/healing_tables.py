"""Tables of the search for what vendors could not deliver. Part of `storage.tables`, which imports them.

Times are seconds on the database's clock, as everywhere.
"""

from __future__ import annotations

from sqlalchemy import Column, Double, Text
from sqlmodel import Field, SQLModel


class HealingRow(SQLModel, table=True):
    """One connection whose vendor is asked for what it could not deliver: when next, and by whom now."""

    __tablename__ = "healing"

    connection: str = Field(primary_key=True)
    begun_at: float = Field(sa_column=Column(Double, nullable=False))
    """What happened before that is none of our business: nothing older is ever asked for."""
    due_at: float = Field(sa_column=Column(Double, nullable=False))
    lease_owner: str | None = None
    lease_until: float | None = Field(default=None, sa_column=Column(Double))
    fence: int = 0
    learned_at: float = Field(sa_column=Column(Double, nullable=False))
    """Events received until then were looked at for scopes."""
    renew_at: float = Field(sa_column=Column(Double, nullable=False))
    """When the vendor is asked next whether a subscription of ours is about to end."""
    swept_at: float | None = Field(default=None, sa_column=Column(Double))
    """When a sweep last came to its end."""
    fetched: int = 0
    """Events that were found so far and that no webhook had brought."""
    redelivered: int = 0
    """Deliveries that the vendor was asked to repeat so far."""
    error: str | None = Field(default=None, sa_column=Column(Text))
    """Why the last sweep was cut short; None when it was not."""


class HealingCursor(SQLModel, table=True):
    """How far one stream of a connection (a hook, a channel, all issues) has been read."""

    __tablename__ = "healing_cursor"

    connection: str = Field(primary_key=True)
    stream: str = Field(primary_key=True)
    since: float = Field(sa_column=Column(Double, nullable=False))
    """Everything up to here was looked at."""
    upto: float | None = Field(default=None, sa_column=Column(Double))
    """When the pass under way began: becomes `since` at its end."""
    page: str | None = Field(default=None, sa_column=Column(Text))
    """Where the pass under way goes on; only the connector reads it."""
    off_until: float | None = Field(default=None, sa_column=Column(Double))
    """The vendor refused; nobody asks again until then."""
    reason: str | None = Field(default=None, sa_column=Column(Text))
    """Why it was refused, as the vendor says."""
    updated_at: float = Field(sa_column=Column(Double, nullable=False))


class HealingScope(SQLModel, table=True):
    """A sort of fact that webhooks have brought to a connection: what the vendor was asked to send, as far as one can
    see it from here."""

    __tablename__ = "healing_scope"

    connection: str = Field(primary_key=True)
    scope: str = Field(primary_key=True)
    learned_at: float = Field(sa_column=Column(Double, nullable=False))
