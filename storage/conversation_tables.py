"""Tables of conversations: who owns what, how subjects hang together, and who reads them.

Imported by `storage.tables`, where everything else imports them from.
"""

from __future__ import annotations

from sqlalchemy import Column, Double, Text
from sqlmodel import Field, SQLModel


class ConversationRow(SQLModel, table=True):
    """One conversation and the session that owns it."""

    __tablename__ = "conversation"

    key: str = Field(primary_key=True)
    rule: str
    connection: str
    subject: str
    session_id: str | None = None
    session_cost_cents: int = 0
    """List cost of the session already attributed to runs."""
    created_at: float = Field(sa_column=Column(Double, nullable=False))
    updated_at: float = Field(sa_column=Column(Double, nullable=False))
    visibility: str = Field(default="private", sa_column_kwargs={"server_default": "private"})
    """Who reads the place where it began: `public`, `private` or `restricted`."""
    taint: str = Field(default="private", sa_column_kwargs={"server_default": "private"})
    """The narrowest place of which anything was told to its sessions. It never widens."""


class ConversationSubject(SQLModel, table=True):
    """Which subjects belong to a conversation: its origin, what its runs made, and what is linked to those."""

    __tablename__ = "conversation_subject"

    connection: str = Field(primary_key=True)
    subject: str = Field(primary_key=True)
    conversation: str = Field(primary_key=True, index=True)
    created_at: float = Field(sa_column=Column(Double, nullable=False))
    how: str = Field(default="origin", sa_column_kwargs={"server_default": "origin"})
    """How it came to belong: `schemas.references.How`."""
    reference: str | None = None
    """The reference (`link.reference`) by which it was recognised; None for the origin and what was made."""


class LinkRow(SQLModel, table=True):
    """A subject of a conversation names another subject."""

    __tablename__ = "link"

    reference: str = Field(primary_key=True)
    """What is named, in the form of `schemas.references`."""
    conversation: str = Field(primary_key=True, index=True)
    how: str
    connection: str
    subject: str
    """Where it was named."""
    proven: bool
    """Whether it may route: it was written by us, proven by the payload, or written by somebody in the rule's `who`."""
    by: str
    """`triggerhub`, or the trust of the actor who wrote it."""
    evidence: str = Field(sa_column=Column(Text, nullable=False))
    """The event, run or result in which it stands."""
    created_at: float = Field(sa_column=Column(Double, nullable=False))


class PlaceRow(SQLModel, table=True):
    """Who reads a repository, project or channel, as its last event said."""

    __tablename__ = "place"

    connection: str = Field(primary_key=True)
    container: str = Field(primary_key=True)
    visibility: str
    updated_at: float = Field(sa_column=Column(Double, nullable=False))
