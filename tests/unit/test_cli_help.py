"""The names that people type: commands and options, and that asking for help costs next to nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer.main
from command_line import COMMAND, environment, triggerhub

from hub.cli import app

OURS = {
    "asyncapi": {"--output"},
    "demo": {"--once"},
    "dlq drop": {"letter_id", "--reason", "--url", "--json"},
    "dlq list": {"--status", "--topic", "--limit", "--url", "--json"},
    "dlq retry": {"letter_ids", "--all", "--url", "--json"},
    "dlq show": {"letter_id", "--raw", "--url", "--json"},
    "doctor": {"--config", "--offline", "--json"},
    "events list": {"--connection", "--kind", "--subject", "--limit", "--url", "--json"},
    "events show": {"event_id", "--url", "--json"},
    "inspect": {"bodies", "--source", "--headers", "--connection"},
    "spend": {"--days", "--url", "--json"},
    "pause": {"--rule", "--team", "--all", "--reason", "--url", "--json"},
    "resume": {"--rule", "--team", "--all", "--url", "--json"},
    "replay": {"event_id", "--again", "--reason", "--url", "--json"},
    "rules check": {"--config", "--json"},
    "rules schema": set(),
    "rules test": {"body", "--source", "--connection", "--headers", "--config", "--json"},
    "runs cancel": {"run_id", "--url", "--json"},
    "runs list": {"--status", "--rule", "--connection", "--subject", "--limit", "--url", "--json"},
    "runs show": {"run_id", "--url", "--json"},
    "sandbox": {"--port"},
    "send": {"body", "--connection", "--headers", "--url", "--config"},
    "up": {"--config", "--roles", "--host", "--port"},
    "why": {"event_id", "--url", "--json"},
}
HEAVY = {"aiokafka", "anthropic", "fastapi", "faststream", "httpx", "sqlalchemy", "yaml"}
PYDANTIC = {"pydantic"}
"""typer itself reads options with it; but not before there is an option to read."""


def commands(group: Any, prefix: str = "") -> dict[str, set[str]]:
    """Every command with its long options and arguments."""
    found: dict[str, set[str]] = {}
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            found |= commands(command, f"{prefix}{name} ")
            continue
        found[prefix + name] = {
            next((option for option in parameter.opts if option.startswith("--")), parameter.name)
            for parameter in command.params
        } - {"--help"}
    return found


def test_commands_and_options_are_those_that_were_published() -> None:
    found = commands(typer.main.get_command(app))
    assert {name: found.get(name) for name in OURS} == OURS


@pytest.mark.parametrize(
    ("line", "unwanted"),
    [("--help", HEAVY | PYDANTIC), ("rules --help", HEAVY), ("up --help", HEAVY), ("--version", HEAVY)],
)
def test_help_imports_nothing_heavy(line: str, unwanted: set[str], tmp_path: Path) -> None:
    program = (
        "import json, sys\n"
        "from hub.cli import main\n"
        "try:\n    main()\nexcept SystemExit as ended:\n    code = ended.code\n"
        "print(json.dumps([code, sorted(sys.modules)]), file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *line.split()],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        timeout=60,
        check=True,
    )
    code, modules = json.loads(done.stderr)
    assert code in {0, None}
    assert "hub.cli" in modules
    assert unwanted & set(modules) == set()


def test_help_in_a_pipe_has_no_colour_codes(tmp_path: Path) -> None:
    ran = triggerhub("--help", folder=tmp_path)
    assert (ran.code, ran.err) == (0, "")
    assert "\x1b" not in ran.out
    for name in ("demo", "up", "inspect", "rules", "send", "events", "runs", "why", "doctor"):
        assert f" {name} " in ran.out


def test_version_is_that_of_the_package(tmp_path: Path) -> None:
    from importlib.metadata import version  # noqa: PLC0415 - needed here only

    ran = triggerhub("--version", folder=tmp_path)
    assert (ran.code, ran.out.strip()) == (0, f"triggerhub {version('triggerhub')}")


@pytest.mark.parametrize(
    "arguments",
    [("nonsense",), ("runs", "nonsense"), ("inspect",), ("inspect", "--source"), ("up", "--port", "70000")],
    ids=" ".join,
)
def test_wrong_usage_ends_with_2(arguments: tuple[str, ...], tmp_path: Path) -> None:
    ran = triggerhub(*arguments, folder=tmp_path)
    assert ran.code == 2
    assert ran.out == ""
    assert ran.calm


def test_a_reader_who_goes_away_is_no_fault(tmp_path: Path) -> None:
    with subprocess.Popen(
        [*COMMAND, "rules", "schema"],
        cwd=tmp_path,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        complaint = process.stderr.read()
        process.wait(timeout=60)
    assert complaint == b""
