"""What the SDK's transport says of connections that fail: "nothing was sent" only where that is so."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import pytest

from runner.client import make_client
from runner.errors import BusyError, UncertainError
from runner.permits import Permits
from runner.service import Service

pytestmark = pytest.mark.timeout(60)
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class _Anything(Permits):
    """Nothing is limited here."""

    def __init__(self) -> None:  # no database: nothing is counted
        pass

    async def take(self, permit: object) -> None:
        """At once."""


@asynccontextmanager
async def listening(serve: Serve) -> AsyncIterator[str]:
    async def whole(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            await serve(reader, writer)
            writer.close()
            await writer.wait_closed()

    async with asyncio.TaskGroup() as handling:

        def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            handling.create_task(whole(reader, writer))

        async with await asyncio.start_server(accept, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            yield f"http://127.0.0.1:{port}"


@asynccontextmanager
async def service_at(url: str, *, call_seconds: float = 5.0) -> AsyncIterator[Service]:
    client = make_client(api_key="emu", base_url=url, max_connections=4)
    try:
        yield Service(client, _Anything(), call_seconds=call_seconds)
    finally:
        await client.close()


async def request_of(reader: asyncio.StreamReader) -> bytes:
    """One whole request."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(
        (
            int(line.split(b":")[1])
            for line in head.lower().split(b"\r\n")
            if line.startswith(b"content-length")
        ),
        0,
    )
    return head + await reader.readexactly(length)


def answer(body: bytes) -> bytes:
    head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    return head.encode() + body


async def test_where_nobody_listens_nothing_was_sent() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
        async with service_at(url) as service:
            with pytest.raises(BusyError, match="no connection"):
                await service.create_session({"agent": "agent_1", "environment_id": "env_1"})


async def test_a_connection_that_ends_after_the_request_leaves_doubt() -> None:
    async def serve(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await request_of(reader)

    async with listening(serve) as url, service_at(url) as service:
        with pytest.raises(UncertainError):
            await service.create_session({"agent": "agent_1", "environment_id": "env_1"})


async def test_a_connection_that_is_reset_after_the_request_leaves_doubt() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_of(reader)
        writer.transport.abort()

    async with listening(serve) as url, service_at(url) as service:
        with pytest.raises(UncertainError):
            await service.send("sesn_1", [{"type": "user.interrupt"}])


async def test_a_kept_connection_that_was_closed_is_never_used_twice_for_one_request() -> None:
    """The request may have arrived before the end did, so it is not repeated by the transport."""
    seen: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await request_of(reader))
        writer.write(answer(b'{"id": "sesn_1"}'))
        await writer.drain()
        seen.append(await request_of(reader))

    async with listening(serve) as url, service_at(url) as service:
        params = {"agent": "agent_1", "environment_id": "env_1"}
        assert await service.create_session(params) == "sesn_1"
        with pytest.raises(UncertainError):
            await service.create_session(params)
    assert len(seen) == 2


async def test_no_answer_in_time_leaves_doubt() -> None:
    async def serve(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await request_of(reader)
        await reader.read()

    async with listening(serve) as url, service_at(url, call_seconds=0.2) as service:
        with pytest.raises(UncertainError):
            await service.create_session({"agent": "agent_1", "environment_id": "env_1"})


@pytest.mark.parametrize(
    "garbage", [b"not http at all\r\n\r\n", answer(b"not json"), answer(b"[]"), answer(b"{}")]
)
async def test_an_answer_that_cannot_be_read_leaves_doubt(garbage: bytes) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_of(reader)
        writer.write(garbage)
        await writer.drain()

    async with listening(serve) as url, service_at(url) as service:
        with pytest.raises(UncertainError):
            await service.create_session({"agent": "agent_1", "environment_id": "env_1"})


async def test_the_date_of_every_answer_is_told() -> None:
    told: list[tuple[str, str | None]] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_of(reader)
        writer.write(
            answer(b'{"id": "sesn_1"}').replace(b"OK\r\n", b"OK\r\ndate: Thu, 26 Nov 2026 00:00:00 GMT\r\n")
        )
        await writer.drain()

    def on_date(name: str, date: str | None, /, *, before: float, after: float) -> None:
        assert before <= after
        told.append((name, date))

    async with listening(serve) as url:
        client = make_client(api_key="emu", base_url=url, max_connections=1, on_date=on_date)
        await client.beta.sessions.retrieve("sesn_1")
        await client.close()
    assert told == [(url.removeprefix("http://"), "Thu, 26 Nov 2026 00:00:00 GMT")]
