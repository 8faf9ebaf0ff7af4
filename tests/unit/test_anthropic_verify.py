"""Anthropic's signature: Standard Webhooks, five minutes to either side, two live keys."""

from __future__ import annotations

import base64
import json
import time
from typing import Final

import pytest
from standardwebhooks.webhooks import Webhook

from connectors.anthropic import verify
from connectors.base import Request, SignatureError

NOW: Final = 1_767_323_045.0
KEY: Final = "whsec_" + base64.b64encode(b"k" * 40).decode()
OLD: Final = "whsec_" + base64.b64encode(b"o" * 40).decode()
BODY: Final = json.dumps({"type": "event", "id": "whe_1", "data": {}}).encode()


def signed(key: str = KEY, *, at: float = NOW, body: bytes = BODY) -> dict[str, str]:
    return verify.sign({}, body, secret=key, now=at)


def refused(headers: dict[str, str], *keys: str, body: bytes = BODY) -> str:
    with pytest.raises(SignatureError) as error:
        verify.verify(Request(headers, body), secrets=keys or (KEY,), now=NOW)
    return str(error.value)


def test_the_vendors_own_library_takes_what_we_sign_and_we_take_what_it_signs() -> None:
    now = time.time()
    headers = signed(at=now)
    assert headers["webhook-id"] == "whe_1"
    Webhook(KEY).verify(BODY, headers)
    verify.verify(Request(headers, BODY), secrets=(KEY,), now=now)


def test_either_of_two_live_keys_and_either_of_two_signatures() -> None:
    verify.verify(Request(signed(OLD), BODY), secrets=(KEY, OLD), now=NOW)
    both = {**signed(), verify.SIGNATURE: f"{signed(OLD)[verify.SIGNATURE]} {signed()[verify.SIGNATURE]}"}
    verify.verify(Request(both, BODY), secrets=(KEY,), now=NOW)
    assert "under any live secret" in refused(signed(OLD))


@pytest.mark.parametrize("away", [-300, 300])
def test_five_minutes_to_either_side(away: int) -> None:
    verify.verify(Request(signed(at=NOW + away), BODY), secrets=(KEY,), now=NOW)
    further = away + (1 if away > 0 else -1)
    assert "more than 300 seconds away" in refused(signed(at=NOW + further))


def test_identifier_and_moment_are_signed_too() -> None:
    assert "does not match" in refused({**signed(), verify.ID: "whe_2"})
    assert "does not match" in refused({**signed(), verify.TIMESTAMP: str(int(NOW) + 1)})


@pytest.mark.parametrize("moment", ["", "soon", "1e9", "-5", "٣" * 10, "9" * 40, "1767323045.5"])
def test_a_moment_that_is_no_number_of_seconds(moment: str) -> None:
    assert verify.TIMESTAMP in refused({**signed(), verify.TIMESTAMP: moment})


def test_other_versions_of_the_scheme_do_not_count() -> None:
    value = signed()[verify.SIGNATURE].partition(",")[2]
    assert "does not match" in refused({**signed(), verify.SIGNATURE: f"v1a,{value}"})
    assert "does not match" in refused({**signed(), verify.SIGNATURE: value})


def test_a_secret_that_is_no_key_opens_nothing_and_says_where_to_find_one() -> None:
    assert "copy the endpoint's key" in refused(signed(), "whsec_")
    with pytest.raises(ValueError, match="copy the endpoint's key"):
        verify.sign({}, BODY, secret="whsec_", now=NOW)


def test_no_message_shows_a_key_or_a_signature() -> None:
    for headers in (signed(OLD), {**signed(), verify.TIMESTAMP: "soon"}, signed(at=0)):
        said = refused(headers)
        assert headers[verify.SIGNATURE] not in said
        assert KEY not in said
