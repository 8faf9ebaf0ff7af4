"""Every field of an output's policy, as the loader takes it or refuses it: file, line and the nearest name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from connectors.registry import connector
from hub.configuration import load_configuration
from router.problems import ConfigError
from schemas.dispatch import Grant
from schemas.policy.shapes import OutputPolicy

BASE = """\
version: 1
connections:
  gh: {source: github, webhook_secrets: [env:A], token: env:T}
  app: {source: github, webhook_secrets: [env:A], app: {id: Iv1, private_key: env:K}}
  chat: {source: slack, webhook_secrets: [env:A], token: env:T}
  tracker: {source: jira, api_url: https://acme.example, webhook_secrets: [env:A], token: env:T}
environments:
  plain: {config: {type: cloud}}
agents:
  fixer: {model: claude-sonnet-5-5, environment: plain}
rules:
  - name: first
    match: {connection: gh, kind: issue.opened}
    agent: fixer
    prompt: Repair it.
"""
LINE = 17
"""Where the output stands."""


def write(folder: Path, output: str, *, rule: str = "") -> Path:
    path = folder / "triggerhub.yaml"
    path.write_text(f"{BASE}    outputs:\n      - {output}\n{rule}", encoding="utf-8")
    return path


def problems(folder: Path, output: str, *, rule: str = "") -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_configuration(write(folder, output, rule=rule))
    return [str(problem).removeprefix(f"{folder}/") for problem in caught.value.problems]


def grant(folder: Path, output: str) -> Grant:
    loaded = load_configuration(write(folder, output))
    (rule,) = loaded.rules.rules
    (made,) = rule.grants.get("github", rule.grants[""])
    return made


PR = "open_pull_request: {{connection: gh, repository: acme/checkout, {}}}"


@pytest.mark.parametrize(
    ("output", "where", "says"),
    [
        ("comment: {link: [a.example]}", "comment.link", "did you mean 'links'?"),
        ("comment: {links: [https://a.example/x]}", "comment.links", "is no host name"),
        ("comment: {links: ['10.0.0.1']}", "comment.links", "is no host name"),
        ("comment: {links: 5}", "comment.links", "must be"),
        ("comment: {mention: [a]}", "comment.mention", "did you mean 'mentions'?"),
        ("comment: {mentions: ['two words']}", "comment.mentions", "write logins or ids"),
        ("add_label: {mentions: [ada]}", "add_label.mentions", "notifies nobody anyway"),
        (
            "comment: {connection: tracker, issue: A-1, mentions: [ada]}",
            "comment.mentions",
            "notifies nobody anyway",
        ),
        ("comment: {stagd: true}", "comment.stagd", "did you mean 'staged'?"),
        ("comment: {staged: maybe}", "comment.staged", "valid boolean"),
        ("comment: {max: 0}", "comment.max", "from 1 to 100"),
        (PR.format("path: {}"), "open_pull_request.path", "did you mean 'paths'?"),
        (PR.format("paths: {alow: [a]}"), "open_pull_request.paths.alow", "did you mean 'allow'?"),
        (PR.format("paths: {allow: [/a]}"), "open_pull_request.paths.allow", "without / at either end"),
        (PR.format("paths: {allow: ['a/../b']}"), "open_pull_request.paths.allow", "can never match"),
        (PR.format("paths: {deny: ['a**b']}"), "open_pull_request.paths.deny", "** stands alone"),
        (PR.format("paths: {symlinks: 3}"), "open_pull_request.paths.symlinks", "valid boolean"),
        (PR.format("paths: {submodules: 3}"), "open_pull_request.paths.submodules", "valid boolean"),
        (
            PR.format("paths: {executables: 3}"),
            "open_pull_request.paths.executables",
            "valid boolean",
        ),
        (PR.format("max_files: 300"), "open_pull_request.max_files", "299"),
        (PR.format("max_diff_lines: 0"), "open_pull_request.max_diff_lines", "1"),
        (PR.format("max_dif_lines: 9"), "open_pull_request.max_dif_lines", "did you mean 'max_diff_lines'?"),
        (PR.format("branches: ['a b']"), "open_pull_request.branches[0]", "pattern"),
        (PR.format("bases: ['a b']"), "open_pull_request.bases[0]", "pattern"),
        (PR.format("base: main, bases: [x]"), "open_pull_request", "either base or bases"),
        (PR.format("repositories: [acme/x]"), "open_pull_request", "either repository or repositories"),
        (PR.format("source: pach"), "open_pull_request.source", "did you mean 'patch'?"),
        (PR.format("draft: 3"), "open_pull_request.draft", "valid boolean"),
        (PR.format("labels: ['']"), "open_pull_request.labels[0]", "1"),
        ("post_message: {connection: chat}", "post_message", "channels for several"),
        ("post_message: {connection: chat, channels: [general]}", "post_message.channels[0]", "pattern"),
        (
            "post_message: {connection: chat, channel: C01, channels: [C02]}",
            "post_message",
            "channels for several",
        ),
    ],
)
def test_a_wrong_field_is_told_with_its_line(tmp_path: Path, output: str, where: str, says: str) -> None:
    found = problems(tmp_path, output)
    assert len(found) == 1, found
    assert found[0].startswith(f"triggerhub.yaml:{LINE}: rules[0].outputs[0].{where}"), found
    assert says in found[0]


def test_a_wrong_word_beside_outputs_is_told_too(tmp_path: Path) -> None:
    (found,) = problems(tmp_path, "comment", rule="    stagd: true\n")
    assert (
        found == f"triggerhub.yaml:{LINE + 1}: rules[0].stagd: unknown field 'stagd'; did you mean 'staged'?"
    )
    (found,) = problems(
        tmp_path, "comment", rule="    repository: {connection: gh, name: a/b, access: reed}\n"
    )
    assert found.startswith(f"triggerhub.yaml:{LINE + 1}: rules[0].repository.access: ")
    assert "did you mean 'read'?" in found


@pytest.mark.parametrize(
    ("written", "policy"),
    [
        ("", {}),
        ("links: any", {"links": "any"}),
        ("links: Docs.Example", {"links": ("docs.example",)}),
        ("links: ['*.acme.example', b.example]", {"links": ("*.acme.example", "b.example")}),
        ("mentions: ['@ada', acme/reviewers]", {"mentions": ("ada", "acme/reviewers")}),
        ("staged: true", {"staged": True}),
    ],
)
def test_a_policy_reaches_the_grant_and_not_the_target(
    tmp_path: Path, written: str, policy: dict[str, Any]
) -> None:
    made = grant(tmp_path, f"comment: {{to: origin, {written}}}")
    assert made.policy == OutputPolicy(**policy)
    assert made.target == {}
    assert made.code == ()


def test_what_may_change_is_part_of_the_target(tmp_path: Path) -> None:
    fields = (
        "paths: {allow: ['src/**'], deny: x}, max_files: 3, branches: 'agent/*', source: patch, staged: true"
    )
    made = grant(tmp_path, PR.format(fields))
    assert made.policy == OutputPolicy(staged=True)
    assert made.code == ("files", "patch")
    target = connector("github").outputs["open_pull_request"].target.model_validate(made.target)
    assert target.model_dump(exclude_unset=True) == {
        "repository": "acme/checkout",
        "paths": {"allow": ("src/**",), "deny": ("x",)},
        "max_files": 3,
        "branches": ("agent/*",),
        "source": "patch",
    }
    assert {"files", "patch", "head"} <= made.input_schema["properties"].keys()


def test_a_token_that_cannot_be_narrowed_is_warned_of(tmp_path: Path) -> None:
    def warnings(connection: str) -> list[str]:
        rule = f"    repository: {{connection: {connection}, name: a/b, access: read}}\n"
        loaded = load_configuration(write(tmp_path, "comment", rule=rule))
        assert loaded.config.rules[0].repository is not None
        assert loaded.config.rules[0].repository.access == "read"
        return [str(problem) for problem in loaded.rules.warnings]

    assert warnings("app") == []
    (warning,) = warnings("gh")
    assert f"triggerhub.yaml:{LINE + 1}: warning: rules[0].repository.access" in warning
    assert "cannot be narrowed" in warning


def test_the_published_schema_knows_every_field() -> None:
    from router.schema import json_schema  # noqa: PLC0415 - beside what it is compared with

    specs = {source: connector(source).outputs for source in ("github", "slack")}
    schema = json_schema(connection_models={}, output_specs=specs)
    text = yaml.safe_dump(schema)
    for name in ("links", "mentions", "staged", "paths", "max_diff_lines", "channels", "bases", "branches"):
        assert f"{name}:" in text
