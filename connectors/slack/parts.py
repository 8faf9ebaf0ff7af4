"""Cutting mrkdwn into messages. Pure: equal text gives equal parts, or a repeat could not tell which were
posted.
"""

from __future__ import annotations

import re
from typing import Final

from connectors.slack.mrkdwn import FENCE

LIMIT: Final = 3900
"""Characters. Slack advises 4,000 for `text`; the rest is room for a closing fence.
Changing this changes where texts are cut, and so breaks the finding of parts posted before."""
MOST: Final = 5
"""Messages that one post may become; what is left over is cut off with a note."""
NOTE: Final = "… (shortened: the text was longer than {limit} messages)"

_HALF_ENTITY: Final = re.compile(r"&[a-z]{0,4}\Z")


def cut(text: str, *, limit: int = LIMIT, most: int = MOST) -> list[str]:
    """`text` as at most `most` messages of at most `limit` characters, cut between lines where possible.

    A code block that a cut leaves open is closed, and opened again in the next part. Links and entities
    stay whole.
    """
    room = limit - 2 * (len(FENCE) + 1)
    parts: list[str] = []
    lines: list[str] = []
    size = 0
    fenced = False
    for line in text.split("\n"):
        for piece in _pieces(line, room):
            if lines and size + len(piece) + 1 > room:
                parts.append("\n".join([*lines, FENCE] if fenced else lines))
                lines, size = ([FENCE], len(FENCE) + 1) if fenced else ([], 0)
            lines.append(piece)
            size += len(piece) + 1
        if _is_fence(line):
            fenced = not fenced
    parts.append("\n".join([*lines, FENCE] if fenced else lines))
    parts = [part.strip("\n") for part in parts if part.strip()]
    if len(parts) <= most:
        return parts
    return [*parts[: most - 1], _ended(parts[most - 1], limit, most)]


def _is_fence(line: str) -> bool:
    """Also inside a quotation."""
    return line.lstrip("> ").rstrip() == FENCE


def _pieces(line: str, room: int) -> list[str]:
    pieces: list[str] = []
    while len(line) > room:
        space = line.rfind(" ", room // 2, room)
        end = space if space > 0 else room
        opened = line.rfind("<", 0, end)
        if opened > line.rfind(">", 0, end):
            end = opened
        half = _HALF_ENTITY.search(line, max(0, end - 5), end)
        end = half.start() if half else end
        end = end if end > 0 else room
        pieces.append(line[:end])
        line = line[end:].removeprefix(" ")
    return [*pieces, line]


def _ended(part: str, limit: int, most: int) -> str:
    """The last part with the note below it, shortened by whole lines (or cut) to make room."""
    note = NOTE.format(limit=most)
    open_fence = f"\n{FENCE}"
    kept = part
    room = limit - len(note) - 2 - len(open_fence)
    if len(kept) > room:
        kept = (
            kept[: kept.rfind("\n", room // 2, room)]
            if "\n" in kept[room // 2 : room]
            else _pieces(kept, room)[0]
        )
        if sum(_is_fence(line) for line in kept.split("\n")) % 2:
            kept += open_fence
    return f"{kept}\n\n{note}"
