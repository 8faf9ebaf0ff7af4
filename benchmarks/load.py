"""A load of prepared HTTP requests over keep-alive connections: small enough to leave the machine to the server."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import cast


@dataclass
class Load:
    """What came back."""

    seconds: float = 0.0
    statuses: dict[int, int] = field(default_factory=dict)
    latencies: list[float] = field(default_factory=list)

    @property
    def rate(self) -> float:
        return len(self.latencies) / self.seconds

    def percentile(self, share: float) -> float:
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


class _Connection(asyncio.Protocol):
    """One keep-alive connection: sends the next request as soon as the last one is answered."""

    def __init__(self, requests: Iterator[bytes], load: Load, done: asyncio.Future[None]) -> None:
        self._requests = requests
        self._load = load
        self._done = done
        self._buffer = b""
        self._sent = 0.0
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's does not inherit from it
        self._next()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, separator, rest = self._buffer.partition(b"\r\n\r\n")
        if not separator:
            return
        length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
        if len(rest) < length:
            return
        self._load.latencies.append(time.perf_counter() - self._sent)
        status = int(head[9:12])
        self._load.statuses[status] = self._load.statuses.get(status, 0) + 1
        self._buffer = rest[length:]
        self._next()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        if not self._done.done():
            self._done.set_result(None)

    def _next(self) -> None:
        assert self._transport is not None
        request = next(self._requests, None)
        if request is None:
            self._transport.close()
            return
        self._sent = time.perf_counter()
        self._transport.write(request)


async def fire(host: str, port: int, requests: Sequence[bytes], *, connections: int) -> Load:
    """Send every request once over that many connections."""
    loop = asyncio.get_running_loop()
    load = Load()
    waiting = iter(requests)
    finished = [loop.create_future() for _ in range(connections)]
    began = time.perf_counter()
    for done in finished:
        await loop.create_connection(partial(_Connection, waiting, load, done), host, port)
    await asyncio.gather(*finished)
    load.seconds = time.perf_counter() - began
    return load


def request(path: str, headers: dict[str, str], body: bytes) -> bytes:
    """The bytes of one POST."""
    lines = [f"POST {path} HTTP/1.1", "host: bench", f"content-length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body
