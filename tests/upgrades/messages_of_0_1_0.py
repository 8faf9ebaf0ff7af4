"""Messages and JSON Schemas as triggerhub 0.1.0 wrote them, read from `messages/`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

FOLDER: Final = Path(__file__).parent / "messages"
EVENTS: Final = ("github", "jira", "sentry", "slack")


def raw(name: str) -> bytes:
    """The bytes of one message, such as `event.github`."""
    return (FOLDER / f"{name}.json").read_bytes().rstrip(b"\n")


def decoded(name: str) -> dict[str, Any]:
    """The same, as JSON."""
    found: dict[str, Any] = json.loads(raw(name))
    return found


def schema(name: str) -> dict[str, Any]:
    """JSON Schema of `event`, `dispatch` or `result` as its readers have it."""
    return decoded(f"schema.{name}")
