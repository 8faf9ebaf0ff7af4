"""The SDK's client as the runner uses it: no retries, and a transport for thousands of streams beside short calls.

The transport is the SDK's own over aiohttp. Over httpx's a call costs twice as much processor time, and looks at every
connection of its pool, at each idle one with a system call.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final, Protocol

import aiohttp
import httpx2
from anthropic import AsyncAnthropic, DefaultAioHttpClient

CALL_SECONDS: Final = 60.0
CONNECT_SECONDS: Final = 10.0
CALLS: Final = 200
"""Connections for short calls, beside those of streams."""
KEEPALIVE_SECONDS: Final = 30.0


class OnDate(Protocol):
    """Takes a service's name, its `Date` header, and when it was asked and answered."""

    def __call__(self, name: str, date: str | None, /, *, before: float, after: float) -> None: ...


class ServiceClient(DefaultAioHttpClient):
    """An HTTP client that says truly whether a request may have arrived, and when it was answered."""

    def __init__(
        self, *, max_streams: int, clock: Callable[[], float] = time.time, on_date: OnDate | None = None
    ) -> None:
        super().__init__(
            timeout=httpx2.Timeout(CALL_SECONDS, connect=CONNECT_SECONDS),
            limits=httpx2.Limits(max_connections=max_streams + CALLS, keepalive_expiry=KEEPALIVE_SECONDS),
        )
        self._clock = clock
        self._on_date = on_date

    async def send(self, request: httpx2.Request, **options: Any) -> httpx2.Response:
        """As the base class does. Raises `httpx2.ConnectError` only where nothing was sent."""
        before = self._clock()
        try:
            response = await super().send(request, **options)
        except httpx2.ConnectError as error:
            # The transport calls every lost connection so, also one that was lost after the request went out.
            if isinstance(error.__cause__, aiohttp.ClientConnectorError):
                raise
            raise httpx2.ReadError(str(error), request=request) from error.__cause__
        if self._on_date is not None:
            name = request.url.netloc.decode("ascii", "replace")
            self._on_date(name, response.headers.get("date"), before=before, after=self._clock())
        return response


def make_client(
    *,
    api_key: str,
    base_url: str | None,
    max_connections: int,
    clock: Callable[[], float] = time.time,
    on_date: OnDate | None = None,
) -> AsyncAnthropic:
    """A client without retries. `api_key` is explicit, so that no other credential on the machine is picked up.

    `max_connections`: streams at once. `on_date` is told of every answer: by what time of `clock` it was asked for and
    came, and what time it names.
    """
    return AsyncAnthropic(
        api_key=api_key,
        base_url=base_url,
        max_retries=0,
        http_client=ServiceClient(max_streams=max_connections, clock=clock, on_date=on_date),
    )
