"""The connector's README and set-up page: settings load, the rule matches, the Automation body is read as it says."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import yaml

from connectors.base import Identity, Request
from connectors.jira.connector import CONNECTOR
from connectors.jira.outputs import OUTPUTS
from router.loading import load_documents

ROOT = Path(__file__).parents[2]
README = ROOT / "connectors" / "jira" / "README.md"
SETUP = ROOT / "docs" / "connectors" / "jira.md"


def blocks(page: Path, language: str) -> list[str]:
    return [part.split("```")[0] for part in page.read_text(encoding="utf-8").split(f"```{language}\n")[1:]]


def test_every_connection_is_valid() -> None:
    connections: list[dict[str, Any]] = []
    for block in blocks(SETUP, "yaml") + blocks(README, "yaml"):
        connections += yaml.safe_load(block)["connections"].values()
    assert len(connections) == 4
    products = [
        CONNECTOR.settings.model_validate(connection).model_dump()["deployment"] for connection in connections
    ]
    assert products == [None, None, "datacenter", None]


def test_the_example_loads() -> None:
    config, _ = load_documents(
        [("README.md", blocks(README, "yaml")[-1].encode())],
        connection_models={"jira": CONNECTOR.settings},
        output_specs={"jira": OUTPUTS},
    )
    assert [rule.name for rule in config.rules] == ["jira-agent-fix"]


def test_the_body_for_automation_starts_what_it_says() -> None:
    (template,) = blocks(SETUP, "json")
    filled = re.sub(
        r"\{\{([a-zA-Z.]+)\}\}",
        lambda found: {
            "now.toMillis": "1767323106000",
            "issue.labels.asJsonStringArray": '["agent-fix"]',
            "issue.url.asJsonString": '"https://acme.atlassian.net/browse/SHOP-17"',
            "issue.key.asJsonString": '"SHOP-17"',
        }.get(found[1], json.dumps(found[1])),
        template,
    )
    (fact,) = CONNECTOR.normalise(Request(headers={}, body=filled.encode()), identity=Identity()).facts
    assert (fact.kind, fact.actor.trust, fact.subject.key) == ("issue.assigned", "member", "SHOP-17")
    assert fact.actor.id == "initiator.accountId.asJsonString"
    assert (fact.labels, fact.account) == (("agent-fix",), "acme.atlassian.net")
    assert fact.subject.url == "https://acme.atlassian.net/browse/SHOP-17"
    assert fact.text == "issue.description.asJsonString"
