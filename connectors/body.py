"""Reading bytes that strangers sent: JSON and forms, with bounds. Must not raise anything but UnreadableError."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl

import jiter

from connectors.base import UnreadableError

MAX_FORM_FIELDS = 1000


def read_object(body: bytes) -> dict[str, Any]:
    """Decode a JSON object. A key twice, more than 200 levels, NaN or bytes that are not UTF-8 are refused.

    A number beyond what a float holds is read as infinite, which stands as null in the event.
    """
    try:
        value = jiter.from_json(body, catch_duplicate_keys=True, allow_inf_nan=False)
    except ValueError as error:
        msg = f"the body is not acceptable JSON: {_without_content(str(error))}"
        raise UnreadableError(msg) from None
    if not isinstance(value, dict):
        msg = f"the body is a JSON {_name(value)}, an object was expected"
        raise UnreadableError(msg)
    return value


def read_form(body: bytes) -> dict[str, str]:
    """Decode `application/x-www-form-urlencoded`. A field twice is refused."""
    try:
        pairs = parse_qsl(
            body.decode("utf-8"), keep_blank_values=True, errors="strict", max_num_fields=MAX_FORM_FIELDS
        )
    except (UnicodeDecodeError, ValueError) as error:
        msg = f"the body is not an acceptable form: {type(error).__name__}"
        raise UnreadableError(msg) from None
    form = dict(pairs)
    if len(form) != len(pairs):
        msg = "the form names a field twice"
        raise UnreadableError(msg)
    return form


def body_hash(body: bytes) -> str:
    """Hex SHA-256 of the raw bytes: the delivery key where a vendor sends none."""
    return hashlib.sha256(body).hexdigest()


def get(value: object, *path: str | int) -> Any:
    """Walk into decoded JSON. None as soon as a step is missing or of another type: payloads lie about their shape."""
    for step in path:
        if isinstance(step, str):
            # Decoded JSON is made of plain dictionaries; asking an abstract class costs five times as much.
            if type(value) is not dict and not isinstance(value, Mapping):
                return None
            value = value.get(step)
        else:
            if not isinstance(value, list) or not -len(value) <= step < len(value):
                return None
            value = value[step]
    return value


def text_at(value: object, *path: str | int) -> str | None:
    """The non-empty string at `path`, else None."""
    found = get(value, *path)
    return found if isinstance(found, str) and found else None


def id_at(value: object, *path: str | int) -> str | None:
    """The identifier at `path` as a string (vendors send both numbers and strings), else None."""
    found = get(value, *path)
    if isinstance(found, bool):
        return None
    if isinstance(found, int):
        return str(found)
    return found if isinstance(found, str) and found else None


def time_at(value: object, *path: str | int) -> datetime | None:
    """The ISO 8601 time at `path` in UTC, else None. A time without a zone is taken as UTC."""
    found = get(value, *path)
    if not isinstance(found, str):
        return None
    try:
        moment = datetime.fromisoformat(found)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def epoch(seconds: object) -> datetime | None:
    """Seconds since the epoch (number or numeric string) as a time in UTC, else None."""
    if isinstance(seconds, bool) or not isinstance(seconds, int | float | str):
        return None
    try:
        return datetime.fromtimestamp(float(seconds), tz=UTC)
    except (ValueError, OverflowError, OSError):
        return None


def _name(value: object) -> str:
    names: dict[type, str] = {list: "array", str: "string", bool: "boolean", int: "number", float: "number"}
    return "null" if value is None else names.get(type(value), "value")


def _without_content(message: str) -> str:
    """The parser quotes the duplicate key; keys are content too, so only the place is kept."""
    if message.startswith("Detected duplicate key"):
        return "a key stands twice at " + message.rpartition(" at ")[2]
    return message
