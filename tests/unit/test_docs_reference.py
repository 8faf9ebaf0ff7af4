"""The tables of the documents name exactly what the code has: fields, settings, outputs, kinds, states, metrics …"""

from __future__ import annotations

import json
import re
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from pages import ROOT, blocks, names, section, table
from pydantic import BaseModel
from sqlmodel import SQLModel

from connectors.base import ConnectionSettings
from connectors.registry import all_connectors
from hub import asyncapi
from hub.broker import DEAD_LETTERS_SECONDS, DEAD_LETTERS_TOLERATED
from hub.demo.scenarios import SCENARIOS as SCENARIOS_OF_THE_DEMO
from hub.hub import STOP_SECONDS
from hub.metrics import Metrics
from hub.parts import ROLES
from hub.progress import Progress
from hub.settings import STUCK_SECONDS, Settings
from router.expressions import FIELDS, MAX_LENGTH
from runner.timing import Timing
from sandbox.faults import Fault, Mode
from sandbox.managed_agents.scenarios import SCENARIOS
from sandbox.vendor.admin import ACTS
from schemas.config import (
    FOLLOW_UPS,
    Caps,
    Match,
    Outcome,
    Presence,
    Rule,
    RuleLimits,
    RuleMemoryStore,
    RuleRepository,
    Schedule,
)
from schemas.definitions import Agent, Environment, File, MemoryStore, Vault
from schemas.durations import quiet_time
from schemas.event import KINDS, TRUSTS, Event
from schemas.policy.approval import ApprovalPolicy, AskAt, NamedVoters, ToolApproval
from schemas.policy.shapes import OutputPolicy, PathPolicy
from schemas.topics import MAX_MESSAGE_BYTES, TOPICS
from storage.outbox import SWEEP_DELAYS
from storage.presence_tables import PresenceStatus
from storage.results import MAX_ATTEMPTS
from storage.tables import ApprovalStatus, ResultStatus, RunStatus

DOCS = ROOT / "docs"
CONFIGURATION, OPERATIONS = DOCS / "configuration.md", DOCS / "operations.md"
ARCHITECTURE, TOPIC_PAGE, SANDBOX = DOCS / "architecture.md", DOCS / "topics.md", DOCS / "sandbox.md"
CONNECTORS = {found.source: found for found in all_connectors()}


def first_column(page: Path, marker: str) -> list[str]:
    return [name for row in table(page, marker) for name in names(row[0])]


@pytest.mark.parametrize(
    "model",
    [
        Rule,
        RuleRepository,
        RuleLimits,
        Caps,
        Presence,
        Match,
        Schedule,
        Outcome,
        Agent,
        Environment,
        Vault,
        MemoryStore,
        RuleMemoryStore,
        File,
        OutputPolicy,
        PathPolicy,
        ApprovalPolicy,
        NamedVoters,
        AskAt,
        ToolApproval,
    ],
)
def test_every_field_of_the_configuration_has_its_row(model: type[BaseModel]) -> None:
    fields = {field.alias or name for name, field in model.model_fields.items()}
    shown = first_column(CONFIGURATION, f"table: {model.__name__}")
    assert sorted(shown) == sorted(fields)


@pytest.mark.parametrize(
    "model",
    [Rule, RuleRepository, Schedule, Outcome, Agent, Environment, Vault, MemoryStore, RuleMemoryStore, File],
)
def test_what_is_needed_is_said_to_be(model: type[BaseModel]) -> None:
    needed = {field.alias or name for name, field in model.model_fields.items() if field.is_required()}
    rows = table(CONFIGURATION, f"table: {model.__name__}")
    assert {names(row[0])[0] for row in rows if row[1] == "yes"} == needed


def test_every_default_of_a_rule_is_right() -> None:
    for row in table(CONFIGURATION, "table: Rule"):
        field, shown = names(row[0])[0], names(row[2])
        if not shown:
            continue
        default = Rule.model_fields[field].get_default(call_default_factory=True)
        wanted = list(default) if isinstance(default, tuple) else default
        wanted = wanted.show if isinstance(wanted, Presence) else wanted
        given = yaml.safe_load(shown[0])
        assert (quiet_time(given) if isinstance(default, timedelta) else given) == wanted, field


def test_common_fields_of_a_connection() -> None:
    assert sorted(first_column(CONFIGURATION, "table: connection")) == sorted(ConnectionSettings.model_fields)


@pytest.mark.parametrize("source", sorted(CONNECTORS))
def test_own_fields_of_a_connection_are_on_the_page_of_the_source(source: str) -> None:
    own = set(CONNECTORS[source].settings.model_fields) - set(ConnectionSettings.model_fields)
    shown = set(first_column(DOCS / "connectors" / f"{source}.md", f"settings: {source}"))
    assert shown == own | {"api_url"}


