"""Conditions: what is refused when loading, what they read of an event, how every failure is explained."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from router_samples import event

from router.expressions import EventView, Expression, ExpressionError, compile_expression, show
from router.syntax import scan

PAYLOAD: dict[str, Any] = {
    "issue": {"level": "warning", "milestone": None, "count": 3},
    "tags": [{"key": "os", "value": "linux"}, {"key": "env", "value": "prod"}],
    "with space": {"a.b": 1},
}


def run(condition: str, **fields: Any) -> tuple[bool, str, str]:
    """(holds, reason, seen)."""
    failure = EventView(event(payload=PAYLOAD, **fields)).evaluate({0: compile_expression(condition)})[0]
    return (True, "", "") if failure is None else (False, failure.reason, failure.seen)


@pytest.mark.parametrize(
    "text",
    [
        'event.subject.container == "acme/checkout" && event.payload.issue.level == "warning"',
        'event.kind.startsWith("issue.") && event.source == "github/acme"',
        'event.connection == "acme-github" && event.type == "github.issue.opened" && event.id == "evt_0001"',
        'event.payload.tags.exists(t, t.key == "env" && t.value == "prod")',
        'event.payload.tags.map(t, t.key) == ["os", "env"]',
        'event.payload.tags[1].value == "prod"',
        'event.payload["with space"]["a.b"] == 1',
        "event['actor']['login'] == 'ada'",
        '"bug" in event.labels && !("wontfix" in event.labels)',
        "has(event.payload.issue) && !has(event.payload.pull_request)",
        "event.actor.name == null",
        "event.payload.issue.milestone == null",
        "size(event.labels) == 1 && event.labels.size() == 1",
        'event.text.matches("(?i)HELP") // whatever stands in event.nothing',
        'event.payload[event.labels[0] == "bug" ? "issue" : "tags"].count == 3',
        "event.changed.labels.added == ['bug']",
        r'event.text != r"\" && event.text != "\"event.x"',
        'event.visibility == """private"""',
        'timestamp("2026-01-02T00:00:00Z").getFullYear() == 2026',
        "type(event.payload.issue.count) == int",
        '"payload" in event',
        "event.payload.absent.deeper == 1 || true",
    ],
)
def test_conditions_that_hold(text: str) -> None:
    fields = {
        "labels": ("bug",),
        "text": "please help",
        "changed": {"labels": {"added": ["bug"], "removed": []}},
    }
    assert run(text, **fields) == (True, "", "")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("event.payload.issue.level == 'error'", "the condition is false"),
        ("event.payload.issue.count", "gave 3, not true or false"),
        ("event.kind", 'gave "issue.opened", not true or false'),
        ("event.payload.issue", "gave {"),
        ("null", "gave null, not true or false"),
        ("event.payload.nothing == 1", "field absent: event.payload.nothing"),
        ("event.payload.nothing.deeper == 1", "field absent: event.payload.nothing"),
        ("event.payload.nothing != 1", "field absent: event.payload.nothing"),
        ("!(event.payload.nothing == 1)", "field absent: event.payload.nothing"),
        ("event.nothing == 1", "field absent: event.nothing"),
        ("event['nothing'] == 1", "field absent: event.nothing"),
        ('event.payload.tags[0].missing == "x"', "field absent: event.payload.tags[0].missing"),
        (
            "event.payload.issue.milestone.title == 'x'",
            "field absent: event.payload.issue.milestone.title (event.payload.issue.milestone is null)",
        ),
        (
            "has(event.payload.issue.milestone.title)",
            "field absent: event.payload.issue.milestone.title (event.payload.issue.milestone is null)",
        ),
        (
            "event.payload.issue.level.name == 'x'",
            'field absent: event.payload.issue.level.name (event.payload.issue.level is "warning")',
        ),
        (
            "event.payload.tags[9].key == 'x'",
            "field absent: event.payload.tags[9] (event.payload.tags has 2 entries)",
        ),
        ("event.payload.tags.exists(t, t.missing == 1)", "field absent: t.missing"),
        ("event.payload.tags.all(t, t.missing.more == 1)", "field absent: t.missing.more"),
        ("event.payload['x' + 'y'] == 1", "field absent: xy"),
        ("event.payload.issue.level < 3", "expression failed: an operator or function does not take values"),
        ("size(event.payload.issue.count) == 1", "expression failed: size() does not take such a value"),
        ("event.payload.issue.count / 0 == 1", "expression failed: division by zero"),
        ("timestamp(event.text).getHours() == 1", "expression failed: Function 'timestamp' error"),
        ("event.text.matches(event.actor.login + '(')", "expression failed: Function 'matches' error"),
    ],
)
def test_conditions_that_do_not_hold_say_why(text: str, reason: str) -> None:
    holds, given, _ = run(text)
    assert not holds
    assert given.startswith(reason), given


def test_what_a_failing_condition_saw() -> None:
    _, _, seen = run(
        "event.payload.issue.level == 'error' && event.payload.nope == event.kind && event.kind != ''"
    )
    assert (
        seen
        == 'event.payload.issue.level = "warning", event.payload.nope is absent, event.kind = "issue.opened"'
    )


def test_what_was_seen_is_bounded_whatever_the_event_holds() -> None:
    huge = {
        "text": "x" * 1_000_000,
        "list": [["y" * 1000] * 1000] * 1000,
        "map": {str(i): "z" for i in range(9999)},
    }
    failure = EventView(event(payload=huge)).evaluate(
        {
            0: compile_expression(
                "event.payload.text == '' && event.payload.map == {} && event.payload.list == []"
            )
        }
    )[0]
    assert failure is not None
    assert len(failure.seen) <= 300
    assert len(failure.reason) <= 400
    assert len(show(huge)) <= 100


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "CEL does not accept the expression: Syntax error: mismatched input '<EOF>' (line 1, column 1"),
        ("event.kind ==", "(line 1, column 14 of the expression)"),
        ("event.kind\n  = 'x'", "(line 2, column 3 of the expression)"),
        ("event.kind == 'x", "CEL does not accept"),
        ("9223372036854775808 > 1", "invalid int literal"),
        ("(" * 900, "CEL does not accept"),
        ("x" * 2001, "2001 characters, at most 2000"),
        ("evnt.kind == ''", "unknown name 'evnt'; did you mean 'event'?"),
        ("event.kind == kind", "unknown name 'kind'"),
        (".event.kind == ''", "a name cannot begin with a dot: write event instead of .event"),
        ("event.labels.exists(l, l == '') && l == ''", "unknown name 'l'; known are event"),
        ("event.labels.exists(event, event == '')", "choose another name"),
        ("event.labels.all(i, v, v == '')", "unknown name 'v'"),
        ("event.labels.all('x')", "all() takes a variable and a condition"),
        ("event.text.lower() == ''", "unknown function 'lower'"),
        ("startWith(event.text, 'a')", "unknown function 'startWith'; did you mean 'startsWith'?"),
        ("startsWith(event.text, 'a')", "write x.startsWith(…), not startsWith(x, …)"),
        ("event.text.int() == 1", "write int(x), not x.int()"),
        ("optional.of(1) == 1", "unknown name 'optional'"),
        ("event{a: 1}", "builds a message"),
        ("event.text.matches('(')", "is not a regular expression"),
        ("event.text.matches(r'a{99999}{9999}')", "is not a regular expression"),
        (
            "event.labels.all(a, event.labels.all(b, event.labels.all(c, true)))",
            "may be nested 2 deep, not deeper",
        ),
        ("&&".join(["event.labels.all(a, true)"] * 5), "more than 4 of"),
        ("event.labels.map(a, [a, a]).size() > 0", "map() may only pick values: lists and maps"),
        ("event.labels.map(a, {'a': a}).size() > 0", "map() may only pick values: lists and maps"),
        ("event.labels.map(a, a + a).size() > 0", "map() may only pick values: +"),
    ],
)
def test_expressions_refused_at_load(text: str, message: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        compile_expression(text)
    assert message in str(caught.value)


def test_the_cache_gives_the_same_program() -> None:
    assert compile_expression("event.kind == 'push'") is compile_expression("event.kind == 'push'")


@pytest.mark.parametrize(
    ("text", "selection"),
    [
        ("event.payload.a.b == 1", {"payload": {"a": {"b": None}}}),
        ("event.payload.a.b.c.d == 1", {"payload": {"a": {"b": {"c": {"d": None}}}}}),
        ("event.payload.a[0].b == 1", {"payload": {"a": None}}),
        ("event.payload.a == event.payload.a.b", {"payload": {"a": None}}),
        ("event.payload.a.b == event.payload.a", {"payload": {"a": None}}),
        ("event.payload.a.size() == 1", {"payload": {"a": None}}),
        ("event.payload.size == 1", {"payload": {"size": None}}),
        ("event . payload\n .a // .b\n == 1", {"payload": {"a": None}}),
        ("event['payload'].a == 1", {"payload": {"a": None}}),
        (r"event['\x70ayload'].a == 1", None),
        ("event[event.kind] == 1", None),
        ("(event).kind == 'x'", None),
        ("'event.kind' == 'x'", {}),
        ("event.labels.exists(x, x == event.kind)", {"labels": None, "kind": None}),
    ],
)
def test_only_what_is_named_is_converted(text: str, selection: object) -> None:
    assert compile_expression(text).selection == selection


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (2**64, "expression failed: a number needs more than 64 bits"),
        (-(2**63) - 1, "expression failed: a number needs more than 64 bits"),
        (10**400, "expression failed: a number needs more than 64 bits"),
        ({1, 2}, "expression failed: a set is not a JSON value"),
        (b"bytes", "expression failed: a bytes is not a JSON value"),
        ("\ud800", "expression failed: a value is not one that CEL can take"),
        (list(range(60_000)), "expression failed: a list or map of 60000 entries is too large"),
    ],
)
def test_a_value_that_cannot_be_converted_fails_only_the_rules_that_read_it(
    value: object, reason: str
) -> None:
    odd = event().model_copy(
        update={"data": event().data.model_copy(update={"payload": {"odd": value, "ok": 1}})}
    )
    results = EventView(odd).evaluate(
        {
            0: compile_expression("event.payload.odd == 1"),
            1: compile_expression("event.payload.ok == 1"),
            2: compile_expression("event.kind == 'issue.opened'"),
            3: compile_expression("size(event.payload) == 2"),
        }
    )
    assert results[0] is not None
    assert results[0].reason.startswith(reason)
    assert results[1] is None
    assert results[2] is None
    assert results[3] is not None


@pytest.mark.parametrize(
    "value", [2**63, 2**64 - 1, -(2**63), 1e300, float("nan"), "a\0b", "", None, {"1": 2}, [[]]]
)
def test_unusual_values_are_compared_without_harm(value: object) -> None:
    failure = EventView(event(payload={"v": value})).evaluate(
        {0: compile_expression("event.payload.v == 5")}
    )[0]
    assert failure is not None
    assert failure.reason == "the condition is false"


@pytest.mark.parametrize("levels", [100, 200, 300, 5_000, 200_000])
def test_depth_never_ends_the_process(levels: int) -> None:
    deep: dict[str, Any] = {}
    for _ in range(levels):
        deep = {"a": deep}
    payload = {"deep": deep, "ok": 1}
    odd = event().model_copy(update={"data": event().data.model_copy(update={"payload": payload})})
    results = EventView(odd).evaluate(
        {
            0: compile_expression("size(event.payload.deep) == 1"),
            1: compile_expression("event.payload.ok == 1"),
        }
    )
    assert results[1] is None
    assert (results[0] is None) == (levels <= 200)
    while deep:  # taken apart by hand: the interpreter's own clean-up is recursive
        deep = deep.popitem()[1]


def test_long_lists_are_not_searched_by_nested_macros() -> None:
    payload = {"l": list(range(500))}
    view = EventView(event(payload=payload))
    single = compile_expression("event.payload.l.exists(a, a == 499)")
    nested = compile_expression("event.payload.l.exists(a, event.payload.l.exists(b, a + b == -1))")
    results = view.evaluate({0: single, 1: nested})
    assert results[0] is None
    assert results[1] is not None
    assert "too large to be searched (limit 100)" in results[1].reason


@pytest.mark.parametrize(
    "text",
    [
        "event.payload.l.all(a, event.payload.l.all(b, a + b >= 0)) && event.payload.l.map(x, x).size() > 0",
        "event.payload.l.map(a, event.payload.l.map(b, b)).size() > 0",
        "event.payload.m.filter(a, a != '').filter(b, b != '').filter(c, c != '').size() > 0",
        "event.text.matches('(a*)*(b*)*(a|b|ab)*c$')",
    ],
)
def test_the_worst_that_is_allowed_stays_short(text: str) -> None:
    worst = event(payload={"l": list(range(100)), "m": {str(i): 1 for i in range(1000)}}, text="ab" * 30_000)
    started = time.process_time()
    EventView(worst).evaluate({0: compile_expression(text)})
    assert time.process_time() - started < 5


def test_no_event_field_of_that_name() -> None:
    fields = dict(
        compile_expression("event.knd == event.actor.logn && event.payload.any.thing == 1").unknown_fields()
    )
    assert fields == {"event.knd": "did you mean 'kind'?", "event.actor.logn": "did you mean 'login'?"}


names = st.sampled_from(["a", "b", "size", "event"])
paths = st.lists(names, min_size=1, max_size=4)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=12,
)


def whole(text: str) -> Expression:
    """The same condition, with all of the event converted: what the projection must not change."""
    given = compile_expression(text)
    return Expression(given.text, given.program, given.nesting, given.paths, given.names, None)


@given(st.lists(paths, min_size=1, max_size=3), st.dictionaries(names, json_values, max_size=3))
def test_converting_only_a_part_changes_no_result(fields: list[list[str]], payload: dict[str, Any]) -> None:
    terms = [f"event.payload.{'.'.join(field)}" for field in fields]
    small = {key: value for key, value in payload.items() if _fits(value)}
    view = EventView(event(payload=small))
    for text in (
        f"{terms[0]} == {terms[-1]}",
        f"has({terms[0]}) || {terms[-1]} == null",
        f"!has({terms[0]})",
    ):
        expected = view.evaluate({0: whole(text)})[0]
        assert view.evaluate({0: compile_expression(text)})[0] == expected
        together = {index: compile_expression(f"{term} == 1") for index, term in enumerate(terms)}
        assert view.evaluate({9: compile_expression(text), **together})[9] == expected


def _fits(value: object) -> bool:
    """Within what CEL takes: otherwise only the conditions that read it fail, which is tested above."""
    if isinstance(value, int):
        return -(2**63) <= value < 2**64
    if isinstance(value, dict):
        return all(map(_fits, value.values()))
    return not isinstance(value, list) or all(map(_fits, value))


@given(json_values, st.text(alphabet="event.paylod ()[]{}\"'=<>!&|+-*/?:,123 \n", max_size=40))
def test_nothing_but_an_expression_error_is_raised(payload: Any, text: str) -> None:
    try:
        expression = compile_expression(text)
    except ExpressionError:
        return
    failure = EventView(event(payload={"a": payload})).evaluate({0: expression})[0]
    assert failure is None or failure.reason


def test_the_scanner_reads_what_the_library_reads() -> None:
    reading = scan("event.payload.l.exists(x, x.y == event.a) && event.text.matches('b')")
    assert [str(path) for path in reading.paths] == ["event.payload.l", "x", "x.y", "event.a", "event.text"]
    assert (reading.nesting, reading.patterns) == (1, ("'b'",))
