"""Characters that a reader cannot see: taking them out of words, and finding those that make code read other than it
runs. Must not touch what a script of the world needs.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

_JOINERS: Final = "\u200c\u200d\u200e\u200f"
"""Zero-width joiners and direction marks: needed by Persian, Arabic, Hebrew, Indic scripts and emoji."""
_ALWAYS: Final = (
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b\u202a-\u202e\u2060-\u206f\u3164\ufeff\uffa0"
    "\ufff0-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
_CONTROLS: Final = "\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f"
_INVISIBLE: Final = re.compile(f"[{_ALWAYS}{_CONTROLS}]")
_JOINER: Final = re.compile(f"[{_JOINERS}]")
_ANY: Final = re.compile(f"[{_ALWAYS}{_CONTROLS}{_JOINERS}\ufe00-\ufe0f]")
BIDIRECTIONAL: Final = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
"""Characters that reorder what stands around them: in code they show other than what runs (CVE-2021-42574)."""


def visible(text: str) -> str:
    """`text` without characters that nobody sees. A joiner stays where a letter beyond ASCII or an emoji is beside it."""
    if text.isascii() and _INVISIBLE.search(text) is None:
        return text
    cleaned = _INVISIBLE.sub("", text.encode("utf-8", "replace").decode("utf-8"))

    def keep(found: re.Match[str]) -> str:
        around = cleaned[max(0, found.start() - 2) : found.start()] + cleaned[found.end() : found.end() + 2]
        needed = any(not char.isascii() and not _JOINER.match(char) for char in around)
        return found[0] if needed else ""

    return _JOINER.sub(keep, cleaned)


def bare(text: str) -> str:
    """`text` for comparing: compatibility forms resolved, nothing invisible left."""
    return _ANY.sub("", unicodedata.normalize("NFKC", text))


def squeezed(text: str) -> str:
    """`bare` without white space, quotes, commas, plus signs and backslashes: what a cut-up value is put together by."""
    return _BETWEEN.sub("", bare(text))


_BETWEEN: Final = re.compile(r"[\s\"'`,\\|*]+")
