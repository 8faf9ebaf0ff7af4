"""Who may use the JSON API."""

from __future__ import annotations

import pytest

from hub.api_access import Access, is_loopback

TOKEN = "tok-0123456789"
LOCAL = {"host": "127.0.0.1:8080"}


@pytest.mark.parametrize(
    ("headers", "allowed"),
    [
        ({"authorization": f"Bearer {TOKEN}"}, True),
        ({"authorization": f"bearer  {TOKEN} "}, True),
        ({"authorization": f"Bearer {TOKEN}x"}, False),
        ({"authorization": f"Basic {TOKEN}"}, False),
        ({"authorization": TOKEN}, False),
        ({"authorization": "Bearer "}, False),
        ({"authorization": "Bearer \udcff"}, False),
        ({}, False),
    ],
)
def test_a_token_decides_alone(headers: dict[str, str], *, allowed: bool) -> None:
    for client in ("127.0.0.1", "203.0.113.9", None):
        refusal = Access(TOKEN).refusal(client=client, headers={**LOCAL, **headers})
        assert (refusal is None) is allowed
        assert TOKEN not in (refusal or "")


@pytest.mark.parametrize("client", ["127.0.0.1", "127.1.2.3", "::1", "::ffff:127.0.0.1"])
@pytest.mark.parametrize("host", ["127.0.0.1:8080", "localhost:8080", "localhost", "[::1]:8080"])
def test_without_a_token_this_machine_may(client: str, host: str) -> None:
    assert Access(None).refusal(client=client, headers={"host": host}) is None
    assert Access("").refusal(client=client, headers={"host": host}) is None


@pytest.mark.parametrize(
    ("client", "headers"),
    [
        ("203.0.113.9", LOCAL),
        ("::ffff:203.0.113.9", LOCAL),
        (None, LOCAL),
        ("testclient", LOCAL),
        ("127.0.0.1", {**LOCAL, "x-forwarded-for": "127.0.0.1"}),
        ("127.0.0.1", {**LOCAL, "forwarded": "for=127.0.0.1"}),
        ("127.0.0.1", {**LOCAL, "x-real-ip": "127.0.0.1"}),
        ("127.0.0.1", {"host": "evil.example:8080"}),
        ("127.0.0.1", {"host": "127.0.0.1.evil.example"}),
        ("127.0.0.1", {"host": "[::1"}),
        ("127.0.0.1", {}),
        ("127.0.0.1", {**LOCAL, "origin": "https://evil.example"}),
        ("127.0.0.1", {**LOCAL, "origin": "null"}),
        ("127.0.0.1", {**LOCAL, "sec-fetch-site": "cross-site"}),
    ],
)
def test_without_a_token_nobody_else_may(client: str | None, headers: dict[str, str]) -> None:
    refusal = Access(None).refusal(client=client, headers=headers)
    assert refusal is not None
    assert "TRIGGERHUB_API_TOKEN" in refusal


def test_a_page_of_this_machine_may() -> None:
    headers = {**LOCAL, "origin": "http://localhost:8080", "sec-fetch-site": "same-origin"}
    assert Access(None).refusal(client="127.0.0.1", headers=headers) is None


@pytest.mark.parametrize("address", ["", None, "localhost", "10.0.0.1", "192.0.2.1", "::"])
def test_other_addresses_are_not_loopback(address: str | None) -> None:
    assert not is_loopback(address)
