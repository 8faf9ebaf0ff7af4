"""Checking Block Kit as Slack does before it takes a message: known blocks, sizes, texts that are not
empty.

Returns what is wrong in Slack's words (`response_metadata.messages`); never raises.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

MAX_BLOCKS: Final = 50
MAX_TOTAL: Final = 13_200
"""Characters over all blocks; above it Slack answers `msg_blocks_too_long` (webhooks reference §4.2)."""
MAX_MARKDOWN: Final = 12_000
"""Characters of `markdown_text`, and of all markdown blocks together."""
MAX_SECTION: Final = 3000
MAX_HEADER: Final = 150
MAX_ELEMENTS: Final = 25
MAX_BUTTON: Final = 75
MAX_VALUE: Final = 2000
MAX_ID: Final = 255
BLOCKS: Final = frozenset(
    {
        "actions",
        "context",
        "context_actions",
        "divider",
        "file",
        "header",
        "image",
        "input",
        "markdown",
        "rich_text",
        "section",
        "table",
        "video",
    }
)


def problems(blocks: list[Any]) -> list[str]:
    """What `invalid_blocks` complains of; empty for good blocks."""
    found: list[str] = []
    if len(blocks) > MAX_BLOCKS:
        found.append(f"[ERROR] no more than {MAX_BLOCKS} items allowed [json-pointer:/blocks]")
    for place, block in enumerate(blocks):
        found += [f"[ERROR] {words} [json-pointer:/blocks/{place}{where}]" for where, words in _block(block)]
    markdown = sum(
        len(block["text"])
        for block in blocks
        if isinstance(block, dict) and block.get("type") == "markdown" and isinstance(block.get("text"), str)
    )
    if markdown > MAX_MARKDOWN:
        found.append(f"[ERROR] markdown blocks must have no more than {MAX_MARKDOWN} characters in total")
    return found


def total(value: Any) -> int:
    """Characters of all texts in blocks."""
    if isinstance(value, dict):
        own = len(value["text"]) if isinstance(value.get("text"), str) else 0
        return own + sum(total(item) for item in value.values() if isinstance(item, dict | list))
    if isinstance(value, list):
        return sum(total(item) for item in value)
    return 0


Problems = Iterator[tuple[str, str]]


def _block(block: Any) -> Problems:
    if not isinstance(block, dict):
        yield "", "must be an object"
        return
    kind = block.get("type")
    if kind not in BLOCKS:
        yield "/type", f"unsupported type: {kind}"
        return
    identifier = block.get("block_id", "")
    if not isinstance(identifier, str) or len(identifier) > MAX_ID:
        yield "/block_id", f"must be a string of at most {MAX_ID} characters"
    if kind == "section":
        yield from _section(block)
    elif kind == "header":
        yield from _text(block.get("text"), "/text", limit=MAX_HEADER, kinds={"plain_text"})
    elif kind == "markdown":
        if not isinstance(block.get("text"), str) or not block["text"]:
            yield "/text", "must be a string that is not empty"
    elif kind in {"actions", "context"}:
        yield from _elements(block, buttons=kind == "actions")


def _section(block: dict[str, Any]) -> Problems:
    fields = block.get("fields")
    if "text" not in block and not fields:
        yield "", "missing required field: text or fields"
    if "text" in block:
        yield from _text(block["text"], "/text", limit=MAX_SECTION, kinds={"plain_text", "mrkdwn"})
    for place, field in enumerate(fields if isinstance(fields, list) else ()):
        yield from _text(field, f"/fields/{place}", limit=MAX_VALUE, kinds={"plain_text", "mrkdwn"})


def _elements(block: dict[str, Any], *, buttons: bool) -> Problems:
    elements = block.get("elements")
    if not isinstance(elements, list) or not 1 <= len(elements) <= MAX_ELEMENTS:
        yield "/elements", f"must have 1 to {MAX_ELEMENTS} items"
        return
    for place, element in enumerate(elements):
        where = f"/elements/{place}"
        if not isinstance(element, dict) or not isinstance(element.get("type"), str):
            yield where, "missing required field: type"
        elif element["type"] == "button" and buttons:
            yield from _text(element.get("text"), f"{where}/text", limit=MAX_BUTTON, kinds={"plain_text"})
            for name, limit in (("action_id", MAX_ID), ("value", MAX_VALUE)):
                if name in element and not (isinstance(element[name], str) and len(element[name]) <= limit):
                    yield f"{where}/{name}", f"must be a string of at most {limit} characters"
        elif not buttons and element["type"] in {"plain_text", "mrkdwn"}:
            yield from _text(element, where, limit=MAX_SECTION, kinds={"plain_text", "mrkdwn"})


def _text(value: Any, where: str, *, limit: int, kinds: set[str]) -> Problems:
    if not isinstance(value, dict):
        yield where, "missing required field: text"
    elif value.get("type") not in kinds:
        yield f"{where}/type", f"unsupported type: {value.get('type')}"
    elif not isinstance(value.get("text"), str) or not value["text"]:
        yield f"{where}/text", "must be more than 0 characters"
    elif len(value["text"]) > limit:
        yield f"{where}/text", f"must be less than {limit + 1} characters"
