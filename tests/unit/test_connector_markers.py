"""The hidden marker: what is written is read again, signed or not, and what only looks like one is not."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.jira.marks import anchor_of, property_of, without_marks
from connectors.jira.marks import carries as jira_carries
from connectors.markers import marker, opening, read_marker
from connectors.sentry.comments import carries as sentry_carries
from connectors.sentry.comments import compose
from connectors.shown import shown
from connectors.slack.search import mark, marked_in
from schemas.marker import MAX_READ, Marker, markers_in, read_markers, signed

KEY = b"k" * 32
RUN = "run_0123456789abcdef"
LINEAGE = signed(KEY, run=RUN, root="evt_77", depth=2)
SIGNED = Marker(RUN, "comment.1", LINEAGE)


def test_the_form_of_a_marker_is_fixed() -> None:
    """Posts that are out there carry it: another form would not find them."""
    assert marker(Marker("run_1", "comment.1")) == "<!-- triggerhub run=run_1 slot=comment.1 -->"
    assert marker(SIGNED) == (
        f"<!-- triggerhub run={RUN} slot=comment.1 root=evt_77 depth=2 sig={LINEAGE.signature} -->"
    )
    for one in (SIGNED, replace(SIGNED, lineage=None)):
        assert marker(one).startswith(opening(RUN, "comment.1"))
        assert not marker(one).startswith(opening(RUN, "comment"))
        assert not marker(replace(one, slot="comment.10")).startswith(opening(RUN, "comment.1"))


@settings(max_examples=200, deadline=None, derandomize=True, database=None)
@given(
    st.from_regex(r"[A-Za-z0-9_-]{1,64}", fullmatch=True),
    st.from_regex(r"[A-Za-z0-9_.:-]{1,128}", fullmatch=True),
    st.text(min_size=1, max_size=128),
    st.integers(min_value=-3, max_value=5000),
    st.text(max_size=40),
)
def test_what_is_written_is_read(run: str, slot: str, root: str, depth: int, around: str) -> None:
    written = Marker(run, slot, signed(KEY, run=run, root=root, depth=depth))
    hidden = marker(written)
    assert shown(f"{hidden}\nx") == "x", "whatever the root is called, nothing of it shows"
    text = f"{hidden}\n{around}"
    assert read_marker(text) == (run, slot)
    (found, *_) = read_markers(text)
    assert found == written
    assert found.is_genuine(KEY)


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


@pytest.mark.parametrize(
    "changed",
    [
        replace(SIGNED, run="run_0123456789abcdee"),
        replace(SIGNED, lineage=replace(LINEAGE, depth=0)),
        replace(SIGNED, lineage=replace(LINEAGE, root="evt_78")),
        replace(SIGNED, lineage=replace(LINEAGE, signature="0" * 32)),
        replace(SIGNED, lineage=None),
    ],
    ids=["another run", "less deep", "another root", "another signature", "unsigned"],
)
def test_nothing_of_it_can_be_changed_but_the_slot(changed: Marker) -> None:
    assert SIGNED.is_genuine(KEY)
    assert replace(SIGNED, slot="edited.2").is_genuine(KEY), "an edit keeps its post's slot"
    assert not changed.is_genuine(KEY)
    assert not SIGNED.is_genuine(b"j" * 32)


def test_a_text_full_of_markers_is_read_only_so_far() -> None:
    text = "\n".join(marker(Marker(f"run_{number:08x}", "s")) for number in range(50))
    assert len(list(read_markers(text))) == MAX_READ
    assert markers_in("no marker here") is None


@pytest.mark.parametrize("written", [SIGNED, replace(SIGNED, lineage=None)], ids=["signed", "unsigned"])
def test_every_vendors_form_is_found_and_read(written: Marker) -> None:
    """The slots and runs beside it are not taken for it."""
    others = [("comment", RUN), ("comment.10", RUN), ("comment.1", f"{RUN}0")]
    line = compose("Done.", written)
    assert sentry_carries(line, run=RUN, slot="comment.1")
    assert not any(sentry_carries(line, run=run, slot=slot) for slot, run in others)
    assert markers_in(line) == written.words
    assert shown(line) == "Done."

    body = {"body": f"Done.\n\n{anchor_of(written)}"}
    assert jira_carries(body, run=RUN, slot="comment.1", cloud=False)
    assert not any(jira_carries(body, run=run, slot=slot, cloud=False) for slot, run in others)
    assert without_marks({}, body["body"]) == ("Done.", written.words)

    entry = {"properties": [{"key": "other", "value": 1}, property_of(written)]}
    assert jira_carries(entry, run=RUN, slot="comment.1", cloud=True)
    assert not any(jira_carries(entry, run=run, slot=slot, cloud=True) for slot, run in others)
    assert without_marks(entry, "Done.") == ("Done.", written.words)

    message = {"text": "Done.", "metadata": mark(written, 1)}
    assert marked_in(message) == written.words
    assert marked_in({"text": "Done.", "metadata": {**mark(written, 1), "event_type": "other"}}) is None
