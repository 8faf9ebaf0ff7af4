"""The listening end of one stream, and the faults that can be asked of streams. Must not know what events
mean."""

from __future__ import annotations

import asyncio
from enum import Enum
from typing import Final

from pydantic import BaseModel, ConfigDict, Field

BACKLOG: Final = 10_000
"""Frames that may wait for a slow reader; beyond that its stream is cut."""


class Close(Enum):
    """How a stream ends."""

    END = "end"
    """In good order: the last chunk is sent."""
    CUT = "cut"
    """In the middle: the connection is closed without the last chunk."""


class Subscriber:
    """Frames on their way to one stream."""

    __slots__ = ("_left", "_queue", "deltas", "mute")

    def __init__(self, *, deltas: frozenset[str]) -> None:
        self.deltas = deltas
        self.mute = False
        """Half open: the connection stays, and nothing comes any more, not even heartbeats."""
        self._left: int | None = None
        self._queue: asyncio.Queue[bytes | Close] = asyncio.Queue()

    def offer(self, frame: bytes) -> None:
        """Send a frame, unless this stream is mute; cut it where its frames are used up."""
        if self.mute:
            return
        if self._queue.qsize() >= BACKLOG:
            self.cut()
            return
        self._queue.put_nowait(frame)
        if self._left is not None:
            self._left -= 1
            if self._left <= 0:
                self.cut()

    def limit(self, frames: int) -> None:
        """Cut after so many frames."""
        self._left = frames
        if frames <= 0:
            self.cut()

    def end(self) -> None:
        """End in good order after what is on its way."""
        self._queue.put_nowait(Close.END)

    def cut(self) -> None:
        """Break off after what is on its way."""
        self._queue.put_nowait(Close.CUT)

    async def next(self) -> bytes | Close:
        """The next frame, or how it ends."""
        return await self._queue.get()


class StreamFault(BaseModel):
    """One fault asked of streams: `POST /_emu/streams`."""

    model_config = ConfigDict(extra="forbid")

    session_id: str | None = None
    """Only this session's streams; None means every one."""
    cut_after: int | None = Field(default=None, ge=0)
    """Cut the next stream that opens after so many frames."""
    drop: list[str] = Field(default_factory=list)
    """Event types that no stream gets (`*` is all); the history keeps them."""
    half_open: bool = False
    """The next stream that opens stays silent."""
    times: int = Field(default=1, ge=1)
    """How many streams or frames it strikes."""


class StreamFaults:
    """The faults in force, in the order in which they were asked for."""

    def __init__(self) -> None:
        self._faults: list[StreamFault] = []

    def add(self, fault: StreamFault) -> None:
        """Put a fault in force."""
        self._faults.append(fault.model_copy(deep=True))

    def clear(self) -> None:
        """Remove every fault."""
        self._faults.clear()

    def apply(self, session_id: str, subscriber: Subscriber) -> None:
        """Strike a stream that opens."""
        for fault in tuple(self._faults):
            if fault.session_id not in {None, session_id} or fault.drop:
                continue
            if fault.half_open:
                subscriber.mute = True
            elif fault.cut_after is not None:
                subscriber.limit(fault.cut_after)
            self._used(fault)
            return

    def swallows(self, session_id: str, kind: str) -> bool:
        """Whether this frame is lost on its way."""
        for fault in tuple(self._faults):
            if fault.session_id in {None, session_id} and (kind in fault.drop or "*" in fault.drop):
                self._used(fault)
                return True
        return False

    def _used(self, fault: StreamFault) -> None:
        fault.times -= 1
        if fault.times <= 0:
            self._faults.remove(fault)
