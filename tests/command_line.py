"""Running `triggerhub` as people do: a process of its own, in a folder of its own, with nothing of our environment.

The process is forked from one that has the hub imported (`nursery`): an interpreter costs a second or more of CPU, and
test runs have hundreds of commands. `fresh` runs one in an interpreter of its own; `test_cli_fresh` compares the two.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hub_process import hub_nursery

ROOT = Path(__file__).resolve().parents[1]
COMMAND = (sys.executable, "-c", "from hub.cli import main; main()")
SECONDS = 60


@dataclass(frozen=True, slots=True)
class Ran:
    """How a command ended."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        """Standard output as one JSON value."""
        return json.loads(self.out)

    @property
    def calm(self) -> bool:
        """True unless a traceback was shown."""
        return "Traceback" not in self.err + self.out


def environment(given: Mapping[str, str] | None = None) -> dict[str, str]:
    """What a command sees: a path to find Python's parts, and what the test says."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
    return {**kept, "PYTHONPATH": str(ROOT), "COLUMNS": "100", **(given or {})}


def triggerhub(*arguments: str | Path, folder: Path, env: Mapping[str, str] | None = None) -> Ran:
    """Run a command to its end in `folder`."""
    with tempfile.TemporaryDirectory(prefix="triggerhub-command-") as said:
        out, errors = Path(said, "out"), Path(said, "err")
        life = hub_nursery().begin(
            ["--command", *map(str, arguments)],
            environment=environment(env),
            log=out,
            errors=errors,
            folder=folder,
        )
        try:
            code = life.wait(SECONDS)
        finally:
            life.kill()
        return Ran(code, out.read_bytes().decode(), errors.read_bytes().decode())


def fresh(*arguments: str | Path, folder: Path, env: Mapping[str, str] | None = None) -> Ran:
    """The same in an interpreter that has imported nothing yet."""
    done = subprocess.run(
        [*COMMAND, *map(str, arguments)],
        cwd=folder,
        env=environment(env),
        capture_output=True,
        timeout=SECONDS,
        check=False,
    )
    return Ran(done.returncode, done.stdout.decode(), done.stderr.decode())
