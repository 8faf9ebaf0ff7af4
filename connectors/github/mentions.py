"""`@login` in Markdown: reading the ones a human wrote, and disarming those in text that an agent wrote.

Reading is generous with quoting (code and quoted lines are not mentions) because a missed one only means that
nothing starts. Disarming is the reverse: what is not surely code is disarmed, because a slip pings a
stranger.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

MAX_MENTIONS: Final = 50
ZERO_WIDTH_SPACE: Final = "\u200b"
_LOGIN: Final = r"[A-Za-z0-9](?:[A-Za-z0-9]|-(?=[A-Za-z0-9])){0,38}"
_MENTION: Final = re.compile(rf"(?<![\w/`.@+-])@({_LOGIN}(?:/[A-Za-z0-9._-]{{1,100}})?)(?![\w@])")
_FENCE: Final = re.compile(r" {0,3}(?P<mark>`{3,}|~{3,})(?P<rest>.*)")
_QUOTE: Final = re.compile(r" {0,3}>")
_INLINE_CODE: Final = re.compile(r"(?<!`)(`{1,20})(?!`).{0,2000}?(?<!`)\1(?!`)")
_MARK: Final = re.compile(r"\\.|`+|<", re.DOTALL)
_TICKS: Final = re.compile("`+")
_NAMED: Final = re.compile(r"[A-Za-z0-9_.-]+(?:/[A-Za-z0-9_.-]+)*")
"""All that GitHub could take for the name: an allowed one followed by more letters is another."""
_LIVE: Final = re.compile(r"(?<![\w/])@(?=[A-Za-z0-9])")


def read_mentions(text: str) -> tuple[str, ...]:
    """Logins (and `org/team`) addressed in `text`, lower case, each once, in order; not in code or quoted
    lines.
    """
    found: dict[str, None] = {}
    for line in _spoken_lines(text):
        if "@" not in line:
            continue
        for match in _MENTION.finditer(_INLINE_CODE.sub(" ", line)):
            found[match[1].rstrip(".-").lower()] = None
            if len(found) >= MAX_MENTIONS:
                return tuple(found)
    return tuple(found)


def disarm(text: str, *, but: Iterable[str] = ()) -> str:
    """Break every live `@name` with a zero-width space, so that posting `text` notifies nobody, `but` these logins.

    Left alone are only code blocks and closed code spans, where GitHub notifies nobody anyway and where a
    character too many would spoil the code.
    """
    if "@" not in text:
        return text
    # The parser takes 50 ms to import, which reading webhooks must not pay.
    from markdown_it import MarkdownIt  # noqa: PLC0415 - see above

    allowed = frozenset(name.lower() for name in but)
    lines = text.split("\n")
    code: set[int] = set()
    spans: set[tuple[int, int]] = set()
    for token in MarkdownIt("commonmark").parse(text):
        if token.map is None:
            continue
        first, last = token.map
        if token.type in {"fence", "code_block"}:
            code.update(range(first, last))
        elif token.type == "inline":
            spans.update(_code_characters(lines, first, last))
    return "\n".join(
        line if number in code else _disarm_line(line, number, spans, allowed)
        for number, line in enumerate(lines)
    )


def _disarm_line(line: str, number: int, spans: set[tuple[int, int]], allowed: frozenset[str]) -> str:
    def replace(match: re.Match[str]) -> str:
        named = _NAMED.match(line, match.end())
        is_allowed = named is not None and named[0].rstrip(".-/").lower() in allowed
        return "@" if is_allowed or (number, match.start()) in spans else "@" + ZERO_WIDTH_SPACE

    return _LIVE.sub(replace, line)


def _code_characters(lines: list[str], first: int, last: int) -> Iterator[tuple[int, int]]:
    """(line, column) of each `@` inside a code span that opens and closes on one line of the block.

    Spans pair over the whole block (CommonMark 0.31, section 6.1), so it is scanned as one. A span over
    several lines counts as no code, because quote and list marks in between make its reading uncertain; after
    a `<` outside a span nothing does, because what follows may be inside a tag.
    """
    block = "\n".join(lines[first:last])
    at = 0
    while (mark := _MARK.search(block, at)) is not None and mark[0] != "<":
        at = mark.end()
        if mark[0].startswith("\\"):
            continue
        closing = next((run for run in _TICKS.finditer(block, at) if run[0] == mark[0]), None)
        if closing is None:
            continue
        inside = block[at : closing.start()]
        if "\n" not in inside:
            line = first + block.count("\n", 0, at)
            start = at - (block.rfind("\n", 0, at) + 1)
            yield from ((line, start + offset) for offset, char in enumerate(inside) if char == "@")
        at = closing.end()


def _spoken_lines(text: str) -> Iterator[str]:
    """The lines outside fenced code and quotes."""
    fence = ""
    for line in text.splitlines():
        found = _FENCE.match(line)
        if fence:
            if found and found["mark"].startswith(fence) and not found["rest"].strip():
                fence = ""
        elif found and not (found["mark"].startswith("`") and "`" in found["rest"]):
            fence = found["mark"]
        elif not _QUOTE.match(line):
            yield line
