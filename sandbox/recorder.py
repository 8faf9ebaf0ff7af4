"""The outermost layer of the sandbox: reads each call, records it, and carries out the fault that strikes
it.

Works for every service alike, streams included. Must not know what a call means.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import parse_qsl

import orjson
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sandbox.faults import Fault, error_answer, rate_limit_answer
from sandbox.log import Call
from sandbox.world import World

SERVICES: Final = frozenset({"anthropic", "github", "jira", "sentry", "slack"})
MAX_KEPT: Final = 2_000_000
"""Bytes of an answer that are kept for the log."""
KEPT_HEADERS: Final = frozenset(
    {
        "accept",
        "anthropic-beta",
        "anthropic-version",
        "content-type",
        "idempotency-key",
        "user-agent",
        "x-github-api-version",
        "x-stainless-retry-count",
    }
)
CREDENTIAL_HEADERS: Final = frozenset({"authorization", "x-api-key"})

Cut = Callable[[Scope], None]
"""Closes the connection that a request came over, at once and without an answer."""


class Recorder:
    """ASGI middleware over all services. Calls to other paths (the admin routes) pass through untouched."""

    def __init__(self, app: ASGIApp, *, world: World, cut: Cut) -> None:
        self._app = app
        self._world = world
        self._cut = cut

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        service, path = _address(scope)
        if scope["type"] != "http" or service not in SERVICES:
            await self._app(scope, receive, send)
            return
        body = await _read(receive)
        if body is None:
            return
        call = self._record(scope, service, path, body)
        answer = _Answer(send, call, self._world)
        fault = self._world.faults.take(service=service, method=call.method, path=path)
        try:
            if fault is None:
                await self._app(scope, _replay(body, receive), answer.send)
            else:
                call.note = f"fault {fault.id}: {fault.mode}"
                await self._strike(fault, scope, _replay(body, receive), answer)
        finally:
            answer.close()

    def _record(self, scope: Scope, service: str, path: str, body: bytes) -> Call:
        headers = {
            name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]
        }
        return self._world.log.add(
            at=time.time(),
            service=service,
            method=scope["method"],
            path=path,
            query=dict(parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)),
            authorized=any(headers.get(name) for name in CREDENTIAL_HEADERS),
            body=_decode(body, headers.get("content-type", "")),
            headers={name: value for name, value in headers.items() if name in KEPT_HEADERS},
        )

    async def _strike(self, fault: Fault, scope: Scope, receive: Receive, answer: _Answer) -> None:
        if fault.mode.startswith("commit_then_"):
            await self._app(scope, receive, answer.swallow)
        if fault.mode in {"status", "commit_then_status"}:
            body = error_answer(answer.call.service, fault.status) if fault.body is None else fault.body
            await answer.say(fault.status, fault.headers, body)
        elif fault.mode == "rate_limit":
            status, headers, body = rate_limit_answer(
                answer.call.service, seconds=fault.seconds, now=time.time()
            )
            await answer.say(status, {**headers, **fault.headers}, body if fault.body is None else fault.body)
        elif fault.mode == "delay":
            await asyncio.sleep(fault.seconds)
            await self._app(scope, receive, answer.send)
        elif fault.mode in {"hang", "commit_then_hang"}:
            await _left(receive)
        elif fault.mode == "cut_stream":
            answer.limit(fault.after, lambda: self._cut(scope))
            await self._app(scope, receive, answer.send)
        else:
            self._cut(scope)


class _Answer:
    """The way back to the client, watched: status and body go into the call's record."""

    def __init__(self, send: Send, call: Call, world: World) -> None:
        self._send = send
        self._world = world
        self.call = call
        self._kept = bytearray()
        self._json = False
        self._written = False
        self._left: int | None = None
        self._cut: Callable[[], None] | None = None

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.call.status = message["status"]
            media = dict(message.get("headers", ())).get(b"content-type", b"")
            self._json = b"json" in media
            if media.startswith(b"text/event-stream"):
                self._write()
        elif message["type"] == "http.response.body":
            piece = message.get("body", b"")
            if self._json and len(self._kept) + len(piece) <= MAX_KEPT:
                self._kept += piece
            if self._left is not None and self._cut is not None and piece:
                if self._left == 0:
                    self._cut()
                    return
                self._left -= 1
            if not message.get("more_body", False):
                self.close()  # before the client knows of its answer: it may kill this process at once
        await self._send(message)

    async def swallow(self, message: Message) -> None:
        """In place of `send` where the work is done and the answer is kept from the client."""

    async def say(self, status: int, headers: dict[str, str], body: Any) -> None:
        """Answer in place of the service."""
        text = isinstance(body, str)
        content = body.encode() if text else orjson.dumps(body)
        merged = {
            "content-type": "text/html" if text else "application/json",
            **{k.lower(): v for k, v in headers.items()},
        }
        merged["content-length"] = str(len(content))
        pairs = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in merged.items()]
        await self.send({"type": "http.response.start", "status": status, "headers": pairs})
        await self.send({"type": "http.response.body", "body": content})

    def limit(self, pieces: int, cut: Callable[[], None]) -> None:
        """Let so many pieces of the body through, then cut."""
        self._left, self._cut = pieces, cut

    def close(self) -> None:
        """Put the call on file, whatever came of it."""
        if self._kept:
            self.call.response = _json(bytes(self._kept))
        self._write()

    def _write(self) -> None:
        if not self._written:
            self._written = True
            self._world.log.write(self.call)


def _address(scope: Scope) -> tuple[str, str]:
    """(service, path below it) of a request."""
    if scope["type"] != "http":
        return "", ""
    service, _, rest = str(scope["path"]).lstrip("/").partition("/")
    return service, "/" + rest


async def _read(receive: Receive) -> bytes | None:
    """The whole request body, or None when the client left before it was sent."""
    parts = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        parts += message.get("body", b"")
        if not message.get("more_body", False):
            return bytes(parts)


def _replay(body: bytes, receive: Receive) -> Receive:
    """A `receive` that hands the body out again, once, and then waits for the client to leave."""
    fresh = True

    async def again() -> Message:
        nonlocal fresh
        if fresh:
            fresh = False
            return {"type": "http.request", "body": body, "more_body": False}
        return await receive()

    return again


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _decode(body: bytes, content_type: str) -> Any:
    if not body:
        return None
    if content_type.startswith("application/x-www-form-urlencoded"):
        pairs = parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True)
        return {name: value for name, value in pairs if name != "token"}
    found = _json(body)
    return body.decode("utf-8", "replace") if found is None else found


def _json(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
