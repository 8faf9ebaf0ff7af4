"""What of Markdown a reader sees: text that a vendor does not show must start nothing. Pure. Must not judge what we
post (`schemas.policy` does), nor touch the payload.

Where programs could read the text differently it counts as not shown: then a run does not start, and nothing worse.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from connectors.base import Fact
from schemas.marker import markers_in

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.rules_inline import StateInline
    from markdown_it.token import Token

MAX_PARSED: Final = 100_000
"""Characters. In a longer text code is not told from the rest: all is cut that could be hidden."""
MAX_MARKS: Final = 4_000
"""Line ends, brackets and bars, which reading takes its time for. In a text with more of them, the same."""
_MARKS: Final = "\n[<|"
_SUSPECT: Final = re.compile(r"<[!?/A-Za-z]|\]:")
_DEFINITION: Final = re.compile(r"^[ \t>*+.)\d-]*\[[^\]\n]{1,999}\]:", re.MULTILINE)
_OPENING: Final = re.compile(r"<!---?>|<!--|<!\[CDATA\[|<\?|<!|</?([A-Za-z][^\s/>]*)")
_CLOSING: Final[Mapping[str, re.Pattern[str]]] = {
    "<!--": re.compile(r"--!?>"),
    "<![CDATA[": re.compile(r"\]\]>"),
    "<?": re.compile(r"\?>"),
    "<!": re.compile(r">"),
}
_IN_TAG: Final = re.compile(r">|=\s*([\"'])")
_ATTRIBUTE: Final = re.compile(r"[\s/]+([^\s=>/\"']+)\s*=\s*(?:\"[^\"]*\"|'[^']*'|[^\s>\"']+)")
_SHOWN_ATTRIBUTES: Final = frozenset({"href", "src", "alt", "title"})
_DROPPED: Final = frozenset({"script", "style", "template", "noscript", "iframe"})
"""Elements whose content is not shown."""
_FOOTNOTE: Final = re.compile(r"[ >]*(?:[-*+] +|\d{1,9}[.)] +)*\[\^[^\]\s]+\]:")
_LEAVES: Final = frozenset({"inline", "html_block", "fence", "code_block", "hr"})
_EDGES: Final = re.compile(r"\A(?:[ \t]*\n)+|\s+\Z")


def as_shown(
    fact: Fact, *, mentions: Callable[[str], tuple[str, ...]] | None = None, footnotes: bool = False
) -> Fact:
    """The fact without what Markdown hides in its text and in what changed; markers of ours are kept as `marked`.

    `mentions` reads them from a text. The key stays: it names the fact as the vendor sent it.
    """
    text = shown(fact.text, footnotes=footnotes)
    changed = {name: _change(change, footnotes=footnotes) for name, change in fact.changed.items()}
    named = fact.mentions
    if named and mentions is not None and text != fact.text:
        named = mentions(text)
    return replace(fact, text=text, changed=changed, mentions=named, marked=markers_in(fact.text))


def _change(change: object, *, footnotes: bool) -> Any:
    if not isinstance(change, dict):
        return change
    return {
        side: shown(value, footnotes=footnotes) if isinstance(value, str) else value
        for side, value in change.items()
    }


def shown(text: str, *, footnotes: bool = False) -> str:
    """`text` without HTML comments, declarations, attributes that are dropped, and link definitions that no link uses.

    What stands in code is shown. `footnotes`: the vendor has them, and hides those that nothing refers to; all are cut.
    """
    if not _SUSPECT.search(text):
        return text
    clean = text.replace("\r\n", "\n").replace("\r", "\n")
    is_small = len(clean) <= MAX_PARSED and sum(map(clean.count, _MARKS)) <= MAX_MARKS
    cuts = _Reading(clean).cuts(footnotes=footnotes) if is_small else _crude(clean, 0, len(clean))
    if not cuts:
        return text
    kept, at = [], 0
    for start, end in sorted(cuts):
        if start > at:
            kept.append(clean[at:start])
        at = max(at, end)
    return _EDGES.sub("", "".join(kept) + clean[at:])


@dataclass(slots=True)
class _Raw:
    """The raw HTML of a text as one string, and where each part of it stands in the text."""

    parts: list[str] = field(default_factory=list)
    begins: list[int] = field(default_factory=list)
    places: list[int] = field(default_factory=list)
    blocks: list[int] = field(default_factory=list)
    length: int = 0

    def add(self, part: str, place: int, block: int) -> None:
        self.parts.append(part)
        self.begins.append(self.length)
        self.places.append(place)
        self.blocks.append(block)
        self.length += len(part)

    def place(self, at: int) -> int:
        index = bisect_right(self.begins, at) - 1
        return self.places[index] + at - self.begins[index]

    def range(self, start: int, end: int) -> tuple[int, int]:
        return self.place(start), self.place(end - 1) + 1

    def is_one(self, start: int, end: int) -> bool:
        """Whether nothing stands between the two ends but raw HTML."""
        return (
            self.blocks[bisect_right(self.begins, start) - 1]
            == self.blocks[bisect_right(self.begins, end - 1) - 1]
        )


class _Reading:
    """One text, read as its vendor would."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._lines = text.split("\n")
        self._starts = [0]
        for line in self._lines:
            self._starts.append(self._starts[-1] + len(line) + 1)
        self._cuts: list[tuple[int, int]] = []
        self._raw = _Raw()
        self._blocks = 0

    def cuts(self, *, footnotes: bool) -> list[tuple[int, int]]:
        """Ranges of the text that are not shown."""
        environment: dict[str, Any] = {}
        used: set[str] = set()
        columns: dict[int, int] = {}
        unread = set(range(len(self._lines)))
        tokens = _parser().parse(self._text, environment)
        for before, token in zip([None, *tokens], tokens, strict=False):
            if token.map is None:
                continue
            first, last = token.map
            if token.type in _LEAVES:
                unread.difference_update(range(first, last))
            if token.type == "html_block":
                self._block(token.content, first)
            elif token.type == "inline":
                in_table = before is not None and before.type in {"th_open", "td_open"}
                self._inline(token, columns if in_table else None, used)
                if footnotes and not in_table:
                    self._footnote(first, last)
        self._definitions(environment, used, unread, footnotes=footnotes)
        # Nested deeper than the parser goes.
        line = next((line for line in sorted(unread) if _SUSPECT.search(self._lines[line])), None)
        if line is not None:
            self._crude_lines(line, len(self._lines))
        return self._cuts + _unseen(self._raw, len(self._text))

    def _definitions(
        self, environment: Mapping[str, Any], used: set[str], unread: set[int], *, footnotes: bool
    ) -> None:
        """Definitions of links are no text. One that a link uses is left, because it says where the link goes."""
        for label, one in environment.get("references", {}).items():
            unread.difference_update(range(*one["map"]))
            if footnotes and label.startswith("^"):
                self._footnote(*one["map"])
            elif label not in used:
                self._cut_lines(*one["map"])
        for one in environment.get("duplicate_refs", []):
            self._cut_lines(*one["map"])

    def _cut_lines(self, first: int, last: int) -> None:
        self._cuts.append((self._starts[first], min(self._starts[last], len(self._text))))

    def _crude_lines(self, first: int, last: int) -> None:
        start = self._starts[first]
        self._cuts += _crude(self._text[start : self._starts[last]], start, len(self._text))

    def _block(self, content: str, first: int) -> None:
        """Raw HTML of whole lines. A mark of a quotation before a line is none of it."""
        self._blocks += 1
        for number, line in enumerate(content.removesuffix("\n").split("\n"), first):
            source = self._lines[number]
            column = len(source) - len(line) if source.endswith(line) else 0
            self._raw.add(source[column:] + "\n", self._starts[number] + column, self._blocks)

    def _inline(self, token: Token, columns: dict[int, int] | None, used: set[str]) -> None:
        first, last = token.map or (0, 0)
        children = token.children or []
        spans = []
        for child in children:
            if "label" in child.meta:
                used.add(child.meta["label"])
            if child.type == "html_inline":
                spans.append((child.meta["start"], child.meta["end"]))
            elif child.type == "image" and "<" in child.content:
                self._crude_lines(first, last)
        if not spans and columns is None:
            return
        places = self._places(token.content, first, columns)
        if places is None:
            if spans:
                self._crude_lines(first, last)
            return
        begins = [begin for begin, _, _ in places]
        for start, end in spans:
            self._blocks += 1
            at = start
            while at < end:
                begin, line_end, place = places[bisect_right(begins, at) - 1]
                until = min(end, line_end)
                self._raw.add(token.content[at:until], place + at - begin, self._blocks)
                at = until

    def _places(
        self, content: str, first: int, columns: dict[int, int] | None
    ) -> list[tuple[int, int, int]] | None:
        """(begin, end, place in the text) of each line of a block's content; None where it stands there differently."""
        found, at = [], 0
        for number, line in enumerate(content.split("\n"), first):
            source = self._lines[number] if number < len(self._lines) else ""
            if columns is not None:
                column = source.find(line, columns.get(number, 0))
                columns[number] = max(column, 0) + len(line)
            else:
                bare, said = source.rstrip(), line.rstrip()
                column = len(bare) - len(said) if bare.endswith(said) else source.find(line)
            if column < 0:
                return None
            found.append((at, at + len(line) + 1, self._starts[number] + column))
            at += len(line) + 1
        return found

    def _footnote(self, first: int, last: int) -> None:
        """A footnote begins at any line of a paragraph and goes on in indented ones."""
        begins = next((n for n in range(first, last) if _FOOTNOTE.match(self._lines[n])), None)
        if begins is None:
            return
        while last < len(self._lines) and (not self._lines[last].strip() or self._lines[last][:1] in " \t"):
            last += 1
        self._cut_lines(begins, last)


