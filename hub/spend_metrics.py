"""Gauges of what was spent, what may be spent still, what is held back and what people are asked, for all processes
together: every process reads them from the database. Amounts are US dollars of list price.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Gauge
from sqlalchemy import Connection

from storage import approvals, ledger
from storage.clock import read_clock
from storage.ledger import Entry, HeldBack, Reserved


@dataclass(frozen=True, slots=True)
class SpendFacts:
    """How it stands at one moment."""

    spent: Sequence[Entry]
    """Today, UTC."""
    reserved: Sequence[Reserved]
    held: Sequence[HeldBack]
    asked: int
    """Approvals that nobody has decided."""
    asked_seconds: float
    """Age of the oldest of them; 0 where there is none."""


def spend_facts(connection: Connection) -> SpendFacts:
    """Read them."""
    asked, oldest = approvals.open_ones(connection)
    return SpendFacts(
        spent=ledger.entries(connection, since=ledger.day_of(read_clock(connection))),
        reserved=ledger.reserved(connection),
        held=ledger.held_back(connection),
        asked=asked,
        asked_seconds=oldest,
    )


class SpendMetrics:
    """A part of the page of metrics."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._spent = Gauge(
            "triggerhub_spent_today_usd",
            "What runs cost since midnight UTC.",
            ["rule", "team"],
            registry=registry,
        )
        self._reserved = Gauge(
            "triggerhub_reserved_usd", "What runs at work may spend.", ["rule", "team"], registry=registry
        )
        self._held = Gauge(
            "triggerhub_runs_held",
            "Runs that do not start, by the cap or pause that holds them.",
            ["by", "rule", "team"],
            registry=registry,
        )
        self._asked = Gauge(
            "triggerhub_approvals_open", "Approvals that nobody has decided.", registry=registry
        )
        self._oldest = Gauge(
            "triggerhub_approvals_oldest_seconds",
            "Age of the oldest of them.",
            registry=registry,
        )

    def show(self, facts: SpendFacts) -> None:
        """What is not there any more is not shown any more."""
        for gauge in (self._spent, self._reserved, self._held):
            gauge.clear()
        for spent in facts.spent:
            self._spent.labels(spent.rule, spent.team or "").set(spent.cents / 100)
        for reserved in facts.reserved:
            self._reserved.labels(reserved.rule, reserved.team or "").set(reserved.cents / 100)
        for held in facts.held:
            self._held.labels(held.by, held.rule, held.team or "").set(held.runs)
        self._asked.set(facts.asked)
        self._oldest.set(facts.asked_seconds)
