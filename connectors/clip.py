"""Cutting long text to a vendor's limit without breaking a character or leaving a code fence open."""

from __future__ import annotations

from typing import Final

NOTE: Final = "\n\n… (shortened)"


def clip(text: str, limit: int, *, note: str = NOTE, encoding: str | None = None) -> str:
    """Return `text` within `limit` characters (bytes of `encoding` where given), ending in `note` when cut.

    An open ``` fence is closed before the note. Cuts at a line end where one is near.
    """
    if _size(text, encoding) <= limit:
        return text
    fence = "\n```"
    room = limit - _size(note, encoding) - len(fence)
    kept = _take(text, max(room, 0), encoding)
    line_end = kept.rfind("\n")
    if line_end > len(kept) * 0.8:
        kept = kept[:line_end]
    if _fence_open(kept):
        kept += fence
    return kept + note


def split(text: str, limit: int) -> list[str]:
    """Cut `text` into parts of at most `limit` characters, at paragraph or line ends where possible.

    A fence that a cut leaves open is closed, and opened again in the next part.
    """
    parts: list[str] = []
    rest = text
    reserve = len("```\n") + len("\n```")
    while len(rest) > limit:
        window = rest[: limit - reserve]
        cut = max(window.rfind("\n\n"), window.rfind("\n"))
        if cut < limit // 2:
            cut = len(window)
        part, rest = rest[:cut], rest[cut:].lstrip("\n")
        if _fence_open(part):
            part, rest = part + "\n```", "```\n" + rest
        parts.append(part)
    parts.append(rest)
    return parts


def _fence_open(text: str) -> bool:
    return sum(line.lstrip().startswith("```") for line in text.splitlines()) % 2 == 1


def _size(text: str, encoding: str | None) -> int:
    return len(text) if encoding is None else len(text.encode(encoding, "replace"))


def _take(text: str, room: int, encoding: str | None) -> str:
    if encoding is None:
        return text[:room]
    return text.encode(encoding, "replace")[:room].decode(encoding, "ignore")
