"""Slack's message text as people read it: mentions, links and entities resolved. Reads payloads, must not
look names up.

Facts: docs.slack.dev/messaging/formatting-message-text. Control sequences stand in angle brackets; a
bracket that a person typed arrives as an entity, so entities are resolved last.
"""

from __future__ import annotations

import re
from typing import Any, Final

from connectors.body import get, id_at, text_at
from connectors.slack.blocks import MAX_PIECES, block_words

TITLE_LENGTH: Final = 80
MAX_MENTIONS: Final = 100

_SEQUENCE: Final = re.compile(r"<((?:[@#!]|[A-Za-z][A-Za-z0-9+.-]{0,30}:)[^<>\n]*)>")
_WORD: Final = re.compile(r"[^\W_]+")
_EMOJI: Final = re.compile(r":[a-z0-9_+'-]+:(?::skin-tone-\d:)?")
_MENTION: Final = re.compile(r"<@([A-Z0-9][A-Za-z0-9_-]{0,63})(?:\|[^<>\n]*)?>")


def readable(text: str) -> str:
    """`<@U1>` becomes `@U1`, `<#C1|dev>` `#dev`, `<!here>` `@here`, `<https://x|label>` `label (https://x)`."""
    return _unescape(_SEQUENCE.sub(_spelled, text))


def mentioned(text: str) -> tuple[str, ...]:
    """User ids in the order they are mentioned, each once, at most MAX_MENTIONS."""
    return tuple(dict.fromkeys(_MENTION.findall(text)))[:MAX_MENTIONS]


def raw_text(message: object) -> str:
    """`text` of a message as sent, where its blocks show those words; else what they show. Where it is empty, the words
    in attachments and blocks (alert bots do that).

    People see the blocks: words that stand in `text` alone are for programs, and must start nothing. Of what was typed in
    Slack's own client it makes both itself.
    """
    text, blocks = text_at(message, "text"), get(message, "blocks")
    if text and text.strip():
        if not isinstance(blocks, list) or not blocks or _is_typed(message):
            return text
        shown = block_words(blocks)
        if _words(text) <= _words("\n".join(shown)):
            return text
        return "\n".join(piece.strip() for piece in shown if piece.strip())
    pieces = [*_attachment_words(get(message, "attachments")), *block_words(get(message, "blocks"))]
    return "\n".join(dict.fromkeys(piece.strip() for piece in pieces[:MAX_PIECES] if piece.strip()))


def _is_typed(message: object) -> bool:
    """By a person in Slack's client, which numbers its messages; a program's carry the program's identifiers."""
    return text_at(message, "client_msg_id") is not None and not (
        id_at(message, "bot_id") or id_at(message, "app_id")
    )


def _words(text: str) -> set[str]:
    """What of a text must be shown: words, identifiers and addresses, without what Slack words differently in blocks."""
    plain = _unescape(_EMOJI.sub(" ", _SEQUENCE.sub(_named, text)))
    return {word.casefold() for word in _WORD.findall(plain) if not word.isdecimal()}


def _named(found: re.Match[str]) -> str:
    target, _, label = found[1].partition("|")
    if target.startswith(("@", "#")):
        return f" {target[1:]} "
    if target.startswith("!"):
        name = target[1:].partition("^")
        return f" {name[0]} " if not name[1] else " "
    return f" {target} {label} "


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
        found += [*block_words(get(attachment, "blocks"))]
        kept = [piece for piece in found if piece]
        fallback = text_at(attachment, "fallback")
        words += kept or ([fallback] if fallback else [])
    return words
