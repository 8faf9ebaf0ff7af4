"""The record of every call that reached the sandbox: what was asked, what was answered, which fault was in
play.

Credentials are never kept: only whether one was present. Must not depend on any service.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import orjson


@dataclass(slots=True)
class Call:
    """One request and what became of it."""

    n: int
    """Position, from 1, over all services."""
    at: float
    """Seconds since the epoch at which the request had been read."""
    service: str
    """`anthropic`, `github`, `jira`, `sentry` or `slack`."""
    method: str
    path: str
    """Below the service's base URL, such as `/repos/acme/checkout/issues/12/comments`."""
    query: dict[str, str]
    authorized: bool
    """Whether a credential was present. Its value is not kept anywhere."""
    body: Any = None
    """The request body: decoded JSON, a form as a mapping, or text. None when empty."""
    status: int | None = None
    """None until answered, and for ever when the connection was cut before an answer."""
    response: Any = None
    """The decoded JSON answer. None for streams and bodies that are not JSON."""
    note: str = ""
    """What interfered, such as `fault 3: commit_then_cut`, or `client left`."""
    headers: dict[str, str] = field(default_factory=dict)
    """Request headers that tell clients apart: user-agent, content-type, accept and vendor versions. No
    credential."""

    def as_dict(self) -> dict[str, Any]:
        """The form in which the admin routes and the log file show it."""
        return asdict(self)


class CallLog:
    """Calls in order of arrival, in memory, and on disk as JSON lines where a file is given.

    A line is written and flushed when the call is answered (a stream: when it begins), so that a killed
    process loses no answered call.
    """

    def __init__(self, *, file: Path | None = None) -> None:
        self._calls: list[Call] = []
        self._count = 0
        self._file: BinaryIO | None = None
        if file is not None:
            file.parent.mkdir(parents=True, exist_ok=True)
            self._file = file.open("ab")

    def add(self, **fields: Any) -> Call:
        """Append a call that has arrived and return it, still without an answer."""
        self._count += 1
        call = Call(n=self._count, **fields)
        self._calls.append(call)
        return call

    def write(self, call: Call) -> None:
        """Append the answered call to the log file, if there is one."""
        if self._file is not None:
            self._file.write(orjson.dumps(call.as_dict(), option=orjson.OPT_APPEND_NEWLINE, default=str))
            self._file.flush()

    def calls(
        self,
        service: str | None = None,
        *,
        method: str | None = None,
        path: str | None = None,
        since: int = 0,
    ) -> list[Call]:
        """Calls with `n` above `since`, in order; `path` is the exact path below the service."""
        return [
            call
            for call in self._calls
            if call.n > since
            and service in {None, call.service}
            and method in {None, call.method}
            and path in {None, call.path}
        ]

    def clear(self) -> None:
        """Forget the calls. Numbering goes on, so that `since` keeps its meaning."""
        self._calls.clear()

    def close(self) -> None:
        """Close the log file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def __iter__(self) -> Iterator[Call]:
        return iter(tuple(self._calls))

    def __len__(self) -> int:
        return len(self._calls)
