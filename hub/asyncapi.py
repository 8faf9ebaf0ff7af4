"""The public contract of the topics as AsyncAPI 3, made from the one topic table. Opens no connection."""

from __future__ import annotations

import json
from typing import Any, Final

from faststream.kafka import KafkaBroker
from faststream.specification import AsyncAPI

from hub.kafka_records import SCHEMA_HEADER
from schemas.topics import TOPICS
from schemas.version import SCHEMA_VERSION

HEADER: Final = (
    f"The header {SCHEMA_HEADER} repeats the version that the value names (now {SCHEMA_VERSION}); where neither does, "
    "it is 1."
)


def document() -> str:
    """AsyncAPI JSON of every topic and its dead-letter partner."""
    broker = KafkaBroker(
        "localhost:9092", description="The hub's Kafka topics. Keys and values are a public contract."
    )
    for spec in TOPICS:
        broker.publisher(
            spec.name,
            title=spec.name,
            description=f"{spec.description} Key: {spec.key}. {HEADER}",
            schema=spec.value,
        )
        broker.publisher(
            spec.dead_letter,
            title=spec.dead_letter,
            description=f"Records of {spec.name} that no consumer can take, byte for byte; the header "
            "triggerhub-reason says why.",
            schema=bytes,
        )
    specification: Any = AsyncAPI(broker, title="triggerhub", version="1", schema_version="3.0.0")
    # FastStream keeps publishers in no order: sorted, the contract is the same text every time it is printed.
    found = json.loads(specification.to_specification().to_json())
    return json.dumps(found, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
