"""What a Kafka record is to us: the headers it goes out with, and the dead letter it may become. Talks to nobody."""

from __future__ import annotations

import contextlib
import hashlib
import traceback
from pathlib import Path
from typing import Any, Final

from aiokafka import ConsumerRecord
from pydantic import BaseModel, ValidationError

from schemas.event import Event
from schemas.topics import TOPICS
from schemas.version import NEWER, too_new
from storage.dead_letters import DeadLetter
from storage.outbox import Message
from storage.rows import plain

RETRY_HEADER: Final = "triggerhub-retry-of"
"""On a record that repeats a dead letter: that letter's id. Consuming the record settles the letter."""
VERSION_DIGITS: Final = 10
SCHEMA_HEADER: Final = "triggerhub-schema"
"""Version of the value's shape, for readers that would not get as far as finding it inside. Optional."""


def headers_of(message: Message, value: BaseModel | None) -> dict[str, str]:
    """CloudEvents headers of the Kafka binding. Events travel structured, so their content type says so.

    `value` is the decoded message where the caller has it at hand; a swept message is decoded here.
    """
    spec = next(spec for spec in TOPICS if spec.name == message.topic)
    if value is None:
        with contextlib.suppress(ValidationError):  # its consumer will say what is wrong with it
            value = spec.value.model_validate_json(message.value)
    ref = message.ref
    if message.repeated is not None:  # under the name it had, not as the dead letter that it is
        ref = message.repeated.ref or str(getattr(value, "id", message.ref))
    headers = {
        "ce_specversion": "1.0",
        "ce_id": ref,
        "ce_type": f"triggerhub.{spec.value.__name__.lower()}",
        "ce_source": "triggerhub",
        "content-type": "application/json",
    }
    if isinstance(value, Event):
        headers |= {
            "ce_type": value.type,
            "ce_source": value.source,
            "ce_subject": value.subject,
            "content-type": "application/cloudevents+json; charset=UTF-8",
        }
    version = value.schemaversion if isinstance(value, Event) else getattr(value, "version", None)
    if version is not None:
        headers[SCHEMA_HEADER] = str(version)
    traceparent = getattr(value, "traceparent", None)
    if traceparent:
        headers["traceparent"] = traceparent
    if message.repeated is not None:
        headers[RETRY_HEADER] = message.ref
    return headers


def letter_of(record: ConsumerRecord[Any, Any], *, reason: str) -> DeadLetter:
    """A record that no consumer can take, as it is kept."""
    # The digest: a broker that forgot its records (the embedded one, restarted) uses the same positions again.
    digest = hashlib.sha256(record.value or b"").hexdigest()[:8]
    ref = next((value for name, value in record.headers if name == "ce_id"), b"")
    return DeadLetter(
        id=f"{record.topic}/{record.partition}/{record.offset}/{digest}",
        ref=ref.decode("utf-8", "replace") or None,
        topic=record.topic,
        key=record.key,
        value=record.value or b"",
        reason=reason,
        repeats=retry_of(record),
    )


def retry_of(record: ConsumerRecord[Any, Any]) -> str | None:
    """The dead letter that this record repeats."""
    given = next((value for name, value in record.headers if name == RETRY_HEADER), b"")
    return plain(given.decode("utf-8", "replace"), limit=500) or None


def newer(record: ConsumerRecord[Any, Any]) -> str | None:
    """Why a record is not even looked into, by its header: a newer triggerhub wrote it."""
    given = next((value for name, value in record.headers if name == SCHEMA_HEADER), b"")
    text = given.decode("utf-8", "replace").strip()
    return too_new(int(text)) if text.isascii() and text.isdigit() and len(text) < VERSION_DIGITS else None


def invalid(error: ValidationError) -> str:
    """What was wrong and where, without the input. A message that is too new has no other fault worth telling."""
    details = error.errors(include_input=False, include_url=False, include_context=False)
    newest = next((item["msg"] for item in details if item["type"] == NEWER), None)
    if newest is not None:
        return newest
    return "; ".join(f"{'.'.join(map(str, item['loc'])) or 'message'}: {item['msg']}" for item in details[:5])


def place_of(error: Exception) -> str:
    """What was raised and where, without its text: that may quote the record."""
    frames = traceback.extract_tb(error.__traceback__)
    return (
        f"{type(error).__name__} at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "?"
    )
