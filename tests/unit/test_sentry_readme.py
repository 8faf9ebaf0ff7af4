"""The connector's README and set-up page: the examples are valid, and the tables name what the code knows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from connectors.sentry.connector import CONNECTOR
from connectors.sentry.normalise import KINDS
from connectors.sentry.settings import SentrySettings
from schemas.event import KINDS as VOCABULARY

ROOT = Path(__file__).parents[2]
README = (ROOT / "connectors" / "sentry" / "README.md").read_text(encoding="utf-8")
SETUP = (ROOT / "docs" / "connectors" / "sentry.md").read_text(encoding="utf-8")


def blocks(page: str) -> list[Any]:
    return [yaml.safe_load(part.split("```")[0]) for part in page.split("```yaml\n")[1:]]


def test_the_connection_is_valid() -> None:
    (connection,) = blocks(SETUP)[0]["connections"].values()
    assert SentrySettings.model_validate(connection).organization == "acme"


def test_every_setting_of_the_connector_is_explained() -> None:
    every = {"source", "webhook_secrets", "token", "self_ids", "self_logins", "heal", "canary"}
    own = set(SentrySettings.model_fields) - every
    assert all(f"| `{name}` |" in SETUP for name in own)


def test_the_example_rule_names_outputs_that_exist() -> None:
    (rule,) = blocks(README)[0]["rules"]
    assert rule["match"]["kind"] in VOCABULARY
    own = [(name, dict(target)) for entry in rule["outputs"] for name, target in entry.items()][1:]
    assert [name for name, _ in own] == ["comment", "link_issue"]
    for name, target in own:
        assert target.pop("to") == "origin"
        assert CONNECTOR.outputs[name].to_origin
        CONNECTOR.outputs[name].target.model_validate(target)


def test_the_tables_name_every_resource_kind_and_output() -> None:
    for resource, actions in KINDS.items():
        assert f"`{resource}`" in README
        assert all(f"`{kind}`" in README for kind in actions.values())
    assert all(f"`{name}`" in README for name in CONNECTOR.outputs)
