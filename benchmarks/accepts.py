"""Durable accepts per second: the ingress with SQLite and fsync, beside the same server with its storing taken out.

A second floor, verification alone without reading the body, is printed for comparison: it has no limit of its own.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import tempfile
from collections.abc import Callable
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
from hub.server import bind, respond, serving
from hub.tuning import tune
from storage.database import open_database
from storage.deliveries import Incoming
from storage.migrate import upgrade

COUNT = 12_000
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
        pass

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


def _measure(target: Callable[..., None], *arguments: str) -> Load:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=target, args=(theirs, *arguments), daemon=True)
    process.start()
    try:
        port = ours.recv()
        requests = [request("/hooks/bench", headers, body) for headers, body in signed(COUNT)]
        warm = [request("/hooks/bench", headers, body) for headers, body in signed(500, first=COUNT)]
        uvloop.run(fire("127.0.0.1", port, warm, connections=CONNECTIONS))
        return uvloop.run(fire("127.0.0.1", port, requests, connections=CONNECTIONS))
    finally:
        process.kill()
        process.join()


def measure() -> list[Figure]:
    """Both servers, one after the other, with the same load."""
    bare = _measure(_floor)
    floor = _measure(_storing_nothing)
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        durable = _measure(_durable, folder)
    share = durable.rate / floor.rate
    return [
        Figure(
            "durable accepts/s, 8 kB, fsync on",
            f"{durable.rate:,.0f} = {share:.2f} of {floor.rate:,.0f} storing nothing "
            f"({durable.rate / bare.rate:.2f} of {bare.rate:,.0f} verifying only)",
            f">= {MIN_SHARE} of it",
            met=share >= MIN_SHARE and set(durable.statuses) == {202},
        ),
        Figure(
            f"its p99 at {CONNECTIONS} connections",
            f"{durable.percentile(0.99) * 1000:.0f} ms",
            f"<= {MAX_P99_SECONDS * 1000:.0f} ms",
            met=durable.percentile(0.99) <= MAX_P99_SECONDS,
        ),
    ]
