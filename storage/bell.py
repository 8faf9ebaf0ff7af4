"""A bell between tasks of one process: new work is in the database, look now instead of at the next poll.

Only a hint. Whoever waits also polls, because the work may have been made by another process.
"""

from __future__ import annotations

import asyncio


class Bell:
    """Rung by whoever commits work, waited for by whoever does it."""

    def __init__(self) -> None:
        self._rung = asyncio.Event()

    def ring(self) -> None:
        """Wake the waiter, or let its next wait return at once."""
        self._rung.set()

    async def wait(self, seconds: float) -> bool:
        """Wait for a ring, at most `seconds`. True when it rang."""
        try:
            async with asyncio.timeout(seconds):
                await self._rung.wait()
        except TimeoutError:
            return False
        self._rung.clear()
        return True