@pytest.mark.parametrize("source", sorted(name for name, found in CONNECTORS.items() if found.outputs))
def test_every_output_has_its_row_with_every_field(source: str) -> None:
    shown = {
        names(row[0])[0]: (names(row[1]), names(row[2])) for row in table(CONFIGURATION, f"outputs: {source}")
    }
    assert shown == {
        name: (list(spec.target.model_fields), list(spec.arguments.model_fields))
        for name, spec in CONNECTORS[source].outputs.items()
    }


def test_only_post_message_cannot_go_to_the_origin() -> None:
    specs = [item for found in CONNECTORS.values() for item in found.outputs.items()]
    assert {name for name, spec in specs if not spec.to_origin} == {"post_message"}


def test_kinds_trusts_and_follow_ups() -> None:
    assert names(section(CONFIGURATION, "kinds")) == list(KINDS)
    assert first_column(CONFIGURATION, "follow-ups") == ["queue", "steer", "interrupt", "new", "ignore"]
    assert sorted(first_column(CONFIGURATION, "follow-ups")) == sorted(FOLLOW_UPS)
    text = CONFIGURATION.read_text(encoding="utf-8")
    assert all(f"`{trust}`" in text for trust in TRUSTS)


def test_every_field_of_an_event_is_explained() -> None:
    shown = {name.removeprefix("event.") for name in first_column(CONFIGURATION, "fields: event")}
    assert shown == set(FIELDS)


def test_every_act_of_the_sandbox_has_its_row() -> None:
    assert sorted(first_column(SANDBOX, "acts")) == sorted(ACTS)


def test_every_setting_has_its_row() -> None:
    prefix = Settings.model_config.get("env_prefix", "")
    wanted = {
        str(field.validation_alias or f"{prefix}{name}".upper())
        for name, field in Settings.model_fields.items()
    }
    assert set(first_column(CONFIGURATION, "settings")) == wanted


