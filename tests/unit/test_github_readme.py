"""The README of the connector: its example loads, names fields that exist, and its tables are complete."""

from __future__ import annotations

from pathlib import Path

import yaml
from github_cases import body_of, fact

from connectors.github.connector import CONNECTOR
from connectors.github.outputs import OUTPUTS
from router.loading import load_documents

README = (Path(__file__).parents[2] / "connectors" / "github" / "README.md").read_text(encoding="utf-8")
EXAMPLE = README.split("```yaml\n")[1].split("```")[0]


def test_the_example_loads() -> None:
    config, _ = load_documents(
        [("README.md", EXAMPLE.encode())],
        connection_models={"github": CONNECTOR.settings},
        output_specs={"github": OUTPUTS},
    )
    assert [rule.name for rule in config.rules] == ["repair-failing-tests"]


def test_the_example_is_of_an_event_that_exists() -> None:
    match = yaml.safe_load(EXAMPLE)["rules"][0]["match"]
    failed = fact("workflow_run", body_of("workflow_run.failed-on-pull-request"))
    assert failed.kind == match["kind"]
    assert failed.changed["conclusion"]["to"] in match["if"]
    assert f'== "{failed.subject.kind}"' in match["if"]
    assert failed.actor.trust == "collaborator"


def test_every_output_is_named() -> None:
    """Their fields are in docs/configuration.md, which tests/unit/test_docs_reference.py compares."""
    posted = README.partition("## What can be posted")[2]
    assert all(f"`{name}`" in posted for name in OUTPUTS)
