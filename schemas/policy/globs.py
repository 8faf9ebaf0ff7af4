"""Patterns over paths and names: `*` within one part, `**` over parts, `?` one character. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache


def first_fit(path: str, patterns: Iterable[str], *, any_case: bool = False) -> str | None:
    """The first pattern that fits the whole of `path`."""
    return next((pattern for pattern in patterns if _compiled(pattern, any_case).fullmatch(path)), None)


@lru_cache(maxsize=2048)
def _compiled(pattern: str, any_case: bool) -> re.Pattern[str]:  # noqa: FBT001 - the key of a cache
    parts: list[str] = []
    segments = re.sub(r"(?:\*\*/)+", "**/", pattern).split("/")
    for at, segment in enumerate(segments):
        last = at == len(segments) - 1
        if segment == "**":
            parts.append(".*" if last else "(?:[^/]+/)*")
            continue
        stars = re.sub(r"\*+", "*", segment)
        words = "".join(_ONE.get(char, re.escape(char)) for char in stars)
        parts.append(words if last else f"{words}/")
    return re.compile("".join(parts), re.DOTALL | (re.IGNORECASE if any_case else 0))


_ONE = {"*": "[^/]*", "?": "[^/]"}
