"""The text of a comment as we post it: the agent's Markdown, bounded, with a marker line that Markdown does
not show.

Sentry renders comments as Markdown but keeps no HTML comments, so the marker is a link reference
definition, which every Markdown renderer leaves out of the page. Pure.
"""

from __future__ import annotations

import re
from typing import Final

from connectors.clip import clip
from schemas.marker import Marker

MAX_COMMENT: Final = 20_000
"""Characters. Sentry documents no limit; longer comments are unreadable in its sidebar."""
_MARKER: Final = re.compile(r"^[ \t]*\[//\]: # \(triggerhub .*$", re.MULTILINE)
_BLANKS: Final = re.compile(r"\n{3,}")


def marker(mark: Marker) -> str:
    """The line by which a later attempt finds the comment. Changing this breaks the finding of earlier
    posts."""
    return f"[//]: # ({mark.words})"


def compose(text: str, mark: Marker) -> str:
    """`text` normalised (line ends, blank lines, no NUL, no marker of anybody's) with our marker as its
    last line."""
    words = text.replace("\r\n", "\n").replace("\r", "\n").replace("\x00", "")
    words = _BLANKS.sub("\n\n", _MARKER.sub("", words)).strip()
    line = marker(mark)
    # A definition cannot interrupt a paragraph, hence the blank line.
    return f"{clip(words, MAX_COMMENT - len(line) - 2)}\n\n{line}"


def carries(text: str, *, run: str, slot: str) -> bool:
    """Whether a comment found at Sentry is the one of this run and slot."""
    begun = f"[//]: # ({Marker(run, slot).words}"
    # Signed or not: earlier versions did not sign.
    return any(line.startswith((f"{begun})", f"{begun} ")) for line in text.splitlines())
