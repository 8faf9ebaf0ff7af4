"""Names of subjects in texts, addresses and branches: one form for one thing, and nothing for what is no subject."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from router_samples import event

from schemas import references
from schemas.references import MAX_REFERENCES, in_branch, in_text, of_event, of_subject, of_url


@pytest.mark.parametrize(
    ("url", "wanted"),
    [
        ("https://github.com/Acme/Checkout/pull/5", "url:github.com/acme/checkout#5"),
        ("https://github.com/acme/checkout/issues/5#issuecomment-1", "url:github.com/acme/checkout#5"),
        ("https://github.com/acme/checkout/pull/5/files?w=1", "url:github.com/acme/checkout#5"),
        ("https://acme.atlassian.net/browse/SHOP-7?focusedId=1", "url:acme.atlassian.net/browse/SHOP-7"),
        ("https://sentry.io/organizations/acme/issues/520/events/1/", "sentry:520"),
        ("https://acme.sentry.io/issues/520/", "sentry:520"),
        ("https://acme.slack.com/archives/C01/p1795400001000100", "slack:C01/1795400001.000100"),
        (
            "https://acme.slack.com/archives/C01/p1795400050000200?thread_ts=1795400001.000100&cid=C01",
            "slack:C01/1795400001.000100",
        ),
        ("https://github.com/acme/checkout/actions/runs/1", None),
        ("https://github.com/acme/checkout", None),
        ("https://[broken", None),
        ("https://example.com/", None),
    ],
)
def test_an_address_names_a_subject_or_none(url: str, wanted: str | None) -> None:
    assert of_url(url) == wanted


def test_a_text_names_addresses_and_keys_once_each() -> None:
    text = (
        "Fixes SHOP-7, see https://github.com/acme/checkout/pull/5. Also acme/checkout#6 and SHOP-7 again; "
        "(https://acme.atlassian.net/browse/PAY-3)"
    )
    assert [(one.name, one.how) for one in in_text(text)] == [
        ("url:github.com/acme/checkout#5", "url"),
        ("url:acme.atlassian.net/browse/PAY-3", "url"),
        ("key:acme/checkout#6", "key"),
        ("key:SHOP-7", "key"),
    ]


@pytest.mark.parametrize(
    "text", ["shop-7", "xSHOP-7", "SHOP-07", "SHOP-7x", "A-1", "a/b#0", "#12", "/acme/x#1"]
)
def test_what_only_looks_like_a_key_names_nothing(text: str) -> None:
    assert in_text(text) == ()


def test_a_changelog_is_no_list_of_conversations() -> None:
    assert len(in_text(" ".join(f"SHOP-{n}" for n in range(1, 500)))) == MAX_REFERENCES


@pytest.mark.parametrize(
    ("branch", "keys"),
    [
        ("triggerhub/SHOP-7-rounding", ["key:SHOP-7"]),
        ("fix/shop-7", ["key:SHOP-7"]),
        ("SHOP-7", ["key:SHOP-7"]),
        ("triggerhub/abcdef123456", []),
        ("main", []),
    ],
)
def test_a_branch_names_the_issue_it_is_for(branch: str, keys: list[str]) -> None:
    assert [one.name for one in in_branch(branch)] == keys


def test_a_bare_key_counts_only_where_it_is_unmistakable() -> None:
    url = "https://acme.atlassian.net/browse/SHOP-7"
    assert of_subject("jira", "SHOP-7", url, bare_keys=True) == {
        "key:SHOP-7",
        "url:acme.atlassian.net/browse/SHOP-7",
    }
    assert of_subject("jira", "SHOP-7", url, bare_keys=False) == {"url:acme.atlassian.net/browse/SHOP-7"}


def test_a_build_is_known_by_what_its_payload_proves() -> None:
    build = event(
        kind="ci.completed",
        links=("acme/checkout#9", "https://ci.example.com/1"),
        address={"head_sha": "abc1234", "own_branch": "triggerhub/1", "head_branch": "triggerhub/1"},
    )
    assert of_event(build, bare_keys=True) >= {
        "key:acme/checkout#9",
        "branch:acme/checkout:triggerhub/1",
        "key:acme/checkout@abc1234",
    }


def test_a_fork_that_names_its_branch_like_ours_is_not_taken_for_it() -> None:
    build = event(kind="ci.completed", address={"head_branch": "triggerhub/1"})
    assert not [name for name in of_event(build, bare_keys=True) if name.startswith("branch:")]


def test_a_pull_request_of_somebody_elses_commit_is_not_taken_for_it() -> None:
    pull = event(kind="pr.opened", address={"head_sha": "abc1234"})
    assert "key:acme/checkout@abc1234" not in of_event(pull, bare_keys=True)


@given(st.text(max_size=300))
def test_any_text_is_read_without_a_complaint(text: str) -> None:
    for one in (*in_text(text), *in_branch(text)):
        assert len(one.name) <= references.MAX_REFERENCE
    assert of_url(text) is None or ":" in str(of_url(text))
