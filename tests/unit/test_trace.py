"""W3C trace context: one trace from webhook to post."""

from __future__ import annotations

import re

import pytest

from schemas.trace import child_of, new_traceparent

FORM = re.compile(r"00-[0-9a-f]{32}-[0-9a-f]{16}-01")


def test_a_child_keeps_the_trace_and_has_its_own_span() -> None:
    parent = new_traceparent()
    child = child_of(parent)
    assert FORM.fullmatch(parent)
    assert FORM.fullmatch(child)
    assert child[3:35] == parent[3:35]
    assert child[36:52] != parent[36:52]


@pytest.mark.parametrize(
    "bad", [None, "", "nonsense", f"00-{'0' * 32}-{'1' * 16}-01", f"01-{'a' * 32}-{'1' * 16}-01"]
)
def test_without_a_usable_parent_a_trace_begins(bad: str | None) -> None:
    assert FORM.fullmatch(child_of(bad))
