"""The table of canaries. Part of `storage.tables`, which imports it."""

from __future__ import annotations

from sqlalchemy import Column, Double
from sqlmodel import Field, SQLModel


class CanaryRow(SQLModel, table=True):
    """One canary of one connection: an event of our own that is to come through. Old ones are deleted."""

    __tablename__ = "canary"

    connection: str = Field(primary_key=True)
    slot: int = Field(primary_key=True)
    """Begin of its interval, in whole seconds: of several processes one sends it."""
    event_id: str = Field(unique=True)
    sent_at: float = Field(sa_column=Column(Double, nullable=False))
    came_at: float | None = Field(default=None, sa_column=Column(Double))
    """When the router had it."""
