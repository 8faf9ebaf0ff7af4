"""Sentry signatures: the published vectors, two live secrets, and everything that must be refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from connectors.base import Request, SignatureError
from connectors.sentry.connector import CONNECTOR

SECRET = "client-secret-of-acme"
BODY = b'{"action":"created","data":{"issue":{"id":"1","title":"caf\\u00e9"}}}'
VECTORS = Path(__file__).parents[2] / ".." / "shared" / "reference" / "signature-vectors.json"


def signed(body: bytes = BODY, secret: str = SECRET, **more: str) -> dict[str, str]:
    return CONNECTOR.sign({"sentry-hook-resource": "issue", **more}, body, secret=secret, now=1767323100.0)


def check(headers: dict[str, str], body: bytes = BODY, *secrets: str) -> None:
    CONNECTOR.verify(Request(headers=headers, body=body), secrets=secrets or (SECRET,), now=1767323100.0)


def vectors() -> list[dict[str, Any]]:
    if not VECTORS.exists():
        return []
    found = json.loads(VECTORS.read_text())
    entries = found["vectors"] if isinstance(found, dict) else found
    return [entry for entry in entries if entry["source"] == "sentry"]


def test_the_reference_vectors() -> None:
    entries = vectors()
    if not entries:
        pytest.skip("the shared signature vectors are not beside this repository")
    for entry in entries:
        request = Request(
            headers={name.lower(): value for name, value in entry["headers"].items()},
            body=entry["body"].encode(),
        )
        if entry.get("valid", True):
            CONNECTOR.verify(request, secrets=[entry["secret"]], now=0)
        else:
            with pytest.raises(SignatureError):
                CONNECTOR.verify(request, secrets=[entry["secret"]], now=0)
    assert {bool(entry.get("valid", True)) for entry in entries} == {True, False}


def test_our_own_signature_is_bare_lower_case_hex_over_the_raw_bytes() -> None:
    headers = signed()
    check(headers)
    signature = headers["sentry-hook-signature"]
    assert len(signature) == 64
    assert signature == signature.lower()
    assert headers["sentry-hook-timestamp"] == "1767323100"
    with pytest.raises(SignatureError, match="does not match"):
        check({**headers, "sentry-hook-signature": signature.upper()})


def test_either_of_two_live_secrets() -> None:
    check(signed(secret="old"), BODY, "new", "old")
    check(signed(secret="new"), BODY, "new", "old")
    with pytest.raises(SignatureError):
        check(signed(secret="older"), BODY, "new", "old")


@pytest.mark.parametrize(
    "body",
    [
        BODY[:-1],
        BODY + b"\n",
        BODY.replace(b"created", b"Created"),
        json.dumps(json.loads(BODY)).encode(),
        json.dumps(json.loads(BODY), separators=(",", ":"), ensure_ascii=False).encode(),
        b"",
    ],
)
def test_a_changed_body_is_refused(body: bytes) -> None:
    with pytest.raises(SignatureError):
        check(signed(), body)


def test_an_empty_body_of_a_ui_component() -> None:
    signature = signed(b"")["sentry-hook-signature"]
    check({"sentry-app-signature": signature}, b"")
    with pytest.raises(SignatureError):
        check({"sentry-app-signature": signature}, b" ")


@pytest.mark.parametrize(
    "signature", ["", "zz-not-hex", "sha256=" + "0" * 64, "0" * 63, "é" * 64, "0" * 64, "0" * 10_000]
)
def test_a_bad_signature_is_never_anything_but_a_signature_error(signature: str) -> None:
    with pytest.raises(SignatureError) as caught:
        check({"sentry-hook-signature": signature})
    assert signature == "" or signature not in str(caught.value)


def test_a_good_app_signature_does_not_save_a_bad_hook_signature() -> None:
    good = signed()["sentry-hook-signature"]
    with pytest.raises(SignatureError):
        check({"sentry-hook-signature": "0" * 64, "sentry-app-signature": good})


def test_the_unsigned_plugin_is_refused_with_the_remedy() -> None:
    with pytest.raises(SignatureError, match="internal integration"):
        check({"content-type": "application/json"}, b'{"project":"checkout","project_slug":"checkout"}')


def test_an_old_timestamp_is_accepted_because_it_is_not_signed() -> None:
    check({**signed(), "sentry-hook-timestamp": "1000000000"})
    check({**signed(), "sentry-hook-timestamp": "yesterday"})


def test_signing_names_the_resource_that_the_body_shows() -> None:
    headers = CONNECTOR.sign({}, BODY, secret=SECRET, now=0)
    assert headers["sentry-hook-resource"] == "issue"
    assert "sentry-hook-resource" not in CONNECTOR.sign({}, b"not json", secret=SECRET, now=0)
