"""Credentials are found in what is about to be published, and never repeated. Every value here is invented."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.policy import secrets
from schemas.policy.gate import Facts, Gate
from schemas.policy.secrets import BLOT, KnownSecrets, TooMuchError, redact, scan
from schemas.policy.shapes import Allowed, OutputPolicy, Refusal

OURS = "hub-webhook-secret-4711"
CREDENTIALS = {
    "ghp": "ghp_" + "aB3" * 12,
    "ghs": "ghs_" + "aB3" * 12,
    "fine-grained": "github_pat_" + "11ABCDEFG0_" + "aB3" * 20,
    "slack bot": "xoxb-" + "123456789012-123456789012-" + "AbCdEfGhIjKl",
    "slack app": "xapp-" + "1-A0123456789-123456789-" + "abcdef0123456789",
    "anthropic": "sk-ant-" + "api03-" + "aB3_" * 12,
    "atlassian": "ATATT" + "3xFfGF0" + "aB3_" * 20,
    "sentry org": "sntrys_" + "eyJpYXQiOjE3" * 5,
    "sentry user": "sntryu_" + "0123456789abcdef" * 4,
    "aws": "AKIA" + "QYLPMN5HHHFPZAM2",
    "google": "AIza" + "SyA1b2C3d4E5f6G7h8I9j0K1l2M3n4O5p6Q",
    "stripe": "sk_live_" + "0123456789abcdefghijABCD",
    "npm": "//registry.example.org/:_authToken=" + "npm_" + "aB3" * 12,
    "jwt": "eyJhbGciOiJIUzI1NiJ9" + ".eyJzdWIiOiIxMjM0In0" + ".c2lnbmF0dXJlLXNpZ25hdHVyZQ",
    "address": "postgres://app:p4ssw0rd42@db.example.org/x",
    "assigned": 'api_key = "' + "q9f8Zx7Yw6Vu5Tt4" + '"',
    "private key": "-----BEGIN RSA " + "PRIVATE KEY-----",
    "ours": OURS,
}
ORDINARY = [
    "The token is read in parse(); a password reset follows.",
    'password = os.environ["DATABASE_PASSWORD"]',
    'token: str = Field(description="The bearer token to send")',
    '"integrity": "sha512-' + "aB3dEf" * 14 + '=="',
    "commit 3b18e512dba79e4c8300dd08aeb37f8e728b8dad",
    "postgresql://USER:PASSWORD@HOST/NAME",
    "id 0b7a7f3e-1f3c-4a7e-9e0b-0d7c1a2b3c4d",
    'secret = "changeme"',
    "ghp_ is the prefix of a token; xoxb- too",
]


@pytest.mark.parametrize("name", CREDENTIALS)
def test_a_credential_is_refused_and_not_repeated(name: str) -> None:
    value = CREDENTIALS[name]
    gate = Gate(lambda: Facts(secrets=frozenset({OURS})))
    judged = gate.judge(OutputPolicy(links="any"), {"text": f"It failed:\n\nwith {value} set."})
    assert isinstance(judged, Refusal)
    assert judged.clause == "secrets"
    core = "p4ssw0rd42" if name == "address" else value.split("=")[-1].strip(' "')[-12:]
    assert core not in judged.reason
    said = gate.own_words(f"It failed:\n\nwith {value} set.")
    assert core not in said
    assert said.startswith("It failed:")
    assert BLOT in said


@pytest.mark.parametrize("text", ORDINARY)
def test_ordinary_text_is_not_refused(text: str) -> None:
    assert scan(text) == []
    assert redact(text) == text


@pytest.mark.parametrize(
    "spelled",
    [
        OURS,
        f"x{OURS}y",
        "hub-webhook -secret-\n4711",
        "h\u200bub-webhook-secret-4711",
        '"hub-webhook-" + "secret-4711"'.replace(" + ", " "),
        "\uff48ub-webhook-secret-4711",
        base64.b64encode(OURS.encode()).decode(),
        base64.b64encode(b"a" + OURS.encode() + b"zz").decode(),
        base64.b64encode(b"ab" + OURS.encode()).decode(),
        base64.urlsafe_b64encode(f"user:{OURS}".encode()).decode(),
    ],
)
def test_the_hubs_own_secrets_are_known_by_value(spelled: str) -> None:
    known = KnownSecrets([OURS])
    assert known.inside(spelled)
    assert scan(f"some words {spelled} more words", known)
    assert OURS not in redact(spelled, known)


@given(st.binary(min_size=8, max_size=40), st.binary(max_size=7), st.binary(max_size=7))
def test_a_secret_is_found_in_base64_wherever_it_begins(raw: bytes, before: bytes, after: bytes) -> None:
    value = raw.hex()
    encoded = base64.b64encode(before + value.encode() + after).decode()
    assert KnownSecrets([value]).inside(f"see {encoded} here")


def test_short_values_are_not_compared() -> None:
    assert not KnownSecrets(["abc", "  secret "]).inside("the secret abc")


def test_nothing_shows_a_known_secret() -> None:
    assert OURS not in repr(KnownSecrets([OURS]))
    assert OURS not in repr(Facts(secrets=frozenset({OURS})))


def test_the_whole_private_key_is_taken_out_of_our_own_words() -> None:
    key = "-----BEGIN PRIVATE KEY-----\nMIIEabc\nMIIEdef\n-----END PRIVATE KEY-----"
    assert redact(f"before\n{key}\nafter") == f"before\n{BLOT}\nafter"
    assert redact(f"before\n{key.rpartition('-----END')[0]}") == f"before\n{BLOT}"


def test_a_token_in_an_endless_line_is_found() -> None:
    found = scan("x" * 9_990 + " ghp_" + "aB3" * 12 + " " + "y" * 50_000)
    assert {one.kind for one in found} == {"GitHub token"}


def test_too_much_is_refused_and_not_half_looked_at() -> None:
    text = "a\n" * (secrets.MAX_CHARACTERS // 2 + 1)
    with pytest.raises(TooMuchError):
        scan(text)
    assert redact(text) == BLOT
    judged = Gate().judge(OutputPolicy(), {"files": text}, code={"files"}, staged=True)
    assert isinstance(judged, Refusal)
    assert judged.clause == "size"


def test_files_are_compared_with_the_hubs_own_secrets_at_once() -> None:
    gate = Gate(lambda: Facts(secrets=frozenset({OURS})))
    files = [{"path": "a", "content": f"x = '{OURS}'"}]
    judged = gate.judge(OutputPolicy(), {"files": files}, code={"files"})
    assert isinstance(judged, Refusal)
    assert judged.clause == "secrets"
    links_in_code = {"files": [{"path": "a", "content": "see https://docs.python.org <!-- x -->"}]}
    assert gate.judge(OutputPolicy(), links_in_code, code={"files"}) == Allowed(links_in_code)
