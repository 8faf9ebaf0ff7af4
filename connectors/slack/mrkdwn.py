"""Markdown, as agents write it, into Slack's mrkdwn. Pure, and raises nothing whatever the text.

Facts: docs.slack.dev/messaging/formatting-message-text. mrkdwn has no headings, tables or images, and gives
power to angle brackets: `<!channel>` wakes everybody. So every bracket of the agent's is escaped, and the
only ones written are those of http(s) and mailto links.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from typing import Final

from markdown_it import MarkdownIt
from markdown_it.token import Token

LINK_SCHEMES: Final = ("http://", "https://", "mailto:")
LONGEST_URL: Final = 2000
LONGEST_LABEL: Final = 300
INDENT: Final = "    "
FENCE: Final = "```"
RULE: Final = "──────────"
ZERO_WIDTH: Final = "\u200b"
BULLETS: Final = ("•", "◦", "▪")


@cache
def _parser() -> MarkdownIt:
    return MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"])


def mrkdwn(markdown: str) -> str:
    """Return `markdown` as mrkdwn. Text that renders to nothing (a comment, a link definition) is given as
    it stands.
    """
    clean = markdown.encode("utf-8", "replace").decode("utf-8")
    rendered = "\n\n".join(_blocks(_parser().parse(clean))).strip("\n")
    return rendered if rendered.strip() else escape(clean).strip()


def naming(text: str, ids: Iterable[str]) -> str:
    """`text` with `@U012AB3CD` made a mention that notifies, for these ids only."""
    for ident in ids:
        if _ID.fullmatch(ident):
            text = re.sub(rf"(?:&lt;@{ident}&gt;|(?<![\w@/.])@{ident}(?![\w-]))", f"<@{ident}>", text)
    return text


_ID: Final = re.compile(r"[UW][A-Z0-9]{2,20}")


def escape(text: str) -> str:
    """Take from `&`, `<` and `>` their meaning. Ampersands first, or the entities would be escaped again."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _blocks(tokens: Sequence[Token], depth: int = 0) -> list[str]:
    """Block tokens as pieces of text. The parser bounds how deep they nest, so recursion is bounded."""
    pieces: list[str] = []
    at = 0
    while at < len(tokens):
        token = tokens[at]
        if token.nesting == 1:
            end = _closing(tokens, at)
            pieces += _container(token, tokens[at + 1 : end], depth)
            at = end + 1
            continue
        pieces += _leaf(token)
        at += 1
    return [piece for piece in pieces if piece]


def _closing(tokens: Sequence[Token], start: int) -> int:
    level = tokens[start].level
    return next(
        (
            at
            for at in range(start + 1, len(tokens))
            if tokens[at].nesting == -1 and tokens[at].level == level
        ),
        len(tokens),
    )


def _container(token: Token, inner: Sequence[Token], depth: int) -> list[str]:
    match token.type:
        case "heading_open":
            words = " ".join(_inline(part, heading=True) for part in inner).strip()
            return [f"*{words}*"] if words else []
        case "blockquote_open":
            return [_prefixed("\n\n".join(_blocks(inner, depth)), "> ", "> ")]
        case "bullet_list_open" | "ordered_list_open":
            return [_list(token, inner, depth)]
        case "table_open":
            return [_table(inner)]
        case _:
            return _blocks(inner, depth)


def _leaf(token: Token) -> list[str]:
    match token.type:
        case "inline":
            return [_inline(token)]
        case "fence" | "code_block":
            return [_preformatted(token.content)]
        case "hr":
            return [RULE]
        case _:
            return [escape(token.content)]


def _list(token: Token, inner: Sequence[Token], depth: int) -> str:
    number = int(token.attrs.get("start", 1)) if token.type == "ordered_list_open" else None
    items: list[str] = []
    at = 0
    while at < len(inner):
        end = _closing(inner, at)
        sign = BULLETS[min(depth, len(BULLETS) - 1)] if number is None else f"{number + len(items)}."
        items.append(_prefixed("\n".join(_blocks(inner[at + 1 : end], depth + 1)), f"{sign} ", INDENT))
        at = end + 1
    return "\n".join(items)


