"""Waiting for what processes do by and by. Knows nothing of what is waited for."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

WAIT_SECONDS: Final = 60.0


async def until(met: Callable[[], Awaitable[Any]], *, seconds: float = WAIT_SECONDS) -> Any:
    """Wait for something true and return it. Fails after `seconds`."""
    end = time.monotonic() + seconds
    while True:
        found = await met()
        if found:
            return found
        assert time.monotonic() < end, f"not within {seconds:.0f} s"
        await asyncio.sleep(0.02)
