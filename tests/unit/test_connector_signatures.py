"""HMAC checks shared by the connectors: what passes, what does not, and that refusals show nothing."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.base import SignatureError
from connectors.signatures import check_hex, hex_hmac

BODY = b"Hello, World!"
SECRET = "It's a Secret to Everybody"
KNOWN = "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"


def test_a_published_digest() -> None:
    assert hex_hmac(SECRET, BODY) == KNOWN


@pytest.mark.parametrize("secrets", [[SECRET], ["other", SECRET], [SECRET, "other"]])
def test_any_live_secret_passes(secrets: list[str]) -> None:
    check_hex("sha256=" + KNOWN, BODY, secrets=secrets, header="X-Sig", prefix="sha256=")
    check_hex(KNOWN, BODY, secrets=secrets, header="X-Sig")


@pytest.mark.parametrize(
    "given_header",
    [
        None,
        "",
        KNOWN,
        "sha256=",
        "sha256=" + KNOWN.upper(),
        "SHA256=" + KNOWN,
        "sha256=" + KNOWN[:-1],
        "sha256=" + KNOWN + "0",
        "sha256=" + "z" * 64,
        "sha256=" + "é" * 64,
        "sha256=" + "٣" * 64,
        "sha1=" + KNOWN,
        " sha256=" + KNOWN,
        "sha256= " + KNOWN[:-1],
    ],
)
def test_refused(given_header: str | None) -> None:
    with pytest.raises(SignatureError, match="X-Sig") as caught:
        check_hex(given_header, BODY, secrets=[SECRET], header="X-Sig", prefix="sha256=")
    assert KNOWN not in str(caught.value)
    assert SECRET not in str(caught.value)


def test_without_a_secret_nothing_passes() -> None:
    with pytest.raises(SignatureError):
        check_hex(KNOWN, BODY, secrets=[], header="X-Sig")


@settings(max_examples=200, deadline=None, derandomize=True, database=None)
@given(st.text(max_size=80), st.binary(max_size=40))
def test_whatever_stands_in_the_header_is_refused(header: str, body: bytes) -> None:
    with pytest.raises(SignatureError):
        check_hex(header, body, secrets=[SECRET], header="X-Sig", prefix="sha256=")
