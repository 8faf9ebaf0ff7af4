"""A queue for each key, taken in turn: whoever has much waiting does not stand before those who have little.

Holds things in memory only and knows nothing of what they are. Whoever fills it sees to the bounds.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import Generic, TypeVar

T = TypeVar("T")


class Turns(Generic[T]):
    """First in, first out for each key; one of each key in turn. May be filled and emptied by different threads."""

    def __init__(self) -> None:
        self._queues: dict[str, deque[tuple[T, int]]] = {}
        """Of keys that have something; in the order of their turns."""
        self._lock = threading.Lock()
        self._count = 0
        self._size = 0

    def __len__(self) -> int:
        return self._count

    @property
    def size(self) -> int:
        """Bytes of everything that waits, as far as `put` was told."""
        return self._size

    def put(self, key: str, thing: T, *, size: int) -> None:
        """Add one thing of `size` bytes at the end of its key's queue."""
        with self._lock:
            self._queues.setdefault(key, deque()).append((thing, size))
            self._count += 1
            self._size += size

    def take(self, count: int, *, size: int) -> list[T]:
        """Up to `count` things of up to `size` bytes together, one of each key in turn; a larger one alone."""
        taken: list[T] = []
        with self._lock:
            while self._queues and len(taken) < count:
                key, queue = next(iter(self._queues.items()))
                thing, its_size = queue[0]
                if taken and its_size > size:
                    break
                queue.popleft()
                del self._queues[key]
                if queue:
                    self._queues[key] = queue  # behind the others
                size -= its_size
                self._count -= 1
                self._size -= its_size
                taken.append(thing)
        return taken

    def waiting(self, key: str) -> int:
        """How many things of this key wait."""
        queue = self._queues.get(key)
        return len(queue) if queue is not None else 0
