"""Markdown to ADF: golden cases, and that any text whatever gives a document that the format allows."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.jira.adf import to_adf

BLOCKS = {
    "doc": {"paragraph", "heading", "bulletList", "orderedList", "codeBlock", "blockquote", "rule", "table"},
    "blockquote": {"paragraph", "bulletList", "orderedList", "codeBlock"},
    "listItem": {"paragraph", "bulletList", "orderedList", "codeBlock"},
    "bulletList": {"listItem"},
    "orderedList": {"listItem"},
    "table": {"tableRow"},
    "tableRow": {"tableHeader", "tableCell"},
    "tableHeader": {"paragraph"},
    "tableCell": {"paragraph"},
    "paragraph": {"text", "hardBreak"},
    "heading": {"text", "hardBreak"},
    "codeBlock": {"text"},
}
"""What may stand in what, as far as we use it (developer.atlassian.com, Atlassian Document Format, nodes)."""
FILLED = {
    "blockquote",
    "listItem",
    "bulletList",
    "orderedList",
    "table",
    "tableRow",
    "tableHeader",
    "tableCell",
}
ATTRIBUTES: Mapping[str, Mapping[str, type]] = {
    "heading": {"level": int}, "orderedList": {"order": int}, "codeBlock": {"language": str},
}  # fmt: skip
MARKS = {"strong", "em", "strike", "code", "link"}


def check(document: Mapping[str, Any]) -> None:
    """Raise AssertionError where a document breaks a rule of the format."""
    assert set(document) == {"version", "type", "content"}
    assert (document["version"], document["type"]) == (1, "doc")
    check_content(document)


def check_content(node: Mapping[str, Any]) -> None:
    kind = node["type"]
    children = node.get("content", [])
    assert isinstance(children, list)
    assert children or kind not in FILLED, f"{kind} is empty"
    for child in children:
        assert child["type"] in BLOCKS[kind], f"{child['type']} in {kind}"
        check_node(child, parent=kind)
    if kind == "listItem":
        assert children[0]["type"] in {"paragraph", "codeBlock"}


def check_node(node: Mapping[str, Any], *, parent: str) -> None:
    kind = node["type"]
    assert set(node) <= {"type", "content", "attrs", "text", "marks"}
    for name, value in node.get("attrs", {}).items():
        assert isinstance(value, ATTRIBUTES[kind][name])
    if kind == "heading":
        assert 1 <= node["attrs"]["level"] <= 6
    if kind != "text":
        assert "text" not in node
        assert "marks" not in node
        check_content(
            {**node, "content": node.get("content", [])} if kind in BLOCKS else {"type": "codeBlock"}
        )
        return
    assert node["text"], "an empty text node"
    marks = [mark["type"] for mark in node.get("marks", [])]
    assert len(marks) == len(set(marks))
    assert set(marks) <= MARKS
    assert "code" not in marks or set(marks) <= {"code", "link"}
    assert parent != "codeBlock" or not marks
    for mark in node.get("marks", []):
        if mark["type"] == "link":
            assert mark["attrs"]["href"].lower().startswith(("http://", "https://", "mailto:"))
        else:
            assert set(mark) == {"type"}


def text(value: str, *marks: str, href: str | None = None) -> dict[str, Any]:
    node: dict[str, Any] = {"type": "text", "text": value}
    listed: list[dict[str, Any]] = [{"type": mark} for mark in marks]
    if href is not None:
        listed.append({"type": "link", "attrs": {"href": href}})
    return {**node, "marks": listed} if listed else node


def paragraph(*content: dict[str, Any]) -> dict[str, Any]:
    return {"type": "paragraph", "content": list(content)}


def item(*content: dict[str, Any]) -> dict[str, Any]:
    return {"type": "listItem", "content": list(content)}


GOLDEN: Mapping[str, list[dict[str, Any]]] = {
    "plain": [paragraph(text("plain"))],
    "one\ntwo": [paragraph(text("one"), {"type": "hardBreak"}, text("two"))],
    "**b** *i* ~~s~~ `c`": [
        paragraph(
            text("b", "strong"), text(" "), text("i", "em"), text(" "), text("s", "strike"), text(" "),
            text("c", "code"),
        )
    ],
    "**a *b* __c__ `d`**": [
        paragraph(text("a ", "strong"), text("b", "strong", "em"), text(" c ", "strong"), text("d", "code"))
    ],
    "### Cause": [{"type": "heading", "attrs": {"level": 3}, "content": [text("Cause")]}],
    "[PR](https://example.com/7) and https://example.com/a_b.": [
        paragraph(
            text("PR", href="https://example.com/7"),
            text(" and "),
            text("https://example.com/a_b", href="https://example.com/a_b"),
            text("."),
        )
    ],
    "[**x** `y`](https://example.com)": [
        paragraph(
            {"type": "text", "text": "x", "marks": [
                {"type": "link", "attrs": {"href": "https://example.com"}}, {"type": "strong"},
            ]},
            {"type": "text", "text": " ", "marks": [{"type": "link", "attrs": {"href": "https://example.com"}}]},
            text("y", "code", href="https://example.com"),
        )
    ],
    "[a](javascript:alert) [b](docs/b.md) ![c](https://example.com/c.png)": [
        paragraph(text("[a](javascript:alert) b "), text("c", href="https://example.com/c.png"))
    ],
    "- a\n  1. b\n- c": [
        {
            "type": "bulletList",
            "content": [
                item(
                    paragraph(text("a")),
                    {"type": "orderedList", "attrs": {"order": 1}, "content": [item(paragraph(text("b")))]},
                ),
                item(paragraph(text("c"))),
            ],
        }
    ],
    "7. x": [{"type": "orderedList", "attrs": {"order": 7}, "content": [item(paragraph(text("x")))]}],
    "- # h\n- > q\n- - n\n-": [
        {
            "type": "bulletList",
            "content": [
                item(paragraph(text("h", "strong"))),
                item(paragraph(text("q"))),
                item(paragraph(), {"type": "bulletList", "content": [item(paragraph(text("n")))]}),
                item(paragraph()),
            ],
        }
    ],
    "```python\nx = 1\n\n```\n\n```\n```": [
        {"type": "codeBlock", "attrs": {"language": "python"}, "content": [text("x = 1\n")]},
        {"type": "codeBlock"},
    ],
    "> a\n>\n> > b\n>\n> # c": [
        {
            "type": "blockquote",
            "content": [paragraph(text("a")), paragraph(text("b")), paragraph(text("c", "strong"))],
        }
    ],
    "a\n\n---\n\nb": [paragraph(text("a")), {"type": "rule"}, paragraph(text("b"))],
    "|a|b|\n|-|-|\n|1||": [
        {
            "type": "table",
            "content": [
                {
                    "type": "tableRow",
                    "content": [
                        {"type": "tableHeader", "content": [paragraph(text("a"))]},
                        {"type": "tableHeader", "content": [paragraph(text("b"))]},
                    ],
                },
                {
                    "type": "tableRow",
                    "content": [
                        {"type": "tableCell", "content": [paragraph(text("1"))]},
                        {"type": "tableCell", "content": [paragraph()]},
                    ],
                },
            ],
        }
    ],
    "> |a|b|\n> |-|-|\n> |1|2|": [
        {"type": "blockquote", "content": [paragraph(text("a | b")), paragraph(text("1 | 2"))]}
    ],
    "<b>x</b> <!-- y -->": [paragraph(text("<b>x</b> <!-- y -->"))],
    "@ada [~accountid:712020:b07]": [paragraph(text("@ada [~accountid:712020:b07]"))],
    "[a]: https://example.com": [paragraph(text("[a]: https://example.com"))],
    "nul\x00 and \x1b[31m": [paragraph(text("nul and [31m"))],
}  # fmt: skip


@pytest.mark.parametrize("markdown", GOLDEN, ids=repr)
def test_golden(markdown: str) -> None:
    document = to_adf(markdown)
    assert document["content"] == GOLDEN[markdown]
    check(document)


def test_the_check_finds_faults() -> None:
    for bad in (
        [{"type": "text", "text": "loose"}],
        [paragraph({"type": "text", "text": ""})],
        [paragraph(text("x", "code", "strong"))],
        [paragraph(text("x", href="javascript:alert(1)"))],
        [{"type": "bulletList", "content": []}],
        [{"type": "bulletList", "content": [item({"type": "bulletList", "content": [item(paragraph())]})]}],
        [{"type": "blockquote", "content": [{"type": "rule"}]}],
        [{"type": "mention", "attrs": {"id": "a1"}}],
    ):
        with pytest.raises((AssertionError, KeyError)):
            check({"version": 1, "type": "doc", "content": bad})


def test_deep_nesting_ends() -> None:
    for piece in ("> ", "- ", "1. ", "**a ", "[a", "> - "):
        check(to_adf(piece * 500 + "x"))


PIECES = st.sampled_from([
    "# ", "- ", "1. ", "> ", "```", "`", "**", "*", "_", "~~", "[", "](", ")", "https://example.com/x", "|",
    "|-|-|", "\n", "\n\n", "    ", "---", "<b>", "<!--", "!", "\\", "&amp;", "word", " ", "[~ada]", "@", "\t",
    "é", "😀",
])  # fmt: skip


@settings(max_examples=200)
@given(st.lists(PIECES, max_size=40).map("".join) | st.text(max_size=120))
def test_any_text_gives_a_valid_document(markdown: str) -> None:
    document = to_adf(markdown)
    check(document)
    assert json.loads(json.dumps(document)) == document
    assert document["content"]
