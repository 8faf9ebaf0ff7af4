"""A tiny scripted HTTP server on the loopback interface, for tests of code that calls a vendor's REST API.

It records every request and answers what the test asked for. It knows no vendor and imports nothing of ours.
"""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

import uvicorn


@dataclass(frozen=True, slots=True)
class Call:
    """One request as it arrived. Header names are lower case."""

    method: str
    path: str
    """Without the query, percent-decoding undone by the server."""
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """The decoded body."""
        return json.loads(self.body)


@dataclass(frozen=True, slots=True)
class Answer:
    """What to answer. `json` wins over `body`; `cut` breaks the connection in the middle of the answer."""

    status: int = 200
    json: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    cut: bool = False


Script = Answer | Callable[[Call], Answer]


class Loopback:
    """The running server: `url`, the `calls` seen so far, and `on` to script answers."""

    def __init__(self) -> None:
        self.url = ""
        self.calls: list[Call] = []
        self._scripts: dict[tuple[str, str], list[Script]] = {}
        self._lock = threading.Lock()

    def on(self, method: str, path: str, *scripts: Script) -> None:
        """Answer `method path` with these in turn; the last one repeats. Replaces what was scripted before.

        A script is an Answer, or a function from the Call to one. Unscripted requests are answered 404.
        """
        with self._lock:
            self._scripts[(method, path)] = list(scripts)

    def reset(self) -> None:
        """Forget calls and scripts, so that one server can serve the tests of a module."""
        with self._lock:
            self.calls.clear()
            self._scripts.clear()

    def seen(self, method: str, path: str | None = None) -> list[Call]:
        """The calls of that method, to that path where given."""
        with self._lock:
            return [call for call in self.calls if call.method == method and path in {None, call.path}]

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        """The ASGI application."""
        if scope["type"] != "http":
            return
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        call = Call(
            method=scope["method"],
            path=scope["path"],
            query=dict(parse_qsl(scope["query_string"].decode(), keep_blank_values=True)),
            headers={name.decode(): value.decode() for name, value in scope["headers"]},
            body=body,
        )
        answer = self._answer(call)
        content = answer.body if answer.json is None else json.dumps(answer.json).encode()
        headers = dict(answer.headers)
        if answer.json is not None:
            headers.setdefault("content-type", "application/json")
        headers["content-length"] = str(len(content) + (1000 if answer.cut else 0))
        await send(
            {
                "type": "http.response.start",
                "status": answer.status,
                "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
            }
        )
        if not answer.cut:
            await send({"type": "http.response.body", "body": content})

    def _answer(self, call: Call) -> Answer:
        with self._lock:
            self.calls.append(call)
            scripts = self._scripts.get((call.method, call.path))
            if not scripts:
                return Answer(404, {"message": "Not Found"})
            script = scripts.pop(0) if len(scripts) > 1 else scripts[0]
        return script if isinstance(script, Answer) else script(call)


@contextmanager
def loopback() -> Iterator[Loopback]:
    """Run a server on a free port of 127.0.0.1, in a thread of its own, until the block ends."""
    app = Loopback()
    config = uvicorn.Config(app, log_level="critical", lifespan="off", ws="none", access_log=False)
    server = uvicorn.Server(config)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        app.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="loopback")
        thread.start()
        try:
            deadline = time.monotonic() + 10
            while not server.started:
                if not thread.is_alive() or time.monotonic() > deadline:
                    msg = "the loopback server did not start"
                    raise RuntimeError(msg)
                time.sleep(0.002)
            yield app
        finally:
            server.should_exit = True
            thread.join(timeout=10)
