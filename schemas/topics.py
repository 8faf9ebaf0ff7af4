"""The one table of Kafka topics: name, key, value model, dead-letter partner. Nothing else may name a topic."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pydantic import BaseModel

from schemas.dispatch import Dispatch
from schemas.event import Event
from schemas.result import Result


@dataclass(frozen=True, slots=True)
class TopicSpec:
    """A topic of the public contract."""

    name: str
    key: str
    """Which field of the value is the record's key, in words."""
    value: type[BaseModel]
    description: str
    partitions: int = 12

    @property
    def dead_letter(self) -> str:
        return f"{self.name}.dlq"


EVENTS: Final = TopicSpec(
    name="triggerhub.events",
    key="subject",
    value=Event,
    description="Normalised events of all connections. Other programs may read it and publish events of their own.",
)
DISPATCHES: Final = TopicSpec(
    name="triggerhub.dispatches",
    key="conversation",
    value=Dispatch,
    description="One message per event and rule that matched.",
)
RESULTS: Final = TopicSpec(
    name="triggerhub.results",
    key="conversation",
    value=Result,
    description="What runs want posted: pull requests, comments, replies, states.",
)
TOPICS: Final[tuple[TopicSpec, ...]] = (EVENTS, DISPATCHES, RESULTS)

MAX_MESSAGE_BYTES: Final = 900_000
"""Below Kafka's default limit of 1 MiB, with room for headers. A larger event travels without its payload."""
