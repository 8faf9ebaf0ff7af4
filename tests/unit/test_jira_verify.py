"""Proof of the sender: published vectors, every kind of proof, and that none saves a wrong stronger one."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.base import Request, SignatureError
from connectors.jira.connector import CONNECTOR

VECTORS = Path(__file__).parents[2] / ".." / "shared" / "reference" / "signature-vectors.json"
SECRET = "an invented secret of decent length"
OTHER = "another invented secret, being rotated out"
NOW = 1_767_323_106.0
BODY = '{"webhookEvent": "jira:issue_updated", "n": "naïve ☕"}'.encode()


def request(
    headers: Mapping[str, str], body: bytes = BODY, query: Mapping[str, str] | None = None
) -> Request:
    return Request(headers=headers, body=body, query=query or {})


def signature(body: bytes = BODY, secret: str = SECRET) -> str:
    return "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def part(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def token(
    claims: object, *, secret: str = SECRET, algorithm: str = "HS256", digest: Any = hashlib.sha256
) -> str:
    head = f"{part({'alg': algorithm, 'typ': 'JWT'})}.{part(claims)}"
    mac = hmac.new(secret.encode(), head.encode(), digest).digest()
    return f"{head}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"


def accepts(given_request: Request, *, secrets: tuple[str, ...] = (SECRET,), now: float = NOW) -> bool:
    try:
        CONNECTOR.verify(given_request, secrets=secrets, now=now)
    except SignatureError:
        return False
    return True


def vectors() -> list[dict[str, Any]]:
    if not VECTORS.exists():
        return []
    return [entry for entry in json.loads(VECTORS.read_text())["vectors"] if entry["source"] == "jira"]


def test_the_vectors_are_there() -> None:
    if not VECTORS.exists():
        pytest.skip("the shared signature vectors are not beside this repository")
    assert len(vectors()) >= 3


@pytest.mark.parametrize("vector", vectors(), ids=lambda vector: vector["id"])
def test_vector(vector: dict[str, Any]) -> None:
    headers = {name.lower(): value for name, value in vector["headers"].items()}
    good = accepts(
        request(headers, vector["body"].encode()), secrets=(vector["secret"],), now=vector.get("now", NOW)
    )
    assert good is vector["valid"]


def test_signature_of_atlassian_documentation() -> None:
    header = "sha256=a4771c39fbe90f317c7824e83ddef3caae9cb3d976c214ace1f2937e133263c9"
    secret = "It's a Secret to Everybody"
    assert accepts(request({"x-hub-signature": header}, b"Hello World!"), secrets=(secret,))
    assert not accepts(request({"x-hub-signature": header}, b"Hello, World!"), secrets=(secret,))


def test_what_sign_makes_verify_takes() -> None:
    headers = CONNECTOR.sign({"content-type": "application/json"}, BODY, secret=SECRET, now=NOW)
    lowered = {name.lower(): value for name, value in headers.items()}
    assert lowered["content-type"] == "application/json"
    assert accepts(request(lowered))
    assert not accepts(request(lowered, BODY + b" "))


def test_both_live_secrets_count() -> None:
    for secret in (SECRET, OTHER):
        assert accepts(request({"x-hub-signature": signature(secret=secret)}), secrets=(SECRET, OTHER))
    assert not accepts(request({"x-hub-signature": signature(secret=OTHER)}), secrets=(SECRET,))


@pytest.mark.parametrize(
    "header",
    [
        "",
        "sha256=",
        "sha256=" + "0" * 64,
        signature().removeprefix("sha256="),
        "sha1=" + hmac.new(SECRET.encode(), BODY, hashlib.sha1).hexdigest(),
        "sha512=" + hmac.new(SECRET.encode(), BODY, hashlib.sha512).hexdigest(),
        "SHA256=" + signature().removeprefix("sha256="),
        "sha256=" + "é" * 64,
    ],
)
def test_signature_in_another_form_is_refused(header: str) -> None:
    assert not accepts(request({"x-hub-signature": header}))


def test_the_refusal_shows_neither_secret_nor_signature() -> None:
    for headers in ({"x-hub-signature": signature(secret=OTHER)}, {"x-triggerhub-token": OTHER}):
        with pytest.raises(SignatureError) as caught:
            CONNECTOR.verify(request(headers), secrets=(SECRET,), now=NOW)
        assert SECRET not in str(caught.value)
        assert all(value not in str(caught.value) for value in headers.values())


def test_github_signature_header_is_no_proof() -> None:
    assert not accepts(request({"x-hub-signature-256": signature()}))


def test_nothing_at_all_is_refused() -> None:
    with pytest.raises(SignatureError, match="X-Hub-Signature"):
        CONNECTOR.verify(request({}), secrets=(SECRET,), now=NOW)


def test_wrong_signature_is_not_saved_by_a_weaker_proof() -> None:
    weaker = {"authorization": "Bearer " + token({"exp": NOW + 60}), "x-triggerhub-token": SECRET}
    bad = {"x-hub-signature": "sha256=" + "0" * 64}
    assert accepts(request(weaker, query={"token": SECRET}))
    assert not accepts(request({**weaker, **bad}, query={"token": SECRET}))
    assert not accepts(request({**weaker, "x-hub-signature": ""}, query={"token": SECRET}))
    assert not accepts(request({**weaker, "authorization": "Bearer x.y.z"}, query={"token": SECRET}))
    assert not accepts(request({"x-triggerhub-token": "wrong"}, query={"token": SECRET}))


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "JWT"])
def test_token_of_an_app(scheme: str) -> None:
    good = {"authorization": f"{scheme} {token({'iss': 'client', 'iat': NOW - 10, 'exp': NOW + 60})}"}
    assert accepts(request(good))
    assert accepts(request(good), secrets=(OTHER, SECRET))
    assert not accepts(request(good), secrets=(OTHER,))
    assert accepts(request(good), now=NOW + 59)
    assert not accepts(request(good), now=NOW + 60)


@pytest.mark.parametrize(
    "bad",
    [
        token({"exp": NOW + 60}, algorithm="none"),
        token({"exp": NOW + 60}, algorithm="none").rpartition(".")[0] + ".",
        token({"exp": NOW + 60}, algorithm="HS512", digest=hashlib.sha512),
        token({"exp": NOW + 60}, algorithm="RS256"),
        token({"exp": NOW + 60}, secret=OTHER),
        token({"exp": NOW - 60}),
        token({"iat": NOW}),
        token({"exp": str(NOW + 60)}),
        token({"exp": True}),
        token({"exp": None}),
        token({"exp": 10**400}),
        token({"exp": NOW + 60, "nbf": NOW + 3600}),
        token([NOW + 60]),
        token("exp"),
        "",
        "a.b.c",
        "ä.ö.ü",
        "." * 9000,
    ],
)
def test_token_that_proves_nothing(bad: str) -> None:
    assert not accepts(request({"authorization": f"Bearer {bad}"}))


def test_short_key_is_taken_without_a_warning() -> None:
    short = {"authorization": "Bearer " + token({"exp": NOW + 60}, secret="short")}
    assert accepts(request(short), secrets=("short",))


def test_shared_tokens() -> None:
    assert accepts(request({"x-triggerhub-token": SECRET}))
    assert not accepts(request({"x-triggerhub-token": SECRET + "x"}))
    assert not accepts(request({"x-triggerhub-token": ""}))
    assert accepts(request({}, query={"token": OTHER}), secrets=(SECRET, OTHER))
    assert not accepts(request({}, query={"token": ""}))
    assert not accepts(request({}, query={"token": "é"}))


def test_unknown_query_parameters_and_foreign_authorization_do_no_harm() -> None:
    query = {"token": SECRET, "triggeredByUser": "712020:ada"}
    assert accepts(request({"authorization": "Basic cHJveHk6eA=="}, query=query))
    assert not accepts(request({"authorization": "Basic cHJveHk6eA=="}))


def test_empty_secret_is_never_live() -> None:
    empty = {"x-hub-signature": "sha256=" + hmac.new(b"", BODY, hashlib.sha256).hexdigest()}
    app = {"authorization": "Bearer " + token({"exp": NOW + 9}, secret="")}
    for each in (empty, {"x-triggerhub-token": ""}, app):
        assert not accepts(request(each), secrets=("",))


@given(
    headers=st.dictionaries(
        st.sampled_from(["x-hub-signature", "authorization", "x-triggerhub-token", "x-other"]),
        st.text(max_size=200) | st.text(max_size=60).map(lambda text: "Bearer " + text),
    ),
    query=st.dictionaries(st.sampled_from(["token", "other"]), st.text(max_size=50)),
    body=st.binary(max_size=50),
)
def test_anything_else_is_refused_and_nothing_else_is_raised(
    headers: dict[str, str], query: dict[str, str], body: bytes
) -> None:
    assert not accepts(request(headers, body, query))
