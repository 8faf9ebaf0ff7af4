"""Markdown to the Atlassian Document Format, Jira Cloud's stored form of rich text.

Rules of the format that are kept here: no empty text nodes; the mark `code` goes with `link` only; what may
stand in a quotation, a list item or a cell is less than in the document. Never writes mention nodes: a
generated text notifies nobody. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum, auto
from typing import Any, Final

from markdown_it.tree import SyntaxTreeNode

from connectors.jira.document import URL, inline, parse, printable, target

Node = dict[str, Any]
Marks = tuple[tuple[str, str], ...]
"""Marks by type; the second part is the address of a link, else empty."""

_MARK_OF: Final = {"strong": "strong", "em": "em", "s": "strike"}


class _Place(Enum):
    """Where blocks stand; each place admits other kinds."""

    DOCUMENT = auto()
    QUOTE = auto()
    ITEM = auto()


def to_adf(markdown: str) -> Node:
    """The document for `body` of REST version 3. Never raises; any text gives a valid document."""
    content = _blocks(parse(markdown).children, _Place.DOCUMENT)
    if not content:
        content = [_paragraph(_text(printable(markdown).strip(), ()))]
    return {"version": 1, "type": "doc", "content": content}


def _blocks(nodes: Sequence[SyntaxTreeNode], place: _Place) -> list[Node]:
    return [block for node in nodes for block in _block(node, place)]


def _block(node: SyntaxTreeNode, place: _Place) -> list[Node]:
    kind, free = node.type, place is _Place.DOCUMENT
    if kind == "heading":
        return _heading(node, place)
    if kind in {"bullet_list", "ordered_list"}:
        return [_list(node)]
    if kind in {"fence", "code_block"}:
        return [_code(node)]
    if kind == "blockquote":
        return [_quote(node)] if free else _blocks(node.children, place)
    if kind == "hr":
        return [{"type": "rule"}] if free else []
    if kind == "table":
        return [_table(node)] if free else _rows_as_text(node)
    content = _inline(inline(node), ()) if node.children else _text(node.content.strip(), ())
    return [_paragraph(content)] if content else []


def _quote(node: SyntaxTreeNode) -> Node:
    return {"type": "blockquote", "content": _blocks(node.children, _Place.QUOTE) or [_paragraph([])]}


def _paragraph(content: list[Node]) -> Node:
    return {"type": "paragraph", "content": content}


def _heading(node: SyntaxTreeNode, place: _Place) -> list[Node]:
    if place is not _Place.DOCUMENT:
        content = _inline(inline(node), (("strong", ""),))
        return [_paragraph(content)] if content else []
    content = _inline(inline(node), ())
    return [{"type": "heading", "attrs": {"level": int(node.tag[1])}, "content": content}] if content else []


def _list(node: SyntaxTreeNode) -> Node:
    items = [{"type": "listItem", "content": _item(item)} for item in node.children]
    if node.type == "bullet_list":
        return {"type": "bulletList", "content": items}
    start = node.attrs.get("start", 1)
    return {
        "type": "orderedList",
        "attrs": {"order": start if isinstance(start, int) else 1},
        "content": items,
    }


def _item(item: SyntaxTreeNode) -> list[Node]:
    content = _blocks(item.children, _Place.ITEM)
    if not content or content[0]["type"] not in {"paragraph", "codeBlock"}:
        # The first thing in an item may not be a list.
        content.insert(0, _paragraph([]))
    return content


def _code(node: SyntaxTreeNode) -> Node:
    block: Node = {"type": "codeBlock"}
    language = node.info.split(maxsplit=1)[0] if node.info.strip() else ""
    if language:
        block["attrs"] = {"language": language}
    text = node.content.removesuffix("\n")
    if text:
        block["content"] = [{"type": "text", "text": text}]
    return block


def _table(node: SyntaxTreeNode) -> Node:
    rows = [
        {
            "type": "tableRow",
            "content": [
                {
                    "type": "tableHeader" if cell.type == "th" else "tableCell",
                    "content": [_paragraph(_inline(inline(cell), ()))],
                }
                for cell in row.children
            ],
        }
        for row in _rows(node)
    ]
    return {"type": "table", "content": rows}


def _rows_as_text(node: SyntaxTreeNode) -> list[Node]:
    """A table where none may stand: a paragraph per row, cells parted by bars."""
    paragraphs = []
    for row in _rows(node):
        content: list[Node] = []
        for cell in row.children:
            parts = _inline(inline(cell), ())
            content += [{"type": "text", "text": " | "}, *parts] if content else parts
        if content:
            paragraphs.append(_paragraph(_merged(content)))
    return paragraphs


def _rows(table: SyntaxTreeNode) -> list[SyntaxTreeNode]:
    return [row for part in table.children for row in part.children]


def _inline(nodes: Sequence[SyntaxTreeNode], marks: Marks) -> list[Node]:
    out: list[Node] = []
    for node in nodes:
        kind = node.type
        if kind in {"softbreak", "hardbreak"}:
            # As GitHub shows comments: a line break that was written is a line break.
            out.append({"type": "hardBreak"})
        elif kind in _MARK_OF:
            out += _inline(node.children, _with(marks, _MARK_OF[kind]))
        elif kind == "link":
            href = target(node.attrs.get("href"))
            out += _inline(node.children, _with(marks, "link", href) if href else marks)
        elif kind == "image":
            href = target(node.attrs.get("src"))
            label = _plain(node.children) or str(node.attrs.get("src", ""))
            out += _text(label, _with(marks, "link", href) if href else marks)
        elif kind == "code_inline":
            links = tuple(mark for mark in marks if mark[0] == "link")
            out += _text(node.content, (("code", ""), *links))
        else:
            out += _linked(node.content, marks)
    return _merged(out)


def _with(marks: Marks, kind: str, address: str = "") -> Marks:
    return marks if any(mark[0] == kind for mark in marks) else (*marks, (kind, address))


def _linked(text: str, marks: Marks) -> list[Node]:
    """Text with its bare addresses made links: Jira does not do that for documents that come by REST."""
    if any(mark[0] == "link" for mark in marks):
        return _text(text, marks)
    out: list[Node] = []
    position = 0
    for found in URL.finditer(text):
        out += _text(text[position : found.start()], marks)
        out += _text(found[0], _with(marks, "link", found[0]))
        position = found.end()
    return out + _text(text[position:], marks)


def _text(text: str, marks: Marks) -> list[Node]:
    if not text:
        return []
    node: Node = {"type": "text", "text": text}
    if marks:
        node["marks"] = [
            {"type": kind, "attrs": {"href": address}} if kind == "link" else {"type": kind}
            for kind, address in marks
        ]
    return [node]


def _merged(nodes: list[Node]) -> list[Node]:
    """Neighbouring texts with the same marks as one."""
    out: list[Node] = []
    for node in nodes:
        last = out[-1] if out else None
        if (
            last is not None
            and node["type"] == last["type"] == "text"
            and node.get("marks") == last.get("marks")
        ):
            last["text"] += node["text"]
        else:
            out.append(node)
    return out


def _plain(nodes: Sequence[SyntaxTreeNode]) -> str:
    return "".join(_plain(node.children) if node.children else node.content or " " for node in nodes)
