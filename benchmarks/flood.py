"""A flood: tens of thousands of signed deliveries in a minute to a real `triggerhub up`, until all of them are settled.

`python -m benchmarks flood`, or `python -m benchmarks.flood --count 50000 --seconds 60`. A noisy connection sends nearly
all of it, every tenth delivery twice; a quiet one sends one webhook a second. Most deliveries match no rule, one in five
hundred starts a run against the sandbox. A refusal with 503 is tried again after the time that it names, as a vendor
that repeats would. Settled is: every event was routed, the outbox is empty, every run has ended. The figures are what was
answered, how long it took, and the memory of the hub and of its broker before, at most and after.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import heapq
import json
import sqlite3
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psutil
import uvloop

from benchmarks.deliveries import signed
from benchmarks.figures import Figure
from benchmarks.load import request
from benchmarks.processes import Pair, pair

COUNT = 50_000
SECONDS = 60.0
CONNECTIONS = 100
DUPLICATE_EVERY = 10
MATCH_EVERY = 500
QUIET_PER_SECOND = 1.0
SETTLE_SECONDS = 900.0
MAX_GROWTH_MB = 250
"""Of the hub above what it had before: the bounds of operations.md, and what the interpreter keeps."""
MAX_QUIET_SECONDS = 5.0
TRIES = 40


@dataclass
class Flood:
    """What was offered and answered."""

    answers: Counter[int] = field(default_factory=Counter)
    quiet_answers: Counter[int] = field(default_factory=Counter)
    quiet_seconds: list[float] = field(default_factory=list)
    given_up: int = 0
    offered_seconds: float = 0.0
    accepted_seconds: float = 0.0


@dataclass
class Memory:
    """Resident megabytes of the hub and of its broker."""

    before: tuple[float, float] = (0.0, 0.0)
    most: tuple[float, float] = (0.0, 0.0)
    after: tuple[float, float] = (0.0, 0.0)


@dataclass
class Report:
    """One flood."""

    flood: Flood
    memory: Memory
    settled_seconds: float | None
    """From the first webhook; None: not within the time."""
    events: int
    runs: Counter[str]


class _Client:
    """Keep-alive connections that send one request after the other from one queue ordered by time."""

    def __init__(self, host: str, port: int, flood: Flood) -> None:
        self._where = (host, port)
        self._flood = flood
        self._due: list[tuple[float, int, bytes, int]] = []
        self._some = asyncio.Condition()
        self._number = 0
        self._open = 0
        self.all_answered = asyncio.Event()

    async def ask(self, what: bytes) -> None:
        """Send it now, and again until it is accepted."""
        self._open += 1
        self.all_answered.clear()
        await self.put(what, at=asyncio.get_running_loop().time())

    def _close(self) -> None:
        self._open -= 1
        if not self._open:
            self.all_answered.set()

    async def put(self, what: bytes, *, at: float, tries: int = 0) -> None:
        """Send `what` at that time of the loop's clock, or as soon after it as a connection is free."""
        async with self._some:
            self._number += 1
            heapq.heappush(self._due, (at, self._number, what, tries))
            self._some.notify()

    async def work(self) -> None:
        """One connection, for ever."""
        reader, writer = await asyncio.open_connection(*self._where)
        try:
            while True:
                what, tries = await self._next()
                status, wait = 0, None
                with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                    writer.write(what)
                    status, wait = await _answer(reader)
                if wait is None or status == 503:
                    writer.close()
                    reader, writer = await asyncio.open_connection(*self._where)
                self._flood.answers[status] += 1
                if status == 202:
                    self._close()
                elif tries + 1 >= TRIES:
                    self._close()
                    self._flood.given_up += 1
                else:
                    await self.put(
                        what, at=asyncio.get_running_loop().time() + (wait or 1.0), tries=tries + 1
                    )
        finally:
            writer.close()

    async def _next(self) -> tuple[bytes, int]:
        """The first request whose time has come."""
        loop = asyncio.get_running_loop()
        async with self._some:
            while not self._due or self._due[0][0] > loop.time():
                pause = self._due[0][0] - loop.time() if self._due else 1.0
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(min(1.0, max(0.001, pause))):
                        await self._some.wait()
            _, _, what, tries = heapq.heappop(self._due)
        return what, tries


