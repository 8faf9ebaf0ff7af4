"""Every command once in an interpreter that has imported nothing: it does and says what the forked one does.

The other tests fork their commands (`command_line`), so a module that only works because another was imported before
it, or a complaint at an interpreter's end, would be seen here alone.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Final

import hub_story as story
import pytest
import typer.main
from command_line import Ran, fresh, triggerhub

from hub.cli import app
from storage.database import Database

CONFIG: Final = """\
version: 1
connections: {acme-github: {source: github, webhook_secrets: [env:HOOK_SECRET]}}
environments: {reading: {config: {type: cloud}}}
agents: {colleague: {model: claude-sonnet-5-5, environment: reading}}
rules:
  - {name: answer, match: {kind: comment.created}, agent: colleague, prompt: Answer.}
"""
FIXTURES: Final = Path(__file__).parents[2] / "connectors" / "github" / "fixtures"
BODY: Final = str(FIXTURES / "check_run.completed.json")
NOWHERE: Final = "http://127.0.0.1:1"
COMMANDS: Final = (
    ("approvals list", 0),
    ("approvals show 42", 1),
    ("asyncapi", 0),
    (f"dlq drop {story.LETTER} --reason known", 0),
    ("dlq list", 0),
    (f"dlq retry {story.LETTER}", 0),
    (f"dlq show {story.LETTER}", 0),
    ("doctor --offline", 1),
    ("events list", 0),
    (f"events show {story.ANSWERED}", 0),
    (f"inspect --source github {BODY}", 0),
    ("pause --rule answer", 0),
    (f"replay {story.ANSWERED}", 0),
    ("resume --rule answer", 1),
    ("rules check", 0),
    ("rules schema", 0),
    (f"rules test --source github {BODY}", 1),
    (f"runs approve {story.RUN}", 1),
    (f"runs budget {story.QUEUED_RUN} --usd 9", 1),
    (f"runs cancel {story.QUEUED_RUN}", 0),
    ("runs list", 0),
    (f"runs say {story.RUN} Thanks.", 0),
    (f"runs show {story.RUN}", 0),
    (f"send --connection acme-github --url {NOWHERE} {BODY}", 1),
    ("spend", 0),
    (f"why {story.ANSWERED}", 0),
)
DRAWN: Final = re.compile(r"run_[0-9a-f]{32}|\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ|\d+ s old")
ELSEWHERE: Final = {"demo", "sandbox", "up"}
"""They run until they are stopped; `test_cli_up` and `test_scenarios` start each in a fresh interpreter."""


def leaves(group: object, prefix: str = "") -> set[str]:
    """The names of every command."""
    found: set[str] = set()
    for name, command in getattr(group, "commands", {}).items():
        found |= leaves(command, f"{prefix}{name} ") if hasattr(command, "commands") else {prefix + name}
    return found


def known(ran: Ran) -> Ran:
    """Without the part that is drawn anew in each run: the id of what was said, when a pause began, ages."""
    return Ran(ran.code, DRAWN.sub("…", ran.out), DRAWN.sub("…", ran.err))


def test_no_command_is_left_out() -> None:
    names = leaves(typer.main.get_command(app))
    tried = {name for name in names if any(f"{line} ".startswith(f"{name} ") for line, _ in COMMANDS)}
    assert names - tried == ELSEWHERE


@pytest.mark.parametrize(("line", "code"), COMMANDS, ids=lambda given: str(given).replace(BODY, "BODY"))
async def test_a_fresh_interpreter_does_the_same(
    line: str, code: int, sqlite_database: Database, sqlite_url: str, tmp_path: Path
) -> None:
    await sqlite_database.write(story.tell)
    await sqlite_database.close()
    file = Path(sqlite_url.removeprefix("sqlite:///"))

    def ran(how: Callable[..., Ran]) -> Ran:
        folder = tmp_path / how.__name__
        folder.mkdir()
        (folder / "triggerhub.yaml").write_text(CONFIG, encoding="utf-8")
        shutil.copyfile(file, folder / "hub.db")
        env = {"TRIGGERHUB_DATABASE_URL": "sqlite:///hub.db", "HOOK_SECRET": "an-invented-secret"}
        return how(*line.split(), folder=folder, env=env)

    forked, alone = ran(triggerhub), ran(fresh)
    assert known(forked) == known(alone)
    assert (alone.code, alone.calm) == (code, True), alone


def test_the_fork_sees_nothing_of_this_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRIGGERHUB_DATABASE_URL", "sqlite:////nowhere/hub.db")
    told = [how("doctor", "--offline", "--json", folder=tmp_path) for how in (triggerhub, fresh)]
    assert told[0] == told[1]
    assert "nowhere" not in json.dumps(told[0].json())
