"""`triggerhub inspect`: one JSON line per body, from files alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from command_line import Ran, triggerhub

COMMENT: dict[str, Any] = {
    "action": "created",
    "issue": {
        "number": 7,
        "title": "Wrong total",
        "html_url": "https://github.com/acme/checkout/issues/7",
        "user": {"login": "ada", "id": 5, "type": "User"},
    },
    "comment": {
        "id": 99,
        "body": "Why is the total wrong?",
        "author_association": "MEMBER",
        "user": {"login": "ada", "id": 5, "type": "User"},
        "created_at": "2026-01-02T03:04:05Z",
    },
    "repository": {"id": 1, "full_name": "acme/checkout", "private": True, "owner": {"login": "acme"}},
    "sender": {"login": "ada", "id": 5, "type": "User"},
}


def write(path: Path, value: object) -> Path:
    path.write_text(value if isinstance(value, str) else json.dumps(value), encoding="utf-8")
    return path


def inspect(*arguments: str | Path, folder: Path, source: str = "github") -> tuple[Ran, list[dict[str, Any]]]:
    ran = triggerhub("inspect", "--source", source, *arguments, folder=folder)
    assert ran.calm
    return ran, [json.loads(line) for line in ran.out.splitlines()]


def test_a_body_with_headers_beside_it(tmp_path: Path) -> None:
    write(tmp_path / "comment.json", COMMENT)
    write(
        tmp_path / "comment.headers.json",
        {"X-GitHub-Event": "issue_comment", "X-Old": None, "_provenance": 3},
    )
    ran, [line] = inspect("comment.json", folder=tmp_path)
    assert (ran.code, ran.err) == (0, "")
    assert list(line) == ["file", "outcome", "reason", "events"]
    assert (line["file"], line["outcome"], line["reason"]) == ("comment.json", "handled", None)
    [event] = line["events"]
    assert event["specversion"] == "1.0"
    assert event["type"] == "github.comment.created"
    assert event["connection"] == "inspect"
    assert event["subject"] == event["data"]["subject"]["key"] == "acme/checkout#7"
    assert event["data"]["text"] == "Why is the total wrong?"
    assert event["data"]["actor"]["trust"] == "member"
    assert event["data"]["payload"] == COMMENT


def test_the_same_body_is_the_same_event_and_the_connection_is_part_of_its_id(tmp_path: Path) -> None:
    write(tmp_path / "comment.json", COMMENT)
    headers = write(tmp_path / "given.json", {"x-github-event": "issue_comment"})
    _, lines = inspect("--headers", headers, "comment.json", "comment.json", folder=tmp_path)
    _, [other] = inspect("--headers", headers, "--connection", "acme", "comment.json", folder=tmp_path)
    ids = [line["events"][0]["id"] for line in lines]
    assert ids[0] == ids[1]
    assert other["events"][0]["connection"] == "acme"
    assert other["events"][0]["id"] != ids[0]


def test_given_headers_win_over_those_beside_the_body(tmp_path: Path) -> None:
    write(tmp_path / "comment.json", COMMENT)
    write(tmp_path / "comment.headers.json", {"x-github-event": "issue_comment"})
    ping = write(tmp_path / "ping.json", {"x-github-event": "ping"})
    _, [line] = inspect("--headers", ping, "comment.json", folder=tmp_path)
    assert [event["data"]["kind"] for event in line["events"]] in ([], ["ping"])


def test_a_form_is_known_by_its_name(tmp_path: Path) -> None:
    form = "payload=" + quote(json.dumps(COMMENT), safe="")
    write(tmp_path / "comment.form.txt", form + "\n")
    write(tmp_path / "comment.headers.json", {"x-github-event": "issue_comment"})
    ran, [line] = inspect("comment.form.txt", folder=tmp_path)
    assert ran.code == 0
    assert [event["type"] for event in line["events"]] == ["github.comment.created"]


def test_slack_forms_and_challenges(tmp_path: Path) -> None:
    write(tmp_path / "challenge.json", {"type": "url_verification", "challenge": "c", "token": "t"})
    command = "team_id=T1&channel_id=C1&user_id=U1&command=%2Ffix&text=the+total&trigger_id=1.2"
    write(tmp_path / "command.form.txt", command)
    ran, [challenge, invoked] = inspect("challenge.json", "command.form.txt", folder=tmp_path, source="slack")
    assert ran.code == 0
    assert (challenge["outcome"], challenge["events"]) == ("challenge", [])
    assert [event["type"] for event in invoked["events"]] == ["slack.command.invoked"]


def test_what_cannot_be_understood_is_judged_all_the_same(tmp_path: Path) -> None:
    write(tmp_path / "broken.json", '{"a": 1, "a": 2}')
    write(tmp_path / "comment.json", COMMENT)
    headers = write(tmp_path / "given.json", {"x-github-event": "issue_comment"})
    ran, [broken, good] = inspect("--headers", headers, "broken.json", "comment.json", folder=tmp_path)
    assert ran.code == 0
    assert (broken["outcome"], broken["events"]) == ("unreadable", [])
    assert "twice" in broken["reason"]
    assert good["outcome"] == "handled"


@pytest.mark.parametrize(
    ("names", "reason"),
    [(["missing.json"], "No such file"), (["."], "directory"), (["bad.json"], "bad.headers.json")],
    ids=["missing", "folder", "headers beside it"],
)
def test_a_file_that_cannot_be_used_is_wrong_usage(names: list[str], reason: str, tmp_path: Path) -> None:
    write(tmp_path / "comment.json", COMMENT)
    write(tmp_path / "comment.headers.json", {"x-github-event": "issue_comment"})
    write(tmp_path / "bad.json", COMMENT)
    write(tmp_path / "bad.headers.json", "[")
    ran, lines = inspect(*names, "comment.json", folder=tmp_path)
    assert ran.code == 2
    assert [line["outcome"] for line in lines] == ["unreadable", "handled"]
    assert reason in lines[0]["reason"]


@pytest.mark.parametrize("given", ["", "[]", '{"a": []}', '{"a": true}'])
def test_headers_that_are_none_are_wrong_usage(given: str, tmp_path: Path) -> None:
    write(tmp_path / "comment.json", COMMENT)
    headers = write(tmp_path / "given.json", given)
    ran, lines = inspect("--headers", headers, "comment.json", folder=tmp_path)
    assert (ran.code, lines) == (2, [])
    assert str(headers) in ran.err


def test_an_unknown_source_names_the_nearest(tmp_path: Path) -> None:
    ran, lines = inspect("x.json", folder=tmp_path, source="githb")
    assert (ran.code, lines) == (2, [])
    assert "did you mean 'github'?" in ran.err


def test_every_shipped_sample_of_every_source_is_judged(tmp_path: Path) -> None:
    root = Path(__file__).parents[2] / "connectors"
    for source in ("github", "jira", "sentry", "slack"):
        folder = root / source / "fixtures"
        bodies = sorted(
            path
            for path in folder.iterdir()
            if path.name.endswith(".form.txt")
            or (path.suffix == ".json" and not path.name.endswith((".headers.json", ".expected.json")))
        )
        ran, lines = inspect(*bodies, folder=tmp_path, source=source)
        assert ran.code == 0
        assert [line["file"] for line in lines] == [str(body) for body in bodies]
        for body, line in zip(bodies, lines, strict=True):
            stem = body.name.removesuffix(".form.txt").removesuffix(".json")
            expected = json.loads((folder / f"{stem}.expected.json").read_bytes())
            assert line["outcome"] == expected["outcome"], body
            if "identity" not in expected:  # who we are may turn a message into a mention
                types = [event["type"] for event in line["events"]]
                assert types == [event["type"] for event in expected["events"]], body
