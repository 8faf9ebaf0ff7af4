"""A sandbox and a hub, each in a process of its own, for the measurements that need both."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
import yaml

from benchmarks.deliveries import SECRET

START_SECONDS = 60


@dataclass
class Pair:
    """Both, running."""

    sandbox: str
    hub: str
    hub_process: subprocess.Popen[bytes]
    sandbox_process: subprocess.Popen[bytes]

    def cpu_seconds(self) -> dict[str, float]:
        """Of the hub, its broker and the sandbox since they started: what a busy neighbour cannot change much."""
        hub = psutil.Process(self.hub_process.pid)
        return {
            "hub": _cpu_of(hub),
            "broker": sum(_cpu_of(child) for child in hub.children(recursive=True)),
            "sandbox": _cpu_of(psutil.Process(self.sandbox_process.pid)),
        }


def _cpu_of(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


@contextmanager
def pair(
    folder: Path, *, prompt: str, timeout: str = "2h", connections: Sequence[str] = ("bench",)
) -> Iterator[Pair]:
    """Start both on free ports. The rule answers mentions in GitHub comments with `prompt` as its instructions."""
    sandbox_process = subprocess.Popen(
        [sys.executable, "-m", "sandbox", "--port", "0", "--create-missing", "--pace", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert sandbox_process.stdout is not None
    sandbox = next(
        word for word in sandbox_process.stdout.readline().decode().split() if word.startswith("http")
    )
    path = folder / "triggerhub.yaml"
    path.write_text(yaml.safe_dump(_configuration(sandbox, prompt, timeout, connections)), encoding="utf-8")
    hub, hub_process = _start_hub(folder, path, sandbox)
    try:
        yield Pair(sandbox, hub, hub_process, sandbox_process)
    finally:
        for process in (hub_process, sandbox_process):
            process.kill()
            process.wait()
        sandbox_process.stdout.close()


def _start_hub(folder: Path, path: Path, sandbox: str) -> tuple[str, subprocess.Popen[bytes]]:
    port = 18100 + os.getpid() % 800
    process = subprocess.Popen(
        [sys.executable, "-m", "hub", "up", "--config", str(path), "--port", str(port)],
        env={
            **os.environ,
            "BENCH_SECRET": SECRET,
            "BENCH_TOKEN": "bench-token",
            "TRIGGERHUB_DATABASE_URL": f"sqlite:///{folder}/hub.db",
            "TRIGGERHUB_KAFKA_BOOTSTRAP_SERVERS": "",
            "TRIGGERHUB_SESSION_CREATES_PER_MINUTE": "1000000",
            "TRIGGERHUB_SESSION_READS_PER_MINUTE": "1000000",
            "TRIGGERHUB_MAX_RUNS": "5000",
            "TRIGGERHUB_LOG_LEVEL": "error",
            "ANTHROPIC_API_KEY": "bench-key",
            "ANTHROPIC_BASE_URL": f"{sandbox}/anthropic",
        },
    )
    url = f"http://127.0.0.1:{port}"
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until:
        try:
            if httpx.get(f"{url}/readyz", timeout=2).is_success:
                return url, process
        except httpx.HTTPError:
            pass
        time.sleep(0.1)
    process.kill()
    raise RuntimeError("the hub did not become ready")


def _configuration(sandbox: str, prompt: str, timeout: str, connections: Sequence[str]) -> dict[str, object]:
    return {
        "version": 1,
        "connections": {
            name: {
                "source": "github",
                "api_url": f"{sandbox}/github",
                "webhook_secrets": ["env:BENCH_SECRET"],
                "token": "env:BENCH_TOKEN",
            }
            for name in connections
        },
        "environments": {"plain": {"config": {"type": "cloud", "networking": {"type": "unrestricted"}}}},
        "agents": {
            "worker": {
                "model": "claude-sonnet-5-5",
                "environment": "plain",
                "tools": [{"type": "agent_toolset_20260401"}],
            }
        },
        "rules": [
            {
                "name": "bench",
                "match": {"source": "github", "kind": "comment.created", "mentions": ["triggerhub"]},
                "agent": "worker",
                "prompt": prompt,
                # GitHub takes some 80 posts a minute, and these are up to 3,000 events a minute.
                "report": "none",
                "presence": "none",
                "limits": {"timeout": timeout},
            }
        ],
    }
