"""The order of tests over several processes: whatever takes long begins first, so that none is left alone at the end.

xdist's `worksteal` gives each process an equal run of neighbours, and later lets idle ones take half of what others
have left; what a process is at cannot be taken. It does not choose which tests run.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import islice
from typing import TypeVar

T = TypeVar("T")


def dealt(tests: Sequence[T], workers: int, *, seconds: Callable[[T], float]) -> list[T]:
    """The same tests so that each of `workers` equal runs begins with its share of those that take `seconds`.

    The longest goes to whoever has least so far; the others keep their order.
    """
    shares: list[list[T]] = [[] for _ in range(workers)]
    for test in sorted((one for one in tests if seconds(one) > 0), key=seconds, reverse=True):
        min(shares, key=lambda share: sum(map(seconds, share))).append(test)
    rest = iter([one for one in tests if seconds(one) <= 0])
    found: list[T] = []
    for number, share in enumerate(shares):
        size = (len(tests) - len(found)) // (workers - number)
        found += [*share, *islice(rest, max(size - len(share), 0))]
    return [*found, *rest]
