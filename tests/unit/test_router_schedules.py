"""Schedules: when they fire, at the change of the clock too; what is refused; and which rule a firing reaches."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from router_samples import configuration, event, load_config, problems, rule, rule_set

from router.prompts import conversation_key, make_dispatch
from router.schedules import MOST_MISSED, due, following
from router.verdicts import VerdictOutcome
from schemas.event import Event
from schemas.schedule import schedule_event, scheduled_rule

BERLIN = ZoneInfo("Europe/Berlin")
POST = {"post_message": {"connection": "acme-slack", "channel": "C1"}}


def at(*moment: int, fold: int = 0) -> float:
    year, month, day, hour, minute = moment
    return datetime(year, month, day, hour, minute, fold=fold, tzinfo=BERLIN).timestamp()


def nightly(**more: Any) -> dict[str, Any]:
    """A rule with a schedule and no match."""
    schedule = {"cron": "0 9 * * 1-5", "timezone": "Europe/Berlin"}
    return rule(**{"name": "nightly", "match": None, "schedule": schedule, "outputs": [POST], **more})


def fired(name: str = "nightly") -> Event:
    return schedule_event(
        name, at=at(2026, 11, 25, 9, 0), cron="0 9 * * 1-5", timezone="Europe/Berlin", local="then", missed=0
    )


@pytest.mark.parametrize("minute", [0, 1, 59])
def test_a_firing_is_due_from_its_very_second_on(minute: int) -> None:
    found = due("0 9 * * 1-5", "Europe/Berlin", since=at(2026, 11, 24, 9, 0), now=at(2026, 11, 25, 9, minute))
    assert found is not None
    assert (found.at, found.local, found.missed) == (
        at(2026, 11, 25, 9, 0),
        "2026-11-25 09:00 Europe/Berlin",
        0,
    )


def test_what_was_dealt_with_is_not_due_again() -> None:
    nine = at(2026, 11, 25, 9, 0)
    assert due("0 9 * * *", "Europe/Berlin", since=nine, now=nine + 3600) is None
    assert due("0 9 * * *", "Europe/Berlin", since=nine - 3600, now=nine - 1) is None


def test_after_an_outage_the_latest_alone_is_due_and_the_others_are_counted() -> None:
    found = due("0 9 * * 1-5", "Europe/Berlin", since=at(2026, 11, 20, 8, 0), now=at(2026, 11, 25, 10, 0))
    assert found is not None
    assert (found.at, found.missed) == (at(2026, 11, 25, 9, 0), 3), "Friday, Monday and Tuesday"
    long = due("* * * * *", "UTC", since=0.0, now=at(2026, 11, 25, 10, 0))
    assert long is not None
    assert long.missed == MOST_MISSED


@pytest.mark.parametrize(
    ("cron", "day", "hours"),
    [
        ("30 2 * * *", (2026, 3, 29), ["03:00+0200"]),
        ("30 2 * * *", (2026, 10, 25), ["02:30+0200"]),
        ("0 */1 * * *", (2026, 3, 29), ["00:00+0100", "01:00+0100", "03:00+0200", "04:00+0200"]),
        (
            "0 * * * *",
            (2026, 10, 25),
            ["00:00+0200", "01:00+0200", "02:00+0200", "02:00+0100", "03:00+0100", "04:00+0100"],
        ),
        ("0 3 * * *", (2026, 3, 29), ["03:00+0200"]),
        ("0 3 * * *", (2026, 10, 25), ["03:00+0100"]),
    ],
)
def test_at_the_change_of_the_clock_nothing_is_lost_and_nothing_comes_twice(
    cron: str, day: tuple[int, int, int], hours: list[str]
) -> None:
    midnight = at(*day, 0, 0)
    forward: list[float] = []
    moment = midnight - 1
    while (moment := following(cron, "Europe/Berlin", after=moment)) < at(*day, 4, 1):
        forward.append(moment)
    assert [f"{datetime.fromtimestamp(one, BERLIN):%H:%M%z}" for one in forward] == hours
    for before, now in zip([midnight - 1, *forward], forward, strict=False):
        found = due(cron, "Europe/Berlin", since=before, now=now)
        assert found is not None
        assert (found.at, found.missed) == (now, 0), "going back finds the same moments"


def test_the_event_of_a_firing_is_the_same_whoever_makes_it() -> None:
    assert fired().id == fired().id
    assert fired().id != fired("other").id
    assert (fired().source, fired().type, fired().data.kind) == (
        "triggerhub/schedule",
        "triggerhub.schedule.fired",
        "other",
    )
    assert fired().data.actor.trust == "system"
    assert scheduled_rule(fired()) == "nightly"
    assert scheduled_rule(event()) is None


def test_a_firing_reaches_its_own_rule_and_no_other() -> None:
    rules = rule_set(
        nightly(who="bot"),
        nightly(name="weekly"),
        rule(name="everything-odd", match={"kind": ["other", "push"]}),
    )
    for asked in (rules.match, rules.explain):
        (verdict,) = asked(fired())
        assert (verdict.rule, verdict.outcome) == ("nightly", VerdictOutcome.MATCHED)
    assert rules.match(fired("gone")) == []
    assert rules.match(fired("everything-odd")) == []
    assert [one.rule for one in rules.match(event(kind="push"))] == ["everything-odd"]
    explained = {one.rule: one.clause for one in rules.explain(event(kind="push"))}
    assert explained == {"nightly": "schedule", "weekly": "schedule", "everything-odd": None}


def test_a_rule_may_have_both() -> None:
    rules = rule_set(nightly(match={"source": "github"}))
    assert [one.outcome for one in rules.match(event())] == [VerdictOutcome.MATCHED]
    assert [one.outcome for one in rules.match(fired())] == [VerdictOutcome.MATCHED]


def test_a_rule_that_is_off_or_paused_does_not_start() -> None:
    (off,) = rule_set(nightly(enabled=False)).match(fired())
    (paused,) = rule_set(nightly()).match(fired(), paused={"nightly"})
    assert (off.outcome, off.clause) == (VerdictOutcome.SUPPRESSED, "enabled")
    assert (paused.outcome, paused.clause) == (VerdictOutcome.SUPPRESSED, "paused")


def test_each_firing_has_a_session_of_its_own_and_answers_by_its_outputs_alone() -> None:
    rules = rule_set(nightly())
    compiled = rules.rules[0]
    first = conversation_key(compiled, fired())
    later = schedule_event("nightly", at=at(2026, 11, 26, 9, 0), cron="", timezone="", local="", missed=0)
    assert first != conversation_key(compiled, later)
    dispatch = make_dispatch(compiled, fired(), follow_up=False, conversation=first)
    assert dispatch.report == "none"
    assert [(grant.output, grant.connection) for grant in dispatch.grants] == [("post_message", "acme-slack")]


@pytest.mark.parametrize(
    ("changed", "complaints"),
    [
        ({"schedule": None}, ["rules[0].match: required, but missing; or give the rule a schedule"]),
        (
            {"outputs": None},
            [
                "rules[0].schedule: a time has no place to answer to: give the rule an output with a connection"
            ],
        ),
        (
            {"outputs": [POST, "comment", {"comment": {"to": "origin"}}]},
            [
                (
                    "rules[0].outputs[1]: a rule with a schedule has no origin that 'comment' could go to: "
                    "name a connection"
                ),
                (
                    "rules[0].outputs[2].comment: a rule with a schedule has no origin that 'comment' could go to: "
                    "name a connection"
                ),
            ],
        ),
        (
            {"schedule": {"cron": "0 9 * *"}},
            [
                (
                    "rules[0].schedule.cron: '0 9 * *' is no schedule: write five fields, minute hour day month "
                    "weekday, as 0 9 * * 1-5"
                )
            ],
        ),
        (
            {"schedule": {"cron": "0 25 * * *"}},
            ["rules[0].schedule.cron: '0 25 * * *' is no schedule: bad hour"],
        ),
        (
            {"schedule": {"cron": "0 0 31 2 *"}},
            ["rules[0].schedule.cron: '0 0 31 2 *' is no schedule: bad day-of-month"],
        ),
        (
            {"schedule": {"cron": "0 9 * * *", "timezone": "Europe/Berln"}},
            ["rules[0].schedule.timezone: unknown timezone 'Europe/Berln'; did you mean 'Europe/Berlin'?"],
        ),
        (
            {"schedule": {"cron": "0 9 * * *", "timezon": "UTC"}},
            ["rules[0].schedule.timezon: unknown field 'timezon'; did you mean 'timezone'?"],
        ),
    ],
)
def test_what_cannot_work_is_refused_at_load(changed: dict[str, Any], complaints: list[str]) -> None:
    assert problems(configuration(nightly(**changed))) == complaints


def test_a_schedule_loads_with_its_zone_or_in_utc() -> None:
    config, _ = load_config(configuration(nightly(schedule={"cron": "*/5 * * * *"})))
    schedule = config.rules[0].schedule
    assert schedule is not None
    assert schedule.timezone == "UTC"
