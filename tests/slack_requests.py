"""Slack request bodies for tests, and the reading of them. Holds no expectations."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlencode

from connectors.base import Fact, Identity, Normalised, Request
from connectors.slack.connector import CONNECTOR

NOBODY = Identity()
BOT = [{"team_id": "T1", "user_id": "UBOT", "is_bot": True, "enterprise_id": None}]


def read(body: object, *, identity: Identity = NOBODY, content_type: str = "application/json") -> Normalised:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return CONNECTOR.normalise(Request(headers={"content-type": content_type}, body=raw), identity=identity)


def form(fields: dict[str, str], *, identity: Identity = NOBODY) -> Normalised:
    return read(
        urlencode(fields).encode(), identity=identity, content_type="application/x-www-form-urlencoded"
    )


def event(inner: dict[str, Any], **outer: Any) -> dict[str, Any]:
    return {
        "type": "event_callback",
        "team_id": "T1",
        "api_app_id": "A1",
        "event_id": "Ev1",
        "event": inner,
        **outer,
    }


def message(**fields: Any) -> dict[str, Any]:
    return {
        "type": "message",
        "channel": "C1",
        "channel_type": "channel",
        "ts": "1767323000.000100",
        "user": "U1",
    } | fields


def only(reading: Normalised) -> Fact:
    assert len(reading.facts) == 1
    return reading.facts[0]
