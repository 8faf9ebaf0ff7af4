"""The shapes of the configuration, field by field: durations, money, matches, outputs."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from schemas.config import DEFAULT_WHO, Match, Output, Rule, RuleLimits
from schemas.definitions import Agent
from schemas.durations import duration
from schemas.values import money


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30s", 30),
        ("15m", 900),
        ("2h", 7200),
        ("24h", 86400),
        ("1h30m", 5400),
        ("1h0m1s", 3601),
        ("90m", 5400),
    ],
)
def test_durations(text: str, seconds: int) -> None:
    assert duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (90, "whole number with its unit"),
        ("90", "whole number with its unit"),
        ("1.5h", "whole number with its unit"),
        ("", "whole number with its unit"),
        ("2 h", "whole number with its unit"),
        ("1m1h", "whole number with its unit"),
        (None, "whole number with its unit"),
        ("0s", "above 0s"),
        ("25h", "at most 24h"),
        ("999999h", "at most 24h"),
    ],
)
def test_bad_durations_name_the_value_and_the_remedy(value: object, words: str) -> None:
    with pytest.raises(ValueError, match=words) as caught:
        duration(value)
    assert repr(value) in str(caught.value)


@given(st.integers(min_value=1, max_value=10_000_000))
def test_every_amount_of_cents_is_exact(cents: int) -> None:
    as_yaml_reads_it = float(Decimal(cents) / 100)
    assert RuleLimits.model_validate({"budget_usd": as_yaml_reads_it}).budget_cents == cents
    assert RuleLimits.model_validate({"budget_usd": f"{Decimal(cents) / 100}"}).budget_cents == cents


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (0, "above 0"),
        (-1, "above 0"),
        (100_000.01, "at most 100000"),
        (2.555, "whole number of cents"),
        ("0.001", "whole number of cents"),
        (True, "not an amount"),
        ("two", "not an amount"),
        ("NaN", "not an amount"),
        (float("inf"), "not an amount"),
        ([], "not an amount"),
        (None, "not an amount"),
    ],
)
def test_bad_amounts(value: object, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        money(value)


def test_no_budget_is_no_limit_and_the_timeout_has_a_default() -> None:
    assert RuleLimits().budget_cents is None
    assert RuleLimits().timeout == timedelta(hours=2)


def test_a_single_text_is_a_list_of_one() -> None:
    match = Match.model_validate({"kind": "issue.*", "container": "acme/*", "mentions": "@TriggerHub"})
    assert match.kind == ("issue.*",)
    assert match.container == ("acme/*",)
    assert match.mentions == ("triggerhub",)


@pytest.mark.parametrize("match", [{}, {"kind": "*"}, {"kind": ["*"], "container": "*"}, {"container": "**"}])
def test_a_match_that_selects_everything_is_refused(match: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match="empty match"):
        Match.model_validate(match)


@pytest.mark.parametrize(
    "match",
    [{"kind": []}, {"labels": []}, {"mentions": ["@"]}, {"source": ""}, {"kind": "issue.*", "kinds": "push"}],
)
def test_empty_lists_and_unknown_fields_are_refused(match: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Match.model_validate(match)


def test_outputs_are_names_or_single_mappings() -> None:
    assert Output.model_validate("comment") == Output(output="comment", options={})
    assert Output.model_validate({"comment": None}) == Output(output="comment", options={})
    assert Output.model_validate({"comment": {"to": "origin"}}).options == {"to": "origin"}
    wrong: object
    for wrong in ({}, {"a": {}, "b": {}}, {"comment": "origin"}, 3, [], ""):
        with pytest.raises(ValidationError):
            Output.model_validate(wrong)


def test_defaults_of_a_rule() -> None:
    rule = Rule.model_validate({"name": "a", "match": {"source": "x"}, "agent": "b", "prompt": " Do it. "})
    assert rule.who == DEFAULT_WHO == ("owner", "member", "collaborator", "system")
    assert (rule.report, rule.conversation, rule.follow_up, rule.enabled) == (
        "origin",
        "subject",
        "steer",
        True,
    )
    assert rule.prompt == "Do it."


@pytest.mark.parametrize("name", ["", "Upper", "a b", "a" * 65, "ä", "a_b", "a\n"])
def test_names_of_rules(name: str) -> None:
    with pytest.raises(ValidationError):
        Rule.model_validate({"name": name, "match": {"source": "x"}, "agent": "b", "prompt": "c"})


def test_unknown_actors_never_start_an_agent() -> None:
    with pytest.raises(ValidationError, match="unknown actor never starts"):
        Rule.model_validate(
            {"name": "a", "match": {"source": "x"}, "agent": "b", "prompt": "c", "who": ["member", "unknown"]}
        )


def test_the_vendor_part_of_an_agent_is_what_was_written() -> None:
    written = {"model": "m", "tools": [{"type": "t"}], "metadata": {"team": "a"}}
    assert Agent.model_validate({**written, "environment": "python"}).vendor() == written
