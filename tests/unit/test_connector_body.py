"""Reading bytes that strangers sent: what is refused, and that the small readers never raise."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.base import UnreadableError
from connectors.body import body_hash, epoch, get, id_at, read_form, read_object, text_at, time_at

QUICK = settings(max_examples=200, deadline=None, derandomize=True, database=None)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b'{"a": 1} x',
        b"[]",
        b'"text"',
        b"null",
        b"1",
        b"true",
        b'{"a": NaN}',
        b'{"a": Infinity}',
        b'{"a": 1, "a": 1}',
        b'{"b": {"a": 1, "a": 2}}',
        b'{"a": "\xff"}',
        b'\xef\xbb\xbf{"a": 1}',
        b'{"a": "\\ud800"}',
        b"{'a': 1}",
        b'{"a": 1,}',
        b'{"a":' * 5000 + b"1" + b"}" * 5000,
        b'{"a": ' + b"1" * 5000 + b"}",
        b'{"a": 01}',
    ],
    ids=lambda body: repr(body[:24]),
)
def test_unacceptable_json(body: bytes) -> None:
    with pytest.raises(UnreadableError):
        read_object(body)


def test_the_refusal_shows_nothing_of_the_body() -> None:
    for body in (b'{"hunter2": 1, "hunter2": 2}', b'{"password": hunter2}', b'["hunter2"]'):
        with pytest.raises(UnreadableError) as caught:
            read_object(body)
        assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "value", [{}, {"a": None}, {"ü": "☕\x00"}, {"a": [1, 2.5, {"b": True}]}, {"n": 10**18, "m": -(10**300)}]
)
def test_acceptable_json(value: dict[str, Any]) -> None:
    assert read_object(json.dumps(value).encode()) == value
    assert read_object(json.dumps(value, ensure_ascii=False).encode()) == value


def test_a_form() -> None:
    assert read_form(b"payload=%7B%7D&a=b+c&empty=") == {"payload": "{}", "a": "b c", "empty": ""}


@pytest.mark.parametrize(
    "body", [b"a=1&a=2", b"a=\xff", b"a=%ff", b"&".join(b"f%d=1" % n for n in range(1001))]
)
def test_an_unacceptable_form(body: bytes) -> None:
    with pytest.raises(UnreadableError):
        read_form(body)


@QUICK
@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    for reader in (read_object, read_form):
        try:
            found: object = reader(body)
        except UnreadableError:
            continue
        assert isinstance(found, dict)


def test_the_hash_is_of_the_raw_bytes() -> None:
    assert body_hash(b"{}") != body_hash(b"{ }")
    assert len(body_hash(b"")) == 64


BODY: dict[str, Any] = {"a": [{"b": "x"}, 7], "n": None, "e": "", "t": True, "i": 12, "f": 1.5, "s": "012"}


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (("a", 0, "b"), "x"),
        (("a", -1), 7),
        (("a", 5), None),
        (("a", -3), None),
        (("a", "b"), None),
        (("i", "x"), None),
        (("s", 0), None),
        (("missing", "x", 0), None),
        ((), BODY),
    ],
)
def test_walking(path: tuple[str | int, ...], expected: object) -> None:
    assert get(BODY, *path) == expected


def test_texts_and_identifiers() -> None:
    assert [text_at(BODY, name) for name in ("n", "e", "i", "s", "a")] == [None, None, None, "012", None]
    assert [id_at(BODY, name) for name in ("i", "s", "t", "f", "e", "n", "a")] == [
        "12",
        "012",
        None,
        None,
        None,
        None,
        None,
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-03-02T09:00:00Z", datetime(2026, 3, 2, 9, tzinfo=UTC)),
        ("2026-03-02T09:00:00+02:00", datetime(2026, 3, 2, 7, tzinfo=UTC)),
        ("2026-03-02T09:00:00.123-0500", datetime(2026, 3, 2, 14, 0, 0, 123000, tzinfo=UTC)),
        ("2026-03-02T09:00:00", datetime(2026, 3, 2, 9, tzinfo=UTC)),
        ("2026-13-45", None),
        ("0001-01-01T00:00:00+23:59", None),
        ("9999-12-31T23:59:59-23:59", None),
        ("", None),
        (7, None),
        (None, None),
    ],
)
def test_times(text: object, expected: datetime | None) -> None:
    found = time_at({"at": text}, "at")
    assert found == expected
    assert found is None or found.utcoffset() == timedelta(0)


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0, datetime(1970, 1, 1, tzinfo=UTC)),
        ("1700000000.5", datetime(2023, 11, 14, 22, 13, 20, 500000, tzinfo=UTC)),
        (True, None),
        ("soon", None),
        ("nan", None),
        ("inf", None),
        (1e300, None),
        (10**400, None),
        (None, None),
        ([], None),
    ],
)
def test_epochs(seconds: object, expected: datetime | None) -> None:
    assert epoch(seconds) == expected


@QUICK
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("ab"), inner, max_size=2),
        max_leaves=6,
    ),
    st.lists(st.sampled_from(["a", "b", 0, -1, 1]), max_size=3),
)
def test_the_readers_never_raise(value: object, path: list[str | int]) -> None:
    get(value, *path)
    text_at(value, *path)
    id_at(value, *path)
    moment = time_at(value, *path)
    assert moment is None or moment.tzinfo is not None
    second = epoch(get(value, *path))
    assert second is None or second.tzinfo == UTC
