"""How far this machine's clock is from others': the database's, and those of the services whose answers carry a `Date`.

Only observes. A wrong clock refuses good signatures, and asks the service for sessions of the wrong time.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from typing import Final

import httpx

KEPT_SECONDS: Final = 900.0
"""An observation older than this says nothing about now."""
DATE_RESOLUTION: Final = 1.0
MAX_OTHERS: Final = 50
SENT: Final = "triggerhub_sent"
DATABASE: Final = "the database"
SERVICES: Final = "the services that answered"


def difference(*, before: float, after: float, earliest: float, latest: float) -> float:
    """Seconds by which our clock is ahead of another, as little as the observation allows.

    The other clock was between `earliest` and `latest` at a moment that ours says was between `before` and `after`.
    """
    if before > latest:
        return before - latest
    return after - earliest if after < earliest else 0.0


class Clocks:
    """One per process. Times are seconds since the epoch; `clock` is this process's."""

    def __init__(self, *, clock: Callable[[], float] = time.time) -> None:
        self.clock = clock
        self._database: tuple[float, float] | None = None
        self._services: dict[str, tuple[float, float]] = {}

    def saw_database(self, there: float, *, before: float, after: float) -> None:
        """The database was asked for its time."""
        ahead = difference(before=before, after=after, earliest=there, latest=there)
        self._database = (self.clock(), ahead)

    def saw_service(self, name: str, date: str | None, *, before: float, after: float) -> None:
        """A service answered, with this `Date` header. What is no date is left out."""
        try:
            there = parsedate_to_datetime(date or "").timestamp()
        except (ValueError, OverflowError):
            return
        ahead = difference(before=before, after=after, earliest=there, latest=there + DATE_RESOLUTION)
        if name in self._services or len(self._services) < MAX_OTHERS:
            self._services[name] = (self.clock(), ahead)

    def differences(self) -> dict[str, float]:
        """By other clock, the seconds by which ours is ahead. Of several services the middle one counts: a single
        one may be wrong itself."""
        now = self.clock()
        found: dict[str, float] = {}
        if self._database is not None and abs(now - self._database[0]) < KEPT_SECONDS:
            found[DATABASE] = self._database[1]
        services = [ahead for at, ahead in self._services.values() if abs(now - at) < KEPT_SECONDS]
        if services:
            found[SERVICES] = statistics.median_low(sorted(services, key=abs))
        return found

    def client(self) -> httpx.AsyncClient:
        """A client for the vendors' APIs whose answers are looked at."""

        async def sent(request: httpx.Request) -> None:
            request.extensions[SENT] = self.clock()

        async def answered(response: httpx.Response) -> None:
            before = response.request.extensions.get(SENT)
            if before is not None and "age" not in response.headers:  # a cache's answer carries an old date
                name = response.request.url.netloc.decode("ascii", "replace")
                self.saw_service(name, response.headers.get("date"), before=before, after=self.clock())

        return httpx.AsyncClient(
            limits=httpx.Limits(max_connections=100), event_hooks={"request": [sent], "response": [answered]}
        )
