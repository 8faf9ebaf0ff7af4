"""`triggerhub rules …`: what is told of a configuration, and the exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from command_line import triggerhub

CONFIG = """\
version: 1
connections:
  acme-github:
    source: github
    webhook_secrets: [env:GITHUB_WEBHOOK_SECRET]
  other-github:
    source: github
    webhook_secrets: [env:OTHER_SECRET]
environments:
  reading: {config: {type: cloud, networking: {type: unrestricted}}}
agents:
  colleague:
    model: claude-sonnet-5-5
    environment: reading
    tools: [{type: agent_toolset_20260401}]
rules:
  - name: answer
    match: {source: github, kind: comment.created}
    agent: colleague
    prompt: Answer.
  - name: only-bugs
    match: {source: github, kind: comment.created, if: '"bug" in event.labels'}
    agent: colleague
    prompt: Answer.
  - name: switched-off
    enabled: false
    match: {source: github, kind: comment.*}
    agent: colleague
    prompt: Answer.
"""
BODY = {
    "action": "created",
    "issue": {"number": 7, "title": "Wrong total", "user": {"login": "ada", "id": 5}, "labels": []},
    "comment": {"id": 99, "body": "Why?", "author_association": "MEMBER", "user": {"login": "ada", "id": 5}},
    "repository": {"id": 1, "full_name": "acme/checkout", "private": True, "owner": {"login": "acme"}},
    "sender": {"login": "ada", "id": 5, "type": "User"},
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "triggerhub.yaml").write_text(CONFIG, encoding="utf-8")
    (tmp_path / "comment.json").write_text(json.dumps(BODY), encoding="utf-8")
    (tmp_path / "comment.headers.json").write_text('{"X-GitHub-Event": "issue_comment"}', encoding="utf-8")
    return tmp_path


def test_check_of_a_good_configuration(folder: Path) -> None:
    ran = triggerhub("rules", "check", folder=folder)
    assert (ran.code, ran.err) == (0, "")
    assert ran.out == (
        "triggerhub.yaml is valid: 2 connections, 1 environment, 1 agent, 3 rules (1 switched off)\n"
    )
    assert triggerhub("rules", "check", "--json", folder=folder).json() == {
        "ok": True,
        "problems": [],
        "connections": 2,
        "environments": 1,
        "agents": 1,
        "rules": 3,
    }


def test_check_lists_every_problem_with_file_and_line(folder: Path) -> None:
    broken = (
        CONFIG.replace("agent_toolset_20260401", "agent_toolset")
        .replace("unrestricted", "open")
        .replace("kind: comment.*", "kind: coment.created")
    )
    (folder / "triggerhub.yaml").write_text(broken, encoding="utf-8")
    ran = triggerhub("rules", "check", folder=folder)
    assert ran.code == 1
    assert ran.calm
    lines = ran.out.splitlines()
    assert len(lines) == 3
    assert all(line.startswith("triggerhub.yaml:") for line in lines)
    assert "config.networking.type: 'open' is not a known value" in lines[0]
    assert (
        "tools[0].type: 'agent_toolset' is not a known value; did you mean 'agent_toolset_20260401'?"
        in lines[1]
    )
    assert "comment.created" in lines[2]
    assert "3 problems" in ran.err
    told = triggerhub("rules", "check", "--json", folder=folder)
    assert told.code == 1
    assert [problem["line"] for problem in told.json()["problems"]] == [
        int(line.split(":")[1]) for line in lines
    ]


def test_the_path_comes_from_the_option_or_the_environment(
    folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    path = str(folder / "triggerhub.yaml")
    assert triggerhub("rules", "check", folder=elsewhere).code == 1
    assert triggerhub("rules", "check", "--config", path, folder=elsewhere).code == 0
    assert triggerhub("rules", "check", folder=elsewhere, env={"TRIGGERHUB_CONFIG": path}).code == 0


def test_every_rule_gives_its_verdict(folder: Path) -> None:
    ran = triggerhub("rules", "test", "--source", "github", "comment.json", folder=folder)
    assert ran.code == 0
    assert "acme-github" in ran.err, "the connection that was taken is named"
    assert ran.out.splitlines()[0] == "comment.json: handled by acme-github"
    rows = {line.split()[0]: line.split()[1] for line in ran.out.splitlines()[3:]}
    assert rows == {"answer": "matched", "only-bugs": "not_matched", "switched-off": "suppressed"}
    told = triggerhub("rules", "test", "--source", "github", "--json", "comment.json", folder=folder).json()
    assert (told["connection"], told["outcome"], told["matched"]) == ("acme-github", "handled", True)
    [event] = told["events"]
    assert event["type"] == "github.comment.created"
    by_rule = {verdict["rule"]: verdict for verdict in event["verdicts"]}
    assert by_rule["answer"]["clause"] is None
    assert by_rule["only-bugs"]["clause"] == "match.if"
    assert by_rule["only-bugs"]["expected"] == '"bug" in event.labels'
    assert by_rule["switched-off"]["clause"] == "enabled"
    assert all(verdict["reason"] for verdict in by_rule.values())


def test_a_command_asks_no_rule(folder: Path) -> None:
    body = {**BODY, "comment": {**BODY["comment"], "body": "/triggerhub stop"}}  # type: ignore[dict-item]  # a mapping
    (folder / "comment.json").write_text(json.dumps(body), encoding="utf-8")
    ran = triggerhub(
        "rules",
        "test",
        "--source",
        "github",
        "--connection",
        "acme-github",
        "comment.json",
        "--json",
        folder=folder,
    )
    assert ran.code == 1
    (event,) = ran.json()["events"]
    (verdict,) = event["verdicts"]
    assert (verdict["rule"], verdict["outcome"], verdict["clause"]) == ("*", "suppressed", "command")


def test_no_match_ends_with_1(folder: Path) -> None:
    stranger = json.loads(json.dumps(BODY))
    stranger["comment"]["author_association"] = "NONE"
    (folder / "comment.json").write_text(json.dumps(stranger), encoding="utf-8")
    ran = triggerhub("rules", "test", "--source", "github", "--json", "comment.json", folder=folder)
    assert ran.code == 1
    [event] = ran.json()["events"]
    assert {verdict["clause"] for verdict in event["verdicts"]} == {"who", "match.if", "enabled"}


def test_a_delivery_without_events_asks_no_rule(folder: Path) -> None:
    (folder / "comment.headers.json").write_text('{"X-GitHub-Event": "issue_comment"}', encoding="utf-8")
    pinned = {**BODY, "action": "pinned"}
    (folder / "comment.json").write_text(json.dumps(pinned), encoding="utf-8")
    ran = triggerhub("rules", "test", "--source", "github", "--json", "comment.json", folder=folder)
    assert ran.code == 1
    assert ran.json()["matched"] is False


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--source", "sentry", "comment.json"), "no connection to sentry"),
        (("--source", "gitub", "comment.json"), "did you mean 'github'?"),
        (("--source", "github", "--connection", "acme", "comment.json"), "unknown connection 'acme'"),
        (("--source", "github", "missing.json"), "missing.json"),
        (("--source", "github", "broken.json"), "not acceptable JSON"),
        (("--source", "github", "--config", "broken.json", "comment.json"), "was refused"),
        (("--source", "github", "--config", "nowhere.yaml", "comment.json"), "there is no configuration"),
    ],
)
def test_errors_end_with_2_and_one_clear_paragraph(
    arguments: tuple[str, ...], said: str, folder: Path
) -> None:
    (folder / "broken.json").write_text("{", encoding="utf-8")
    ran = triggerhub("rules", "test", *arguments, folder=folder)
    assert (ran.code, ran.out) == (2, "")
    assert said in ran.err
    assert ran.calm


def test_the_schema_is_json_schema_of_the_file(folder: Path) -> None:
    ran = triggerhub("rules", "schema", folder=folder)
    assert (ran.code, ran.err) == (0, "")
    schema = ran.json()
    assert schema["$schema"].startswith("https://json-schema.org/")
    assert {"version", "connections", "environments", "agents", "rules"} <= set(schema["properties"])


def test_asyncapi_is_printed_or_written(folder: Path) -> None:
    printed = triggerhub("asyncapi", folder=folder)
    assert printed.code == 0
    assert printed.json()["asyncapi"].startswith("3.")
    written = triggerhub("asyncapi", "--output", "contract.json", folder=folder)
    assert (written.code, written.out) == (0, "")
    assert json.loads((folder / "contract.json").read_text(encoding="utf-8")) == printed.json()
    refused = triggerhub("asyncapi", "--output", "no/such/folder.json", folder=folder)
    assert refused.code == 1
    assert refused.calm
    assert "no/such/folder.json" in refused.err
