"""The marker as an HTML comment, which Markdown does not show: how GitHub's posts carry it."""

from __future__ import annotations

import re
from typing import Final

from schemas.marker import Marker

_MARKER: Final = re.compile(
    r"<!-- triggerhub run=(?P<run>[A-Za-z0-9_-]{1,64}) slot=(?P<slot>[A-Za-z0-9_.:-]{1,128})"
    r"(?: root=\S{1,128} depth=\d{1,3} sig=[0-9a-f]{32})? -->"
)


def marker(mark: Marker) -> str:
    """The HTML comment that stands on the first line of a body. Changing this breaks the finding of earlier posts."""
    return f"<!-- {mark.words} -->"


def opening(run: str, slot: str) -> str:
    """What every marker of this run and slot begins with, signed or not."""
    return f"<!-- {Marker(run, slot).words} "


def read_marker(text: str) -> tuple[str, str] | None:
    """(run, slot) of the first marker in `text`, else None."""
    found = _MARKER.search(text)
    return (found["run"], found["slot"]) if found else None
