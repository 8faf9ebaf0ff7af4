"""The published JSON Schema agrees with the loader, and every shipped example works as it stands."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import yaml
from router_samples import MODELS, SPECS, configuration, connection, event, load_text, problems, rule

from connectors.registry import all_connectors
from router.loading import load
from router.problems import ConfigError
from router.prompts import conversation_key, make_dispatch
from router.schema import json_schema

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*.yaml"))
SCENARIOS = {
    "ci-failure-fix",
    "github-mention-reply",
    "jira-label-to-pr",
    "sentry-error-to-pr",
    "slack-mention-answer",
}

SCHEMA = json_schema(connection_models=MODELS, output_specs=SPECS)
VALIDATOR = jsonschema_rs.validator_for(SCHEMA)

RICH = configuration(
    rule(
        match={
            "source": "github",
            "kind": ["issue.*", "push"],
            "labels": "bug",
            "if": "event.kind == 'push'",
        },
        who=["member", "bot"],
        repository={"connection": "acme-github", "name": "acme/checkout"},
        outputs=[
            "comment",
            {"comment": {"to": "origin", "max": 3}},
            {
                "open_pull_request": {
                    "connection": "acme-github",
                    "repository": "acme/checkout",
                    "draft": True,
                }
            },
            {"post_message": {"connection": "acme-slack", "channel": "C1", "name": "tell_team"}},
        ],
        limits={"budget_usd": 2.50, "timeout": "1h30m"},
        conversation="event",
        follow_up="steer",
        enabled=False,
    ),
    connections={
        "acme-github": connection("github", app={"id": "1", "private_key": "file:/run/key.pem"}),
        "acme-slack": connection("slack"),
    },
)


def schema_accepts(config: dict[str, Any]) -> bool:
    return VALIDATOR.is_valid(config)


def test_the_schema_is_one_and_accepts_what_the_loader_accepts() -> None:
    jsonschema_rs.meta.validate(SCHEMA)
    assert problems(RICH) == []
    assert [error.message for error in VALIDATOR.iter_errors(RICH)] == []
    assert schema_accepts({"version": 1})


WRONG: list[tuple[tuple[str | int, ...], Any]] = [
    (("version",), 2),
    (("rulez",), []),
    (("connections", "acme-github", "source"), "gitlab"),
    (("connections", "acme-github", "token"), "s3cr3t"),
    (("connections", "acme-github", "webhook_secrets"), ["s3cr3t"]),
    (("connections", "acme-github", "webhook_secrets"), []),
    (("connections", "acme-github", "app", "private_key"), "s3cr3t"),
    (("connections", "acme-github", "tokn"), "env:A"),
    (("agents", "fixer", "modell"), "m"),
    (("agents", "fixer", "model"), 3),
    (("environments", "python", "config"), "cloud"),
    (("rules", 0, "name"), "Not This"),
    (("rules", 0, "matsch"), {}),
    (("rules", 0, "match", "kind"), []),
    (("rules", 0, "match", "if"), ""),
    (("rules", 0, "match", "if"), "x" * 2001),
    (("rules", 0, "who"), ["unknown"]),
    (("rules", 0, "who"), "root"),
    (("rules", 0, "outputs"), ["nope"]),
    (("rules", 0, "outputs"), [{"comment": {}, "post_message": {}}]),
    (("rules", 0, "outputs"), [{"comment": {"to": "elsewhere"}}]),
    (("rules", 0, "outputs"), [{"comment": {"max": 0}}]),
    (("rules", 0, "outputs"), [{"post_message": {"connection": "acme-slack"}}]),
    (("rules", 0, "limits", "budget_usd"), 0),
    (("rules", 0, "limits", "timeout"), "3d"),
    (("rules", 0, "limits", "timeout"), 90),
    (("rules", 0, "follow_up"), "que"),
    (("rules", 0, "repository", "name"), "checkout"),
]


@pytest.mark.parametrize(("path", "value"), WRONG)
def test_the_schema_refuses_what_the_loader_refuses(path: tuple[str | int, ...], value: Any) -> None:
    config = copy.deepcopy(RICH)
    place: Any = config
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    assert problems(config) != []
    assert not schema_accepts(config)


@pytest.mark.parametrize("field", ["name", "match", "agent", "prompt"])
def test_required_fields(field: str) -> None:
    config = copy.deepcopy(RICH)
    del config["rules"][0][field]
    assert problems(config) != []
    assert not schema_accepts(config)


def real_models() -> dict[str, Any]:
    found = list(all_connectors())
    return {
        "connection_models": {each.source: each.settings for each in found},
        "output_specs": {each.source: each.outputs for each in found},
    }


def test_there_is_an_example_for_every_scenario() -> None:
    assert {path.stem for path in EXAMPLES} >= SCENARIOS


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_examples_load_with_the_real_connectors(path: Path) -> None:
    config, rules = load(path, **real_models())
    assert rules.warnings == ()
    assert len(rules) == len(config.rules) >= 1
    validator = jsonschema_rs.validator_for(json_schema(**real_models()))
    assert [error.message for error in validator.iter_errors(yaml.safe_load(path.read_text()))] == []


def example(name: str) -> Any:
    path = next(path for path in EXAMPLES if path.stem == name)
    return load(path, **real_models())[1]


def test_the_sentry_example() -> None:
    rules = example("sentry-error-to-pr")
    alert = event(
        source="sentry/acme",
        connection="acme-sentry",
        kind="alert.fired",
        trust="system",
        container="checkout",
    )
    [verdict] = rules.match(alert)
    assert verdict.matched
    found = rules.get(verdict.rule)
    dispatch = make_dispatch(found, alert, follow_up=False, conversation=conversation_key(found, alert))
    assert [(grant.name, grant.connection, grant.max) for grant in dispatch.grants] == [
        ("open_pull_request", "acme-github", 1),
        ("comment", None, 2),
        ("post_message", "acme-slack", 1),
    ]
    assert dispatch.limits.budget_cents == 250
    [other] = rules.match(alert.model_copy(update={"data": event(container="shop", kind="alert.fired").data}))
    assert other.clause == "match.container"


def test_the_jira_example_reacts_to_the_label_being_put_on_only() -> None:
    rules = example("jira-label-to-pr")

    def labelled(*added: str) -> bool:
        [verdict] = rules.match(
            event(
                source="jira/acme",
                connection="acme-jira",
                kind="issue.labeled",
                container="SHOP",
                labels=("agent", *added),
                changed={"labels": {"added": list(added), "removed": []}},
            )
        )
        return bool(verdict.matched)

    assert labelled("agent")
    assert not labelled("urgent")


def test_the_mention_examples() -> None:
    github = example("github-mention-reply")
    comment: dict[str, Any] = {"kind": "comment.created", "mentions": ("triggerhub",)}
    assert github.match(event(**comment))[0].matched
    assert github.match(event(kind="comment.created", mentions=("somebody",)))[0].clause == "match.mentions"
    assert github.match(event(trust="outsider", **comment))[0].clause == "who"
    slack = example("slack-mention-answer")
    mention: dict[str, Any] = {
        "source": "slack/T1",
        "connection": "acme-slack",
        "kind": "message.mention",
        "container": "C1",
    }
    assert slack.match(event(**mention))[0].matched
    assert slack.match(event(trust="outsider", **mention))[0].clause == "who"


def test_the_ci_example() -> None:
    rules = example("ci-failure-fix")

    def verdict(run: dict[str, Any] | None) -> tuple[bool, str]:
        payload = {} if run is None else {"workflow_run": run}
        [found] = rules.match(event(kind="ci.completed", payload=payload))
        return found.matched, found.reason

    assert verdict({"conclusion": "failure", "pull_requests": [{"number": 3}]})[0]
    assert verdict({"conclusion": "success", "pull_requests": [{"number": 3}]}) == (
        False,
        "the condition is false",
    )
    assert verdict({"conclusion": "failure", "pull_requests": []}) == (False, "the condition is false")
    assert verdict(None) == (False, "the condition is false")


def test_the_example_of_the_design_loads() -> None:
    text = """
