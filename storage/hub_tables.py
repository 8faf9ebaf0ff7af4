"""What a hub keeps of itself. Imported by `storage.tables`, so that its tables are known wherever those are."""

from __future__ import annotations

from sqlalchemy import Column, Double
from sqlmodel import Field, SQLModel


class HubKeyRow(SQLModel, table=True):
    """A key that the processes of this hub share and nobody else needs. Made on first use; never replaced."""

    __tablename__ = "hub_key"

    name: str = Field(primary_key=True)
    value: str
    """Hexadecimal."""
    created_at: float = Field(sa_column=Column(Double, nullable=False))
