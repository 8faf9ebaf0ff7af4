"""Invented configurations and events for the tests of the router and its loader. Asserts nothing."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import yaml
from pydantic import Field

from connectors.base import ConnectionSettings
from connectors.poster import OutputArguments, OutputSpec, OutputTarget
from router.engine import RuleSet
from router.loading import load_documents
from router.problems import ConfigError
from schemas.config import Config
from schemas.event import Actor, Event, EventData, Subject


class AppSettings(OutputTarget):
    """A nested part of a connection that holds a secret of its own."""

    id: str
    private_key: str


class HostSettings(ConnectionSettings):
    app: AppSettings | None = None


class CommentTarget(OutputTarget):
    issue: str | None = None


class PullRequestTarget(OutputTarget):
    repository: str
    draft: bool = False


class ChannelTarget(OutputTarget):
    channel: str


class CheckTarget(OutputTarget):
    name: str = "triggerhub"


class TextArguments(OutputArguments):
    """Internal words that no agent should read."""

    text: str = Field(min_length=1, description="The comment, in Markdown.")


def spec(description: str, target: type[OutputTarget], *, to_origin: bool) -> OutputSpec:
    return OutputSpec(description=description, target=target, arguments=TextArguments, to_origin=to_origin)


COMMENT = spec("Write a comment.", CommentTarget, to_origin=True)
SPECS: dict[str, dict[str, OutputSpec]] = {
    "github": {
        "comment": COMMENT,
        "open_pull_request": spec("Open a pull request.", PullRequestTarget, to_origin=False),
        "create_check_run": spec("Report a check.", CheckTarget, to_origin=True),
    },
    "sentry": {"comment": COMMENT},
    "slack": {"comment": COMMENT, "post_message": spec("Post a message.", ChannelTarget, to_origin=False)},
}
MODELS: dict[str, type[ConnectionSettings]] = {
    "github": HostSettings,
    "sentry": ConnectionSettings,
    "slack": ConnectionSettings,
}


def connection(source: str, **more: Any) -> dict[str, Any]:
    return {
        "source": source,
        "api_url": "https://api.example.com",
        "webhook_secrets": ["env:HOOK_SECRET"],
        "token": "env:API_TOKEN",
        **more,
    }


def rule(**more: Any) -> dict[str, Any]:
    """A rule as it would be written; `more` replaces fields, None removes them."""
    fields = {
        "name": "first",
        "match": {"source": "github"},
        "agent": "fixer",
        "prompt": "Repair it.",
        **more,
    }
    return {key: value for key, value in fields.items() if value is not None}


def configuration(*rules: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "version": 1,
        "connections": {
            "acme-github": connection("github"),
            "acme-sentry": connection("sentry"),
            "acme-slack": connection("slack"),
        },
        "environments": {"python": {"config": {"type": "cloud"}}},
        "agents": {"fixer": {"model": "claude-sonnet-5-5", "environment": "python"}},
        "rules": list(rules),
        **more,
    }


def load_text(*texts: str, **more: Any) -> tuple[Config, RuleSet]:
    """Load texts as triggerhub.yaml (or 1.yaml, 2.yaml … when there are several)."""
    names = ["triggerhub.yaml"] if len(texts) == 1 else [f"{index + 1}.yaml" for index in range(len(texts))]
    files = [(name, text.encode()) for name, text in zip(names, texts, strict=True)]
    return load_documents(files, connection_models=MODELS, output_specs=SPECS, **more)


def load_config(config: Mapping[str, Any], **more: Any) -> tuple[Config, RuleSet]:
    return load_text(yaml.safe_dump(dict(config), sort_keys=False), **more)


def rule_set(*rules: Mapping[str, Any], **more: Any) -> RuleSet:
    return load_config(configuration(*rules, **more))[1]


def problems(config: Mapping[str, Any] | str, **more: Any) -> list[str]:
    """`path: message` of every problem, without the place."""
    try:
        if isinstance(config, str):
            load_text(config, **more)
        else:
            load_config(config, **more)
    except ConfigError as error:
        return [f"{problem.path}: {problem.message}" for problem in error.problems]
    return []


def event(
    *,
    source: str = "github/acme",
    connection: str = "acme-github",
    kind: str = "issue.opened",
    trust: str = "member",
    container: str | None = "acme/checkout",
    is_self: bool = False,
    is_bot: bool = False,
    payload: dict[str, Any] | None = None,
    **data: Any,
) -> Event:
    connector = source.partition("/")[0]
    return Event(
        id="evt_0001",
        source=source,
        type=f"{connector}.{kind}",
        subject="acme/checkout#12",
        time=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        connection=connection,
        data=EventData.model_validate(
            {
                "kind": kind,
                "actor": Actor.model_validate(
                    {"id": "7", "login": "ada", "trust": trust, "is_self": is_self, "is_bot": is_bot}
                ),
                "subject": Subject(kind="issue", key="acme/checkout#12", container=container),
                "payload": payload or {},
                **data,
            }
        ),
    )
