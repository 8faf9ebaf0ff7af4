"""Matching an event against the rules: one verdict per candidate, each with the clause that decided and why.

Pure and synchronous. Order of the clauses: enabled, paused, loop, match.* , match.if, who.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence

from router.expressions import MAX_SEEN, EventView, Expression, Failure, as_json, show
from router.index import RuleIndex
from router.problems import Problem
from router.rules import CompiledRule
from router.verdicts import Verdict, VerdictOutcome
from schemas.config import SELF
from schemas.event import Actor, Event
from schemas.schedule import scheduled_rule

MATCHED_REASON = "every clause holds"
FIRED_REASON = "the time of its schedule has come"
OPENED = frozenset({"issue.opened", "pr.opened"})
"""What of our own a rule may let in. Words of ours never start anything."""


class RuleSet:
    """The rules of one configuration, ready to be matched. Immutable; may be used by many threads."""

    def __init__(
        self,
        rules: Sequence[CompiledRule],
        *,
        warnings: Iterable[Problem] = (),
        sources: Mapping[str, str] | None = None,
    ) -> None:
        self.rules = tuple(rules)
        self.warnings = tuple(warnings)
        """What the loader found odd but not wrong."""
        self.bare_keys = Counter((sources or {}).values())["jira"] <= 1
        """Whether `KEY-1` alone names an issue: at most one Jira connection is configured."""
        self._by_name = {rule.name: rule for rule in self.rules}
        self._index = RuleIndex(self.rules)

    def __len__(self) -> int:
        return len(self.rules)

    def get(self, name: str) -> CompiledRule | None:
        """The rule of that name, or None (rules come and go between configurations)."""
        return self._by_name.get(name)

    def match(self, event: Event, *, paused: Collection[str] = ()) -> list[Verdict]:
        """One verdict for each candidate, in the order of the configuration.

        A candidate is a rule whose source, connection and kind fit; the others cost nothing and get no
        verdict (`explain` gives theirs). `paused` names rules that an operator has stopped. Never raises.
        """
        scheduled = scheduled_rule(event)
        if scheduled is not None:
            return self._fired(scheduled, event, paused)
        candidates = self._index.candidates(event)
        return _judge(candidates, event, paused) if candidates else []

    def _fired(self, name: str, event: Event, paused: Collection[str]) -> list[Verdict]:
        """A schedule's time has come: it concerns its own rule and no other."""
        rule = self._by_name.get(name)
        if rule is None or rule.rule.schedule is None:
            return []
        verdict = _stopped(rule, event, paused)
        return [verdict or Verdict(rule=name, outcome=VerdictOutcome.MATCHED, reason=FIRED_REASON)]

    def explain(self, event: Event, *, paused: Collection[str] = ()) -> list[Verdict]:
        """One verdict for every rule: as `match` says, and for the rest the first clause that excludes it.

        Costs time in proportion to the number of rules; for people, not for the stream.
        """
        scheduled = scheduled_rule(event)
        if scheduled is not None:
            return self._fired(scheduled, event, paused)
        excluded = {
            rule.name: verdict for rule in self.rules if (verdict := _excluded(rule, event)) is not None
        }
        judged = _judge([rule for rule in self.rules if rule.name not in excluded], event, paused)
        verdicts = excluded | {verdict.rule: verdict for verdict in judged}
        return [verdicts[rule.name] for rule in self.rules]


def _excluded(rule: CompiledRule, event: Event) -> Verdict | None:
    """The verdict of a rule that is no candidate, else None."""
    if rule.rule.match is None:
        return _not_matched(rule, "schedule", "its own time", event.type)
    match = rule.match
    if match.source is not None and match.source != event.connector:
        return _not_matched(rule, "match.source", match.source, event.connector)
    if match.connection is not None and match.connection != event.connection:
        return _not_matched(rule, "match.connection", match.connection, event.connection)
    if event.data.kind not in rule.kinds:
        return _not_matched(rule, "match.kind", list(match.kind or ()), event.data.kind)
    return None


