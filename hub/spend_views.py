"""What is paused and what was spent, from database rows to the shapes of the JSON API. `pause` and `resume` write."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

from sqlalchemy import Connection

from hub.api_requests import PauseRequest, ResumeRequest
from hub.api_values import UnknownIdError, time_of
from hub.spend_models import HeldView, PauseList, PauseView, ReservedView, ResumeView, SpendView, SpentView
from storage import ledger, pauses
from storage.clock import read_clock
from storage.pauses import Pause

if TYPE_CHECKING:
    from router.engine import RuleSet  # the expression library is slow to import, and commands need no rules


class NotPausedError(RuntimeError):
    """There is nothing to resume. The text says what is paused."""


def pause_list(connection: Connection) -> PauseList:
    """Everything that is paused."""
    return PauseList(items=tuple(_view(one) for one in pauses.in_force(connection)))


def check_known(asked: PauseRequest, rules: RuleSet) -> None:
    """Raise UnknownIdError where no rule in force has this name or team: a pause of a misspelt one stops nothing."""
    known = {
        "rule": [rule.name for rule in rules.rules],
        "team": sorted({rule.rule.team for rule in rules.rules if rule.rule.team}),
        "all": [""],
    }[asked.scope]
    if asked.name not in known:
        raise UnknownIdError(asked.scope, asked.name, [one for one in known if one[:1] == asked.name[:1]][:5])


def pause(connection: Connection, asked: PauseRequest, *, by: str) -> PauseView:
    """Stop a rule, a team or everything. Writes."""
    return _view(pauses.pause(connection, asked.scope, asked.name, by=by, reason=asked.reason))


def resume(connection: Connection, asked: ResumeRequest) -> ResumeView:
    """Let it go on. Raises NotPausedError. Writes."""
    if not pauses.resume(connection, asked.scope, asked.name):
        others = ", ".join(called(one.scope, one.name) for one in pauses.in_force(connection))
        msg = f"{called(asked.scope, asked.name)} is not paused; paused is {others or 'nothing'}"
        raise NotPausedError(msg)
    return ResumeView(scope=asked.scope, name=asked.name)


def spend(connection: Connection, days: int) -> SpendView:
    """What was spent today and on the days before it, `days` in all, by the database's clock."""
    since = max(0, ledger.day_of(read_clock(connection)) - days + 1)
    spent = ledger.entries(connection, since=since)
    return SpendView(
        since=_date(since),
        total_usd=sum(one.cents for one in spent) / 100,
        spent=tuple(
            SpentView(day=_date(one.day), team=one.team, rule=one.rule, runs=one.runs, usd=one.cents / 100)
            for one in spent
        ),
        reserved=tuple(
            ReservedView(team=one.team, rule=one.rule, runs=one.runs, usd=one.cents / 100)
            for one in ledger.reserved(connection)
        ),
        held=tuple(HeldView(by=by, runs=runs) for by, runs in sorted(ledger.held(connection).items())),
    )


def _date(day: int) -> date:
    return datetime.fromtimestamp(day * ledger.DAY_SECONDS, UTC).date()


def called(scope: str, name: str) -> str:
    """As people say it."""
    return "everything" if scope == "all" else f"the {scope} {name}"


def _view(one: Pause) -> PauseView:
    return PauseView(scope=one.scope, name=one.name, by=one.by, reason=one.reason, at=time_of(one.at))
