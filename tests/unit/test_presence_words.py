"""What people read of a run: plain at every state, the same for the same standing, nothing of the agent's own text."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

import pytest

from connectors.presence_words import check_words, duration, link_of, status_text
from schemas.event import Subject
from schemas.result import Origin
from storage.presence import Wanted
from storage.standing import Made, Standing
from storage.states import RUN_TERMINAL
from storage.tables import ResultStatus, RunStatus

RUN: Final = "run_1"
WANTED: Final = Wanted(
    rule="fix",
    origin=Origin(
        connection="acme-github",
        event_id="evt_1",
        kind="issue.opened",
        subject=Subject(kind="issue", key="acme/checkout#12", container="acme/checkout"),
    ),
    timeout_seconds=7200.0,
)
PULL: Final = Made(
    output="open_pull_request",
    slot="open:1",
    status=ResultStatus.POSTED,
    url="https://github.com/acme/checkout/pull/7",
    subject="acme/checkout#7",
)
ANSWER: Final = Made(
    output="comment",
    slot="final",
    status=ResultStatus.POSTED,
    url="https://github.com/acme/checkout/issues/12#c1",
)
EYES: Final = Made(
    output="add_reaction",
    slot="eyes:1",
    status=ResultStatus.POSTED,
    url="https://github.com/acme/checkout/issues/12",
)


def standing(status: RunStatus, **more: Any) -> Standing:
    times = {"created_at": 1000.0, "started_at": 1010.0, "ended_at": 1202.0} if status in RUN_TERMINAL else {}
    return Standing(**{"run_id": RUN, "status": status, **times, **more})


def text(status: RunStatus, *, activity: str | None = None, **more: Any) -> str:
    return status_text(standing(status, **more), WANTED, activity=activity)


@pytest.mark.parametrize("status", list(RunStatus))
def test_every_state_is_told_and_names_rule_and_run(status: RunStatus) -> None:
    said = text(status)
    assert said.startswith("**")
    assert said.endswith(f"Rule `fix` · {'3 min 12 s · ' if status in RUN_TERMINAL else ''}run `{RUN}`")
    assert said == text(status)


def test_the_end_names_links_cost_and_time() -> None:
    said = text(RunStatus.SUCCEEDED, cost_cents=123, made=(EYES, PULL, ANSWER))
    assert said.splitlines() == [
        "**Done.**",
        "",
        f"Made: [pull request #7]({PULL.url}), [answer]({ANSWER.url}).",
        "",
        f"Rule `fix` · $1.23 · 3 min 12 s · run `{RUN}`",
    ]


def test_at_work_it_says_what_was_done_last_and_what_was_passed_on() -> None:
    said = text(RunStatus.RUNNING, activity="ran a command", started_at=0.0, heard=2)
    assert "Last it ran a command. 2 follow-ups were passed on to it." in said
    assert "$" not in said


@pytest.mark.parametrize(
    ("status", "more", "words"),
    [
        (RunStatus.QUEUED, {"ahead": "run_0"}, "Waits for run `run_0` of this conversation to end."),
        (
            RunStatus.QUEUED,
            {"held": "rule.concurrent"},
            "has as many runs at work as it may, so the agent waits (rule.concurrent). It starts when one of them has",
        ),
        (RunStatus.QUEUED, {"held": "paused"}, "**Paused.** The rule that this is for is paused by a person"),
        (RunStatus.QUEUED, {"held": "paused"}, "It starts when somebody resumes it."),
        (
            RunStatus.QUEUED,
            {"held": "all.per_day_usd", "held_until": 86_400.0},
            "The hub that this is for has spent",
        ),
        (
            RunStatus.QUEUED,
            {"held": "all.per_day_usd", "held_until": 86_400.0},
            "begins, at 02 Jan 00:00 UTC.",
        ),
        (
            RunStatus.QUEUED,
            {"held": "team.starts_per_hour", "held_until": 60.0},
            "not before 01 Jan 00:01 UTC.",
        ),
        (RunStatus.QUEUED, {"held": "rule.concurrent", "ahead": "run_0"}, "Waits for run `run_0`"),
        (RunStatus.SENDING, {"retried": True}, "**Waits to be tried again.**"),
        (RunStatus.WAITING, {"budget_cents": 250}, "$2.50 are used up."),
        (RunStatus.WAITING, {"budget_cents": 250}, f"`triggerhub runs budget {RUN} --usd 5`"),
        (
            RunStatus.WAITING,
            {"waits_for_people": True},
            "**Waits for people to approve** what it wants to do.",
        ),
        (
            RunStatus.FAILED,
            {"error": "the repository is gone."},
            "could not finish this: the repository is gone.",
        ),
        (RunStatus.FAILED, {}, f"Why: `triggerhub runs show {RUN}`."),
        (RunStatus.FAILED, {"error": "budget reached", "budget_cents": 100}, "(now $1.00)"),
        (RunStatus.TIMED_OUT, {}, "reached its limit of 2 h and was stopped"),
        (RunStatus.CANCELLED, {"error": "stopped by ada"}, "**Stopped**: stopped by ada."),
        (RunStatus.JOINED, {"joined_to": "run_0"}, "**Passed on** to run `run_0`"),
    ],
)
def test_what_people_have_to_know(status: RunStatus, more: dict[str, Any], words: str) -> None:
    assert words in text(status, **more)


@pytest.mark.parametrize("status", [RunStatus.FAILED, RunStatus.TIMED_OUT, RunStatus.CANCELLED])
def test_what_went_wrong_says_how_to_have_it_done(status: RunStatus) -> None:
    assert "`triggerhub replay evt_1 --again`" in text(status)


def test_waiting_for_people_offers_no_budget() -> None:
    assert "budget" not in text(RunStatus.WAITING, waits_for_people=True, budget_cents=250)


def test_refusals_are_told_at_the_end_and_not_before() -> None:
    no = replace(ANSWER, slot="comment:1", status=ResultStatus.REFUSED, url=None, clause="links")
    bad = replace(no, clause=None, output="open_pull_request")
    ended = text(RunStatus.SUCCEEDED, refused=(no, no, bad))
    assert (
        "Not posted: 2 times comment (refused by the rule: links), pull request (the vendor refused it)."
        in ended
    )
    assert "Not posted" not in text(RunStatus.RUNNING, refused=(no,))


def test_a_page_is_named_once_and_ten_at_most() -> None:
    many = tuple(replace(ANSWER, url=f"https://example.com/{n}") for n in range(12))
    assert text(RunStatus.SUCCEEDED, made=(PULL, PULL)).count(str(PULL.url)) == 1
    assert " and 2 more." in text(RunStatus.SUCCEEDED, made=many)


@pytest.mark.parametrize(
    ("status", "state"),
    [
        (RunStatus.QUEUED, "pending"),
        (RunStatus.RUNNING, "pending"),
        (RunStatus.WAITING, "pending"),
        (RunStatus.SUCCEEDED, "success"),
        (RunStatus.FAILED, "failure"),
        (RunStatus.TIMED_OUT, "failure"),
        (RunStatus.CANCELLED, "failure"),
        (RunStatus.JOINED, "neutral"),
        (RunStatus.INTERRUPTED, "neutral"),
    ],
)
def test_the_check(status: RunStatus, state: str) -> None:
    assert check_words(standing(status))[0] == state


def test_the_check_names_what_holds_a_run_back() -> None:
    assert check_words(standing(RunStatus.QUEUED, held="team.per_day_usd")) == (
        "pending",
        "Held back (team.per_day_usd)",
    )


def test_the_check_links_to_what_was_made_last() -> None:
    assert link_of(standing(RunStatus.SUCCEEDED, made=(PULL, ANSWER, EYES))) == ANSWER.url
    assert link_of(standing(RunStatus.SUCCEEDED, made=(EYES,))) is None


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.2, "0 s"), (45.4, "45 s"), (192, "3 min 12 s"), (180, "3 min"), (7500, "2 h 5 min")],
)
def test_durations(seconds: float, words: str) -> None:
    assert duration(seconds) == words
