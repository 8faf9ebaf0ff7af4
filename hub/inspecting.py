"""Reading webhook bodies from files, offline: what `inspect`, `rules test` and `send` have in common.

A body is a file; its headers are given, or lie beside it as NAME.headers.json. Nothing here verifies a
signature, opens a connection or needs a configuration.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

import orjson

from connectors.base import Connector, Identity, Request, UnreadableError, seal
from schemas.event import Event

FORM: Final = "application/x-www-form-urlencoded"
JSON: Final = "application/json"
FORM_SUFFIX: Final = ".form.txt"
HEADERS_SUFFIX: Final = ".headers.json"
UNREADABLE: Final = "unreadable"


class SampleError(Exception):
    """A file that cannot be used at all: it is missing, or its headers are no JSON object of texts."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What a connector makes of one file."""

    file: str
    outcome: str
    """`connectors.base.Outcome`, or `unreadable`."""
    reason: str | None
    events: tuple[Event, ...]

    def line(self) -> bytes:
        """One line of JSON: {"file", "outcome", "reason", "events"}."""
        events = [orjson.Fragment(event.model_dump_json().encode()) for event in self.events]
        file = self.file.encode("utf-8", "backslashreplace").decode()
        return orjson.dumps({"file": file, "outcome": self.outcome, "reason": self.reason, "events": events})


def read_headers(path: Path) -> dict[str, str]:
    """Headers of a file: names in lower case; null values and names that begin with `_` are left out.

    Raises SampleError.
    """
    try:
        decoded = orjson.loads(path.read_bytes())
    except OSError as error:
        msg = f"the headers file {path} cannot be read ({error.strerror}); check the path"
        raise SampleError(msg) from None
    except ValueError:
        msg = f"the headers file {path} is not JSON; write an object of names and values"
        raise SampleError(msg) from None
    if not isinstance(decoded, dict):
        msg = f"the headers file {path} holds no JSON object; write one of names and values"
        raise SampleError(msg)
    found: dict[str, str] = {}
    for name, value in decoded.items():
        if value is None or name.startswith("_"):
            continue
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            msg = f"the headers file {path}: the value of {name!r} must be a text or null"
            raise SampleError(msg)
        found[name.lower()] = str(value)
    return found


def read_request(path: Path, *, headers: Mapping[str, str] | None, limit: int) -> Request:
    """The request that a file stands for. `headers` None: those that lie beside it, if any do.

    `limit` is the connector's largest body in bytes. Raises SampleError for a file that cannot be used,
    UnreadableError for a body above the limit.
    """
    try:
        size = path.stat().st_size
        body = path.read_bytes() if size <= limit else b""
    except OSError as error:
        msg = f"the file cannot be read ({error.strerror})"
        raise SampleError(msg) from None
    if size > limit:
        msg = f"the body is larger than {limit} bytes; such a webhook is answered 413"
        raise UnreadableError(msg)
    form = path.name.endswith(FORM_SUFFIX)
    if form:
        body = body.rstrip(b"\r\n")  # an editor's line end: a form has none
    chosen = dict(headers) if headers is not None else _sibling_headers(path)
    kind = chosen.get("content-type", "").partition(";")[0].strip().lower()
    if form and kind != FORM:
        chosen["content-type"] = FORM
    elif not kind:
        chosen["content-type"] = JSON
    return Request(headers=chosen, body=body)


def _sibling_headers(path: Path) -> dict[str, str]:
    stem = path.name.removesuffix(FORM_SUFFIX) if path.name.endswith(FORM_SUFFIX) else path.stem
    beside = path.with_name(stem + HEADERS_SUFFIX)
    return read_headers(beside) if beside.is_file() else {}


def read_events(
    connector: Connector,
    request: Request,
    *,
    file: str,
    connection: str,
    identity: Identity,
    now: datetime,
) -> Reading:
    """What the hub would make of a request whose signature is good."""
    try:
        reading = connector.normalise(request, identity=identity)
    except UnreadableError as error:
        return Reading(file, UNREADABLE, str(error), ())
    events = tuple(
        seal(
            fact,
            source=connector.source,
            connection=connection,
            payload=reading.payload,
            received_at=now,
            identity=identity,
        )
        for fact in reading.facts
    )
    return Reading(file, reading.outcome.value, reading.reason, events)


def inspect_file(
    connector: Connector,
    path: Path,
    *,
    headers: Mapping[str, str] | None,
    connection: str,
    now: datetime,
) -> tuple[Reading, bool]:
    """The reading of one file, and whether the file itself was usable."""
    try:
        request = read_request(path, headers=headers, limit=connector.max_body)
    except SampleError as error:
        return Reading(str(path), UNREADABLE, str(error), ()), False
    except UnreadableError as error:
        return Reading(str(path), UNREADABLE, str(error), ()), True
    reading = read_events(
        connector, request, file=str(path), connection=connection, identity=Identity(), now=now
    )
    return reading, True
