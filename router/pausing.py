"""Which rules of the configuration an operator has stopped. Pure; what is stopped is an argument."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from router.engine import RuleSet
from router.verdicts import Verdict, VerdictOutcome


class Stopped(Protocol):
    """One thing that is paused."""

    @property
    def scope(self) -> str:
        """`rule`, `team` or `all`."""
        ...

    @property
    def name(self) -> str: ...


def paused_rules(rules: RuleSet, stopped: Iterable[Stopped]) -> frozenset[str]:
    """Names of the rules that are paused: themselves, by their team, or with everything."""
    by_scope: dict[str, set[str]] = {"rule": set(), "team": set(), "all": set()}
    for one in stopped:
        by_scope[one.scope].add(one.name)
    if not any(by_scope.values()):
        return frozenset()
    return frozenset(
        rule.name
        for rule in rules.rules
        if by_scope["all"] or rule.name in by_scope["rule"] or rule.rule.team in by_scope["team"]
    )


def paused_verdict(rule: str) -> Verdict:
    """What is recorded of an event that a conversation of a paused rule would have let in."""
    return Verdict(
        rule=rule,
        outcome=VerdictOutcome.SUPPRESSED,
        clause="paused",
        reason="the rule is paused by an operator",
    )
