"""Jira bodies for tests, and what the connector reads of them. Holds no expectations."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from connectors.base import Identity, Normalised, Request
from connectors.jira.connector import CONNECTOR

SAMPLES = Path(__file__).parents[1] / "connectors" / "jira" / "fixtures"
NOBODY = Identity()


def read(body: object, headers: Mapping[str, str] | None = None, identity: Identity = NOBODY) -> Normalised:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return CONNECTOR.normalise(Request(headers=headers or {}, body=raw), identity=identity)


def sample(name: str) -> dict[str, Any]:
    body: dict[str, Any] = json.loads((SAMPLES / f"{name}.json").read_text())
    return body
