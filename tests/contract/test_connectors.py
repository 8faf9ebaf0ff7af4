"""The contract of a connector, checked on every folder under `connectors/`, with no test code per source.

Each check is a function of a connector, so that one that only exists in a test passes the very same ones.
"""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

import pytest
from contract.connector_checks import (
    CHECKS,
    assert_valid,
    check_events_are_valid,
    check_identifiers_repeat,
    check_outputs,
    check_own_events,
    check_signature_headers,
    check_signatures,
)
from contract.samples import (
    SHARED,
    describe_sample,
    read_samples,
)
from pydantic import ValidationError

import connectors
from connectors import registry
from connectors.base import Connector, Identity, Request, SignatureError, UnreadableError

SOURCES: Final = registry.source_names()


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("source", SOURCES)
def test_contract(source: str, check: Callable[[Connector], None]) -> None:
    check(registry.connector(source))


def test_the_five_sources_are_found() -> None:
    assert {"anthropic", "github", "jira", "sentry", "slack"} <= set(SOURCES)


def test_an_unknown_source_is_named_with_the_nearest_one() -> None:
    with pytest.raises(registry.UnknownSourceError, match="did you mean 'github'"):
        registry.connector("githup")


@pytest.mark.parametrize("source", SOURCES)
def test_captured_payloads_are_read(source: str) -> None:
    place = SHARED / "fixtures" / source
    samples = list(read_samples(place))
    if not samples:
        pytest.skip(f"no captured payloads at {place}")
    connector = registry.connector(source)
    for sample in samples:
        assert_valid(connector, sample)


@pytest.mark.parametrize("source", SOURCES)
def test_captured_payloads_without_headers_are_read_or_refused(source: str) -> None:
    place = SHARED / "fixtures" / source
    samples = list(read_samples(place))
    if not samples:
        pytest.skip(f"no captured payloads at {place}")
    connector = registry.connector(source)
    for sample in samples:
        with suppress(UnreadableError):
            connector.normalise(Request({}, sample.body), identity=Identity())


TOY = '''
"""A pager that exists in a test only."""
from connectors.base import *
from connectors.poster import *
from connectors.body import body_hash, id_at, read_object, text_at
from connectors.signatures import check_hex, hex_hmac
from schemas.event import Actor, Subject


class CommentArguments(OutputArguments):
    text: str


class PagerConnector(Connector):
    source = "pager"
    outputs = {"comment": OutputSpec("Write a note.", OutputTarget, CommentArguments, to_origin=True)}

    def verify(self, request, *, secrets, now):
        check_hex(request.headers.get("x-pager"), request.body, secrets=secrets, header="X-Pager")

    def sign(self, headers, body, *, secret, now):
        return {**headers, "X-Pager": hex_hmac(secret, body)}

    def normalise(self, request, *, identity):
        body = read_object(request.body)
        who, key = id_at(body, "who"), id_at(body, "incident") or "none"
        fact = Fact(
            kind="alert.fired",
            actor=Actor(id=who, is_self=who in identity.actor_ids, trust="system"),
            subject=Subject(kind="alert", key=key),
            key=f"fired {key}",
            account="ward",
            text=text_at(body, "text") or "",
        )
        return Normalised(Outcome.HANDLED, body_hash(request.body), (fact,), body)

    def poster(self, settings, *, token, http, files):
        raise NotImplementedError


CONNECTOR = PagerConnector()
'''


@pytest.fixture
def toy(tmp_path: Path) -> Iterator[str]:
    """A fifth connector: one new folder, and no edit elsewhere."""
    place = tmp_path / "pager"
    fixtures = place / "fixtures"
    fixtures.mkdir(parents=True)
    (place / "__init__.py").write_text('"""A pager."""\n')
    (place / "connector.py").write_text(TOY)
    (place / "README.md").write_text("# Pager\n\n```yaml\nrules: [{name: a}]\n```\n")
    for number, who in enumerate(("nurse", "us", "ghost")):
        body = {"who": who, "incident": number, "text": "Wake up"}
        (fixtures / f"{who}.json").write_text(json.dumps(body, indent=1))
        (fixtures / f"{who}.expected.json").write_text(json.dumps({"identity": {"actor_ids": ["us"]}}))
    connectors.__path__.append(str(tmp_path))
    _forget()
    try:
        found = registry.connector("pager")
        for sample in read_samples(fixtures):
            wanted = {**(sample.expected or {}), **describe_sample(found, sample)}
            (fixtures / f"{sample.name}.expected.json").write_text(json.dumps(wanted))
        yield "pager"
    finally:
        connectors.__path__.remove(str(tmp_path))
        _forget()


def _forget() -> None:
    registry.source_names.cache_clear()
    registry.connector.cache_clear()
    importlib.invalidate_caches()
    for name in [name for name in sys.modules if name.startswith("connectors.pager")]:
        del sys.modules[name]
    vars(connectors).pop("pager", None)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_a_fifth_connector_is_one_new_folder(toy: str, check: Callable[[Connector], None]) -> None:
    assert toy in registry.source_names()
    check(registry.connector(toy))


BROKEN: Final[Mapping[str, tuple[str, str, Callable[[Connector], None]]]] = {
    "verifies nothing": (
        'check_hex(request.headers.get("x-pager"), request.body, secrets=secrets, header="X-Pager")',
        "pass",
        check_signatures,
    ),
    "knows one secret only": ("secrets=secrets, header", "secrets=secrets[:1], header", check_signatures),
    "falls over a missing header": (
        'request.headers.get("x-pager")',
        'request.headers["x-pager"]',
        check_signature_headers,
    ),
    "changes identifiers": (
        'key=f"fired {key}"',
        "key=f\"fired {id(body)} {__import__('itertools') and __import__('time').perf_counter_ns()}\"",
        check_identifiers_repeat,
    ),
    "does not know itself": ("is_self=who in identity.actor_ids, ", "", check_own_events),
    "speaks another vocabulary": ('kind="alert.fired"', 'kind="alert.exploded"', check_events_are_valid),
    "has no key": ('or "none"', 'or "none"; key = ""', check_events_are_valid),
    "cannot comment": ('{"comment": ', '{"note": ', check_outputs),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_a_broken_connector_does_not_pass(toy: str, fault: str, tmp_path: Path) -> None:
    old, new, check = BROKEN[fault]
    assert old in TOY
    (tmp_path / toy / "connector.py").write_text(TOY.replace(old, new))
    _forget()
    with pytest.raises((AssertionError, ValidationError, KeyError, SignatureError)):
        check(registry.connector(toy))
