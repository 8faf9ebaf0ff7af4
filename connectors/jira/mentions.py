"""Finding the people a wiki-markup text speaks to, in time linear in its length. Knows no payload."""

from __future__ import annotations

import re
from typing import Final

MAX_MENTIONS: Final = 100

_MACRO: Final = re.compile(r"\{(code|noformat|quote)(?::[^{}\n]{0,200})?\}")
_MENTION: Final = re.compile(r"\[~(?:(?i:accountid):)?([^\[\]\s|]{1,255})\]")


def mentions(text: str) -> tuple[str, ...]:
    """Account ids (Cloud, `[~accountid:…]`) and user names (Data Center, `[~name]`), each once, in order.

    Code, preformatted text and quotations do not count: whoever quotes a request does not repeat it.
    """
    found: dict[str, None] = {}
    for part in _spoken(text):
        for match in _MENTION.finditer(part):
            found.setdefault(match[1])
            if len(found) >= MAX_MENTIONS:
                return tuple(found)
    return tuple(found)


def _spoken(text: str) -> list[str]:
    """The text without {code}, {noformat}, {quote} and `bq.` lines. A macro that is never closed hides
    nothing.
    """
    parts: list[str] = []
    opened, start, position = "", 0, 0
    for macro in _MACRO.finditer(text):
        if not opened:
            parts.append(text[position : macro.start()])
            opened, start = macro[1], macro.end()
        elif macro[1] == opened:
            opened, position = "", macro.end()
    parts.append(text[start:] if opened else text[position:])
    return [
        "\n".join(line for line in part.split("\n") if not line.lstrip().startswith("bq.")) for part in parts
    ]
