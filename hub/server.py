"""The HTTP side of one process: webhooks, health, metrics, AsyncAPI, the JSON API, all on one port.

A thin ASGI dispatcher: webhooks go to the ingress without passing a framework.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Iterator, MutableMapping
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from typing import Any, Final

import orjson
import uvicorn

from connectors.ingress import Ingress, Receive, Scope, Send
from hub.api_access import Access
from hub.metrics import Metrics
from hub.progress import Progress

JSON: Final = b"application/json"
BACKLOG: Final = 2048
MAX_API_BODY: Final = 65_536
BODY_SECONDS: Final = 10.0
CLOSED_PAGES: Final = frozenset({"/metrics", "/asyncapi", "/api/v1/openapi.json"})
"""For those who may use the API, which guards its own records."""


class PortInUseError(OSError):
    """Somebody listens there already."""


@dataclass(slots=True)
class Pages:
    """What this process serves. None: the role that would serve it does not run here."""

    progress: Progress
    metrics: Metrics
    ingress: Ingress | None = None
    api: Any = None
    asyncapi: bytes = b"{}"
    access: Access = field(default_factory=lambda: Access(None))
    """Who sees more than whether this process lives and is ready."""
    extra: dict[str, Any] = field(default_factory=dict)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        path = scope["path"]
        if path.startswith("/hooks/") and self.ingress is not None:
            await self.ingress(scope, receive, send)
        elif path == "/livez":
            await respond(send, 200, b'{"alive":true}')
        elif path == "/readyz":
            checks = self.progress.checks()
            ready = all(check.ok for check in checks)
            told: dict[str, Any] = {"ready": ready}
            if (
                self._refusal(scope) is None
            ):  # load balancers need the status, and strangers no more than that
                told["checks"] = [asdict(check) for check in checks]
            await respond(send, 200 if ready else 503, orjson.dumps(told))
        elif path in CLOSED_PAGES and (refusal := self._refusal(scope)) is not None:
            await respond(send, 401, orjson.dumps({"error": refusal}))
        elif path == "/metrics":
            await respond(
                send, 200, self.metrics.page(), content_type=b"text/plain; version=0.0.4; charset=utf-8"
            )
        elif path == "/asyncapi":
            await respond(send, 200, self.asyncapi)
        elif self.api is not None:
            await self._bounded(scope, receive, send)
        else:
            await respond(send, 404, orjson.dumps({"error": f"nothing is served at {path[:200]}"}))

    def _refusal(self, scope: Scope) -> str | None:
        client = scope.get("client")
        headers = {
            name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]
        }
        return self.access.refusal(client=client[0] if client else None, headers=headers)

    async def _bounded(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand over to the API with the whole body at hand: what people ask of it is small and comes at once."""
        body = b""
        try:
            async with asyncio.timeout(BODY_SECONDS):
                more = True
                while more:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        return
                    body += message.get("body", b"")
                    more = message.get("more_body", False)
                    if len(body) > MAX_API_BODY:
                        reason = f"the body is larger than {MAX_API_BODY} bytes"
                        await respond(send, 413, orjson.dumps({"error": reason}))
                        return
        except TimeoutError:
            await respond(send, 408, b'{"error":"the body did not arrive"}')
            return
        given = False

        async def at_hand() -> MutableMapping[str, Any]:
            nonlocal given
            if given:
                return await receive()
            given = True
            return {"type": "http.request", "body": body, "more_body": False}

        await self.api(scope, at_hand, send)


async def respond(send: Send, status: int, body: bytes, *, content_type: bytes = JSON) -> None:
    """One whole response."""
    headers = [(b"content-type", content_type), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


class _Server(uvicorn.Server):
    """Signals are the hub's business: it stops in a written order."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def bind(host: str, port: int) -> socket.socket:
    """A listening address, taken before anything else starts. Raises PortInUseError with the remedy."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # The protocol is named so that asyncio switches Nagle's algorithm off: it cost 40 ms a request.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        msg = f"cannot listen on {host}:{port} ({error.strerror}); choose another with --port"
        raise PortInUseError(msg) from None
    listener.set_inheritable(False)
    return listener


@asynccontextmanager
async def serving(app: Any, listener: socket.socket) -> AsyncIterator[_Server]:
    """Yield a configured server; whoever enters runs `serve(sockets=[listener])` in its own task group."""
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        lifespan="off",
        http="httptools",
        ws="none",
        server_header=False,
        proxy_headers=False,
        date_header=False,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=5,
        backlog=BACKLOG,
    )
    server = _Server(config)
    try:
        yield server
    finally:
        server.should_exit = True
        listener.close()
