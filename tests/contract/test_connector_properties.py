"""Whatever strangers send, a connector answers with its own two errors or a reading.

Inputs are made up, or are mutations of the samples.
Runs over every connector found. Must not say anything about one source alone.
"""

from __future__ import annotations

import copy
import json
from contextlib import suppress
from typing import Any, Final

import pytest
from contract.samples import CONNECTION, NOW, RECEIVED_AT, Sample, folder, lowered, read_samples
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from connectors import registry
from connectors.base import Connector, Identity, Request, SignatureError, UnreadableError, seal
from schemas.event import Event

SOURCES: Final = registry.source_names()
SECRET: Final = "first-secret-0123456789abcdef-0123"
BOUNDS: Final = settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)

TEXTS: Final = st.one_of(
    st.text(max_size=40),
    st.sampled_from(
        [
            "",
            "\x00",
            "a" * 3000,
            "-1",
            "9" * 400,
            "null",
            "@",
            "2026-13-45",
            "0001-01-01T00:00:00+23:59",
            "#",
            "/",
        ]
    ),
)
SCALARS: Final = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(min_value=-(10**30), max_value=10**30),
    st.floats(allow_nan=False, allow_infinity=False),
    TEXTS,
)
VALUES: Final = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(TEXTS, inner, max_size=4)),
    max_leaves=8,
)
HEADER_VALUES: Final = st.one_of(
    st.text(max_size=100), st.sampled_from(["", "sha256=", "v0=", "Bearer ", "nan", "1e400"])
)


def samples_of(source: str) -> list[Sample]:
    return list(read_samples(folder(registry.connector(source)) / "fixtures"))


def read(connector: Connector, request: Request, identity: Identity) -> None:
    """Normalise and seal; only UnreadableError may come out, and events must keep the public schema."""
    try:
        normalised = connector.normalise(request, identity=identity)
    except UnreadableError:
        return
    assert normalised.delivery_key
    for fact in normalised.facts:
        event = seal(
            fact, source=connector.source, connection=CONNECTION, payload={}, received_at=RECEIVED_AT
        )
        assert Event.model_validate_json(event.model_dump_json()) == event
        assert 1 <= len(event.subject) <= 500
        assert len(event.data.labels) <= 1000
        assert len(event.data.mentions) <= 1000


def places(value: Any, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """Every place in a decoded body."""
    found = [path]
    if isinstance(value, dict):
        for key, inner in value.items():
            found += places(inner, (*path, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            found += places(inner, (*path, index))
    return found


def replaced(value: Any, path: tuple[str | int, ...], new: Any) -> Any:
    """A copy of `value` with the thing at `path` replaced, or left out where `new` is ABSENT."""
    if not path:
        return {} if new is ABSENT else new
    result = copy.deepcopy(value)
    inner = result
    for step in path[:-1]:
        inner = inner[step]
    if new is ABSENT:
        del inner[path[-1]]
    else:
        inner[path[-1]] = new
    return result


ABSENT: Final = object()


@pytest.mark.parametrize("source", SOURCES)
def test_any_bytes(source: str) -> None:
    connector = registry.connector(source)
    headers = [lowered(sample.headers) for sample in samples_of(source)]

    @BOUNDS
    @given(st.binary(max_size=300), st.sampled_from([{}, *headers]))
    def check(body: bytes, known: dict[str, str]) -> None:
        read(connector, Request(known, body), Identity())
        with suppress(SignatureError):
            connector.verify(Request(known, body), secrets=[SECRET], now=NOW)
            pytest.fail("an unsigned body passes")

    check()


@pytest.mark.parametrize("source", SOURCES)
def test_any_json(source: str) -> None:
    connector = registry.connector(source)
    headers = [lowered(sample.headers) for sample in samples_of(source)]

    @BOUNDS
    @given(VALUES, st.sampled_from([{}, *headers]))
    def check(value: Any, known: dict[str, str]) -> None:
        read(connector, Request(known, json.dumps(value).encode()), Identity())

    check()


@pytest.mark.parametrize("source", SOURCES)
def test_any_headers(source: str) -> None:
    connector = registry.connector(source)
    samples = samples_of(source)
    names = sorted(
        {
            name
            for sample in samples
            for name in lowered(connector.sign(sample.headers, sample.body, secret=SECRET, now=NOW))
        }
    )

    @BOUNDS
    @given(st.sampled_from(samples), st.dictionaries(st.sampled_from(names), HEADER_VALUES), st.data())
    def check(sample: Sample, changed: dict[str, str], data: st.DataObject) -> None:
        good = lowered(connector.sign(sample.headers, sample.body, secret=SECRET, now=NOW))
        kept = data.draw(st.sets(st.sampled_from(names)))
        headers = {name: value for name, value in good.items() if name in kept} | changed
        read(connector, Request(headers, sample.body), sample.identity)
        with suppress(SignatureError):
            connector.verify(Request(headers, sample.body), secrets=[SECRET], now=NOW)

    check()


@pytest.mark.parametrize("source", SOURCES)
def test_any_field_may_be_anything(source: str) -> None:
    connector = registry.connector(source)
    decoded = []
    for sample in samples_of(source):
        with suppress(ValueError):
            decoded.append((sample, json.loads(sample.body)))
    assert decoded

    @BOUNDS
    @given(st.data())
    def check(data: st.DataObject) -> None:
        sample, value = data.draw(st.sampled_from(decoded))
        for _ in range(data.draw(st.integers(min_value=1, max_value=3))):
            path = data.draw(st.sampled_from(places(value)))
            value = replaced(value, path, data.draw(st.one_of(st.just(ABSENT), VALUES)))
        read(connector, Request(lowered(sample.headers), json.dumps(value).encode()), sample.identity)
        read(connector, Request({}, json.dumps(value).encode()), sample.identity)

    check()


@pytest.mark.parametrize("source", SOURCES)
def test_every_field_may_be_missing_null_or_of_another_type(source: str) -> None:
    connector = registry.connector(source)
    for sample in samples_of(source):
        try:
            value = json.loads(sample.body)
        except ValueError:
            continue
        headers = lowered(sample.headers)
        for path in [place for place in places(value) if len(place) <= 3]:
            for new in (ABSENT, None, [], {}, 0, True, "x"):
                body = json.dumps(replaced(value, path, new)).encode()
                read(connector, Request(headers, body), sample.identity)


@pytest.mark.parametrize("source", SOURCES)
def test_a_signed_body_that_is_changed_by_one_byte_is_refused(source: str) -> None:
    connector = registry.connector(source)
    samples = [sample for sample in samples_of(source) if sample.body]

    @BOUNDS
    @given(st.sampled_from(samples), st.integers(min_value=0), st.integers(min_value=1, max_value=255))
    def check(sample: Sample, place: int, flip: int) -> None:
        headers = lowered(connector.sign(sample.headers, sample.body, secret=SECRET, now=NOW))
        at = place % len(sample.body)
        body = sample.body[:at] + bytes([sample.body[at] ^ flip]) + sample.body[at + 1 :]
        with pytest.raises(SignatureError):
            connector.verify(Request(headers, body), secrets=[SECRET], now=NOW)

    check()
