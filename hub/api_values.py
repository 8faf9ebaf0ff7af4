"""Values as the JSON API and the command line show them: times, amounts, cursors, and ids that were found or not.

Reads no database.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from storage.queries import Found, Page

MAX_SHOWN_ID: Final = 80
LISTED: Final = {
    "event": "events list",
    "run": "runs list",
    "approval": "approvals list",
    "dead letter": "dlq list",
    "rule": "rules check",
    "team": "rules check",
}
"""Which commands list what."""


CENTS: Final = 100


class UnknownIdError(LookupError):
    """No event, run or dead letter of that id. `near` are ids that begin alike."""

    def __init__(self, what: str, given: str, near: Sequence[str]) -> None:
        shown = given if len(given) <= MAX_SHOWN_ID else given[:MAX_SHOWN_ID] + "…"
        several = [one for one in near if one.startswith(given)]
        if several:
            hint = f"several begin so: {', '.join(several)}; write more of it"
        elif near:
            hint = f"near it: {', '.join(near)}"
        else:
            hint = f"`triggerhub {LISTED[what]}` shows what there is"
        super().__init__(f"no {what} is called {shown!r}; {hint}")
        self.near = tuple(near)


def only(what: str, given: str, found: Found) -> str:
    """The id that was found. Raises UnknownIdError."""
    if found.id is None:
        raise UnknownIdError(what, given, found.near)
    return found.id


def cursor_of(page: Page) -> str | None:
    """Where the next page begins."""
    return page.following.encode() if page.following else None


def time_of(seconds: float) -> datetime:
    """Seconds since the epoch as UTC."""
    return datetime.fromtimestamp(seconds, tz=UTC)


def time_or_none(seconds: float | None) -> datetime | None:
    """The same for what may not have happened yet."""
    return None if seconds is None else time_of(seconds)


def usd_of(cents: int | None) -> float | None:
    return None if cents is None else cents / CENTS
