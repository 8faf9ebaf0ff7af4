"""The words that a message's blocks show, as Slack writes them in `text`: people read the blocks, not the text beside.

Facts: docs.slack.dev/reference/block-kit/blocks. Pure; any input whatever gives words or none.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from connectors.body import text_at

MAX_PIECES: Final = 500
"""Bound of the pieces of text taken from blocks and attachments. Slack itself allows 50 blocks."""
_CHILDREN: Final = ("title", "description", "text", "fields", "elements", "rows")


def block_words(blocks: Any) -> list[str]:
    """Depth-first over everything of a block in which it keeps words, each piece in the form of `text`."""
    words: list[str] = []
    todo: list[Any] = list(reversed(blocks)) if isinstance(blocks, list) else []
    while todo and len(words) < MAX_PIECES:
        node = todo.pop()
        if isinstance(node, list):  # a row of a table
            todo.extend(reversed(node))
            continue
        if not isinstance(node, dict):
            continue
        kind = text_at(node, "type")
        if kind in {"rich_text_section", "rich_text_preformatted", "rich_text_quote"}:
            words.append("".join(_inline_words(node.get("elements"))))
            continue
        text = node.get("text")
        if isinstance(text, str):
            words.append(text if kind in {"mrkdwn", None} else escaped(text))
        children: list[Any] = []
        for name in _CHILDREN:
            inner = node.get(name)
            children += inner if isinstance(inner, list) else [inner]
        todo.extend(reversed(children))
    return words


def escaped(text: str) -> str:
    """Plain text as it stands in `text`: what looks like a mention there is none."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _inline_words(elements: Any) -> list[str]:
    return [
        _inline(element)
        for element in (elements[:MAX_PIECES] if isinstance(elements, list) else ())
        if isinstance(element, dict)
    ]


def _inline(element: Mapping[str, Any]) -> str:
    """One element of rich text."""
    named = {
        "user_id": "<@{}>",
        "channel_id": "<#{}>",
        "usergroup_id": "<!subteam^{}>",
        "range": "<!{}>",
        "name": ":{}:",
    }
    for field, form in named.items():
        found = text_at(element, field)
        if found and not set("<>|") & set(found):
            return form.format(found)
    text, url = (text_at(element, name) for name in ("text", "url"))
    if url and not set("<>|\n ") & set(url):
        return f"<{escaped(url)}|{escaped(text)}>" if text and text != url else f"<{escaped(url)}>"
    return escaped(text or url or text_at(element, "fallback") or "")
