"""What the JSON API answers and the command line shows of pauses and of money. Shapes only."""

from __future__ import annotations

from datetime import date, datetime

from hub.api_models import Answer


class PauseView(Answer):
    """A rule, a team or everything that a person stopped."""

    scope: str
    """`rule`, `team` or `all`."""
    name: str
    """Of the rule or team; empty for everything."""
    by: str
    """`api`, or `command:` and the user of the machine it was typed on."""
    reason: str | None
    at: datetime


class ResumeView(Answer):
    """What goes on again."""

    scope: str
    name: str


class PauseList(Answer):
    """Everything that is paused."""

    items: tuple[PauseView, ...]


class SpentView(Answer):
    """What the runs of one rule cost on one day."""

    day: date
    """UTC."""
    team: str | None
    rule: str
    runs: int
    usd: float
    """List price, whole cents."""


class ReservedView(Answer):
    """Runs of one rule that are at work, and what they may spend in all. Without a budget they reserve nothing."""

    team: str | None
    rule: str
    runs: int
    usd: float


class HeldView(Answer):
    """Queued runs that may not start yet."""

    by: str
    """`paused`, or a cap: `rule.concurrent`, `team.per_day_usd`, `all.starts_per_hour` …"""
    runs: int


class SpendView(Answer):
    """What sessions cost, and what they may cost still."""

    since: date
    total_usd: float
    spent: tuple[SpentView, ...]
    reserved: tuple[ReservedView, ...]
    held: tuple[HeldView, ...]
