"""Posts to Jira for tests, and what Jira would answer to them. Holds no expectations."""

from __future__ import annotations

from typing import Any

import httpx
from loopback import Answer, Loopback

from connectors.jira.connector import CONNECTOR
from connectors.jira.outputs import OUTPUTS
from connectors.jira.settings import JiraSettings
from connectors.poster import (
    OutputArguments,
    OutputTarget,
    Post,
    Poster,
)
from schemas.event import Subject
from schemas.result import Origin

V3 = "/rest/api/3"
V2 = "/rest/api/2"
TOKEN = "an-invented-api-token"
TOO_LONG = {
    "errorMessages": [],
    "errors": {"comment": "The entered text is too long. It exceeds the allowed limit of 32,767 characters."},
}
PAGE = "https://acme.atlassian.net/browse/SHOP-17"


def poster(server: Loopback, http: httpx.AsyncClient, *, token: str | None = TOKEN, **more: Any) -> Poster:
    given = {"email": "bot@acme.example", **more}
    configured = JiraSettings.model_validate(
        {
            "api_url": server.url,
            "webhook_secrets": ["env:X"],
            **{k: v for k, v in given.items() if v is not None},
        }
    )
    return CONNECTOR.poster(configured, token=token, http=http, files={})


def data_center(server: Loopback, http: httpx.AsyncClient) -> Poster:
    return poster(server, http, email=None, deployment="datacenter")


def post(
    output: str,
    arguments: dict[str, Any],
    target: dict[str, Any] | None = None,
    *,
    origin: Origin | None = None,
    slot: str = "comment.1",
) -> Post:
    spec = OUTPUTS[output]
    made_target: OutputTarget = spec.target.model_validate(target or {})
    made_arguments: OutputArguments = spec.arguments.model_validate(arguments)
    return Post(
        run="run_01",
        slot=slot,
        output=output,
        target=made_target,
        arguments=made_arguments,
        origin=origin or an_origin(),
        to_origin=target is None or "issue" not in target,
    )


def an_origin(**more: Any) -> Origin:
    fields: dict[str, Any] = {
        "connection": "acme-jira",
        "event_id": "evt_1",
        "kind": "comment.created",
        "subject": Subject(kind="issue", key="SHOP-17", url=PAGE),
    }
    return Origin(**{**fields, **more})


def comment_path(version: str = V3, key: str = "SHOP-17") -> str:
    return f"{version}/issue/{key}/comment"


def made(number: str = "30002") -> Answer:
    return Answer(
        201, {"id": number, "self": f"https://acme.atlassian.net/rest/api/3/issue/10231/comment/{number}"}
    )


MARKER = {"key": "triggerhub.marker", "value": {"run": "run_01", "slot": "comment.1"}}