def _unseen(raw: _Raw, end_of_text: int) -> list[tuple[int, int]]:
    """What a browser does not show of raw HTML: what is left open hides all that stands before its end."""
    html, at = "".join(raw.parts), 0
    cuts: list[tuple[int, int]] = []
    while (opening := _OPENING.search(html, at)) is not None:
        start, name = opening.start(), opening[1]
        if name is None:
            closing = _CLOSING.get(opening[0])
            closed = closing.search(html, opening.end()) if closing else opening
            end = closed.end() if closed else None
        else:
            end = _end_of_tag(html, opening.end())
            if end is not None and name.lower() in _DROPPED and html[start + 1] != "/":
                ending = re.compile(rf"</{name}\b[^>]*>", re.IGNORECASE).search(html, end)
                end = ending.end() if ending else None
            elif end is not None and raw.is_one(start, end):
                cuts += [
                    raw.range(start + a, start + b) for a, b in _dropped(html[start:end], len(name)) if a < b
                ]
                at = end
                continue
        if end is None:
            return [*cuts, (raw.place(start), end_of_text)]
        cuts.append(raw.range(start, end))
        at = end
    return cuts


def _end_of_tag(html: str, at: int) -> int | None:
    while (found := _IN_TAG.search(html, at)) is not None:
        if found[1] is None:
            return found.end()
        at = html.find(found[1], found.end()) + 1
        if not at:
            return None
    return None


