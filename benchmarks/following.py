"""Memory of one process that follows many running sessions, and connections held for idle ones."""

from __future__ import annotations

import asyncio
import tempfile
import time
from pathlib import Path

import httpx
import psutil

from benchmarks.deliveries import signed
from benchmarks.figures import Figure
from benchmarks.processes import pair

SESSIONS = 2000
MAX_MEGABYTES = 600
WAIT_SECONDS = 600


async def _start(hub: str, count: int) -> None:
    gate = asyncio.Semaphore(30)
    async with httpx.AsyncClient() as http, asyncio.TaskGroup() as tasks:

        async def one(headers: dict[str, str], body: bytes) -> None:
            async with gate:
                answer = await http.post(f"{hub}/hooks/bench", headers=headers, content=body, timeout=60)
                answer.raise_for_status()

        for headers, body in signed(count, pad=4000):
            tasks.create_task(one(headers, body))


def _running(hub: str) -> int:
    text = httpx.get(f"{hub}/metrics", timeout=30).text
    return next(
        int(float(line.split()[1])) for line in text.splitlines() if line.startswith("triggerhub_runs ")
    )


def _streams(sandbox: str) -> int:
    """Event streams that are open at the emulated service."""
    state = httpx.get(f"{sandbox}/anthropic/_emu/state", timeout=60).json()
    sessions: list[dict[str, int]] = state["sessions"]
    return sum(session["streams"] for session in sessions)


def measure() -> list[Figure]:
    """All sessions go silent and stay running; then the process is weighed."""
    with (
        tempfile.TemporaryDirectory(dir=Path.cwd()) as folder,
        pair(Path(folder), prompt="[sandbox: scenario=silent] Wait.") as both,
    ):
        asyncio.run(_start(both.hub, SESSIONS))
        until = time.monotonic() + WAIT_SECONDS
        while time.monotonic() < until and (
            _running(both.hub) < SESSIONS or _streams(both.sandbox) < SESSIONS
        ):
            time.sleep(1)
        followed, streams = _running(both.hub), _streams(both.sandbox)
        time.sleep(5)
        megabytes = psutil.Process(both.hub_process.pid).memory_info().rss / 1e6
    return [
        Figure(
            f"sessions followed by one process: {followed} ({streams} streams)",
            f"{megabytes:.0f} MB",
            f"<= {MAX_MEGABYTES} MB for {SESSIONS}",
            met=megabytes <= MAX_MEGABYTES and followed >= SESSIONS,
        )
    ]
