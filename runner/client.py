"""The SDK's client as the runner uses it: no retries, and connections spread over several pools.

httpx looks at every connection of a pool for each request, at the idle ones with a system call. With thousands of open
streams among them a call would wait for that, so streams have pools of their own, and no pool grows large.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable
from typing import Any, Final, Protocol

import httpx2
from anthropic import AsyncAnthropic

CALL_SECONDS: Final = 60.0
CONNECT_SECONDS: Final = 10.0
CALL_POOLS: Final = 4
CALLS_PER_POOL: Final = 50
KEPT_PER_POOL: Final = 6
KEEPALIVE_SECONDS: Final = 30.0
STREAM_POOLS: Final = 16


class OnDate(Protocol):
    """Takes a service's name, its `Date` header, and when it was asked and answered."""

    def __call__(self, name: str, date: str | None, /, *, before: float, after: float) -> None: ...


class SplitClient(httpx2.AsyncClient):
    """An HTTP client that hands its requests to several others."""

    def __init__(
        self, *, max_streams: int, clock: Callable[[], float] = time.time, on_date: OnDate | None = None
    ) -> None:
        timeout = httpx2.Timeout(CALL_SECONDS, connect=CONNECT_SECONDS)
        trust = httpx2.create_ssl_context()  # shared: each would hold all certificates
        super().__init__(verify=trust, timeout=timeout)
        calls = httpx2.Limits(
            max_connections=CALLS_PER_POOL,
            max_keepalive_connections=KEPT_PER_POOL,
            keepalive_expiry=KEEPALIVE_SECONDS,
        )
        # A connection that carried a stream to its end is seldom good for another.
        streams = httpx2.Limits(max_connections=max_streams, max_keepalive_connections=0)
        self._calls = [
            httpx2.AsyncClient(verify=trust, timeout=timeout, limits=calls) for _ in range(CALL_POOLS)
        ]
        self._streams = [
            httpx2.AsyncClient(verify=trust, timeout=timeout, limits=streams) for _ in range(STREAM_POOLS)
        ]
        self._clock = clock
        self._on_date = on_date
        self._next_call = itertools.cycle(self._calls)
        self._next_stream = itertools.cycle(self._streams)

    async def send(self, request: httpx2.Request, **options: Any) -> httpx2.Response:
        """As the base class does."""
        turns = self._next_stream if request.url.path.endswith("/stream") else self._next_call
        if self._on_date is None:
            return await next(turns).send(request, **options)
        before = self._clock()
        response = await next(turns).send(request, **options)
        name = request.url.netloc.decode("ascii", "replace")
        self._on_date(name, response.headers.get("date"), before=before, after=self._clock())
        return response

    async def aclose(self) -> None:
        """Close every pool."""
        await super().aclose()
        await asyncio.gather(*(client.aclose() for client in (*self._calls, *self._streams)))


def make_client(
    *,
    api_key: str,
    base_url: str | None,
    max_connections: int,
    clock: Callable[[], float] = time.time,
    on_date: OnDate | None = None,
) -> AsyncAnthropic:
    """A client without retries. `api_key` is explicit, so that no other credential on the machine is picked up.

    `on_date` is told of every answer: by what time of `clock` it was asked for and came, and what time it names.
    """
    return AsyncAnthropic(
        api_key=api_key,
        base_url=base_url,
        max_retries=0,
        http_client=SplitClient(max_streams=max_connections, clock=clock, on_date=on_date),
    )
