"""Keeps a session's stream open and fills every gap from the history (managed-agents reference §1.6).

A stream tells only what happens after it opened, so whatever opens one after a gap reads the whole history next, and
hands nothing on when that fails part way. What it reads goes into the run's inbox; nothing is decided here.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import aiohttp
import anthropic
import httpx2
import structlog

from runner.errors import BusyError, RefusedError, ServiceError
from runner.service import Service
from runner.timing import Timing

log = structlog.get_logger(__name__)

Inbox = asyncio.Queue[tuple[str, Any]]
"""("event", event), ("history", History), ("gone", RefusedError), ("broken", Exception) from here;
("results", [Settled, …]) and ("stop", None) from the worker."""

MAX_AHEAD: Final = 1000
"""Events in the inbox that the run has not looked at. Beyond that the stream is read no further."""
AHEAD_SECONDS: Final = 0.05
_BROKEN_OFF: Final = (
    ServiceError,
    anthropic.APIError,
    httpx2.HTTPError,
    httpx2.StreamError,
    aiohttp.ClientError,
    ValueError,
)


@dataclass(frozen=True, slots=True)
class History:
    """Everything that had happened in a session."""

    asked_at: float
    """Loop time at which the reading began: what was sent later may be missing."""
    events: Sequence[Any]


class Reader:
    """One stream after another, of one session."""

    def __init__(
        self, service: Service, session_id: str, inbox: Inbox, *, timing: Timing, whole: bool
    ) -> None:
        self._service = service
        self._session_id = session_id
        self._inbox = inbox
        self._timing = timing
        self._whole = whole
        """The history must be read: what this reader has handed on so far is not all."""
        self._silence = timing.stream_silence
        self.open = asyncio.Event()
        """Set once a stream is open, or never will be: now the work may be sent."""
        self.trouble = "no answer"
        """Why the last stream did not open or broke off."""

    async def run(self) -> None:
        """Read until cancelled, or until the session is gone. Never raises: the inbox is told instead."""
        try:
            await self._read()
        except Exception as error:  # noqa: BLE001 - handed on to the run, which raises it
            self._inbox.put_nowait(("broken", error))
        finally:
            self.open.set()

    async def _read(self) -> None:
        delay = self._timing.first_delay
        while True:
            wait = None
            try:
                async with self._service.stream(self._session_id, silence=self._silence) as stream:
                    if self._whole:
                        asked_at = asyncio.get_running_loop().time()
                        events = await self._service.list_events(self._session_id)
                        self._inbox.put_nowait(("history", History(asked_at, events)))
                    self._whole = True  # whatever comes after this stream comes after a gap
                    self.open.set()
                    async for event in stream:
                        await self._not_too_far_ahead()
                        self._inbox.put_nowait(("event", event))
                        delay = self._timing.first_delay
                # A clean end without a terminal event is a gap like any other.
            except _BROKEN_OFF as error:
                if isinstance(error, RefusedError) and error.gone:
                    self._inbox.put_nowait(("gone", error))
                    return
                if isinstance(error, httpx2.ReadTimeout):
                    self._silence = min(self._timing.max_stream_silence, self._silence * 2)
                if isinstance(error, BusyError):
                    wait = error.retry_after
                self.trouble = str(error)[:300] or type(error).__name__
                log.info("a stream broke off", session=self._session_id, reason=type(error).__name__)
            spread = random.uniform(0.75, 1.25)  # noqa: S311 - spreading load, not a secret
            await asyncio.sleep(max(delay * spread, min(wait or 0.0, self._timing.longest_wait)))
            delay = min(self._timing.max_delay, delay * 2)

    async def _not_too_far_ahead(self) -> None:
        """Wait until the run has room for one more. The service's connection fills up meanwhile, and then the service
        waits too."""
        while self._inbox.qsize() >= MAX_AHEAD:  # noqa: ASYNC110 - a queue rings no bell when something is taken
            await asyncio.sleep(AHEAD_SECONDS)
