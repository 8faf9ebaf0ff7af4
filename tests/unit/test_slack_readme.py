"""The connector's README and set-up page: the manifest asks for what the code uses, and the example names what exists."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from slack_requests import event, form, read

from connectors.base import Outcome
from connectors.slack.connector import CONNECTOR

ROOT = Path(__file__).parents[2]
README = ROOT / "connectors" / "slack" / "README.md"
SETUP = ROOT / "docs" / "connectors" / "slack.md"


def blocks(page: Path) -> list[Any]:
    text = page.read_text(encoding="utf-8")
    return [yaml.safe_load(part.split("```")[0]) for part in text.split("```yaml\n")[1:]]


def test_every_event_of_the_manifest_is_known() -> None:
    settings = blocks(SETUP)[0]["settings"]
    for name in settings["event_subscriptions"]["bot_events"]:
        inner = {
            "type": name.partition(".")[0],
            "channel": "C1",
            "ts": "5.1",
            "user": "U1",
            "event_ts": "5.1",
        }
        inner |= {"tokens": {"bot": ["U1"]}, "item": {"channel": "C1", "ts": "4.1"}, "reaction": "eyes"}
        reading = read(event(inner))
        assert (reading.outcome is Outcome.HANDLED) == (name != "reaction_added"), name
    addresses = {settings["event_subscriptions"]["request_url"], settings["interactivity"]["request_url"]}
    addresses |= {command["url"] for command in blocks(SETUP)[0]["features"]["slash_commands"]}
    assert len(addresses) == 1


def test_the_command_of_the_manifest_is_read() -> None:
    command = blocks(SETUP)[0]["features"]["slash_commands"][0]["command"]
    assert form({"command": command, "team_id": "T1"}).outcome is Outcome.HANDLED


def test_the_connection_is_valid() -> None:
    (connection,) = blocks(SETUP)[1]["connections"].values()
    assert CONNECTOR.settings.model_validate(connection).api_url == "https://slack.com/api"


def test_the_outputs_of_the_example_rule_exist() -> None:
    (rule,) = blocks(README)[0]["rules"]
    for entry in rule["outputs"]:
        ((name, target),) = entry.items()
        spec = CONNECTOR.outputs[name]
        assert spec.to_origin
        assert target.pop("to") == "origin"
        spec.target.model_validate(target)


def test_every_scope_of_the_manifest_is_explained() -> None:
    text = README.read_text(encoding="utf-8")
    assert all(f"`{scope}`" in text for scope in blocks(SETUP)[0]["oauth_config"]["scopes"]["bot"])
