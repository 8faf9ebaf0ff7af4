"""YAML into nodes with lines: nothing but plain values, and no document that can exhaust the process."""

from __future__ import annotations

import re
import time

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from router.documents import MAX_BYTES, MAX_DEPTH, read


def plain(text: str) -> object:
    document = read(text.encode(), file="t.yaml")
    assert not document.problems, document.problems
    assert document.root is not None
    return document.root.plain()


def complaints(text: str | bytes) -> list[str]:
    data = text.encode() if isinstance(text, str) else text
    return [str(problem) for problem in read(data, file="t.yaml").problems]


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("no", "no"),
        ("on", "on"),
        ("yes", "yes"),
        ("1:30", "1:30"),
        ("2026-01-02", "2026-01-02"),
        ("0123", "0123"),
        ("1_000", "1_000"),
        ("=", "="),
        ("12345678901234567890", "12345678901234567890"),
        ("'3'", "3"),
        ("3", 3),
        ("-3", -3),
        ("2.50", 2.5),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("true", True),
        ("False", False),
        ("~", None),
        ("null", None),
        ("", None),
        ("'null'", "null"),
        ("!!str 3", "3"),
        (".inf", ".inf"),
    ],
)
def test_scalars_are_read_as_in_yaml_1_2(written: str, value: object) -> None:
    result = plain(f"a: {written}\n")
    assert result == {"a": value}
    assert type(result["a"]) is type(value)


def test_keys_are_text() -> None:
    assert plain("1: a\ntrue: b\nnull: c\n") == {"1": "a", "true": "b", "null": "c"}


def test_aliases_are_written_out() -> None:
    assert plain("a: &x {b: [1, 2]}\nc: *x\n") == {"a": {"b": [1, 2]}, "c": {"b": [1, 2]}}


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("a: 1\nb: 2\na: 3\n", "t.yaml:3: the key 'a' stands twice here, first in line 1"),
        ("a:\n\tb: 1\n", "t.yaml:2: a tab cannot indent YAML; use spaces"),
        (
            "a: !!python/object:os.system x\n",
            "the tag 'tag:yaml.org,2002:python/object:os.system' is not allowed",
        ),
        ("a: !env X\n", "the tag '!env' is not allowed"),
        ("a: !!set {b}\n", "the tag 'tag:yaml.org,2002:set' is not allowed"),
        ("a: &x {b: 1}\nc:\n  <<: *x\n", "t.yaml:3: merge keys (<<) are not supported"),
        ("a: &x [*x]\n", "t.yaml:1: the alias *x has no anchor before it, or stands inside it"),
        ("a: *x\n", "t.yaml:1: the alias *x has no anchor"),
        ("a: 1\n---\nb: 2\n", "t.yaml:2: a file holds one document"),
        ("? [a]\n: 1\n", "a key must be plain text"),
        ("? {a: 1}\n: 1\n", "a key must be plain text"),
        ("a: &x b\n? *x\n: 1\n", "a key must be plain text"),
        ("a: [1, 2\n", "t.yaml:2: this is not YAML"),
        ("a: 'secret-value\n", "this is not YAML"),
        ("a: \x01\n", "t.yaml:1: the character U+0001 is not allowed"),
        (b"a: 1\nb: \xff\n", "t.yaml:2: the file is not UTF-8"),
        (b"a: " + b"x" * MAX_BYTES, "the limit is 5000000"),
    ],
)
def test_refused_documents(text: str | bytes, complaint: str) -> None:
    found = complaints(text)
    assert any(complaint in line for line in found), found


def test_a_syntax_error_never_quotes_the_file() -> None:
    assert "s3cr3t" not in "\n".join(complaints("token: 's3cr3t\nother: [\n"))
    assert "s3cr3t" not in "\n".join(complaints("token: s3cr3t: b\n"))


def test_every_duplicate_key_is_reported() -> None:
    assert len(complaints("a: 1\na: 2\nb: {c: 1, c: 2}\n")) == 2


def test_a_bomb_of_aliases_is_refused_at_once() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 12)]
    started = time.perf_counter()
    found = complaints("\n".join(lines))
    assert any("aliases written out" in line for line in found), found
    assert time.perf_counter() - started < 5


@pytest.mark.parametrize("text", ["[" * 100_000, "- " * 100_000, "{a: " * 50_000])
def test_deep_documents_are_refused_not_recursed_into(text: str) -> None:
    assert any(f"more than {MAX_DEPTH} levels" in line for line in complaints(text))


def test_aliases_cannot_hide_depth() -> None:
    inner = "&a " + "[" * 40 + "]" * 40
    assert any("levels are nested" in line for line in complaints(f"a: {inner}\nb: {'[' * 40}*a{']' * 40}\n"))


def test_places_of_keys_and_items() -> None:
    document = read(b"rules:\n  - name: a\n    match:\n      kind: [push,\n        ping]\n", file="t.yaml")
    assert document.place(("rules", 0, "match", "kind")) == (4, 7)
    assert document.place(("rules", 0, "match", "kind", 1)) == (5, 9)
    assert document.place(("rules", 0, "nothing", "here")) == (2, 5)
    assert document.place(("rules", 9)) == (1, 1)


texts = st.text(alphabet=st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=20)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**17), 10**17) | texts,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(texts.filter(lambda key: key != "<<"), inner, max_size=4)
    ),
    max_leaves=20,
)


class Writer(yaml.SafeDumper):
    """Puts quotes around text that YAML 1.2 reads as a number, and 1.1, for which the library writes, as text: `0E0`."""


Writer.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?[0-9]+[eE][-+]?[0-9]+$"), list("-+0123456789")
)


@given(values)
@example("0E0")
@example("-1e+05")
def test_what_yaml_writes_is_read_back(value: object) -> None:
    document = read(yaml.dump({"v": value}, Dumper=Writer, allow_unicode=True).encode(), file="t.yaml")
    assert document.root is not None
    assert document.root.plain() == {"v": value}


@given(st.binary(max_size=200))
def test_no_bytes_raise(data: bytes) -> None:
    document = read(data, file="t.yaml")
    assert (document.root is None) or all(problem.line for problem in document.problems)


@given(st.text(alphabet="{}[]:-,&*!|>'\"%@`# \n\tab?<0~", max_size=60))
def test_no_punctuation_raises(text: str) -> None:
    document = read(text.encode(), file="t.yaml")
    if document.root is not None and not document.problems:
        document.root.plain()