def test_defaults_of_settings_are_right(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = {names(row[0])[0]: row[1].strip("`") for row in table(CONFIGURATION, "settings")}
    for name in rows:
        monkeypatch.delenv(name, raising=False)
    settings = Settings()
    for field in ("config", "database_url", "log_level", "log_format", "max_runs"):
        assert rows[f"TRIGGERHUB_{field.upper()}"] == str(getattr(settings, field))
    for field in ("session_creates_per_minute", "session_reads_per_minute"):
        assert rows[f"TRIGGERHUB_{field.upper()}"] == str(getattr(settings, field))
    assert rows["TRIGGERHUB_KAFKA_PARTITIONS"] == str(TOPICS[0].partitions)


def test_tables_of_the_database() -> None:
    assert sorted(first_column(ARCHITECTURE, "tables")) == sorted(SQLModel.metadata.tables)


@pytest.mark.parametrize("states", [RunStatus, ResultStatus, ApprovalStatus, PresenceStatus])
def test_states(states: type[StrEnum]) -> None:
    assert first_column(ARCHITECTURE, f"states: {states.__name__}") == [state.value for state in states]


def test_roles() -> None:
    assert tuple(first_column(OPERATIONS, "roles")) == ROLES


class _Broker:
    poisoned: str | None = None


def test_checks_of_readiness() -> None:
    broker: Any = _Broker()
    database: Any = None
    progress = Progress(database, broker, Metrics(), instance="x", roles=frozenset(ROLES))
    assert sorted(check.name for check in progress.checks()) == sorted(first_column(OPERATIONS, "checks"))


def test_metrics() -> None:
    kinds = {"counter": "_total", "histogram": "", "gauge": ""}
    shown = {
        names(row[0])[0]: [label.strip() for label in row[1].split(",") if label.strip()]
        for row in table(OPERATIONS, "metrics")
    }
    registry = Metrics().registry
    described = {metric.name + kinds[metric.type] for metric in registry.collect()}
    assert set(shown) == described
    collectors: Any = set(registry._collector_to_names)  # noqa: SLF001 - the library offers no other way
    labels = {tuple(collector._labelnames) for collector in collectors}  # noqa: SLF001 - the same
    assert {tuple(given) for given in shown.values()} == labels


def test_numbers_that_the_pages_name() -> None:
    operations, architecture = OPERATIONS.read_text(), ARCHITECTURE.read_text()
    assert f"for {STUCK_SECONDS:.0f} s" in operations
    assert f"at most {STOP_SECONDS:.0f} seconds" in operations
    assert f"above {DEAD_LETTERS_TOLERATED} in five minutes" in architecture
    assert DEAD_LETTERS_SECONDS == 300
    assert (
        ", ".join(f"{delay:.0f}" for delay in SWEEP_DELAYS[:3]) + f", then every {SWEEP_DELAYS[3]:.0f}"
        in architecture
    )
    assert MAX_ATTEMPTS == 12
    assert f"after {Timing().max_attempts} claims" in architecture
    assert f"the lease ({Timing().lease:.0f} s)" in architecture
    assert "Twelve attempts" in architecture
    assert f"{MAX_MESSAGE_BYTES:,} bytes" in TOPIC_PAGE.read_text()
    assert f"{MAX_LENGTH:,} characters" in CONFIGURATION.read_text()


def test_topics() -> None:
    rows = table(TOPIC_PAGE, "topics")
    assert [(names(row[0])[0], row[1]) for row in rows[:-1]] == [(spec.name, spec.key) for spec in TOPICS]
    source = (ROOT / "hub" / "roles.py").read_text(encoding="utf-8")
    groups = dict(re.findall(r'subscribe\(([A-Z]+), group="([^"]+)"', source))
    assert [names(row[5])[0] for row in rows[:-1]] == [
        groups[spec.name.partition(".")[2].upper()] for spec in TOPICS
    ]


def test_the_message_shown_is_an_event_with_every_field() -> None:
    (block,) = [block for block in blocks(TOPIC_PAGE, "json") if "message: triggerhub.events" in block.before]
    shown = json.loads(block.text)
    event = Event.model_validate_json(block.text)
    assert set(shown) == set(Event.model_fields)
    assert set(shown["data"]) == set(type(event.data).model_fields)
    assert shown["subject"] == shown["data"]["subject"]["key"]


def test_the_copy_of_the_asyncapi_document_is_current() -> None:
    copy = (DOCS / "asyncapi.json").read_text(encoding="utf-8")
    assert json.loads(copy) == json.loads(asyncapi.document()), (
        "run: triggerhub asyncapi -o docs/asyncapi.json"
    )


def test_faults_and_scenarios_of_the_sandbox() -> None:
    assert first_column(SANDBOX, "faults") == list(get_args(Mode))
    assert first_column(SANDBOX, "scenarios") == list(SCENARIOS)
    (shown,) = [block for block in blocks(SANDBOX, "json") if "fault" in block.before]
    assert Fault.model_validate_json(shown.text).mode == "commit_then_status"


def test_the_deployment_shown_asks_for_what_is_served() -> None:
    (shown,) = [block for block in blocks(OPERATIONS, "yaml") if "kind: Deployment" in block.text]
    spec = yaml.safe_load(shown.text)["spec"]["template"]["spec"]
    container = spec["containers"][0]
    assert container["args"][2] in ROLES
    assert container["livenessProbe"]["httpGet"]["path"] == "/livez"
    assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"
    assert spec["terminationGracePeriodSeconds"] > STOP_SECONDS
    dockerfile = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    assert f"USER {spec['securityContext']['runAsUser']}:" in dockerfile
    assert "TRIGGERHUB_CONFIG=" + container["volumeMounts"][0]["mountPath"] in dockerfile


def test_every_decision_is_listed() -> None:
    folder = DOCS / "decisions"
    listed = set(
        re.findall(r"\]\((\d{4}-[a-z0-9-]+\.md)\)", (folder / "README.md").read_text(encoding="utf-8"))
    )
    assert listed == {page.name for page in folder.glob("0*.md")}


def test_code_that_decisions_and_pages_point_to_exists() -> None:
    for page in DOCS.rglob("*.md"):
        for name in re.findall(r"`((?:[a-z_]+/)+[a-z_0-9]+\.py)`", page.read_text(encoding="utf-8")):
            assert (ROOT / name).is_file(), f"{page.name}: {name}"


def test_the_demo_in_the_readme_is_the_demo() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    shown = readme.partition("```text\nacme-sentry")[2].partition("```")[0]
    rows = [re.split(r" {2,}", line) for line in f"acme-sentry{shown}".splitlines() if "$" in line]
    assert [(row[0], row[2]) for row in rows] == [(one.connection, one.rule) for one in SCENARIOS_OF_THE_DEMO]
    for row, scenario in zip(rows, SCENARIOS_OF_THE_DEMO, strict=True):
        assert set(row[-1].split(", ")) == set(scenario.outputs)


def test_versions_of_the_images() -> None:
    images = (ROOT / "compose.yaml").read_text(encoding="utf-8")
    operations = OPERATIONS.read_text(encoding="utf-8")
    kafka, postgres = re.findall(r"image: (?:apache/kafka|postgres):(\d+(?:\.\d+)?)", images)
    assert f"Apache Kafka {kafka} and PostgreSQL {postgres}" in operations
