"""What a rule, a team or everything may do at most, made ready for deciding. Pure: what is used is an argument."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final, Literal

from schemas.config import Caps, Config

Scope = Literal["rule", "team", "all"]
CONCURRENT: Final = "concurrent"
STARTS: Final = "starts_per_hour"
PER_DAY: Final = "per_day_usd"
_HELD: Final[Mapping[str, tuple[str, str]]] = {
    "paused": ("is paused by a person", "It starts when somebody resumes it"),
    CONCURRENT: ("has as many runs at work as it may", "It starts when one of them has ended"),
    STARTS: ("has started as many runs within the last hour as it may", "It starts when there is room again"),
    PER_DAY: (
        "has spent or reserved what it may spend today",
        "It starts when one at work turns out to spend less, or when the next day begins",
    ),
}
"""By what a run is held: what is so, and what ends it."""


@dataclass(frozen=True, slots=True)
class Cap:
    """One set of bounds. None: without. Whole cents."""

    per_day_cents: int | None = None
    concurrent: int | None = None
    starts_per_hour: int | None = None


@dataclass(frozen=True, slots=True)
class Use:
    """What is used of it: runs at work, starts of the last hour, cents that they may spend, cents spent today."""

    active: int = 0
    starts: int = 0
    reserved: int = 0
    spent: int = 0


@dataclass(frozen=True, slots=True)
class CapSet:
    """All caps of a configuration."""

    everything: Cap | None = None
    teams: Mapping[str, Cap] = field(default_factory=dict)
    rules: Mapping[str, Cap] = field(default_factory=dict)

    def over(self, rule: str, team: str | None) -> list[tuple[Scope, str, Cap]]:
        """Those that a run of the rule is under, the narrowest first."""
        found: list[tuple[Scope, str, Cap]] = []
        if rule in self.rules:
            found.append(("rule", rule, self.rules[rule]))
        if team is not None and team in self.teams:
            found.append(("team", team, self.teams[team]))
        if self.everything is not None:
            found.append(("all", "", self.everything))
        return found

    def __bool__(self) -> bool:
        return bool(self.everything or self.teams or self.rules)


def reached(cap: Cap, use: Use, *, wanted: int | None) -> str | None:
    """The bound that one more run, which may spend `wanted` cents, would go beyond."""
    if cap.concurrent is not None and use.active >= cap.concurrent:
        return CONCURRENT
    if cap.starts_per_hour is not None and use.starts >= cap.starts_per_hour:
        return STARTS
    if cap.per_day_cents is not None and use.spent + use.reserved + (wanted or 0) > cap.per_day_cents:
        return PER_DAY
    return None


def caps_of(config: Config) -> CapSet:
    """The caps that a configuration sets."""
    teams = {name: cap for name, written in config.teams.items() if (cap := _cap(written)) is not None}
    rules = {rule.name: cap for rule in config.rules if (cap := _cap(rule.limits)) is not None}
    return CapSet(_cap(config.limits), teams, rules)


def _cap(written: Caps) -> Cap | None:
    cap = Cap(written.per_day_cents, written.concurrent, written.starts_per_hour)
    return None if cap == Cap() else cap


def held_words(held: str, until: float | None) -> str:
    """Why a run that is held (by what) does not start, and until when at least, for people at its origin. No amounts:
    anybody may read it."""
    scope, _, bound = held.rpartition(".")
    who = {"team": "The team", "all": "The hub"}.get(scope, "The rule")
    what, end = _HELD.get(bound, ("has reached a limit", "It starts when there is room again"))
    at = "not before" if bound == STARTS else "at"
    moment = "" if until is None else f", {at} {datetime.fromtimestamp(until, UTC):%d %b %H:%M} UTC"
    return f"{who} that this is for {what}, so the agent waits ({held}). {end}{moment}."
