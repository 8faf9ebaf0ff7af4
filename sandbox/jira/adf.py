"""Checking the Atlassian Document Format as Jira Cloud does: structure, known nodes and marks, no empty
text.

Returns what is wrong in words; never raises. Node and mark lists are from Atlassian's published ADF
reference.
"""

from __future__ import annotations

from typing import Any, Final

MAX_TEXT: Final = 32_767
"""Characters of a comment or description (webhooks reference §2.3)."""

INLINE: Final = frozenset(
    {"text", "hardBreak", "mention", "emoji", "inlineCard", "date", "status", "mediaInline"}
)
LISTS: Final = frozenset({"bulletList", "orderedList"})
TOP: Final = LISTS | {
    "blockCard",
    "blockquote",
    "codeBlock",
    "decisionList",
    "embedCard",
    "expand",
    "heading",
    "mediaGroup",
    "mediaSingle",
    "panel",
    "paragraph",
    "rule",
    "table",
    "taskList",
}
CHILDREN: Final[dict[str, frozenset[str]]] = {
    "doc": frozenset(TOP),
    "paragraph": INLINE,
    "heading": INLINE,
    "bulletList": frozenset({"listItem"}),
    "orderedList": frozenset({"listItem"}),
    "listItem": frozenset({"paragraph", "codeBlock", "mediaSingle", "taskList"} | LISTS),
    "blockquote": frozenset({"paragraph", "codeBlock", "mediaSingle", "mediaGroup"} | LISTS),
    "codeBlock": frozenset({"text"}),
    "panel": frozenset(
        {"paragraph", "heading", "codeBlock", "blockCard", "rule", "taskList", "decisionList", "mediaSingle"}
        | LISTS
    ),
    "expand": frozenset(TOP - {"expand"} | {"nestedExpand"}),
    "nestedExpand": frozenset({"paragraph", "heading", "panel", "blockquote", "codeBlock", "rule"} | LISTS),
    "table": frozenset({"tableRow"}),
    "tableRow": frozenset({"tableCell", "tableHeader"}),
    "tableCell": frozenset(TOP - {"expand", "table"} | {"nestedExpand"}),
    "tableHeader": frozenset(TOP - {"expand", "table"} | {"nestedExpand"}),
    "taskList": frozenset({"taskItem", "taskList"}),
    "taskItem": INLINE,
    "decisionList": frozenset({"decisionItem"}),
    "decisionItem": INLINE,
    "mediaSingle": frozenset({"media", "caption"}),
    "mediaGroup": frozenset({"media"}),
    "caption": INLINE,
}
MUST_HAVE: Final = frozenset(
    {
        "bulletList",
        "orderedList",
        "listItem",
        "blockquote",
        "panel",
        "expand",
        "table",
        "tableRow",
        "tableCell",
        "tableHeader",
    }
)
"""Nodes that may not be empty."""
MARKS: Final = frozenset(
    {"strong", "em", "code", "link", "strike", "underline", "subsup", "textColor", "backgroundColor"}
)
WITH_CODE: Final = frozenset({"code", "link"})
"""`code` combines with nothing but a link."""
ATTRIBUTES: Final[dict[str, tuple[str, ...]]] = {
    "heading": ("level",),
    "mention": ("id",),
    "inlineCard": (),
    "panel": ("panelType",),
    "status": ("text", "color"),
    "emoji": ("shortName",),
    "date": ("timestamp",),
}
MAX_HEADING: Final = 6
MAX_DEPTH: Final = 60


def problems(document: Any) -> list[str]:
    """What is wrong with a document; empty for a good one."""
    if not isinstance(document, dict) or document.get("type") != "doc":
        return ["the document is not an ADF doc"]
    found: list[str] = []
    if document.get("version") != 1:
        found.append("version must be 1")
    extra = sorted(set(document) - {"type", "version", "content"})
    found += [f"doc has an unknown field {name}" for name in extra]
    found += _content(document, "doc", 0)
    return found


def characters(node: Any) -> int:
    """Length of all text, about as Jira counts it after conversion: each block adds its line ends."""
    if isinstance(node, dict):
        own = len(node["text"]) if isinstance(node.get("text"), str) else 0
        ends = 2 if node.get("type") in {"paragraph", "heading", "codeBlock", "rule", "listItem"} else 0
        return own + ends + sum(characters(child) for child in node.get("content") or ())
    return 0


def plain(node: Any) -> str:
    """The text of a document without its form."""
    if not isinstance(node, dict):
        return ""
    if node.get("type") == "text":
        return str(node.get("text", ""))
    if node.get("type") == "hardBreak":
        return "\n"
    inner = "".join(plain(child) for child in node.get("content") or ())
    return inner + ("\n" if node.get("type") in {"paragraph", "heading", "codeBlock"} else "")


def _content(node: dict[str, Any], kind: str, depth: int) -> list[str]:
    content = node.get("content")
    if content is None and kind != "doc":
        return [f"{kind} must have content"] if kind in MUST_HAVE else []
    if not isinstance(content, list):
        return [f"content of {kind} must be an array"]
    if depth > MAX_DEPTH:
        return ["the document is nested too deeply"]
    found = [f"{kind} must have content"] if kind in MUST_HAVE and not content else []
    for child in content:
        found += _node(child, kind, depth + 1)
    return found


def _node(node: Any, parent: str, depth: int) -> list[str]:
    if not isinstance(node, dict) or not isinstance(node.get("type"), str):
        return [f"a child of {parent} has no type"]
    kind = node["type"]
    if kind not in CHILDREN.get(parent, frozenset()):
        return [f"{kind} is not allowed in {parent}"]
    found = [
        f"{kind} has an unknown field {name}"
        for name in sorted(set(node) - {"type", "content", "attrs", "marks", "text"})
    ]
    found += _attributes(node, kind)
    if kind == "text":
        return found + _text(node, parent)
    if kind in INLINE and "content" in node:
        found.append(f"{kind} cannot have content")
    return found if kind in INLINE else found + _content(node, kind, depth)


def _attributes(node: dict[str, Any], kind: str) -> list[str]:
    attributes = node.get("attrs", {})
    if not isinstance(attributes, dict):
        return [f"attrs of {kind} must be an object"]
    found = [
        f"{kind} lacks the attribute {name}" for name in ATTRIBUTES.get(kind, ()) if name not in attributes
    ]
    if kind == "heading" and attributes.get("level") not in range(1, MAX_HEADING + 1):
        found.append("level of heading must be 1 to 6")
    if kind == "inlineCard" and not (attributes.get("url") or attributes.get("data")):
        found.append("inlineCard lacks url or data")
    return found


def _text(node: dict[str, Any], parent: str) -> list[str]:
    if not isinstance(node.get("text"), str) or not node["text"]:
        return ["a text node must not be empty"]
    marks = node.get("marks", [])
    if not isinstance(marks, list) or not all(isinstance(mark, dict) for mark in marks):
        return ["marks must be an array of objects"]
    names = [mark.get("type") for mark in marks]
    found = [f"unknown mark {name}" for name in names if name not in MARKS]
    if parent == "codeBlock" and marks:
        found.append("text in a codeBlock cannot have marks")
    if len(set(names)) != len(names):
        found.append("a mark stands twice")
    if "code" in names and not set(names) <= WITH_CODE:
        found.append("the mark code combines with link only")
    for mark in marks:
        attributes = mark.get("attrs")
        if mark.get("type") == "link" and not (
            isinstance(attributes, dict) and isinstance(attributes.get("href"), str)
        ):
            found.append("the mark link lacks href")
    return found
