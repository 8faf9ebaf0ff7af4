"""Markdown to wiki markup, the stored form of rich text on Jira Data Center.

Everything in the text that wiki markup would take for markup is escaped, and no text, not even code, can hold
the form of a mention: Data Center looks for mentions in the raw text. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from markdown_it.tree import SyntaxTreeNode

from connectors.jira.document import URL, inline, parse, printable, target

LANGUAGES: Final = frozenset({
    "actionscript", "ada", "applescript", "bash", "c", "c#", "c++", "css", "erlang", "go", "groovy",
    "haskell", "html", "java", "javascript", "json", "lua", "nyan", "objc", "perl", "php", "python", "r",
    "ruby", "scala", "sh", "sql", "swift", "visualbasic", "xml", "yaml",
})  # fmt: skip
"""What `{code:…}` knows on Data Center; another name shows an error box instead of the code."""

ZERO_WIDTH: Final = "\u200b"
_MARK_OF: Final = {"strong": "*", "em": "_", "s": "-"}
_SPECIAL: Final = re.compile(
    r"[{}\[\]*_|!^~]"
    r"|(?<!\w)[-+]|[-+](?!\w)"
    r"|\?(?=\?)|(?<=\?)\?"
    r"|\((?=(?:y|n|i|x|/|!|\+|-|\?|on|off|\*[rgby]?|flag|flagoff)\))"
    r"|[:;](?=[()])|:(?=[DP](?!\w))"
)
"""Markup, dashes and signs where they would strike out or insert, citations, and the pictures made of
punctuation.
"""
_ENTITY: Final = re.compile(r"&(?=#?\w+;)")
_LINE_START: Final = re.compile(r"^(?P<space>\s*)(?P<sign>#+(?=\s)|(?:h[1-6]|bq)\.)", re.MULTILINE)
_CODE_END: Final = re.compile(r"\{(?=code|noformat)", re.IGNORECASE)
_BREAK: Final = " \\\\ "
"""A line break inside a list item or a cell, where a new line would end it."""


def to_wiki(markdown: str) -> str:
    """Text for `body` of REST version 2. Never raises."""
    text = "\n\n".join(_blocks(parse(markdown).children, quoted=False)).strip() or _escaped(
        printable(markdown).strip()
    )
    return text.replace("[~", f"[{ZERO_WIDTH}~")


def _blocks(nodes: Sequence[SyntaxTreeNode], *, quoted: bool) -> list[str]:
    return [text for node in nodes for text in _block(node, quoted=quoted) if text]


def _block(node: SyntaxTreeNode, *, quoted: bool) -> list[str]:
    kind = node.type
    if kind == "paragraph":
        return [_line_starts(_inline(inline(node), line_break="\n"))]
    if kind == "heading":
        return [f"h{node.tag[1]}. {_inline(inline(node), line_break=' ')}"]
    if kind in {"bullet_list", "ordered_list"}:
        return ["\n".join(_list(node, ""))]
    if kind in {"fence", "code_block"}:
        return [_code(node)]
    if kind == "blockquote":
        parts = _blocks(node.children, quoted=True)
        # Quotations do not nest in wiki markup: a second {quote} would end the first.
        return parts if quoted else ["\n".join(("{quote}", "\n\n".join(parts), "{quote}"))]
    if kind == "hr":
        return ["----"]
    if kind == "table":
        return ["\n".join(_rows(node))]
    return [_line_starts(_escaped(node.content.strip()))]


def _list(node: SyntaxTreeNode, above: str) -> list[str]:
    prefix = above + ("*" if node.type == "bullet_list" else "#")
    lines: list[str] = []
    for item in node.children:
        words: list[str] = []
        below: list[str] = []
        _item(item.children, prefix, words, below)
        lines += [f"{prefix} {_BREAK.join(words)}", *below]
    return lines


def _item(nodes: Sequence[SyntaxTreeNode], prefix: str, words: list[str], below: list[str]) -> None:
    """Sort an item's blocks: what fits on its line into `words`, what must follow on lines of its own into
    `below`.
    """
    for node in nodes:
        if node.type in {"bullet_list", "ordered_list"}:
            below += _list(node, prefix)
        elif node.type in {"fence", "code_block"}:
            below.append(_code(node))
        elif node.type == "blockquote":
            _item(node.children, prefix, words, below)
        elif node.type == "table":
            words += [row.replace("||", "|").strip("|").strip() for row in _rows(node)]
        elif node.type != "hr":
            words.append(_inline(inline(node), line_break=_BREAK))


def _code(node: SyntaxTreeNode) -> str:
    language = node.info.split(maxsplit=1)[0].lower() if node.info.strip() else ""
    opening = f"{{code:{language}}}" if language in LANGUAGES else "{code}"
    content = _CODE_END.sub("{" + ZERO_WIDTH, node.content.removesuffix("\n"))
    return f"{opening}\n{content}\n{{code}}"


def _rows(table: SyntaxTreeNode) -> list[str]:
    rows = []
    for row in (row for part in table.children for row in part.children):
        bar = "||" if any(cell.type == "th" for cell in row.children) else "|"
        cells = [_inline(inline(cell), line_break=_BREAK) or " " for cell in row.children]
        rows.append(bar + bar.join(cells) + bar)
    return rows


def _inline(nodes: Sequence[SyntaxTreeNode], *, line_break: str, in_link: bool = False) -> str:
    out = ""
    for position, node in enumerate(nodes):
        kind = node.type
        if kind in {"softbreak", "hardbreak"}:
            out += line_break
        elif kind in _MARK_OF:
            inner = _inline(node.children, line_break=line_break, in_link=in_link)
            after = _plain(nodes[position + 1 : position + 2])[:1]
            out += _marked(inner, _MARK_OF[kind], touching=_is_word(out[-1:]) or _is_word(after))
        elif kind in {"link", "image"} and not in_link:
            out += _link(node)
        elif kind == "link":
            out += _inline(node.children, line_break=line_break, in_link=True)
        elif kind == "image":
            out += _escaped(_plain(node.children))
        elif kind == "code_inline":
            out += "{{" + _escaped(node.content, addresses=False) + "}}"
        else:
            out += _escaped(node.content)
    return out


def _marked(text: str, mark: str, *, touching: bool) -> str:
    """Each line marked on its own, since marks end with the line; in braces where a letter touches."""
    sign = f"{{{mark}}}" if touching else mark
    return "\n".join(f"{sign}{line}{sign}" if line.strip() else line for line in text.split("\n"))


def _link(node: SyntaxTreeNode) -> str:
    address = target(node.attrs.get("href" if node.type == "link" else "src"))
    words = (
        _inline(node.children, line_break=" ", in_link=True)
        if node.type == "link"
        else _escaped(_plain(node.children), addresses=False)
    )
    if address is None:
        return words
    for sign in "|[]{}\\ ":
        address = address.replace(sign, f"%{ord(sign):02X}")
    plain = _plain(node.children)
    return f"[{address}]" if plain in {"", address} else f"[{words}|{address}]"


def _escaped(text: str, *, addresses: bool = True) -> str:
    """`text` with nothing in it that wiki markup would act on. Bare addresses are left alone, so that they
    work.
    """
    out: list[str] = []
    position = 0
    for found in URL.finditer(text) if addresses else ():
        out += [_plain_escaped(text[position : found.start()]), found[0]]
        position = found.end()
    return "".join([*out, _plain_escaped(text[position:])])


def _plain_escaped(text: str) -> str:
    # A backslash cannot be escaped by another, since two of them are a line break: an entity is written.
    return "&#92;".join(_SPECIAL.sub(r"\\\g<0>", _ENTITY.sub("&amp;", part)) for part in text.split("\\"))


def _line_starts(text: str) -> str:
    """Numbers signs and headings that only count at the start of a line."""
    return _LINE_START.sub(lambda found: f"{found['space']}{ZERO_WIDTH}{found['sign']}", text)


def _plain(nodes: Sequence[SyntaxTreeNode]) -> str:
    return "".join(_plain(node.children) if node.children else node.content or " " for node in nodes)


def _is_word(character: str) -> bool:
    return character.isalnum()
