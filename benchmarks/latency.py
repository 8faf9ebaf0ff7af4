"""From a webhook's arrival to the session's creation leaving, on the embedded parts at a steady offer."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import sqlite3
import statistics
import tempfile
import time
from pathlib import Path

import httpx

from benchmarks.deliveries import signed
from benchmarks.figures import Figure
from benchmarks.processes import pair

PER_SECOND = 50
SECONDS = 20
MAX_P50_MS = 25
MAX_P99_MS = 100
WARM_UP = 50


async def _offer(hub: str, first: int, count: int) -> dict[str, float]:
    """Send at the steady rate; return when each event's webhook was sent, by event id."""
    sent: dict[str, float] = {}
    loop = asyncio.get_running_loop()
    async with (
        httpx.AsyncClient(limits=httpx.Limits(max_connections=50)) as http,
        asyncio.TaskGroup() as tasks,
    ):

        async def one(headers: dict[str, str], body: bytes) -> None:
            at = time.time()
            answer = await http.post(f"{hub}/hooks/bench", headers=headers, content=body)
            for event in answer.json()["events"]:
                sent[event] = at

        began = loop.time()
        for number, (headers, body) in enumerate(signed(count, first=first)):
            await asyncio.sleep(max(0.0, began + number / PER_SECOND - loop.time()))
            tasks.create_task(one(headers, body))
    return sent


async def _created(sandbox: str, wanted: set[str]) -> dict[str, float]:
    """When the sandbox saw each event's session create, by event id."""
    found: dict[str, float] = {}
    async with httpx.AsyncClient(timeout=60) as http:
        for _ in range(60):
            log = (await http.get(f"{sandbox}/_sandbox/log", params={"service": "anthropic"})).json()
            for call in log["calls"] if isinstance(log, dict) else log:
                if call["method"] == "POST" and call["path"] == "/v1/sessions":
                    found[call["body"]["metadata"]["triggerhub_event"]] = call["at"]
            if wanted <= set(found):
                break
            await asyncio.sleep(0.5)
    return found


def _stored(file: Path) -> dict[str, tuple[float, float, float]]:
    """When each event's transactions began: the door's, the router's, the runner's. By event id."""
    query = """
        SELECT event.id, event.received_at, event.routed_at, run.created_at
        FROM event JOIN run ON run.event_id = event.id
    """
    with contextlib.closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as connection:
        return {event: (door, router, runner) for event, door, router, runner in connection.execute(query)}


def _way(
    sent: dict[str, float], stored: dict[str, tuple[float, float, float]], created: dict[str, float]
) -> str:
    """The median of each stretch of the way, in milliseconds."""
    times = [
        (at, *stored[event], created[event])
        for event, at in sent.items()
        if {event} <= stored.keys() & created.keys()
    ]
    names = ("sent → stored", "→ routed", "→ run claimed", "→ create out")
    stretches = zip(*([b - a for a, b in itertools.pairwise(one)] for one in times), strict=True)
    return ", ".join(
        f"{name} {statistics.median(one) * 1000:.1f}" for name, one in zip(names, stretches, strict=True)
    )


def measure() -> list[Figure]:
    """One run of SECONDS at PER_SECOND."""
    with (
        tempfile.TemporaryDirectory(dir=Path.cwd()) as folder,
        pair(Path(folder), prompt="[sandbox: scenario=happy] Answer.") as both,
    ):
        asyncio.run(_offer(both.hub, 0, WARM_UP))
        before = both.cpu_seconds()
        sent = asyncio.run(_offer(both.hub, 1000, PER_SECOND * SECONDS))
        created = asyncio.run(_created(both.sandbox, set(sent)))
        stored = _stored(Path(folder) / "hub.db")
        spent = {name: after - before[name] for name, after in both.cpu_seconds().items()}
    delays = sorted((created[event] - at) * 1000 for event, at in sent.items() if event in created)
    lost = len(sent) - len(delays)
    p50, p99 = delays[len(delays) // 2], delays[int(len(delays) * 0.99)]
    name = f"webhook in → session create out, {PER_SECOND}/s, {len(sent)} webhooks"
    return [
        Figure(f"{name}, p50", f"{p50:.0f} ms", f"<= {MAX_P50_MS} ms", met=p50 <= MAX_P50_MS and not lost),
        Figure(
            "  the same, p99", f"{p99:.0f} ms, {lost} missing", f"<= {MAX_P99_MS} ms", met=p99 <= MAX_P99_MS
        ),
        Figure("  median of each stretch, ms", _way(sent, stored, created), "", met=True),
        Figure(
            "  processor time for each webhook and its whole session",
            ", ".join(f"{name} {seconds / len(sent) * 1000:.1f} ms" for name, seconds in spent.items()),
            "",
            met=True,
        ),
    ]
