"""Reading the agent's Markdown into a tree, the same way for both of Jira's formats. Builds no output."""

from __future__ import annotations

import re
from functools import cache
from typing import Final

from markdown_it import MarkdownIt
from markdown_it.tree import SyntaxTreeNode

MAX_NESTING: Final = 60
"""Levels of nesting; deeper text is left out by the parser. Bounds the recursion of the converters."""
URL: Final = re.compile(r"https?://[^\s<>\[\]{}|\\^`\"']*[^\s<>\[\]{}|\\^`\"'.,;:!?()*_~]")
"""A bare address in running text, without the punctuation that follows it."""

_UNSTORABLE: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff\ufffe\uffff]")
"""Characters that XML, in which Jira keeps and exports text, does not know: they are answered 400 or 500."""
_SAFE_TARGET: Final = re.compile(r"(?:https?://|mailto:)", re.IGNORECASE)


def parse(markdown: str) -> SyntaxTreeNode:
    """CommonMark with tables and strikethrough. HTML is not known, so it stays text."""
    return SyntaxTreeNode(_parser().parse(printable(markdown)))


def printable(text: str) -> str:
    """`text` without the characters Jira cannot store."""
    return _UNSTORABLE.sub("", text)


def target(href: object) -> str | None:
    """The address of a link where Jira can do something with it (http, https, mailto), else None."""
    return href if isinstance(href, str) and _SAFE_TARGET.match(href) else None


def inline(block: SyntaxTreeNode) -> list[SyntaxTreeNode]:
    """The inline nodes of a paragraph, heading or table cell."""
    return [
        leaf for child in block.children for leaf in (child.children if child.type == "inline" else [child])
    ]


@cache
def _parser() -> MarkdownIt:
    return MarkdownIt("commonmark", {"html": False, "maxNesting": MAX_NESTING}).enable(
        ["table", "strikethrough"]
    )