version: 1
connections:
  acme-github: {source: github, api_url: https://api.github.com, webhook_secrets: [env:A], token: env:B}
  acme-sentry: {source: sentry, api_url: https://sentry.io, webhook_secrets: [env:C], token: env:D}
  acme-slack:  {source: slack, api_url: https://slack.com/api, webhook_secrets: [env:E], token: env:F}
environments:
  python: {config: {type: cloud, networking: {type: unrestricted}, packages: {pip: [pytest]}}}
agents:
  fixer:
    model: claude-sonnet-5-5
    system: You find the cause of production errors and repair them.
    environment: python
    tools: [{type: agent_toolset_20260401}]
rules:
  - name: sentry-error-to-pr
    team: checkout
    match:
      source: sentry                       # or connection: acme-sentry
      kind: [alert.fired, issue.opened]    # exact, or a glob such as issue.*
      if: event.subject.container == "checkout" && event.payload.data.issue.level == "error"   # CEL
    who: [member, system]                  # default: owner, member, collaborator, system
    agent: fixer
    repository: {connection: acme-github, name: acme/checkout, branch: main}
    prompt: Find the cause of this error, add a test that shows it, repair it, and open a pull request.
    outputs:
      - open_pull_request: {connection: acme-github, repository: acme/checkout, draft: true}
      - comment: {to: origin}
      - post_message: {connection: acme-slack, channel: C0123456}
    limits: {budget_usd: 2.50, timeout: 2h}
"""
    _, rules = load_text(text)
    payload = {"data": {"issue": {"level": "error"}}}
    alert = event(
        source="sentry/acme",
        connection="acme-sentry",
        kind="alert.fired",
        trust="system",
        container="checkout",
        payload=payload,
    )
    assert rules.match(alert)[0].matched
    with pytest.raises(ConfigError, match=r"triggerhub\.yaml:17: rules\[0\]\.team: must be text"):
        load_text(text.replace("team: checkout", "team: 7"))
