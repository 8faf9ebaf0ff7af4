"""Whether a queued run may start now, decided in the transaction that claims it: of two runners one takes the last place.

What a run may spend is reserved by its own row while it is at work, so nothing has to be given back after a crash.
Nothing here is asked where no cap is configured.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Final

from sqlalchemy import Connection, text

from schemas.caps import PER_DAY, STARTS, CapSet, Scope, Use, reached
from schemas.dispatch import Dispatch
from schemas.result import Result
from storage.ledger import DAY_SECONDS, day_of
from storage.statements import Fixed
from storage.tables import ACTIVE_RUN

HOUR: Final = 3600.0
LOCK: Final = 4_071_915
"""Of PostgreSQL's advisory locks the one that lets a single transaction at a time decide; SQLite's writer is alone."""

Notice = Callable[[Dispatch, str, str, float | None], Result | None]
"""What the origin is told of a run (its id) that is held (by what, at least until), if anything."""


@dataclass(frozen=True, slots=True)
class Admission:
    """What stands between a queued run and its start, besides pauses."""

    caps: CapSet
    notice: Notice = lambda _dispatch, _run, _held, _until: None


_OF: Final[dict[Scope, str]] = {"rule": " AND rule = :name", "team": " AND team = :name", "all": ""}


@lru_cache
def _active(scope: Scope) -> Fixed:
    return Fixed(
        lambda: text(
            # One that is reporting has been charged, and its session rests.
            "SELECT count(*), coalesce(sum(CASE WHEN status = 'reporting' THEN 0 "  # noqa: S608 - constants of ours
            f"ELSE coalesce(budget_cents, reserved_cents, 0) END), 0) FROM run WHERE {ACTIVE_RUN}{_OF[scope]}"
        )
    )


@lru_cache
def _starts(scope: Scope) -> Fixed:
    return Fixed(lambda: text(f"SELECT count(*) FROM run WHERE intent_at > :since{_OF[scope]}"))  # noqa: S608


@lru_cache
def _spent(scope: Scope) -> Fixed:
    return Fixed(
        lambda: text(f"SELECT coalesce(sum(cents), 0) FROM spend WHERE day = :day{_OF[scope]}")  # noqa: S608
    )


@lru_cache
def _oldest_start(scope: Scope) -> Fixed:
    return Fixed(lambda: text(f"SELECT min(intent_at) FROM run WHERE intent_at > :since{_OF[scope]}"))  # noqa: S608


_ALONE: Final = Fixed(lambda: text(f"SELECT pg_advisory_xact_lock({LOCK})"))


def held_until(connection: Connection, held: str, *, rule: str, team: str | None, now: float) -> float | None:
    """When what a run is held by ends by itself at the earliest; None where only people or other runs can end it."""
    scope, _, bound = held.rpartition(".")
    if bound == PER_DAY:
        return (day_of(now) + 1) * float(DAY_SECONDS)
    if bound != STARTS or scope not in _OF:
        return None
    of: dict[str, Any] = {} if scope == "all" else {"name": rule if scope == "rule" else team}
    oldest = _oldest_start(scope).run(connection, since=now - HOUR, **of).scalar_one()
    return None if oldest is None else float(oldest) + HOUR


class Gauge:
    """What is used of each cap, read once in a transaction, plus what this transaction takes.

    A run that is under no cap costs no query.
    """

    def __init__(self, connection: Connection, admission: Admission, *, now: float) -> None:
        self._connection = connection
        self._caps = admission.caps
        self._now = now
        self._used: dict[tuple[Scope, str], Use] = {}
        self._locked = connection.dialect.name != "postgresql"

    def held_by(self, rule: str, team: str | None, *, wanted: int | None) -> str | None:
        """The cap that one more run would go beyond: `rule.concurrent`, `all.per_day_usd` …; None: it may start."""
        for scope, name, cap in self._caps.over(rule, team):
            bound = reached(cap, self._use(scope, name), wanted=wanted)
            if bound is not None:
                return f"{scope}.{bound}"
        return None

    def took(self, rule: str, team: str | None, *, wanted: int | None) -> None:
        """One more was claimed."""
        for scope, name, _ in self._caps.over(rule, team):
            use = self._use(scope, name)
            self._used[scope, name] = replace(
                use, active=use.active + 1, starts=use.starts + 1, reserved=use.reserved + (wanted or 0)
            )

    def budget(self, rule: str, team: str | None, wanted: int | None) -> int | None:
        """What a run may spend: without a budget of its own under a cap in USD, no more than the least of them."""
        if wanted is not None:
            return wanted
        daily = [
            cap.per_day_cents for _, _, cap in self._caps.over(rule, team) if cap.per_day_cents is not None
        ]
        return min(daily, default=None)

    def _use(self, scope: Scope, name: str) -> Use:
        known = self._used.get((scope, name))
        if known is None:
            if not self._locked:
                _ALONE.run(self._connection)
                self._locked = True
            # Reservations first: a run that ends in between is then counted twice, never missed.
            of: dict[str, Any] = {} if scope == "all" else {"name": name}
            active, reserved = _active(scope).run(self._connection, **of).one()
            spent = _spent(scope).run(self._connection, day=day_of(self._now), **of).scalar_one()
            starts = _starts(scope).run(self._connection, since=self._now - HOUR, **of).scalar_one()
            known = self._used[scope, name] = Use(int(active), int(starts), int(reserved), int(spent))
        return known
