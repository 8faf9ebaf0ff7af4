"""How much of what comes in may be in memory at once: for one connection, and for all of them together.

Whoever finds no room is answered 503 with a time to come back: memory stays flat under a flood, and a noisy connection
leaves room for the others. Nothing here waits, and nothing is opened.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

from storage.database import StorageUnavailableError

MEGABYTE: Final = 1_000_000


class NoRoomError(StorageUnavailableError):
    """Too much is in memory already. Nothing was kept; the sender may come again."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What may be in memory at once. A delivery counts from the first byte of its body until it is stored."""

    deliveries: int = 5000
    bytes: int = 128 * MEGABYTE
    share: float = 0.5
    """Of both, what one connection may have. The rest is left to the others."""

    def __post_init__(self) -> None:
        if self.deliveries < 1 or self.bytes < 1 or not 0 < self.share <= 1:
            msg = f"{self} leaves no room: deliveries and bytes must be positive, share above 0 and at most 1"
            raise ValueError(msg)


@dataclass(slots=True)
class _Held:
    places: int = 0
    bytes: int = 0


class Room:
    """One per process."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._most_places = max(1, int(limits.deliveries * limits.share))
        self._most_bytes = int(limits.bytes * limits.share)
        self._held: dict[str, _Held] = {}
        self._all = _Held()

    @property
    def bytes(self) -> int:
        """In memory now."""
        return self._all.bytes

    def enter(self, connection: str, size: int = 0) -> Place:
        """A place for one delivery of `size` bytes, to be left again. Raises NoRoomError."""
        mine = self._held.setdefault(connection, _Held())
        if self._all.places >= self._limits.deliveries:
            msg = (
                f"{self._all.places} deliveries wait to be stored; the database is too slow for what comes in"
            )
            raise NoRoomError(msg)
        if mine.places >= self._most_places:
            msg = f"{mine.places} deliveries of {connection} wait to be stored, which is its share"
            raise NoRoomError(msg)
        mine.places += 1
        self._all.places += 1
        place = Place(self, connection)
        try:
            place.hold(size)
        except NoRoomError:
            place.leave()
            raise
        return place

    def change(self, connection: str, by: int) -> None:
        """A place of this connection holds `by` bytes more. Raises NoRoomError where that is too much.

        The only place of its connection may grow beyond the share, and the only one of all beyond the whole: a limit
        that was set too small must not make a large body impossible for ever.
        """
        mine = self._held[connection]
        if by > 0:
            if self._all.places > 1 and self._all.bytes + by > self._limits.bytes:
                msg = f"{self._all.bytes} bytes wait to be stored; the database is too slow for what comes in"
                raise NoRoomError(msg)
            if mine.places > 1 and mine.bytes + by > self._most_bytes:
                msg = f"{mine.bytes} bytes of {connection} wait to be stored, which is its share"
                raise NoRoomError(msg)
        mine.bytes += by
        self._all.bytes += by

    def leave(self, connection: str) -> None:
        """A place of this connection is free again."""
        self._held[connection].places -= 1
        self._all.places -= 1


class Place:
    """The room of one delivery. A context manager: leaving the block frees it."""

    __slots__ = ("_connection", "_room", "_size")

    def __init__(self, room: Room, connection: str) -> None:
        self._room = room
        self._connection = connection
        self._size = 0

    def hold(self, size: int) -> None:
        """It holds `size` bytes from now on. Raises NoRoomError, and holds what it held."""
        self._room.change(self._connection, size - self._size)
        self._size = size

    def leave(self) -> None:
        """Free it. Once."""
        self.hold(0)
        self._room.leave(self._connection)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.leave()
