"""The hidden marker in everything we post: how a repeat finds it, and how our own posts are known when they come back."""

from __future__ import annotations

import re
from typing import Final

_MARKER: Final = re.compile(
    r"<!-- triggerhub run=(?P<run>[A-Za-z0-9_-]{1,64}) slot=(?P<slot>[A-Za-z0-9_.:-]{1,128}) -->"
)
_RUN: Final = re.compile(r"triggerhub run=(run_[0-9a-f]{8,64})")


def marker(run: str, slot: str) -> str:
    """The HTML comment that stands on the first line of a body. Changing this breaks the finding of earlier posts."""
    return f"<!-- triggerhub run={run} slot={slot} -->"


def read_marker(text: str) -> tuple[str, str] | None:
    """(run, slot) of the first marker in `text`, else None."""
    found = _MARKER.search(text)
    return (found["run"], found["slot"]) if found else None


def marked_run(text: str) -> str | None:
    """The run that a marker of ours in `text` names, in whatever form the vendor's posts carry it."""
    found = _RUN.search(text)
    return found[1] if found else None
