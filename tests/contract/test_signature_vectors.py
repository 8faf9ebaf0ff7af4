"""Known-answer signature vectors: those that vendors publish stand here, the shared set is read if present.

They prove that we and the vendors compute the same, which signing and verifying with our own code cannot.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final

import pytest
from contract.samples import NOW, SHARED, lowered

from connectors import registry
from connectors.base import Request, SignatureError

VECTORS: Final = SHARED / "reference" / "signature-vectors.json"


@dataclass(frozen=True, slots=True)
class Vector:
    """One request, and whether it must pass."""

    source: str
    secret: str
    body: str
    headers: dict[str, str]
    valid: bool
    now: float = NOW


PUBLISHED: Final = {
    "GitHub docs, Validating webhook deliveries": Vector(
        "github",
        "It's a Secret to Everybody",
        "Hello, World!",
        {"X-Hub-Signature-256": "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"},
        valid=True,
    ),
    "GitHub, SHA-1 alone is refused": Vector(
        "github",
        "It's a Secret to Everybody",
        "Hello, World!",
        {"X-Hub-Signature": "sha1=01dc10d0c83e72ed246219cdd91669667fe2ca59"},
        valid=False,
    ),
    "Jira docs, Secure admin webhooks": Vector(
        "jira",
        "It's a Secret to Everybody",
        "Hello World!",
        {"X-Hub-Signature": "sha256=a4771c39fbe90f317c7824e83ddef3caae9cb3d976c214ace1f2937e133263c9"},
        valid=True,
    ),
}


def passes(vector: Vector) -> bool:
    """True where the connector takes the request; anything but SignatureError fails the test."""
    connector = registry.connector(vector.source)
    request = Request(lowered(vector.headers), vector.body.encode("utf-8"))
    try:
        connector.verify(request, secrets=[vector.secret], now=vector.now)
    except SignatureError as error:
        told = str(error)
    else:
        return True
    assert vector.secret not in told
    assert not any(value in told for value in vector.headers.values() if len(value) > 20)
    return False


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_vector(name: str) -> None:
    assert passes(PUBLISHED[name]) is PUBLISHED[name].valid


def _shared() -> list[dict[str, Any]]:
    if not VECTORS.is_file():
        return []
    vectors: list[dict[str, Any]] = json.loads(VECTORS.read_text(encoding="utf-8"))["vectors"]
    return [vector for vector in vectors if vector["source"] in registry.source_names()]


@pytest.mark.parametrize("given", _shared(), ids=lambda given: given["id"])
def test_shared_vector(given: dict[str, Any]) -> None:
    vector = Vector(
        source=given["source"],
        secret=given["secret"],
        body=given["body"],
        headers=given["headers"],
        valid=given["valid"],
        now=float(given.get("now", NOW)),
    )
    assert passes(vector) is vector.valid


def test_the_shared_vectors_cover_every_source() -> None:
    if not VECTORS.is_file():
        pytest.skip(f"no shared vectors at {VECTORS}")
    assert {vector["source"] for vector in _shared()} == {"github", "jira", "sentry", "slack"}