async def _answer(reader: asyncio.StreamReader) -> tuple[int, float | None]:
    """Status, and the seconds of Retry-After. None: the server closes the connection."""
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    length = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0])
    await reader.readexactly(length)
    if b"connection: close" in head:
        return int(head[9:12]), None
    return int(head[9:12]), float(head.partition(b"retry-after:")[2].partition(b"\r\n")[0] or 0)


def _webhooks(count: int) -> Iterator[bytes]:
    """Comments on many issues; one in MATCH_EVERY mentions the hub."""
    silent = signed(count, issues=5000, mention=False)
    loud = signed(count, first=10 * count, issues=5000)
    for number in range(count):
        headers, body = next(loud if number % MATCH_EVERY == MATCH_EVERY - 1 else silent)
        yield request("/hooks/bench", headers, body)


async def _offer(hub: str, flood: Flood, *, count: int, seconds: float) -> None:
    address = httpx.URL(hub)
    client = _Client(address.host, address.port or 80, flood)
    loop = asyncio.get_running_loop()
    workers = [loop.create_task(client.work()) for _ in range(CONNECTIONS)]
    quiet = loop.create_task(_quiet(hub, flood))
    began = loop.time()
    fresh = count - count // DUPLICATE_EVERY
    pace = seconds / count
    sent = 0
    for number, webhook in enumerate(_webhooks(fresh)):
        at = began + sent * pace
        if at > loop.time():
            await asyncio.sleep(at - loop.time())
        copies = 2 if number % (DUPLICATE_EVERY - 1) == 0 and sent + 2 + (fresh - number - 1) <= count else 1
        for _ in range(copies):
            sent += 1
            await client.ask(webhook)
    flood.offered_seconds = loop.time() - began
    await client.all_answered.wait()
    flood.accepted_seconds = loop.time() - began
    for task in (*workers, quiet):
        task.cancel()
    await asyncio.gather(*workers, quiet, return_exceptions=True)
    await asyncio.sleep(0.1)  # closed connections end in the loop's next turns


async def _quiet(hub: str, flood: Flood) -> None:
    """Another team's webhooks, meanwhile."""
    async with httpx.AsyncClient(timeout=60) as http:
        for headers, body in signed(1_000_000, first=50_000_000, mention=False):
            began = time.perf_counter()
            answer = await http.post(f"{hub}/hooks/quiet", headers=headers, content=body)
            flood.quiet_answers[answer.status_code] += 1
            flood.quiet_seconds.append(time.perf_counter() - began)
            await asyncio.sleep(1 / QUIET_PER_SECOND)


def _weigh(process: psutil.Process) -> tuple[float, float]:
    """Megabytes of the hub, and of its children (the broker)."""
    children = sum(child.memory_info().rss for child in process.children(recursive=True))
    return process.memory_info().rss / 1e6, children / 1e6


async def _watch(process: psutil.Process, memory: Memory) -> None:
    while True:
        hub, broker = _weigh(process)
        memory.most = max(memory.most[0], hub), max(memory.most[1], broker)
        await asyncio.sleep(0.5)


def _unsettled(file: Path) -> int:
    with contextlib.closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True, timeout=30)) as database:
        return sum(
            int(database.execute(f"SELECT count(*) FROM {where}").fetchone()[0])  # noqa: S608 - the three below
            for where in ("event WHERE routed_at IS NULL", "outbox", "run WHERE ended_at IS NULL")
        )


