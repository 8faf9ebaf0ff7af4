"""A server-sent event stream over one session's history (reference §6.2). Must not know what the events
mean."""

from __future__ import annotations

import asyncio
from typing import Final

from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from sandbox.managed_agents.history import History
from sandbox.managed_agents.settings import Settings
from sandbox.managed_agents.subscribers import Close, Subscriber

HEADERS: Final = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
]
PING: Final = b'event: ping\ndata: {"type":"ping"}\n\n'


class EventStream(Response):
    """Begins at "now", beats while nothing happens, ends or breaks off as its subscriber is told."""

    def __init__(self, history: History, *, deltas: frozenset[str], settings: Settings) -> None:
        super().__init__()
        self._history = history
        self._deltas = deltas
        self._settings = settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Stream until the client leaves or the subscriber ends. A cut leaves the response incomplete."""
        del scope
        subscriber = self._history.subscribe(self._deltas)
        try:
            await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
            async with asyncio.TaskGroup() as group:
                watching = group.create_task(_watch(receive, subscriber), name="stream watch")
                close = await self._pump(subscriber, send)
                watching.cancel()
            if close is Close.END:
                await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            self._history.unsubscribe(subscriber)

    async def _pump(self, subscriber: Subscriber, send: Send) -> Close:
        while True:
            try:
                async with asyncio.timeout(self._settings.heartbeat):
                    item = await subscriber.next()
            except TimeoutError:
                if not subscriber.mute:
                    await send(_piece(PING))
                continue
            if isinstance(item, Close):
                return item
            await send(_piece(item))


async def _watch(receive: Receive, subscriber: Subscriber) -> None:
    """End the stream when the client leaves."""
    while (await receive())["type"] != "http.disconnect":
        pass
    subscriber.end()


def _piece(body: bytes) -> Message:
    return {"type": "http.response.body", "body": body, "more_body": True}
