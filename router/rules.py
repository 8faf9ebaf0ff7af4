"""A rule made ready for matching: patterns expanded, condition compiled, grants composed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase, translate
from typing import Final

from router.expressions import Expression, compile_expression
from schemas.config import Match, Rule
from schemas.dispatch import FileMount, Grant
from schemas.event import KINDS
from schemas.values import is_glob

ALL_KINDS: Final = frozenset(KINDS)
NO_MATCH: Final = Match.model_construct()


@dataclass(frozen=True, slots=True)
class CompiledRule:
    """A rule of the configuration and everything that matching and dispatching need of it."""

    rule: Rule
    position: int
    environment: str
    kinds: frozenset[str]
    """Exact kinds, globs expanded."""
    containers: tuple[re.Pattern[str], ...]
    types: frozenset[str]
    labels: frozenset[str]
    mentions: frozenset[str]
    who: frozenset[str]
    follow: frozenset[str]
    """Further kinds that are follow-ups, globs expanded."""
    condition: Expression | None
    grants: Mapping[str, tuple[Grant, ...]]
    """By the event's connector: `to: origin` means something else in each."""
    connections: frozenset[str]
    """Every connection of the configuration: only there can a result be posted."""
    vaults: tuple[str, ...] = ()
    """Those of the agent and of the rule."""
    files: tuple[FileMount, ...] = ()

    @property
    def name(self) -> str:
        return self.rule.name

    @property
    def match(self) -> Match:
        """What events must have. Of a rule with a schedule alone: nothing, and no event is looked at for it."""
        return self.rule.match or NO_MATCH


def expand_kinds(patterns: tuple[str, ...] | None) -> frozenset[str]:
    """Kinds of the vocabulary that one of `patterns` stands for; all of them where there is no pattern."""
    if patterns is None:
        return ALL_KINDS
    return frozenset(kind for pattern in patterns for kind in KINDS if fnmatchcase(kind, pattern))


def compile_rule(
    rule: Rule,
    *,
    position: int,
    environment: str,
    grants: Mapping[str, tuple[Grant, ...]],
    connections: frozenset[str],
    vaults: tuple[str, ...] = (),
    files: tuple[FileMount, ...] = (),
) -> CompiledRule:
    """Prepare a rule that was checked. Raises ExpressionError where it was not."""
    match = rule.match or NO_MATCH
    return CompiledRule(
        rule=rule,
        position=position,
        environment=environment,
        kinds=frozenset() if rule.match is None else expand_kinds(match.kind),
        containers=tuple(
            re.compile(translate(pattern) if is_glob(pattern) else re.escape(pattern))
            for pattern in match.container or ()
        ),
        types=frozenset(match.type or ()),
        labels=frozenset(match.labels or ()),
        mentions=frozenset(match.mentions or ()),
        who=frozenset(rule.who),
        follow=expand_kinds(rule.follow),
        condition=None if match.if_ is None else compile_expression(match.if_),
        grants=grants,
        connections=connections,
        vaults=vaults,
        files=files,
    )
