"""The demo, from the installed command to the last posted result."""

from __future__ import annotations

import subprocess
import sys
import time

from benchmarks.figures import Figure

MAX_SECONDS = 15


def measure() -> list[Figure]:
    """One run as a user starts it."""
    began = time.perf_counter()
    done = subprocess.run([sys.executable, "-m", "hub", "demo", "--once"], capture_output=True, check=False)
    seconds = time.perf_counter() - began
    return [
        Figure(
            "demo, start to last posted result",
            f"{seconds:.1f} s, exit {done.returncode}",
            f"<= {MAX_SECONDS} s",
            met=seconds <= MAX_SECONDS and done.returncode == 0,
        )
    ]
