"""Serving the sandbox on loopback, inside a running event loop. Stops at once, open streams or not."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass

import uvicorn
from starlette.types import Scope

from sandbox.app import build
from sandbox.world import World


@dataclass(frozen=True, slots=True)
class Sandbox:
    """A sandbox that is being served."""

    url: str
    """`http://127.0.0.1:PORT`, without a trailing slash."""
    world: World

    @property
    def anthropic_url(self) -> str:
        """Base URL for the Anthropic SDK (`ANTHROPIC_BASE_URL`)."""
        return f"{self.url}/anthropic"

    def api_url(self, source: str) -> str:
        """`api_url` of a connection to `github`, `jira`, `sentry` or `slack`."""
        return f"{self.url}/{source}"


class _Server(uvicorn.Server):
    """uvicorn without its own signal handling and without waiting for clients when it stops."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = asyncio.Event()
        self.stop = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        self.ready.set()

    async def main_loop(self) -> None:
        while not self.stop.is_set():
            await self.on_tick(0)  # brings the answers' Date up to date
            with suppress(TimeoutError):
                await asyncio.wait_for(self.stop.wait(), 1)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for server in self.servers:
            server.close()
        for listener in sockets or []:
            listener.close()
        for connection in list(self.server_state.connections):
            connection.transport.abort()
        tasks = list(self.server_state.tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    def cut(self, scope: Scope) -> None:
        """Close the connection of a request without an answer."""
        for connection in list(self.server_state.connections):
            # Every HTTP protocol of uvicorn has `client`, but its union type names one that does not.
            if getattr(connection, "client", None) == scope.get("client"):
                connection.transport.abort()


@asynccontextmanager
async def serve(
    port: int = 0,
    host: str = "127.0.0.1",
    *,
    world: World | None = None,
    create_missing: bool = False,
    pace: float | None = None,
) -> AsyncIterator[Sandbox]:
    """Serve a sandbox while the block runs. Port 0 lets the system choose. `world`: an own one, already
    filled.

    Raises OSError where the address is taken. A failure of the server ends the block with an
    ExceptionGroup.
    """
    held = World(create_missing=create_missing, pace=pace) if world is None else world
    servers: list[_Server] = []

    def cut(scope: Scope) -> None:
        servers[0].cut(scope)

    application = build(held, cut=cut)
    config = uvicorn.Config(
        application,
        http="httptools",
        lifespan="off",
        log_config=None,
        log_level="critical",
        access_log=False,
        proxy_headers=False,
        date_header=True,
        ws="none",
        timeout_keep_alive=120,
    )
    server = _Server(config)
    servers.append(server)
    listener = _listen(host, port)
    address = listener.getsockname()
    failure: Exception | None = None
    async with asyncio.TaskGroup() as group:
        group.create_task(server.serve(sockets=[listener]), name="sandbox server")
        try:
            await server.ready.wait()
            yield Sandbox(url=f"http://{address[0]}:{address[1]}", world=held)
        except Exception as error:  # noqa: BLE001 - raised again below: in here the group would wrap it
            failure = error
        finally:
            server.stop.set()
            held.close()
    if failure is not None:
        raise failure


def _listen(host: str, port: int) -> socket.socket:
    """A listening socket that names its protocol: asyncio turns Nagle's algorithm off only where it is
    named, and with it on each answer to a client that sends head and body apart waits 40 ms."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(1024)
    except OSError:
        listener.close()
        raise
    return listener
