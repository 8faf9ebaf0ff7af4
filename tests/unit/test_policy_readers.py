"""What a session was told in a narrow place does not go to a wider one."""

from __future__ import annotations

from typing import Any

import pytest

from schemas.policy.readers import READERS, container_of, judge_readers


@pytest.mark.parametrize(
    ("told", "place", "allowed", "passes"),
    [
        ("public", "public", None, True),
        ("private", "private", None, True),
        ("private", None, None, True),
        ("public", None, None, True),
        ("private", "public", None, False),
        ("private", "public", "public", True),
        ("private", "public", "private", False),
        ("restricted", "private", None, False),
        ("restricted", None, None, False),
        ("restricted", "private", "private", True),
        ("restricted", "public", "private", False),
        ("restricted", "public", "public", True),
        ("private", "shared", None, False),
        ("private", "shared", "private", False),
        ("private", "shared", "public", True),
        ("shared", "shared", None, True),
        ("shared", "private", None, True),
        ("shared", "public", None, False),
    ],
)
def test_readers(told: str, place: str | None, allowed: str | None, *, passes: bool) -> None:
    refusal = judge_readers(told, place, allowed)
    assert (refusal is None) is passes
    if refusal is not None:
        assert told in refusal.reason
        assert READERS == "readers"


@pytest.mark.parametrize(
    ("target", "arguments", "wanted"),
    [
        ({"repository": "acme/checkout"}, {}, "acme/checkout"),
        ({"repositories": ["acme/*"]}, {"repository": "acme/site"}, "acme/site"),
        ({"channel": "C01"}, {"text": "x"}, "C01"),
        ({"issue": "SHOP-7"}, {}, "SHOP"),
        ({"issue": "520"}, {}, None),
        ({}, {"text": "x"}, None),
    ],
)
def test_the_place_an_output_goes_to(
    target: dict[str, Any], arguments: dict[str, Any], wanted: str | None
) -> None:
    assert container_of(target, arguments) == wanted
