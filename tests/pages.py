"""Reading our own documents: pages, fenced blocks, tables behind a marker, links. Used by the tests of the documents."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
_FENCE = re.compile(
    r"^(?P<indent> *)```(?P<language>[a-z]*)\n(?P<text>.*?)^(?P=indent)```$", re.MULTILINE | re.DOTALL
)
_SAVED = re.compile(r"[Ss]ave (?:this|it|them) as\s+`([^`]+)`")


@dataclass(frozen=True, slots=True)
class Block:
    """One fenced block."""

    page: Path
    line: int
    language: str
    text: str
    before: str
    """The paragraph above it."""
    after: str
    """What follows it on the page."""

    @property
    def name(self) -> str:
        """For the names of tests: `docs/topics.md:40`."""
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    @property
    def file(self) -> str | None:
        """The name under which the paragraph above says to save it."""
        found = _SAVED.search(self.before)
        return found[1] if found else None


def pages() -> list[Path]:
    """README, everything under docs, and the READMEs of the connectors."""
    found = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    return found + sorted((ROOT / "connectors").glob("*/README.md"))


def blocks(page: Path, *languages: str) -> list[Block]:
    """The fenced blocks of a page, of these languages (all of them where none is named)."""
    text = page.read_text(encoding="utf-8")
    return [
        Block(
            page=page,
            line=text.count("\n", 0, found.start()) + 1,
            language=found["language"],
            text=found["text"],
            before=text[: found.start()].rstrip().rpartition("\n\n")[2],
            after=text[found.end() :],
        )
        for found in _FENCE.finditer(text)
        if not languages or found["language"] in languages
    ]


def every_block(*languages: str) -> list[Block]:
    """The same over all pages."""
    return [block for page in pages() for block in blocks(page, *languages)]


def prose(page: Path) -> str:
    """A page without its fenced blocks."""
    return _FENCE.sub("", page.read_text(encoding="utf-8"))


def table(page: Path, marker: str) -> list[list[str]]:
    """The cells of the table below `<!-- marker -->`, without its heading."""
    return _rows(section(page, marker))


def section(page: Path, marker: str) -> str:
    """The paragraph or table below `<!-- marker -->`."""
    _, found, rest = page.read_text(encoding="utf-8").partition(f"<!-- {marker} -->\n")
    assert found, f"{page.name} has no marker <!-- {marker} -->"
    return rest.lstrip("\n").partition("\n\n")[0]


def _rows(text: str) -> list[list[str]]:
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip().strip("|"))] for line in lines[2:]]


def names(cell: str) -> list[str]:
    """Everything in a cell that stands in backticks."""
    return re.findall(r"`([^`]+)`", cell)


def links(page: Path) -> Iterator[tuple[str, str]]:
    """(file, anchor) of every link to a file of ours."""
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if not target.startswith(("http://", "https://", "mailto:")):
            file, _, anchor = target.partition("#")
            yield file, anchor


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub makes of a page's headings."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