def _judge(rules: Sequence[CompiledRule], event: Event, paused: Collection[str]) -> list[Verdict]:
    verdicts: list[Verdict | None] = [_before_condition(rule, event, paused) for rule in rules]
    conditions: dict[int, Expression] = {
        index: rule.condition
        for index, (rule, verdict) in enumerate(zip(rules, verdicts, strict=True))
        if verdict is None and rule.condition is not None
    }
    failures: Mapping[int, Failure | None] = EventView(event).evaluate(conditions) if conditions else {}
    return [
        verdict or _after_condition(rule, event, failures.get(index))
        for index, (rule, verdict) in enumerate(zip(rules, verdicts, strict=True))
    ]


def _stopped(rule: CompiledRule, event: Event, paused: Collection[str]) -> Verdict | None:
    """The verdict, where the rule is not to act whatever the event says."""
    if not rule.rule.enabled:
        return _suppressed(rule, "enabled", "the rule is switched off in the configuration (enabled: false)")
    if rule.name in paused:
        return _suppressed(rule, "paused", "the rule is paused by an operator")
    if event.data.actor.is_self and not _lets_own_in(rule, event):
        return _suppressed(rule, "loop", "triggerhub itself caused this event")
    return None


def _lets_own_in(rule: CompiledRule, event: Event) -> bool:
    return SELF in rule.who and event.data.kind in OPENED


def _before_condition(rule: CompiledRule, event: Event, paused: Collection[str]) -> Verdict | None:
    """The verdict, where a clause before the condition decides."""
    stopped = _stopped(rule, event, paused)
    if stopped is not None:
        return stopped
    data = event.data
    if rule.types and event.type not in rule.types:
        return _not_matched(rule, "match.type", list(rule.match.type or ()), event.type)
    if rule.containers:
        container = data.subject.container
        if container is None or not any(pattern.fullmatch(container) for pattern in rule.containers):
            return _not_matched(rule, "match.container", list(rule.match.container or ()), container)
    if rule.labels and rule.labels.isdisjoint(data.labels):
        return _not_matched(rule, "match.labels", list(rule.match.labels or ()), list(data.labels))
    if rule.mentions and not any(mention.lower() in rule.mentions for mention in data.mentions):
        return _not_matched(rule, "match.mentions", list(rule.match.mentions or ()), list(data.mentions))
    return None


def _after_condition(rule: CompiledRule, event: Event, failure: Failure | None) -> Verdict:
    if failure is not None:
        return Verdict(
            rule=rule.name,
            outcome=VerdictOutcome.NOT_MATCHED,
            clause="match.if",
            expected=rule.match.if_,
            seen=failure.seen,
            reason=failure.reason,
        )
    if event.data.actor.is_self:  # it came so far because the rule lets it in
        return Verdict(rule=rule.name, outcome=VerdictOutcome.MATCHED, reason=MATCHED_REASON)
    trust = trust_of(event.data.actor)
    if trust not in rule.who:
        return _not_matched(rule, "who", list(rule.rule.who), trust)
    return Verdict(rule=rule.name, outcome=VerdictOutcome.MATCHED, reason=MATCHED_REASON)


def trust_of(actor: Actor) -> str:
    """The trust that `who` is compared with: a bot is a bot, whatever else the payload says of it.

    A source's own actor (`system`) is no bot in this sense, though vendors may call it one.
    """
    return "bot" if actor.is_bot and actor.trust != "system" else actor.trust


def _suppressed(rule: CompiledRule, clause: str, reason: str) -> Verdict:
    return Verdict(rule=rule.name, outcome=VerdictOutcome.SUPPRESSED, clause=clause, reason=reason)


def _not_matched(rule: CompiledRule, clause: str, expected: object, seen: object) -> Verdict:
    wanted, found = _bounded(expected), _bounded(seen)
    return Verdict(
        rule=rule.name,
        outcome=VerdictOutcome.NOT_MATCHED,
        clause=clause,
        expected=wanted,
        seen=found,
        reason=f"{clause} wants {wanted}, the event has {found}",
    )


def _bounded(value: object) -> str:
    if not isinstance(value, list):
        return show(value)
    return as_json([str(item)[:MAX_SEEN] for item in value[:MAX_SEEN]], limit=MAX_SEEN)
