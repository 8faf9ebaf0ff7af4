"""Loading: every mistake at once, with line, path and nearest name; and what a good file becomes."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from router_samples import (
    MODELS,
    SPECS,
    configuration,
    connection,
    load_config,
    load_text,
    problems,
    rule,
)

from router.loading import load
from router.problems import ConfigError, Problem

GOLDEN = """\
version: 1
conections: {}
connections:
  acme-github:
    source: github
    api_url: https://api.example.com
    webhook_secrets: [env:HOOK_SECRET]
    token: ghp_s3cr3t
  acme-sentry: {source: sentri, api_url: https://sentry.example, webhook_secrets: [env:A]}
environments:
  python: {config: {type: cloud}}
agents:
  fixer: {model: claude-sonnet-5-5, environment: pythn}
rules:
  - name: first
    match:
      source: github
      kind: [issue.opend, comment.*]
      if: event.kind = "x"
    who: [membr]
    agent: fixxer
    prmpt: Repair it.
    outputs:
      - open_pull_request: {connection: acme-githb, repository: acme/checkout}
      - comment: {to: origin, draft: true}
      - commnt
    limits: {budget_usd: 2.555, timeout: 90}
  - name: first
    match: {}
    agent: fixer
    prompt: x
"""

EXPECTED = """\
triggerhub.yaml:2: conections: unknown field 'conections'; did you mean 'connections'?
triggerhub.yaml:8: connections.acme-github.token: a secret must be a reference, env:NAME or file:PATH; the value itself must not stand here
triggerhub.yaml:9: connections.acme-sentry.source: unknown source 'sentri'; did you mean 'sentry'?
triggerhub.yaml:13: agents.fixer.environment: unknown environment 'pythn'; did you mean 'python'?
triggerhub.yaml:15: rules[0].prompt: required, but missing
triggerhub.yaml:18: rules[0].match.kind[0]: unknown kind 'issue.opend'; did you mean 'issue.opened'?
triggerhub.yaml:19: rules[0].match.if: CEL does not accept the expression: Syntax error: token recognition error at: '= ' (line 1, column 12 of the expression)
triggerhub.yaml:20: rules[0].who[0]: unknown value 'membr'; did you mean 'member'?
triggerhub.yaml:21: rules[0].agent: unknown agent 'fixxer'; did you mean 'fixer'?
triggerhub.yaml:22: rules[0].prmpt: unknown field 'prmpt'; did you mean 'prompt'?
triggerhub.yaml:24: rules[0].outputs[0].open_pull_request.connection: unknown connection 'acme-githb'; did you mean 'acme-github'?
triggerhub.yaml:25: rules[0].outputs[1].comment.draft: unknown field 'draft'; known are issue
triggerhub.yaml:26: rules[0].outputs[2]: unknown output 'commnt'; did you mean 'comment'?
triggerhub.yaml:27: rules[0].limits.budget_usd: 2.555 is not a whole number of cents: write at most two decimals
triggerhub.yaml:27: rules[0].limits.timeout: 90 is not a duration: write a whole number with its unit, such as 30s, 15m or 2h
triggerhub.yaml:28: rules[1].name: the rule 'first' is already defined in triggerhub.yaml:15
triggerhub.yaml:29: rules[1].match: an empty match would start the agent on every event: name a source, a kind or a condition
"""  # noqa: E501 - the lines as they are printed


def test_all_problems_of_a_file_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        load_text(GOLDEN)
    assert str(caught.value) + "\n" == EXPECTED


def test_a_problem_knows_its_column() -> None:
    with pytest.raises(ConfigError) as caught:
        load_text(GOLDEN)
    problem = next(found for found in caught.value.problems if found.path == "rules[0].match.kind[0]")
    assert problem == Problem(
        file="triggerhub.yaml",
        line=18,
        column=14,
        path="rules[0].match.kind[0]",
        message="unknown kind 'issue.opend'; did you mean 'issue.opened'?",
    )


def test_a_good_configuration() -> None:
    config, rules = load_config(
        configuration(
            rule(limits={"budget_usd": 2.5, "timeout": "15m"}, outputs=["comment"], team="checkout")
        )
    )
    assert config.version == 1
    assert config.connections["acme-github"]["token"] == "env:API_TOKEN"
    assert config.agents["fixer"].model == "claude-sonnet-5-5"
    assert config.environments["python"].config == {"type": "cloud"}
    assert config.rules[0].limits.budget_cents == 250
    assert rules.rules[0].rule is config.rules[0]
    assert rules.rules[0].environment == "python"
    assert rules.get("first") is rules.rules[0]
    assert rules.get("second") is None
    assert rules.warnings == ()


def test_a_file_with_no_rules_is_good() -> None:
    config, rules = load_text("version: 1\nrules:\nagents:\n")
    assert (config.rules, len(rules)) == ((), 0)


MATCH_ERRORS: list[tuple[dict[str, Any], str]] = [
    ({}, "match: an empty match would start the agent"),
    ({"kind": "*"}, "match: an empty match would start the agent"),
    ({"source": "gihub"}, "match.source: unknown source 'gihub'; did you mean 'github'?"),
    ({"source": 3}, "match.source: must be text, not 3; put it in quotes"),
    (
        {"connection": "acme-slak"},
        "match.connection: unknown connection 'acme-slak'; did you mean 'acme-slack'?",
    ),
    (
        {"source": "github", "connection": "acme-slack"},
        "match.connection: the connection 'acme-slack' is of 'slack', not 'github': this can never match",
    ),
    ({"kind": "issue.open"}, "match.kind: unknown kind 'issue.open'; did you mean 'issue.opened'?"),
    ({"kind": ["push", "isue.*"]}, "match.kind[1]: 'isue.*' fits no kind of event; did you mean 'issue.*'?"),
    ({"kind": []}, "match.kind: must not be empty"),
    ({"kind": ["push", 1]}, "match.kind[1]: must be text, not 1; put it in quotes"),
    ({"kinds": "push", "source": "github"}, "match.kinds: unknown field 'kinds'; did you mean 'kind'?"),
    ({"type": "github.issue.open"}, "match.type: 'github.issue.open' is no type"),
    ({"type": "issue.opened"}, "match.type: 'issue.opened' is no type"),
    (
        {"source": "github", "type": ["sentry.alert.fired"]},
        "match.type[0]: 'sentry.alert.fired' never comes from the source 'github'",
    ),
    ({"labels": "bug", "mentions": ["@"]}, "match.mentions: '@' mentions nobody"),
    ({"if": ""}, "match.if: must not be empty"),
    ({"if": True}, "match.if: must be text, not True; put it in quotes"),
    ({"if": "x" * 2001}, "match.if: the expression has 2001 characters, at most 2000 are allowed"),
    ({"if": "evnt.kind == 'x'"}, "match.if: unknown name 'evnt'; did you mean 'event'?"),
    ({"if": "event.text.toLower() == 'x'"}, "match.if: unknown function 'toLower'"),
]


@pytest.mark.parametrize(("match", "message"), MATCH_ERRORS)
def test_match_errors(match: dict[str, Any], message: str) -> None:
    found = problems(configuration(rule(match=match)))
    assert any(line.startswith(f"rules[0].{message}") for line in found), found
    assert len(found) == 1, found


RULE_ERRORS: list[tuple[dict[str, Any], str]] = [
    ({"name": None}, "name: required, but missing"),
    ({"name": "Not This"}, "name: must fit the pattern"),
    ({"match": None}, "match: required, but missing"),
    ({"match": "github"}, "match: must be a mapping"),
    ({"agent": None}, "agent: required, but missing"),
    ({"agent": "Fixer"}, "agent: unknown agent 'Fixer'; did you mean 'fixer'?"),
    ({"prompt": "   "}, "prompt: must not be empty"),
    ({"environment": "pithon"}, "environment: unknown environment 'pithon'; did you mean 'python'?"),
    ({"who": ["bot", "root"]}, "who[1]: unknown value 'root'; known are"),
    ({"who": []}, "who: must not be empty"),
    ({"who": "unknown"}, "who: an unknown actor never starts an agent"),
    ({"enabled": "perhaps"}, "enabled: input should be a valid boolean"),
    ({"report": "slack"}, "report: unknown value 'slack'; known are "),
    ({"conversation": "thread"}, "conversation: unknown value 'thread'; known are event, subject"),
    ({"follow_up": "que"}, "follow_up: unknown value 'que'; did you mean 'queue'?"),
    ({"limits": {"budget": 3}}, "limits.budget: unknown field 'budget'; did you mean 'budget_usd'?"),
    ({"limits": {"timeout": "3d"}}, "limits.timeout: '3d' is not a duration"),
    (
        {"repository": {"connection": "acme", "name": "acme/checkout"}},
        "repository.connection: unknown connection 'acme'",
    ),
    (
        {"repository": {"connection": "acme-github", "name": "checkout"}},
        "repository.name: must fit the pattern",
    ),
    ({"repository": {"connection": "acme-github"}}, "repository.name: required, but missing"),
    ({"outputs": "comment"}, "outputs: must be a list, not 'comment'"),
]


@pytest.mark.parametrize(("fields", "message"), RULE_ERRORS)
def test_rule_errors(fields: dict[str, Any], message: str) -> None:
    found = problems(configuration(rule(**fields)))
    assert any(line.startswith(f"rules[0].{message}") for line in found), found
    assert len(found) == 1, found


OUTPUT_ERRORS: list[tuple[object, str]] = [
    ("coment", "outputs[0]: unknown output 'coment'; did you mean 'comment'?"),
    ({"comment": 3}, "outputs[0]: the options of 'comment' must be a mapping"),
    ({"comment": {}, "post_message": {}}, "outputs[0]: an output is a name"),
    ([], "outputs[0]: an output is a name"),
    ({"comment": {"to": "slack"}}, "outputs[0].comment.to: only 'origin' can stand here, not 'slack'"),
    (
        {"comment": {"to": "origin", "connection": "acme-slack"}},
        "outputs[0].comment.to: write either 'to: origin' or a connection, not both",
    ),
    (
        {"comment": {"connection": "acme-slak"}},
        "outputs[0].comment.connection: unknown connection 'acme-slak'; did you mean 'acme-slack'?",
    ),
    (
        {"post_message": {"connection": "acme-github", "channel": "C1"}},
        "outputs[0].post_message: the github connection 'acme-github' has no output 'post_message'",
    ),
    (
        {"post_message": {"to": "origin", "channel": "C1"}},
        "outputs[0].post_message.to: 'post_message' cannot go to the origin of github events",
    ),
    (
        "post_message",
        "outputs[0]: 'post_message' needs a connection (it cannot answer github events); name",
    ),
    (
        {"post_message": {"connection": "acme-slack"}},
        "outputs[0].post_message.channel: required, but missing",
    ),
    (
        {"post_message": {"connection": "acme-slack", "chanel": "C1", "channel": "C1"}},
        "outputs[0].post_message.chanel: unknown field 'chanel'; did you mean 'channel'?",
    ),
    (
        {"comment": {"connection": "acme-slack"}},
        "outputs[0].comment: the connection alone is no address: add what names the place (of issue)",
    ),
    ({"comment": {"max": 0}}, "outputs[0].comment.max: must be a whole number from 1 to 100, not 0"),
    ({"comment": {"max": True}}, "outputs[0].comment.max: must be a whole number from 1 to 100, not True"),
    ({"comment": {"name": "two words"}}, "outputs[0].comment.name: must fit the pattern"),
]


@pytest.mark.parametrize(("output", "message"), OUTPUT_ERRORS)
def test_output_errors(output: object, message: str) -> None:
    found = problems(configuration(rule(outputs=[output])))
    assert any(line.startswith(f"rules[0].{message}") for line in found), found
    assert len(found) == 1, found


def test_two_tools_of_one_name_are_refused() -> None:
    found = problems(configuration(rule(outputs=["comment", {"comment": {"name": "comment", "max": 2}}])))
    assert found == ["rules[0].outputs[1].comment.name: the tool name 'comment' is that of outputs[0] too"]


def test_to_origin_is_checked_against_every_source_a_rule_can_match() -> None:
    output = {"open_pull_request": {"to": "origin", "repository": "acme/checkout"}}
    anywhere = problems(configuration(rule(match={"kind": "issue.opened"}, outputs=[output])))
    assert len(anywhere) == 1
    assert "cannot go to the origin of github, sentry, slack events" in anywhere[0]
    assert problems(configuration(rule(match={"kind": "issue.opened"}, outputs=["comment"]))) == []
    by_type = problems(
        configuration(rule(match={"type": "sentry.alert.fired"}, outputs=["create_check_run"]))
    )
    assert len(by_type) == 1
    assert "it cannot answer sentry events" in by_type[0]


def test_a_wrong_match_is_not_reported_again_for_each_output() -> None:
    assert len(problems(configuration(rule(match={"source": "gihub"}, outputs=["comment", "comment"])))) == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", ": the file is empty; write at least version: 1"),
        ("# nothing\n", ": the file is empty"),
        ("- a\n", ": must be a mapping with the fields version, connections"),
        ("rules: []\n", "version: required, but missing; write version: 1"),
        ("version: 2\n", "version: must be 1, not 2"),
        ("version: true\n", "version: must be 1, not True"),
        ("version: '1'\n", "version: must be 1, not '1'"),
        ("version: [1]\n", "version: must be 1, not 'a mapping or list'"),
        ("version: 1\nrules: {a: 1}\n", "rules: must be a list"),
        ("version: 1\nrules: [x]\n", "rules[0]: must be a mapping of names to values, not 'x'"),
        ("version: 1\nagents: [a]\n", "agents: must be a mapping"),
        ("version: 1\nagents: {'a b': {model: m}}\n", "agents.a b: the name 'a b' is not usable"),
        ("version: 1\nconnections: {../x: {source: a}}\n", "connections.../x: the name '../x' is not usable"),
        ("version: 1\nagents: {a: {}}\n", "agents.a.model: required, but missing"),
        (
            "version: 1\nagents: {a: {model: m, tool: []}}\n",
            "agents.a.tool: unknown field 'tool'; did you mean",
        ),
        ("version: 1\nenvironments: {a: }\n", "environments.a: must be a mapping"),
        ("version: 1\nenvironments: {a: {}}\n", "environments.a.config: required, but missing"),
        ("version: 1\nversion: 1\n", ": the key 'version' stands twice here, first in line 1"),
    ],
)
def test_errors_of_the_file_as_a_whole(text: str, message: str) -> None:
    found = problems(text)
    assert any(line.startswith(message) for line in found), found


def test_a_rule_needs_an_environment_from_somewhere() -> None:
    config = configuration(rule(), agents={"fixer": {"model": "m"}})
    assert problems(config) == [
        "rules[0].agent: the agent 'fixer' has no environment: name one there or in this rule"
    ]
    _, rules = load_config(configuration(rule(environment="python"), agents={"fixer": {"model": "m"}}))
    assert rules.rules[0].environment == "python"


def test_the_vendor_part_is_checked_by_whoever_can() -> None:
    asked: list[tuple[str, Mapping[str, Any]]] = []

    def check(name: str, mapping: Mapping[str, Any]) -> list[str]:
        asked.append((name, mapping))
        return ["tools[0].type: 'bash' is no tool"]

    with pytest.raises(ConfigError) as caught:
        load_config(configuration(), check_agent=check)
    assert [problem.path for problem in caught.value.problems] == ["agents.fixer"]
    assert "is no tool" in str(caught.value)
    assert asked == [("fixer", {"model": "claude-sonnet-5-5"})]
    with pytest.raises(ConfigError, match=r"environments\.python: tools"):
        load_config(configuration(), check_environment=check)


def test_odd_but_not_wrong_is_a_warning() -> None:
    _, rules = load_config(
        configuration(
            rule(match={"source": "github", "if": "event.subject.contaner == 'x' || event.knd == 'x'"}),
            rule(name="second", match={"type": "deploys.push"}),
        )
    )
    first, second, third = (str(warning).removeprefix("triggerhub.yaml:") for warning in rules.warnings)
    contaner = "no event has the field event.subject.contaner; did you mean 'container'?"
    assert first == f"33: warning: rules[0].match.if: {contaner}"
    assert second == "33: warning: rules[0].match.if: no event has the field event.knd; did you mean 'kind'?"
    assert third.startswith(
        "38: warning: rules[1].match.type: no connector is called 'deploys': only another"
    )
    config = configuration(rule(match={"source": "slack"}), connections={"acme-github": connection("github")})
    assert "no connection has the source 'slack'" in str(load_config(config)[1].warnings[0])


def test_a_folder_is_merged(tmp_path: Path) -> None:
    whole = configuration(rule(), rule(name="second"))
    (tmp_path / "b.yml").write_text(yaml.safe_dump({"rules": whole.pop("rules")}))
    (tmp_path / "a.yaml").write_text(yaml.safe_dump(whole))
    (tmp_path / "notes.txt").write_text("not: [read")
    (tmp_path / ".hidden.yaml").write_text("not: [read")
    config, rules = load(tmp_path, connection_models=MODELS, output_specs=SPECS)
    assert [found.name for found in rules.rules] == ["first", "second"]
    assert sorted(config.connections) == ["acme-github", "acme-sentry", "acme-slack"]


def test_the_same_name_in_two_files_is_refused() -> None:
    first = yaml.safe_dump(configuration(rule()), sort_keys=False)
    second = yaml.safe_dump({"rules": [rule()], "agents": {"fixer": {"model": "m"}}}, sort_keys=False)
    with pytest.raises(ConfigError) as caught:
        load_text(first, second)
    assert [str(problem) for problem in caught.value.problems] == [
        "2.yaml:2: rules[0].name: the rule 'first' is already defined in 1.yaml:30",
        "2.yaml:8: agents.fixer: 'fixer' is already defined in 1.yaml:26",
    ]


def test_paths_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load(tmp_path / "missing.yaml", connection_models=MODELS, output_specs=SPECS)
    with pytest.raises(ConfigError, match=r"holds no \*\.yaml"):
        load(tmp_path, connection_models=MODELS, output_specs=SPECS)


def test_two_thousand_rules_load_in_well_under_the_few_seconds_meant_for_ten_thousand() -> None:
    conditions = [
        rule(name=f"r-{i}", match={"source": "github", "if": f"event.text == 'x{i}'"}) for i in range(2000)
    ]
    text = yaml.dump(configuration(*conditions), Dumper=getattr(yaml, "CSafeDumper", yaml.SafeDumper))
    started = time.process_time()
    _, rules = load_text(text)
    assert len(rules) == 2000
    assert time.process_time() - started < 10, "a load this slow would take minutes for 10,000 rules"
