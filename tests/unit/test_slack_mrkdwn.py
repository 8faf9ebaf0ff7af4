"""Markdown into mrkdwn, and mrkdwn into messages: what it looks like, and what must never come out."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.slack.mrkdwn import mrkdwn
from connectors.slack.parts import LIMIT, MOST, cut

GOLDEN = {
    "**bold** *it* ~~old~~ __b__ _i_": "*bold* _it_ ~old~ *b* _i_",
    "***both***": "_*both*_",
    "**a __b__ c**": "*a b c*",
    "# Head **strong** `x`": "*Head strong `x`*",
    "#": "#",
    "one\ntwo": "one\ntwo",
    "one  \ntwo": "one\ntwo",
    "a\n\nb": "a\n\nb",
    "`a < b` and ``x`y``": "`a &lt; b` and x`y",
    "[label](https://example.com/?a=1&b=2)": "<https://example.com/?a=1&amp;b=2|label>",
    "[https://example.com](https://example.com)": "<https://example.com>",
    "<https://example.com>": "<https://example.com>",
    "<ada@example.com>": "<mailto:ada@example.com|ada@example.com>",
    "[**x** `y`](https://example.com)": "<https://example.com|x y>",
    "[](https://example.com)": "<https://example.com>",
    "[a|b>c](https://example.com/x|y>z)": "<https://example.com/x%7Cy%3Ez|a|b&gt;c>",
    "![chart](https://example.com/c.png)": "<https://example.com/c.png|chart>",
    "[file](docs/a.md)": "file (docs/a.md)",
    "[call](tel:112)": "call (tel:112)",
    "[x](slack://channel?id=C1)": "x (slack://channel?id=C1)",
    "- a\n- b": "• a\n• b",
    "- a\n  - b\n    - c\n      - d": "• a\n    ◦ b\n        ▪ c\n            ▪ d",
    "3. a\n4. b": "3. a\n4. b",
    "- a\n\n  more": "• a\n    more",
    "- ```\n  x\n    y\n  ```": "•\n```\nx\n  y\n```",
    "> quoted\n> more\n\nafter": "> quoted\n> more\n\nafter",
    "```python\nif a < b:\n    go()\n```": "```\nif a &lt; b:\n    go()\n```",
    "    indented": "```\nindented\n```",
    "````\n```\n````": "```\n``\u200b`\n```",
    "---": "──────────",
    "| a | bb |\n|---|---|\n| **1** | 2 |\n| 333 | |": "```\na    bb\n---  --\n1    2\n333\n```",
    "<!channel> <!here> <@U1> <#C1> <!subteam^S1>": (
        "&lt;!channel&gt; &lt;!here&gt; &lt;@U1&gt; &lt;#C1&gt; &lt;!subteam^S1&gt;"
    ),
    "a & b &amp; c &lt;@U1&gt;": "a &amp; b &amp; c &lt;@U1&gt;",
    "<b>html</b>": "&lt;b&gt;html&lt;/b&gt;",
    "<!-- triggerhub run=a slot=b -->": "&lt;!-- triggerhub run=a slot=b --&gt;",
    "[x]: https://example.com": "[x]: https://example.com",
    "\\*literal\\*": "*literal*",
}
LINK = re.compile(r"<(?:https?://|mailto:)[^<>|\s]*(?:\|[^<>\n]*)?>", re.IGNORECASE)
QUOTE = re.compile(r"^(?:(?:    )*(?:[•◦▪]|\d+\.)? ?)*(?:> )+", re.MULTILINE)
LIVE = ("<!channel>", "<@U1>", "<#C1|x>", "<https://a.b|<!here>>", "https://example.com/", "\x00")
SIGNS = ("<", ">", "&", "|", "[", "](", "![", ")", "`", "```\n", "**", "*", "_", "~~", "\n", "\n\n")
STARTS = ("- ", "> ", "    ", "# ", "1. ", "| a |\n|---|\n", "word ")
SPICED = st.lists(st.sampled_from((*LIVE, *SIGNS, *STARTS)) | st.text(max_size=5), max_size=40).map("".join)


@pytest.mark.parametrize(("markdown", "expected"), GOLDEN.items())
def test_golden(markdown: str, expected: str) -> None:
    assert mrkdwn(markdown) == expected


@settings(max_examples=400)
@given(SPICED)
def test_nothing_of_the_agents_is_live(markdown: str) -> None:
    rendered = mrkdwn(markdown)
    for part in cut(rendered, limit=60, most=1000):
        inert = QUOTE.sub("", LINK.sub("", part))
        assert "<" not in inert
        assert not re.search(r"<[!@#]", part)


@given(SPICED)
def test_ampersands_are_only_those_of_entities(markdown: str) -> None:
    assert not re.search(r"&(?!amp;|lt;|gt;)", mrkdwn(markdown))


def test_something_is_always_said() -> None:
    assert mrkdwn("[x]: https://example.com 'only a definition'")


def test_lone_surrogates_do_not_reach_the_wire() -> None:
    assert mrkdwn("a\ud800b").encode()


def test_deep_nesting_does_not_overflow() -> None:
    assert mrkdwn("> " * 3000 + "x")
    assert mrkdwn("*a " * 3000)
    assert mrkdwn("- " * 3000)


def test_short_text_is_one_part() -> None:
    assert cut("hello") == ["hello"]
    assert cut("x" * (LIMIT // 2)) == ["x" * (LIMIT // 2)]


def test_long_text_is_cut_between_lines_and_nothing_is_lost() -> None:
    lines = [f"line {number} " + "x" * 70 for number in range(150)]
    parts = cut("\n".join(lines))
    assert len(parts) > 1
    assert all(len(part) <= LIMIT for part in parts)
    assert "\n".join(parts).split("\n") == lines


def test_a_code_block_is_closed_and_opened_again() -> None:
    parts = cut(
        "```\n" + "\n".join(f"code {number}" for number in range(100)) + "\n```\nafter", limit=200, most=100
    )
    assert len(parts) > 3
    assert all(sum(line == "```" for line in part.split("\n")) % 2 == 0 for part in parts)
    code = [line for part in parts for line in part.split("\n") if line.startswith("code")]
    assert code == [f"code {number}" for number in range(100)]


def test_links_and_entities_stay_whole() -> None:
    link = "<https://example.com/abcdefghij|label>"
    parts = cut("&amp;" * 100 + link * 30, limit=100, most=1000)
    assert "".join(parts) == "&amp;" * 100 + link * 30
    for part in parts:
        assert part.count("<") == part.count(">")
        assert re.fullmatch(r"(?:&amp;|<[^<>]*>)+", part)


def test_the_number_of_messages_is_bounded_and_said() -> None:
    parts = cut("\n".join(["word " * 20] * 2000))
    assert len(parts) == MOST
    assert parts[-1].endswith(f"… (shortened: the text was longer than {MOST} messages)")
    assert all(len(part) <= LIMIT for part in parts)


@settings(max_examples=300)
@given(SPICED, st.integers(min_value=60, max_value=300), st.integers(min_value=1, max_value=4))
def test_parts_fit(text: str, limit: int, most: int) -> None:
    rendered = mrkdwn(text)
    if LINK.search(rendered):
        return
    parts = cut(rendered, limit=max(limit, 120), most=most)
    assert len(parts) <= most
    assert all(len(part) <= max(limit, 120) for part in parts)
    assert parts == cut(rendered, limit=max(limit, 120), most=most)
