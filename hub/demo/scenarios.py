"""The five scenarios that are shown and tested: which webhook, which rule, and what must have been posted at the end."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Final

import yaml


@dataclass(frozen=True, slots=True)
class Scenario:
    """One webhook and what shall come of it."""

    name: str
    title: str
    example: str
    """File under examples/."""
    connection: str
    webhook: str
    """File under examples/webhooks/, without its ending."""
    rule: str
    outputs: Mapping[str, int]
    """How often each output must have been posted."""


SCENARIOS: Final = (
    Scenario(
        name="sentry",
        title="Sentry alert becomes a pull request",
        example="sentry-error-to-pr.yaml",
        connection="acme-sentry",
        webhook="sentry-alert",
        rule="sentry-error-to-pr",
        outputs={"open_pull_request": 1, "comment": 1, "post_message": 1},
    ),
    Scenario(
        name="jira",
        title="Jira label starts an agent",
        example="jira-label-to-pr.yaml",
        connection="acme-jira",
        webhook="jira-label",
        rule="jira-label-to-pr",
        outputs={"open_pull_request": 1, "add_remote_link": 1, "transition": 1, "comment": 1},
    ),
    Scenario(
        name="github",
        title="GitHub mention gets a reply",
        example="github-mention-reply.yaml",
        connection="acme-github",
        webhook="github-mention",
        rule="github-mention-reply",
        outputs={"add_reaction": 1, "comment": 1},
    ),
    Scenario(
        name="ci",
        title="Failed CI run is explained",
        example="ci-failure-fix.yaml",
        connection="acme-github",
        webhook="github-failed-run",
        rule="ci-failure-fix",
        outputs={"comment": 1},
    ),
    Scenario(
        name="slack",
        title="Slack mention is answered",
        example="slack-mention-answer.yaml",
        connection="acme-slack",
        webhook="slack-mention",
        rule="slack-mention-answer",
        outputs={"comment": 1},
    ),
)

DEMO_SECRETS: Final = {
    "SENTRY_CLIENT_SECRET": "demo-sentry-client-secret",
    "SENTRY_TOKEN": "demo-sentry-token",
    "GITHUB_WEBHOOK_SECRET": "demo-github-webhook-secret",
    "GITHUB_TOKEN": "demo-github-token",
    "JIRA_WEBHOOK_SECRET": "demo-jira-webhook-secret",
    "JIRA_TOKEN": "demo-jira-token",
    "SLACK_SIGNING_SECRET": "demo-slack-signing-secret",
    "SLACK_BOT_TOKEN": "demo-slack-bot-token",
}
"""Good for the sandbox on loopback and nothing else."""


def configuration(api_url: Mapping[str, str]) -> str:
    """All examples as one configuration, with each source's `api_url` pointing at the sandbox."""
    merged: dict[str, Any] = {"version": 1, "connections": {}, "environments": {}, "agents": {}, "rules": []}
    for scenario in SCENARIOS:
        part = yaml.safe_load(files("examples").joinpath(scenario.example).read_text(encoding="utf-8"))
        for section in ("connections", "environments", "agents"):
            merged[section] |= part[section]
        merged["rules"] += part["rules"]
    for connection in merged["connections"].values():
        connection["api_url"] = api_url[connection["source"]]
    text: str = yaml.safe_dump(merged, sort_keys=False, width=110)
    return text


def webhook(name: str) -> tuple[dict[str, str], bytes]:
    """Headers (lower case, unsigned) and body of a sample webhook."""
    folder = files("examples").joinpath("webhooks")
    headers = json.loads(folder.joinpath(f"{name}.headers.json").read_text(encoding="utf-8"))
    return {key.lower(): value for key, value in headers.items()}, folder.joinpath(
        f"{name}.json"
    ).read_bytes()
