"""What is under which cap, when one is reached, and budgets that do not fit: decided without a database."""

from __future__ import annotations

from decimal import Decimal

import pytest
from router_samples import configuration, load_config, problems, rule

from hub.caps import ConfiguredCaps
from schemas.caps import Cap, CapSet, Use, reached


@pytest.mark.parametrize(
    ("cap", "use", "wanted", "by"),
    [
        (Cap(concurrent=2), Use(active=1), None, None),
        (Cap(concurrent=2), Use(active=2), None, "concurrent"),
        (Cap(starts_per_hour=5), Use(starts=4), None, None),
        (Cap(starts_per_hour=5), Use(starts=5), None, "starts_per_hour"),
        (Cap(per_day_cents=100), Use(spent=30, reserved=30), 40, None),
        (Cap(per_day_cents=100), Use(spent=30, reserved=30), 41, "per_day_usd"),
        (Cap(), Use(active=9, starts=9, reserved=9, spent=9), 9, None),
    ],
)
def test_a_cap_is_reached_when_one_more_would_go_beyond(
    cap: Cap, use: Use, wanted: int | None, by: str | None
) -> None:
    assert reached(cap, use, wanted=wanted) == by


def test_the_narrowest_comes_first() -> None:
    caps = CapSet(Cap(concurrent=9), {"shop": Cap(concurrent=5)}, {"one": Cap(concurrent=1)})
    assert [scope for scope, _, _ in caps.over("one", "shop")] == ["rule", "team", "all"]
    assert [scope for scope, _, _ in caps.over("two", None)] == ["all"]
    assert not CapSet()


def test_caps_of_a_configuration_in_whole_cents() -> None:
    capped = rule(team="shop", limits={"budget_usd": 1, "per_day_usd": 19.99})
    config, rules = load_config(
        configuration(capped, teams={"shop": {"concurrent": 3}}, limits={"starts_per_hour": 7})
    )
    assert rules.warnings == ()
    asked = ConfiguredCaps(lambda: config)
    assert asked() is asked()
    assert asked() == CapSet(
        Cap(starts_per_hour=7), {"shop": Cap(concurrent=3)}, {capped["name"]: Cap(per_day_cents=1999)}
    )
    assert config.limits.per_day_usd is None
    assert config.rules[0].limits.per_day_usd == Decimal("19.99")


@pytest.mark.parametrize(
    ("limits", "more", "said"),
    [
        ({}, {"limits": {"per_day_usd": 5}}, "required under the limits of everything (5 USD a day)"),
        ({}, {"teams": {"shop": {"per_day_usd": 5}}}, "required under teams.shop.per_day_usd (5)"),
        (
            {"per_day_usd": 5, "budget_usd": 6},
            {},
            "6 is above limits.per_day_usd (5): no run could ever start",
        ),
        ({"concurrent": 0}, {}, "concurrent"),
        ({}, {"teams": {"nobody": {"concurrent": 1}, "shop": {"per_dy_usd": 1}}}, "per_dy_usd"),
    ],
)
def test_mistakes_are_named(limits: dict[str, object], more: dict[str, object], said: str) -> None:
    found = problems(configuration(rule(team="shop", limits=limits), **more))
    assert any(said in str(one) for one in found), found
