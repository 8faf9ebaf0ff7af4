"""The optional part of a connector that finds what its vendor could not deliver. Asks the vendor; stores nothing.

What is found is handed back as the webhook that should have come, and takes the way of every webhook from there: the same
reader, so the same semantic keys, so nothing happens twice. What cannot be rebuilt so that its key is the delivered
one's must not be handed back at all. A connector without this part has no gaps healed, and needs no edit elsewhere.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from typing import ClassVar

from connectors.base import ConnectorError, Request


class PageGoneError(ConnectorError):
    """The vendor does not know the page any more at which a pass was to go on: it begins anew."""


@dataclass(frozen=True, slots=True)
class Memory:
    """What the hub remembers of a connection, as far as looking for gaps needs it."""

    connection: str
    """Its name: the last part of the address that the vendor sends to."""
    account: str | None
    """Second half of the `source` of the newest event that a webhook brought. Keys of facts hold it."""
    subjects: tuple[str, ...]
    """Keys of the subjects of recent events, newest first, at most 200."""
    scopes: frozenset[str] | None
    """What webhooks have brought here before, by `Healer.scope`; None: everything is wanted."""
    delivered: Callable[[Collection[str]], Awaitable[frozenset[str]]]
    """Those of the vendor's delivery ids whose delivery is stored."""


@dataclass(frozen=True, slots=True)
class Harvest:
    """What one page held."""

    requests: tuple[Request, ...] = ()
    """Rebuilt webhooks, unsigned."""
    redelivered: int = 0
    """Deliveries that the vendor was asked to send again: they come as ordinary webhooks."""
    page: str | None = None
    """Where to go on; None at the end. Read by this connector alone."""


class Healer(ABC):
    """Looks for the gaps of one connection. Made with its poster; used by one task at a time.

    Every method may raise PostError, read as for a post: refused (the stream is left alone for a day, and the reason
    shown), retry (later, at the time that the vendor names), uncertain (later). None repeats a call or sleeps.
    """

    exact: ClassVar[bool] = False
    """True where the vendor's own log says what it was asked to send: then no webhook need have come before."""

    def scope(self, kind: str, subject: str) -> str | None:
        """The sort that a fact of `kind` about `subject` belongs to: what is subscribed to or not as a whole.

        A vendor sends what it was asked to send. What that is cannot always be looked up, so a fact is fetched only
        if webhooks have brought its sort before. None: of a sort that the vendor certainly sends. Pure.
        """
        del subject
        return kind

    @abstractmethod
    async def streams(self, memory: Memory) -> Sequence[str]:
        """What to read: names of hooks, channels … Each has a cursor of its own."""

    @abstractmethod
    async def missed(
        self, stream: str, *, since: float, until: float, page: str | None, memory: Memory
    ) -> Harvest:
        """Read one page of what happened between `since` and `until` (epoch seconds).

        `page` is what the Harvest before said; None at the beginning of a pass. Raises PageGoneError too.
        """

    async def renew(self, memory: Memory, *, now: float) -> str | None:
        """Lengthen subscriptions that are about to end. Called once a day; returns what was done, None for nothing."""
        del memory, now
        return None
