"""Cutting text to a vendor's limit: within it, on a character boundary, with code fences closed."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.clip import NOTE, clip, split

QUICK = settings(max_examples=300, deadline=None, derandomize=True, database=None)
MARKDOWN = st.text(alphabet="ab `\n é\U0001f600", max_size=300)


def test_short_text_is_left_alone() -> None:
    for text in ("", "x" * 60, "```\nopen"):
        assert clip(text, 60) == text
        assert split(text, 60) == [text]


def test_a_cut_text_ends_in_the_note() -> None:
    found = clip("word " * 100, 80)
    assert found.endswith(NOTE)
    assert len(found) <= 80


def test_a_cut_prefers_a_line_end() -> None:
    text = "a" * 70 + "\n" + "b" * 100
    assert clip(text, 100) == "a" * 70 + NOTE


def test_an_open_fence_is_closed() -> None:
    found = clip("```python\n" + "code = 1\n" * 50, 100)
    assert found.count("```") == 2
    assert found.endswith("```" + NOTE)


@pytest.mark.parametrize("text", ["\U0001f600" * 500, "é" * 1000, "a\U0001f600" * 300])
def test_bytes_are_counted_where_the_vendor_counts_bytes(text: str) -> None:
    found = clip(text, 200, encoding="utf-8")
    assert len(found.encode()) <= 200
    assert "\ufffd" not in found
    assert found.endswith(NOTE)


@QUICK
@given(MARKDOWN, st.integers(min_value=40, max_value=200))
def test_clipping_keeps_the_limit_and_the_fences(text: str, limit: int) -> None:
    for encoding in (None, "utf-8"):
        found = clip(text, limit, encoding=encoding)
        size = len(found) if encoding is None else len(found.encode(encoding))
        assert size <= limit
        if found != text:
            assert sum(line.lstrip().startswith("```") for line in found.splitlines()) % 2 == 0


@QUICK
@given(MARKDOWN, st.integers(min_value=40, max_value=200))
def test_parts_keep_the_limit_and_lose_no_word(text: str, limit: int) -> None:
    parts = split(text, limit)
    assert all(len(part) <= limit for part in parts)
    kept = "".join(parts).replace("`", "").replace("\n", "")
    assert kept == text.replace("`", "").replace("\n", "")


def test_a_fence_over_two_parts_is_closed_and_opened_again() -> None:
    parts = split("```\n" + "line of code\n" * 20 + "```\nafter", 100)
    assert len(parts) > 2
    for part in parts:
        assert sum(line.startswith("```") for line in part.splitlines()) % 2 == 0
