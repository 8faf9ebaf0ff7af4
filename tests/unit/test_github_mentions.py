"""Mentions: which ones a person made, and that none survives in what we write."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from connectors.github.mentions import ZERO_WIDTH_SPACE, disarm, read_mentions


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("@acme-hub please", ("acme-hub",)),
        ("ask @Ada, @ada and (@grace-1).", ("ada", "grace-1")),
        ("@acme/payments look", ("acme/payments",)),
        ("mail ada@example.com or x/@y", ()),
        ("`@code` and ``a ` @code``", ()),
        ("```\n@fenced\n```\n@after", ("after",)),
        ("~~~\n@fenced\n```\n@still\n~~~\n@after", ("after",)),
        ("````\n```\n@fenced\n````\n@after", ("after",)),
        ("> @quoted\nbut @spoken", ("spoken",)),
        ("   > @quoted", ()),
        ("an open ` tick @spoken", ("spoken",)),
        ("@-bad @bad- @@twice @", ("bad",)),
        ("@" + "a" * 40, ()),
        ("", ()),
    ],
)
def test_reading(text: str, expected: tuple[str, ...]) -> None:
    assert read_mentions(text) == expected


def test_reading_is_bounded() -> None:
    assert len(read_mentions(" ".join(f"@user{n}" for n in range(1000)))) == 50


@pytest.mark.parametrize(
    "text", ["`" * 100_000, "@a" * 50_000, "`a" * 50_000, "@" + "a-" * 50_000, "> " * 50_000]
)
@pytest.mark.timeout(30)
def test_hostile_text_does_not_hold_up_the_process(text: str) -> None:
    assert len(read_mentions(text)) <= 50
    assert disarm(text[:60_000] + "@").replace(ZERO_WIDTH_SPACE, "") == text[:60_000] + "@"


@pytest.mark.parametrize(
    "text",
    [
        "@ada",
        "ask @ada.",
        "(@ada)",
        "> @ada",
        "- item\n  - @ada",
        "an open ` tick @ada",
        "- `a\n- ` b ` @ada `",
        "`` a\\`` @ada ``b",
        "\\`@ada\\`",
        '<a title="`">@ada</a> `',
        "- item\n  ```\n  x\n@ada",
        "<!--\n```\n-->\n@ada",
        "| a |\n|---|\n| @ada |",
        "@acme/payments",
        "a `span over\ntwo lines` and @ada",
    ],
)
def test_a_live_mention_is_broken(text: str) -> None:
    assert f"@{ZERO_WIDTH_SPACE}" in disarm(text)
    assert disarm(text).replace(ZERO_WIDTH_SPACE, "") == text


@pytest.mark.parametrize(
    "text",
    [
        "`@decorator`",
        "```python\n@decorator\ndef f(): ...\n```",
        "mail ada@example.com",
        "a @ b",
        "    @indented",
        "> ```\n> @x\n> ```",
    ],
)
def test_code_is_left_alone(text: str) -> None:
    assert disarm(text) == text


@settings(max_examples=300, deadline=None, derandomize=True, database=None)
@given(st.text(alphabet='`~@a \n\\>-<"|1.', max_size=60))
def test_no_mention_survives_outside_code(text: str) -> None:
    """Rendered by a parser, no text outside a code element shows `@a` behind a non-word character."""
    html = MarkdownIt("commonmark", {"html": False}).enable("table").render(disarm(text))
    prose = re.sub(r"<code[^>]*>.*?</code>", "", html, flags=re.DOTALL)
    assert not re.search(r"(?<![\w/])@(?=[A-Za-z0-9])", re.sub(r"<[^>]*>", " ", prose))
