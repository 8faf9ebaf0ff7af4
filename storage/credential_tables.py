"""Credentials in vaults of the service that can no longer be renewed. Part of `storage.tables`, which imports them."""

from __future__ import annotations

from sqlalchemy import Column, Double
from sqlmodel import Field, SQLModel


class CredentialFailure(SQLModel, table=True):
    """One credential that the service could not renew. Gone again once it was renewed, replaced or given up."""

    __tablename__ = "credential_failure"

    credential_id: str = Field(primary_key=True)
    vault_id: str = Field(index=True)
    event_id: str
    """The webhook that told it; empty where the service said so when it was asked."""
    failed_at: float = Field(sa_column=Column(Double, nullable=False))
    """When it failed, by the service."""
    checked_at: float = Field(sa_column=Column(Double, nullable=False))
    """When the service was last asked whether it still is so; before that, when we heard of it."""