def _prefixed(text: str, first: str, others: str) -> str:
    """`text` with a prefix on each line. Code in a list stays at the margin: its blanks are content."""
    lines = text.split("\n")
    if others == INDENT:
        fenced = False
        for at, line in enumerate(lines):
            opens = line == FENCE
            if at and not fenced and not opens and line:
                lines[at] = others + line
            fenced ^= opens
        if lines[0] == FENCE:
            return first.rstrip() + "\n" + "\n".join(lines)
        return first + "\n".join(lines)
    return "\n".join((first if at == 0 else others) + line for at, line in enumerate(lines))


def _preformatted(content: str) -> str:
    """A code block. Three backticks inside would end it, so a character of no width parts them."""
    safe = content.rstrip("\n").replace(FENCE, f"``{ZERO_WIDTH}`")
    return f"{FENCE}\n{escape(safe)}\n{FENCE}"


def _table(tokens: Sequence[Token]) -> str:
    rows: list[list[str]] = []
    for token in tokens:
        if token.type == "tr_open":
            rows.append([])
        elif token.type == "inline" and rows:
            rows[-1].append(_plain(token.children or []))
    widths = [
        max(len(row[column]) if column < len(row) else 0 for row in rows) for column in range(len(rows[0]))
    ]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=False)).rstrip()
        for row in rows
    ]
    lines.insert(1, "  ".join("-" * width for width in widths))
    return _preformatted("\n".join(lines))


def _plain(children: Sequence[Token]) -> str:
    """Inline tokens without any format: link labels and table cells."""
    breaks = {"softbreak": " ", "hardbreak": " "}
    return "".join(breaks.get(child.type, child.content) for child in children)


def _inline(token: Token, *, heading: bool = False) -> str:
    """Inline tokens are walked flat, since nothing bounds how deep emphasis nests."""
    children = token.children or []
    opened = {"strong": 1 if heading else 0, "em": 0, "s": 0}
    out: list[str] = []
    at = 0
    while at < len(children):
        child = children[at]
        if child.type == "link_open":
            end = next(
                (i for i in range(at, len(children)) if children[i].type == "link_close"), len(children)
            )
            out.append(_link(str(child.attrs.get("href", "")), _plain(children[at + 1 : end])))
            at = end + 1
            continue
        kind = child.type.removesuffix("_open").removesuffix("_close")
        if kind in opened and child.nesting:
            outermost = opened[kind] == (0 if child.nesting == 1 else 1)
            opened[kind] += child.nesting
            out.append(MARKS[kind] if outermost else "")
        else:
            out.append(WRITERS.get(child.type, _text)(child, heading))
        at += 1
    return "".join(out)


def _text(token: Token, heading: bool) -> str:  # noqa: FBT001, ARG001 - one signature for all writers
    return escape(token.content)


def _break(token: Token, heading: bool) -> str:  # noqa: FBT001, ARG001 - one signature for all writers
    return " " if heading else "\n"


def _code(token: Token, heading: bool) -> str:  # noqa: FBT001, ARG001 - one signature for all writers
    """mrkdwn cannot quote a backtick inside code; such code stands without its marks."""
    content = escape(token.content)
    return content if "`" in content else f"`{content}`"


def _image(token: Token, heading: bool) -> str:  # noqa: FBT001, ARG001 - one signature for all writers
    return _link(str(token.attrs.get("src", "")), token.content)


def _link(url: str, label: str) -> str:
    """`<url|label>` for the web and mail; any other address is written out, so that nothing is clicked
    unseen.
    """
    words = " ".join(label.split())
    short = words if len(words) <= LONGEST_LABEL else words[: LONGEST_LABEL - 1] + "…"
    if not url.lower().startswith(LINK_SCHEMES) or len(url) > LONGEST_URL:
        return escape(f"{words} ({url})" if words and words != url else words or url)
    target = escape(url.replace("|", "%7C").replace("<", "%3C").replace(">", "%3E").replace(" ", "%20"))
    if not short or short == url:
        return f"<{target}>"
    return f"<{target}|{escape(short)}>"


MARKS: Final = {"strong": "*", "em": "_", "s": "~"}
WRITERS: Final[dict[str, Callable[[Token, bool], str]]] = {
    "softbreak": _break,
    "hardbreak": _break,
    "code_inline": _code,
    "image": _image,
}
