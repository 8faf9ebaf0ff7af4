"""Finding the session of a run by the metadata that was given to it at its creation.

Metadata cannot be filtered on, so a search reads a list. After an outage many runs are in doubt at once: one listing
serves everybody who asked before it began.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from anthropic.types.beta import BetaManagedAgentsSession

from runner.errors import ServiceError
from runner.service import Service, is_over, run_of


@dataclass(slots=True)
class _Listing:
    since: float
    sessions: dict[str, list[BetaManagedAgentsSession]] = field(default_factory=dict)
    error: ServiceError | None = None
    done: bool = False


class SessionSearch:
    """One per process."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._one = asyncio.Lock()
        self._next: _Listing | None = None

    async def usable(self, run_id: str, *, since: float) -> list[BetaManagedAgentsSession]:
        """The run's sessions that still take work, the oldest first. `since`: seconds since the epoch.

        Raises ServiceError. The agent is not asked for: it may have been made anew since the first attempt.
        """
        listing = self._next
        if listing is None:
            listing = self._next = _Listing(since)
        listing.since = min(listing.since, since)
        async with self._one:
            if not listing.done:
                self._next = None  # whoever asks from now on may want what is made from now on
                await self._list(listing)
        if listing.error is not None:
            raise listing.error
        return [session for session in listing.sessions.get(run_id, []) if not is_over(session)]

    async def _list(self, listing: _Listing) -> None:
        try:
            for session in await self._service.sessions_since(listing.since, archived=True):
                run_id = run_of(session)
                if run_id is not None:
                    listing.sessions.setdefault(run_id, []).append(session)
        except ServiceError as error:
            listing.error = error
        listing.done = True
