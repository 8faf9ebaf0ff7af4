"""What the router says about one event and one rule, whatever the answer. Shapes only."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

EVERY_RULE: Final = "*"
"""Stands for a rule's name in the one verdict on an event about which no rule is asked."""


class VerdictOutcome(StrEnum):
    """What became of a rule for an event."""

    MATCHED = "matched"
    """Every clause holds: a dispatch follows, unless something after the router stops it by name."""
    NOT_MATCHED = "not_matched"
    """`clause` failed."""
    SUPPRESSED = "suppressed"
    """The rule was not considered: switched off, paused, or the event is our own."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """One rule's answer to one event."""

    rule: str
    outcome: VerdictOutcome
    clause: str | None = None
    """What decided: `who`, `match.if`, `match.labels` …; `enabled`, `paused` or `loop` where suppressed."""
    expected: str | None = None
    """What the clause asks for."""
    seen: str | None = None
    """What the event has there, as JSON of at most 300 characters."""
    reason: str = ""
    """One sentence for people."""

    @property
    def matched(self) -> bool:
        return self.outcome is VerdictOutcome.MATCHED
