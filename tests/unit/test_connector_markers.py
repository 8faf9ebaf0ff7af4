"""The hidden marker: what is written is read again, and what only looks like one is not."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.markers import marker, read_marker


def test_the_form_of_a_marker_is_fixed() -> None:
    """Posts that are out there carry it: another form would not find them."""
    assert marker("run_1", "comment.1") == "<!-- triggerhub run=run_1 slot=comment.1 -->"


@settings(max_examples=200, deadline=None, derandomize=True, database=None)
@given(
    st.from_regex(r"[A-Za-z0-9_-]{1,64}", fullmatch=True),
    st.from_regex(r"[A-Za-z0-9_.:-]{1,128}", fullmatch=True),
    st.text(max_size=40),
)
def test_what_is_written_is_read(run: str, slot: str, around: str) -> None:
    assert read_marker(f"{marker(run, slot)}\n{around}") == (run, slot)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "triggerhub run=a slot=b",
        "<!-- triggerhub run= slot=b -->",
        "<!-- triggerhub run=a -->",
        "<!-- triggerhub run=a b slot=c -->",
        "<!-- triggerhub run=" + "a" * 65 + " slot=b -->",
        "&lt;!-- triggerhub run=a slot=b --&gt;",
    ],
)
def test_what_only_looks_like_one(text: str) -> None:
    assert read_marker(text) is None
