"""A reader does not run ahead of its run: what a session sends is bounded in memory, and nothing of it is lost."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any, cast

from runner.reader import MAX_AHEAD, Reader
from runner.service import Service
from runner.timing import Timing

COUNT = 3 * MAX_AHEAD


class Talkative:
    """A session that has sent COUNT events and then goes quiet."""

    def __init__(self) -> None:
        self.sent = 0

    @contextlib.asynccontextmanager
    async def stream(self, _session_id: str, *, silence: float) -> AsyncIterator[AsyncIterator[int]]:
        assert silence > 0
        yield self._events()

    async def _events(self) -> AsyncIterator[int]:
        for number in range(COUNT):
            self.sent += 1
            yield number
        await asyncio.Event().wait()


async def test_a_stream_is_read_no_further_than_its_run_can_follow() -> None:
    session = Talkative()
    inbox: asyncio.Queue[tuple[str, Any]] = asyncio.Queue()
    reader = Reader(cast("Service", session), "sesn_1", inbox, timing=Timing(), whole=False)
    running = asyncio.get_running_loop().create_task(reader.run())
    try:
        await reader.open.wait()
        await asyncio.sleep(0.3)
        assert inbox.qsize() == MAX_AHEAD
        assert session.sent == MAX_AHEAD + 1
        seen: list[int] = []
        async with asyncio.timeout(20):
            while len(seen) < COUNT:
                kind, event = await inbox.get()
                assert kind == "event"
                seen.append(event)
        assert seen == list(range(COUNT))
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running
