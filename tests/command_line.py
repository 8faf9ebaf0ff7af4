"""Running `triggerhub` as people do: a process of its own, in a folder of its own, with nothing of our environment."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
    done = subprocess.run(
        [*COMMAND, *map(str, arguments)],
        cwd=folder,
        env=environment(env),
        capture_output=True,
        timeout=SECONDS,
        check=False,
    )
    return Ran(done.returncode, done.stdout.decode(), done.stderr.decode())