async def _pour(both: Pair, file: Path, *, count: int, seconds: float) -> Report:
    process = psutil.Process(both.hub_process.pid)
    flood, memory = Flood(), Memory()
    await _warm(both.hub)
    memory.before = _weigh(process)
    watching = asyncio.get_running_loop().create_task(_watch(process, memory))
    began = time.monotonic()
    await _offer(both.hub, flood, count=count, seconds=seconds)
    settled: float | None = None
    while settled is None and time.monotonic() - began < seconds + SETTLE_SECONDS:
        await asyncio.sleep(1)
        if await asyncio.to_thread(_unsettled, file) == 0:
            settled = time.monotonic() - began
    await asyncio.sleep(5)
    watching.cancel()
    memory.after = _weigh(process)
    with contextlib.closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as database:
        events = int(database.execute("SELECT count(*) FROM event").fetchone()[0])
        runs = Counter(
            {str(k): int(n) for k, n in database.execute("SELECT status, count(*) FROM run GROUP BY 1")}
        )
    return Report(flood, memory, settled, events, runs)


async def _warm(hub: str) -> None:
    """Whatever is imported or opened with the first webhooks belongs to `before`."""
    async with httpx.AsyncClient(timeout=60) as http:
        for headers, body in signed(50, first=90_000_000):
            (await http.post(f"{hub}/hooks/bench", headers=headers, content=body)).raise_for_status()
    await asyncio.sleep(5)


def pour(*, count: int = COUNT, seconds: float = SECONDS) -> Report:
    """One flood on fresh parts."""
    with (
        tempfile.TemporaryDirectory(dir=Path.cwd()) as folder,
        pair(
            Path(folder), prompt="[sandbox: scenario=happy] Answer.", connections=("bench", "quiet")
        ) as both,
    ):
        return uvloop.run(_pour(both, Path(folder) / "hub.db", count=count, seconds=seconds))


def measure(*, count: int = COUNT, seconds: float = SECONDS) -> list[Figure]:
    """The flood and its figures."""
    report = pour(count=count, seconds=seconds)
    flood, memory = report.flood, report.memory
    fresh = count - count // DUPLICATE_EVERY
    quiet = sorted(flood.quiet_seconds) or [0.0]
    growth = memory.most[0] - memory.before[0]
    return [
        Figure(
            f"flood: {count:,} deliveries offered in {flood.offered_seconds:.0f} s",
            f"{flood.answers[202]:,} accepted after {flood.accepted_seconds:.0f} s; {flood.answers[503]:,} times 503, "
            f"{flood.given_up} given up; {report.events:,} events of {fresh:,} and the quiet ones",
            "all accepted",
            met=flood.given_up == 0 and flood.answers[202] == count and report.events >= fresh,
        ),
        Figure(
            "  settled, from the first webhook",
            f"{report.settled_seconds:.0f} s; runs {dict(report.runs)}" if report.settled_seconds else "not",
            "all settled",
            met=report.settled_seconds is not None and set(report.runs) == {"succeeded"},
        ),
        Figure(
            "  memory of the hub, before → most → after",
            " → ".join(f"{one[0]:.0f}" for one in (memory.before, memory.most, memory.after)) + " MB",
            f"most <= before + {MAX_GROWTH_MB} MB",
            met=growth <= MAX_GROWTH_MB,
        ),
        Figure(
            "  memory of its broker, before → most → after",
            " → ".join(f"{one[1]:.0f}" for one in (memory.before, memory.most, memory.after)) + " MB",
            "",
            met=True,
        ),
        Figure(
            f"  the quiet connection's answers, {len(quiet)} of them",
            f"{dict(flood.quiet_answers)}; p50 {statistics.median(quiet) * 1000:.0f} ms, slowest {quiet[-1]:.2f} s",
            f"all 202, each <= {MAX_QUIET_SECONDS:.0f} s",
            met=set(flood.quiet_answers) == {202} and quiet[-1] <= MAX_QUIET_SECONDS,
        ),
    ]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=COUNT)
    parser.add_argument("--seconds", type=float, default=SECONDS)
    chosen = parser.parse_args()
    for figure in measure(count=chosen.count, seconds=chosen.seconds):
        print(
            json.dumps(
                {"figure": figure.name, "measured": figure.value, "limit": figure.limit, "met": figure.met}
            )
        )