def _dropped(tag: str, name: int) -> Iterator[tuple[int, int]]:
    """What nobody is shown of a tag: all behind its name but a few attributes."""
    at = name + 1 + tag.startswith("</")
    end = len(tag.rstrip(">").rstrip("/")) if tag.endswith(">") else len(tag)
    for found in _ATTRIBUTE.finditer(tag, at, end):
        if found[1].lower() in _SHOWN_ATTRIBUTES:
            yield at, found.start()
            at = found.end()
    yield at, end


def _crude(part: str, offset: int, end_of_text: int) -> list[tuple[int, int]]:
    """All that could be hidden in a part of a text: it is read as if nothing of it were code."""
    raw = _Raw()
    raw.add(part, offset, 0)
    cuts, at = _unseen(raw, end_of_text), 0
    while (found := _DEFINITION.search(part, at)) is not None:
        end = part.find("\n\n", found.end())
        at = len(part) if end < 0 else end
        cuts.append((offset + found.start(), offset + at))
    return cuts


@cache
def _parser() -> MarkdownIt:
    # The parser takes 50 ms to import, which reading webhooks without markup must not pay.
    from markdown_it import MarkdownIt  # noqa: PLC0415 - see above
    from markdown_it.rules_inline import html_inline  # noqa: PLC0415 - see above

    def placed(state: StateInline, silent: bool) -> bool:  # noqa: FBT001 - the parser's own signature
        start = state.pos
        found = html_inline(state, silent)
        if found and not silent:
            state.tokens[-1].meta = {"start": start, "end": state.pos}
        return found

    parser = (
        MarkdownIt("commonmark", {"html": True, "store_labels": True}).enable("table").disable("emphasis")
    )
    parser.inline.ruler.at("html_inline", placed)
    return parser
