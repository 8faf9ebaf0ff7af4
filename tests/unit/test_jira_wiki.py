"""Markdown to wiki markup: golden cases, and that no text can act as markup or mention anybody."""

from __future__ import annotations

import re
from collections.abc import Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.jira.wiki import to_wiki

ZERO = "\u200b"

GOLDEN: Mapping[str, str] = {
    "plain": "plain",
    "**b** *i* ~~s~~ `c`": "*b* _i_ -s- {{c}}",
    "un**believ**able": "un{*}believ{*}able",
    "**a\nb**": "*a*\n*b*",
    "## Cause": "h2. Cause",
    "- a\n  - b\n    1. c\n- d": "* a\n** b\n**# c\n* d",
    "1. a\n\n   b\n2. c": "# a \\\\ b\n# c",
    "- a\n\n      code\n- b": "* a\n{code}\ncode\n{code}\n* b",
    "> a\n>\n> > b": "{quote}\na\n\nb\n{quote}",
    "```python\nx = [1]\n```": "{code:python}\nx = [1]\n{code}",
    "```brainfuck\n+-\n```": "{code}\n+-\n{code}",
    "```\n{code}[~ada]{noformat}\n```": f"{{code}}\n{{{ZERO}code}}[{ZERO}~ada]{{{ZERO}noformat}}\n{{code}}",
    "a\n\n---\n\nb": "a\n\n----\n\nb",
    "|a|b|\n|-|-|\n|1||\n|x\\|y|2|": "||a||b||\n|1| |\n|x\\|y|2|",
    "[PR](https://example.com/7)": "[PR|https://example.com/7]",
    "<https://example.com/7>": "[https://example.com/7]",
    "[a|b](https://example.com/x|y)": "[a\\|b|https://example.com/x%7Cy]",
    "![shot](https://example.com/s.png)": "[shot|https://example.com/s.png]",
    "[x](javascript:a)": "\\[x\\](javascript:a)",
    "see https://example.com/a_b-c~d.": "see https://example.com/a_b-c~d.",
    "[~ada] and `[~ada]`": "\\[\\~ada\\] and {{\\[\\~ada\\]}}",
    "{color:red}x{color} snake_case a-b -c- 5 - 3": (
        "\\{color:red\\}x\\{color\\} snake\\_case a-b \\-c\\- 5 \\- 3"
    ),
    "C:\\temp\\new": "C:&#92;temp&#92;new",
    "AT&amp;T &lt;b&gt; &amp;lt;": "AT&T <b> &amp;lt;",
    "fine :) (x) (!) f(x, y)": "fine \\:) \\(x) \\(\\!) f(x, y)",
    "\\# no\n\nh1. no\n\nbq. no": f"{ZERO}# no\n\n{ZERO}h1. no\n\n{ZERO}bq. no",
    "<b>x</b>": "<b>x</b>",
}


@pytest.mark.parametrize("markdown", GOLDEN, ids=repr)
def test_golden(markdown: str) -> None:
    assert to_wiki(markdown) == GOLDEN[markdown]


@settings(max_examples=200)
@given(st.text(alphabet="ab {}[]~|*_-+^!?#&;:()\\\"'`<>\n", max_size=60) | st.text(max_size=80))
def test_no_mention_and_no_macro_comes_through(markdown: str) -> None:
    wiki = to_wiki(markdown)
    assert "[~" not in wiki
    outside = re.sub(r"\{code(?::[a-z+#]+)?\}\n.*?\n\{code\}", "", wiki, flags=re.DOTALL)
    outside = outside.replace("\\{", "").replace("\\}", "")
    unescaped = {
        found[0] for found in re.finditer(r"\{[^{}\n]*\}", outside.replace("{{", "").replace("}}", ""))
    }
    assert unescaped <= {"{quote}", "{*}", "{_}", "{-}"}


@settings(max_examples=100)
@given(st.text(alphabet="ab{}code:noformat[~]\n", max_size=60))
def test_code_cannot_end_its_block(code: str) -> None:
    wiki = to_wiki(f"~~~~~~~~\n{code}\n~~~~~~~~")
    assert wiki.startswith("{code}\n")
    assert wiki.endswith("{code}")
    inner = wiki.removeprefix("{code}").removesuffix("{code}")
    assert "{code" not in inner
    assert "{noformat" not in inner
    assert inner.replace(ZERO, "").strip("\n") == code.strip("\n")
