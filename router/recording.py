"""How verdicts are put into the words in which they are kept: what a rule said, what stops it after all, and what stands
for every rule. Pure: `storage.routing` keeps them.
"""

from __future__ import annotations

from dataclasses import replace

from router.verdicts import EVERY_RULE, Verdict, VerdictOutcome
from schemas.dispatch import Dispatch
from storage.routing import RecordedVerdict


def as_recorded(verdict: Verdict, dispatch: Dispatch | None = None) -> RecordedVerdict:
    """A rule's own answer, with the work that comes of it."""
    return RecordedVerdict(
        rule=verdict.rule,
        outcome=verdict.outcome.value,
        clause=verdict.clause,
        expected=verdict.expected,
        seen=verdict.seen,
        reason=verdict.reason,
        dispatch=dispatch,
    )


def suppressed(
    verdict: RecordedVerdict,
    clause: str,
    reason: str,
    *,
    expected: str | None = None,
    seen: str | None = None,
) -> RecordedVerdict:
    """The verdict with nothing coming of it, because of something that is not the rule's own."""
    return replace(
        verdict,
        outcome=VerdictOutcome.SUPPRESSED.value,
        clause=clause,
        expected=expected,
        seen=seen,
        reason=reason,
        dispatch=None,
    )


def for_every_rule(clause: str, reason: str, *, seen: str | None = None) -> RecordedVerdict:
    """The one verdict on an event about which no rule is asked."""
    return RecordedVerdict(
        rule=EVERY_RULE,
        outcome=VerdictOutcome.SUPPRESSED.value,
        clause=clause,
        seen=seen,
        reason=reason,
    )
