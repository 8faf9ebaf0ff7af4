"""A result: something that shall be posted outside for a run, and the receipt of its having been posted.

Shapes only. Written by the runner, and by the router where it says something itself, to `triggerhub.results`; carried out
by the connectors' outbox.
"""

from __future__ import annotations

from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field

from schemas.event import Event, Subject, readers_of
from schemas.policy.shapes import OutputPolicy
from schemas.version import SCHEMA_VERSION, SchemaVersion


class Origin(BaseModel):
    """Where a run came from, so that a reply finds its way back."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    connection: str
    event_id: str
    kind: str
    subject: Subject
    address: dict[str, str] = Field(default_factory=dict)
    visibility: str = "private"
    outside: bool = False
    """People of other organisations read the place as well."""

    @classmethod
    def of(cls, event: Event) -> Self:
        """Where `event` came from."""
        data = event.data
        return cls(
            connection=event.connection,
            event_id=event.id,
            kind=data.kind,
            subject=data.subject,
            address=data.address,
            visibility=data.visibility,
            outside=data.outside,
        )

    @property
    def readers(self) -> str:
        """Who reads the place, as `schemas.event.level_of` compares them."""
        return readers_of(self.visibility, outside=self.outside)


class Result(BaseModel):
    """One slot of one run. (run, slot) is posted once; `id` is `<run>:<slot>`."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    version: SchemaVersion = SCHEMA_VERSION
    id: str
    run: str
    slot: str
    conversation: str
    output: str
    connection: str
    target: dict[str, Any] = Field(default_factory=dict)
    arguments: dict[str, Any] = Field(default_factory=dict)
    origin: Origin
    policy: OutputPolicy = Field(default_factory=OutputPolicy)
    traceparent: str | None = None


class Receipt(BaseModel):
    """Proof of a post, kept for ever: what was made, where, and under which identifier it comes back in webhooks."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    url: str | None = None
    artefact: str | None = None
    """The vendor's identifier, comparable with `EventData.artefact`."""
    subject: str | None = None
    """Subject key of what was made, when it is a subject of its own, such as a pull request."""
    note: str = ""
    """What the agent is told besides the URL, such as `the pull request existed already; adopted`."""
