"""Slack's signature: known answers, the window, rotation, and every way a request can be wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.base import Request, SignatureError
from connectors.slack.connector import CONNECTOR

VECTORS = Path(__file__).parents[2] / ".." / "shared" / "reference" / "signature-vectors.json"
SECRET = "invented-signing-secret"
NOW = 1_767_323_045.0
BODY = '{"type":"event_callback","event":{"text":"grüß dich"}}'.encode()


def vectors() -> list[Any]:
    if not VECTORS.is_file():
        return [
            pytest.param(None, marks=pytest.mark.skip(reason="the shared vectors are not on this machine"))
        ]
    listed = json.loads(VECTORS.read_text())["vectors"]
    return [pytest.param(vector, id=vector["id"]) for vector in listed if vector["source"] == "slack"]


def signed(body: bytes = BODY, *, secret: str = SECRET, now: float = NOW) -> dict[str, str]:
    return CONNECTOR.sign({}, body, secret=secret, now=now)


def check(
    headers: dict[str, str], body: bytes = BODY, *, now: float = NOW, secrets: tuple[str, ...] = (SECRET,)
) -> None:
    CONNECTOR.verify(Request(headers=headers, body=body), secrets=secrets, now=now)


@pytest.mark.parametrize("vector", vectors())
def test_known_answers(vector: dict[str, Any]) -> None:
    headers = {name.lower(): value for name, value in vector["headers"].items()}
    request = Request(headers=headers, body=vector["body"].encode())
    if vector["valid"]:
        CONNECTOR.verify(request, secrets=[vector["secret"]], now=vector["now"])
        return
    with pytest.raises(SignatureError):
        CONNECTOR.verify(request, secrets=[vector["secret"]], now=vector["now"])


@pytest.mark.parametrize("away", [-300, 0, 300])
def test_the_window_is_inclusive(away: int) -> None:
    check(signed(), now=NOW + away)


@pytest.mark.parametrize(("away", "word"), [(301, "old"), (-301, "future")])
def test_outside_the_window(away: int, word: str) -> None:
    with pytest.raises(SignatureError, match=word):
        check(signed(), now=NOW + away)


@pytest.mark.parametrize(
    "stamp",
    ["", "abc", "-1767323045", "+1767323045", " 1767323045", "17.0", "\uff11\uff17", "9" * 5000],
)
def test_a_time_that_is_no_number(stamp: str) -> None:
    with pytest.raises(SignatureError):
        check({**signed(), "x-slack-request-timestamp": stamp})


@pytest.mark.parametrize("missing", ["x-slack-signature", "x-slack-request-timestamp"])
def test_missing_headers(missing: str) -> None:
    headers = signed()
    del headers[missing]
    with pytest.raises(SignatureError, match="missing"):
        check(headers)


def test_the_time_is_covered() -> None:
    with pytest.raises(SignatureError, match="does not match"):
        check({**signed(), "x-slack-request-timestamp": str(int(NOW) + 1)})


@pytest.mark.parametrize("body", [BODY + b" ", BODY[:-1], BODY.replace(b"type", b"Type"), b""])
def test_changed_bodies(body: bytes) -> None:
    with pytest.raises(SignatureError):
        check(signed(), body)


@pytest.mark.parametrize(
    "change", [str.upper, lambda s: s.replace("v0=", "v1="), lambda s: s[3:], lambda s: s + "00"]
)
def test_changed_signatures(change: Any) -> None:
    headers = signed()
    headers["x-slack-signature"] = change(headers["x-slack-signature"])
    with pytest.raises(SignatureError) as caught:
        check(headers)
    assert headers["x-slack-signature"][3:] not in str(caught.value)


def test_two_secrets_may_be_live() -> None:
    for order in [("old", SECRET), (SECRET, "old")]:
        check(signed(), secrets=order)
    with pytest.raises(SignatureError):
        check(signed(), secrets=("old", "older"))


def test_signing_replaces_an_earlier_signature_and_keeps_the_rest() -> None:
    headers = CONNECTOR.sign(
        {"X-Slack-Signature": "v0=stale", "X-Slack-Retry-Num": "1", "Content-Type": "text/x"},
        BODY,
        secret=SECRET,
        now=NOW,
    )
    check(headers)
    assert headers["x-slack-retry-num"] == "1"
    assert headers["content-type"] == "text/x"
    assert set(headers) == {name.lower() for name in headers}


def test_signing_names_the_content_type_by_the_body() -> None:
    assert signed(b'{"a":1}')["content-type"] == "application/json"
    assert signed(b"command=%2Ffix")["content-type"] == "application/x-www-form-urlencoded"


@given(
    st.dictionaries(st.sampled_from(["x-slack-signature", "x-slack-request-timestamp"]), st.text()),
    st.binary(),
)
def test_nothing_but_a_signature_error(headers: dict[str, str], body: bytes) -> None:
    with pytest.raises(SignatureError):
        check(headers, body)
