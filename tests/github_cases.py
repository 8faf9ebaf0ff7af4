"""Building blocks of the GitHub tests: sample bodies to change, posts to carry out. Holds no expectation."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import httpx

from connectors.base import Fact, Identity, Normalised, Request
from connectors.github.connector import CONNECTOR
from connectors.github.poster import GitHubPoster
from connectors.github.settings import GitHubSettings
from connectors.poster import Post
from schemas.event import Subject
from schemas.result import Origin

FIXTURES: Final = Path(__file__).resolve().parents[1] / "connectors" / "github" / "fixtures"
ADA: Final[dict[str, Any]] = {"login": "ada-example", "id": 7001001, "type": "User"}
GRACE: Final[dict[str, Any]] = {"login": "grace-example", "id": 7001002, "type": "User"}
PASSERBY: Final[dict[str, Any]] = {"login": "passerby", "id": 7001900, "type": "User"}
OUR_BOT: Final[dict[str, Any]] = {"login": "acme-hub[bot]", "id": 7009999, "type": "Bot"}
OTHER_BOT: Final[dict[str, Any]] = {"login": "acme-hubs[bot]", "id": 7009998, "type": "Bot"}
TOKEN: Final = "ghp_invented"
US: Final = Identity(actor_ids=frozenset({"7009999", "app:810001"}), logins=frozenset({"acme-hub[bot]"}))


def body_of(name: str) -> dict[str, Any]:
    """The decoded body of one of the connector's own samples."""
    value: dict[str, Any] = json.loads((FIXTURES / f"{name}.json").read_bytes())
    return value


def read(
    event: str | None,
    body: Mapping[str, Any],
    *,
    identity: Identity | None = None,
    delivery: str | None = "d-1",
) -> Normalised:
    """What the connector makes of a body under that `X-GitHub-Event`."""
    headers = {"content-type": "application/json"}
    if event is not None:
        headers["x-github-event"] = event
    if delivery is not None:
        headers["x-github-delivery"] = delivery
    return CONNECTOR.normalise(Request(headers, json.dumps(body).encode()), identity=identity or Identity())


def fact(
    event: str, body: Mapping[str, Any], *, identity: Identity | None = None, delivery: str = "d-1"
) -> Fact:
    """The one fact of a delivery that has one."""
    (only,) = read(event, body, identity=identity, delivery=delivery).facts
    return only


def changed(body: Mapping[str, Any], **parts: Any) -> dict[str, Any]:
    """A copy of a body with top-level parts replaced; a dict is merged into the object that is there."""
    result: dict[str, Any] = json.loads(json.dumps(body))
    for name, part in parts.items():
        if isinstance(part, dict) and isinstance(result.get(name), dict):
            result[name] = {**result[name], **part}
        else:
            result[name] = part
    return result


def post_of(
    output: str,
    arguments: Mapping[str, Any],
    target: Mapping[str, Any] | None = None,
    *,
    slot: str = "s1",
    subject: tuple[str, str] | None = None,
    address: Mapping[str, str] | None = None,
) -> Post:
    """A post to a fixed target, or with `subject` (kind, key) to the event it came from."""
    spec = CONNECTOR.outputs[output]
    kind, key = subject or ("issue", "acme/checkout#12")
    container = key.partition("#")[0].partition("@")[0]
    return Post(
        run="run-1",
        slot=slot,
        output=output,
        target=spec.target.model_validate(dict(target or {})),
        arguments=spec.arguments.model_validate(dict(arguments)),
        origin=Origin(
            connection="acme-github",
            event_id="evt_1",
            kind="issue.opened",
            subject=Subject(kind=kind, key=key, container=container),
            address=dict(address or {}),
        ),
        to_origin=subject is not None,
    )


def poster_at(url: str, http: httpx.AsyncClient, *, token: str = TOKEN) -> GitHubPoster:
    """The poster of a connection with a token, whose vendor answers at `url`."""
    settings = GitHubSettings(source="github", api_url=url, webhook_secrets=("env:A",), token="env:T")
    made = CONNECTOR.poster(settings, token=token, http=http, files={})
    assert isinstance(made, GitHubPoster)
    return made
