"""Durable accepts per second: the ingress on SQLite, synchronous=FULL, beside the same server storing nothing.

Three servers, each in a process of its own, get the same signed 8 kB webhooks over 64 keep-alive connections in short
rounds that take turns; the figure is the median of the rounds' ratios.

- durable: `connectors.ingress` as `triggerhub up` serves it. Answers 202 when delivery, event and outbox row are synced.
- storing nothing, which the limit is a share of: the very same, verifying, parsing, normalising and encoding, but its
  intake says at once that everything is stored.
- verifying only: the same HTTP server and the same signature check, and no look into the body. It has no limit of its
  own; it shows what reading a webhook costs.

Publishing to the broker is not part of any: it happens after the answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import statistics
import tempfile
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import uvloop

from benchmarks.deliveries import SECRET, signed
from benchmarks.figures import Figure
from benchmarks.load import Load, fire, request
from connectors.base import Identity, Request, SignatureError
from connectors.ingress import Inbound, Ingress, Receive, Scope, Send
from connectors.intake import Intake
from connectors.observations import Observations
from connectors.registry import connector
from connectors.room import Limits, Room
from hub.server import bind, respond, serving
from hub.tuning import tune
from storage.database import open_database
from storage.deliveries import Incoming
from storage.migrate import upgrade

ROUNDS = 9
COUNT = 2_000
"""Webhooks in one round."""
WARM = 500
CONNECTIONS = 64
MIN_SHARE = 0.6
MAX_P99_SECONDS = 0.100


async def _verifying(scope: Scope, receive: Receive, send: Send) -> None:
    """The floor: the same HTTP server and the same verification, and nothing else."""
    chunks = []
    while True:
        message = await receive()
        chunks.append(message.get("body", b""))
        if not message.get("more_body"):
            break
    headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
    try:
        connector("github").verify(Request(headers=headers, body=b"".join(chunks)), secrets=(SECRET,), now=0)
    except SignatureError:
        await respond(send, 401, b"")
        return
    await respond(send, 202, b"{}")


async def _serve(app: Any, port: Connection, before: Callable[[], Any] | None = None) -> None:
    tune()
    listener = bind("127.0.0.1", 0)
    async with serving(app, listener) as server, asyncio.TaskGroup() as tasks:
        tasks.create_task(server.serve(sockets=[listener]))
        if before is not None:
            tasks.create_task(before())
        port.send(listener.getsockname()[1])
        await asyncio.Event().wait()


def _floor(port: Connection) -> None:
    uvloop.run(_serve(_verifying, port))


class _Nowhere(Intake):
    """Stores nothing and says that everything was new."""

    def __init__(self) -> None:
        self.room = Room(Limits())

    async def store(self, delivery: Incoming) -> set[str]:
        return {event.id for event in delivery.events}


def _storing_nothing(port: Connection) -> None:
    uvloop.run(_serve(_ingress(_Nowhere()), port))


def _ingress(intake: Intake) -> Ingress:
    github = Inbound("bench", connector("github"), (SECRET,), Identity())
    return Ingress({"bench": github}, intake, announce=lambda _messages: None, observations=Observations())


def _durable(port: Connection, folder: str) -> None:
    async def main() -> None:
        database = open_database(f"sqlite:///{folder}/hub.db")
        await upgrade(database)
        intake = Intake(database)
        await _serve(_ingress(intake), port, intake.run)

    uvloop.run(main())


class _Server:
    """One of them, in a process of its own, idle but for its rounds."""

    def __init__(self, target: Callable[..., None], *arguments: str) -> None:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        self.process = context.Process(target=target, args=(theirs, *arguments), daemon=True)
        self.process.start()
        self._port = ours.recv()
        self._sent = 0
        self.rounds: list[Load] = []
        self.round(WARM)
        self.rounds.clear()

    def round(self, count: int) -> None:
        """Offer that many webhooks that it has not seen yet."""
        requests = [
            request("/hooks/bench", headers, body) for headers, body in signed(count, first=self._sent)
        ]
        self._sent += count
        self.rounds.append(uvloop.run(fire("127.0.0.1", self._port, requests, connections=CONNECTIONS)))

    @property
    def rate(self) -> float:
        return statistics.median(load.rate for load in self.rounds)


@contextlib.contextmanager
def _servers(folder: str) -> Iterator[tuple[_Server, _Server, _Server]]:
    with contextlib.ExitStack() as stack:
        made = []
        for target, arguments in ((_durable, (folder,)), (_storing_nothing, ()), (_floor, ())):
            server = _Server(target, *arguments)
            stack.callback(server.process.join)
            stack.callback(server.process.kill)
            made.append(server)
        yield made[0], made[1], made[2]


def measure() -> list[Figure]:
    """Short rounds in turn, so that a machine that is slower for a minute is slower for all of them."""
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder, _servers(folder) as (durable, nothing, bare):
        for _ in range(ROUNDS):
            for server in (durable, nothing, bare):
                server.round(COUNT)
    shares = [ours.rate / theirs.rate for ours, theirs in zip(durable.rounds, nothing.rounds, strict=True)]
    share = statistics.median(shares)
    statuses = {status for load in durable.rounds for status in load.statuses}
    slowest = sorted(seconds for load in durable.rounds for seconds in load.latencies)
    p99 = slowest[int(len(slowest) * 0.99)]
    return [
        Figure(
            "durable accepts/s, 8 kB, fsync on",
            f"{durable.rate:,.0f} = {share:.2f} ({min(shares):.2f} to {max(shares):.2f}) of {nothing.rate:,.0f} storing "
            f"nothing ({durable.rate / bare.rate:.2f} of {bare.rate:,.0f} verifying only)",
            f">= {MIN_SHARE} of it",
            met=share >= MIN_SHARE and statuses == {202},
        ),
        Figure(
            f"its p99 at {CONNECTIONS} connections",
            f"{p99 * 1000:.0f} ms",
            f"<= {MAX_P99_SECONDS * 1000:.0f} ms",
            met=p99 <= MAX_P99_SECONDS,
        ),
    ]
