"""Slack's message text as people read it: mentions, links and entities resolved. Reads payloads, must not
look names up.

Facts: docs.slack.dev/messaging/formatting-message-text. Control sequences stand in angle brackets; a
bracket that a person typed arrives as an entity, so entities are resolved last.
"""

from __future__ import annotations

import re
from typing import Any, Final

from connectors.body import get, text_at

TITLE_LENGTH: Final = 80
MAX_MENTIONS: Final = 100
MAX_PIECES: Final = 500
"""Bound of the pieces of text taken from blocks and attachments. Slack itself allows 50 blocks."""

_SEQUENCE: Final = re.compile(r"<((?:[@#!]|[A-Za-z][A-Za-z0-9+.-]{0,30}:)[^<>\n]*)>")
_MENTION: Final = re.compile(r"<@([A-Z0-9][A-Za-z0-9_-]{0,63})(?:\|[^<>\n]*)?>")


def readable(text: str) -> str:
    """`<@U1>` becomes `@U1`, `<#C1|dev>` `#dev`, `<!here>` `@here`, `<https://x|label>` `label (https://x)`."""
    return _unescape(_SEQUENCE.sub(_spelled, text))


def mentioned(text: str) -> tuple[str, ...]:
    """User ids in the order they are mentioned, each once, at most MAX_MENTIONS."""
    return tuple(dict.fromkeys(_MENTION.findall(text)))[:MAX_MENTIONS]


def raw_text(message: object) -> str:
    """`text` of a message as sent; where it is empty, the words in its attachments and blocks (alert bots
    do that).
    """
    text = text_at(message, "text")
    if text and text.strip():
        return text
    pieces = [*_attachment_words(get(message, "attachments")), *_block_words(get(message, "blocks"))]
    return "\n".join(dict.fromkeys(piece.strip() for piece in pieces[:MAX_PIECES] if piece.strip()))


def title(text: str) -> str | None:
    """The first line that says something, at most TITLE_LENGTH characters: Slack's messages have no title."""
    line = next((line.strip() for line in text.splitlines() if line.strip()), None)
    if line is None or len(line) <= TITLE_LENGTH:
        return line
    return line[: TITLE_LENGTH - 1].rstrip() + "…"


def _spelled(found: re.Match[str]) -> str:
    target, _, label = found[1].partition("|")
    if target.startswith("@"):
        return f"@{label.removeprefix('@')}" if label else target
    if target.startswith("#"):
        return f"#{label.removeprefix('#')}" if label else target
    if target.startswith("!"):
        return label or "@" + target[1:].partition("^")[0]
    address = target.removeprefix("mailto:")
    if not label or label in {target, address}:
        return address
    return f"{label} ({address})"


def _unescape(text: str) -> str:
    return text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")


def _attachment_words(attachments: Any) -> list[str]:
    words: list[str] = []
    for attachment in attachments[:MAX_PIECES] if isinstance(attachments, list) else ():
        found = [text_at(attachment, name) for name in ("pretext", "title", "text")]
        found += [*_block_words(get(attachment, "blocks"))]
        kept = [piece for piece in found if piece]
        fallback = text_at(attachment, "fallback")
        words += kept or ([fallback] if fallback else [])
    return words


def _block_words(blocks: Any) -> list[str]:
    """Depth-first over `elements`, `fields` and `text`, where every block keeps its words."""
    words: list[str] = []
    todo: list[Any] = list(reversed(blocks)) if isinstance(blocks, list) else []
    while todo and len(words) < MAX_PIECES:
        node = todo.pop()
        if not isinstance(node, dict):
            continue
        if node.get("type") == "rich_text_section":
            words.append("".join(_inline_words(node.get("elements"))))
            continue
        text = node.get("text")
        if isinstance(text, str):
            words.append(text)
        children = [text] if isinstance(text, dict) else []
        for name in ("fields", "elements"):
            inner = node.get(name)
            children += inner if isinstance(inner, list) else []
        todo.extend(reversed(children))
    return words


def _inline_words(elements: Any) -> list[str]:
    words: list[str] = []
    for element in elements[:MAX_PIECES] if isinstance(elements, list) else ():
        user, text, url = (text_at(element, name) for name in ("user_id", "text", "url"))
        words.append(f"<@{user}>" if user else text or url or "")
    return words
