"""What a status message and a check say of a run. Pure; nothing of the agent's own text, nothing of narrower places."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

from connectors.poster import CheckState
from schemas.caps import held_words
from storage.presence import Wanted
from storage.standing import Made, Standing
from storage.tables import RunStatus

MAX_REASON: Final = 500
MAX_LINKS: Final = 10
MAX_TITLE: Final = 120
_NAMES: Final = {
    "open_pull_request": "pull request",
    "comment": "comment",
    "reply_in_review_thread": "reply",
    "post_message": "message",
    "update_message": "message",
    "add_remote_link": "link",
    "link_issue": "link",
    "set_commit_status": "commit status",
    "create_check_run": "check",
    "set_issue_status": "issue",
    "transition": "issue",
}
"""What people call the thing that an output makes."""
_PLAIN: Final[Mapping[RunStatus, str]] = {
    RunStatus.QUEUED: "**Queued.** The agent starts as soon as there is room.",
    RunStatus.CREATING: "**Starting.**",
    RunStatus.SENDING: "**Starting.**",
    RunStatus.STOPPING: "**Stopping.**",
    RunStatus.REPORTING: "**Posting** what it made.",
    RunStatus.SUCCEEDED: "**Done.**",
    RunStatus.FAILED: "**Failed.** The agent could not finish this",
    RunStatus.CANCELLED: "**Stopped**",
    RunStatus.INTERRUPTED: "**Interrupted** by a follow-up. The next run goes on with it.",
}
_UNSEEN: Final = frozenset({"add_reaction", "add_label", "remove_label"})
"""Outputs whose trace is where the message stands already."""


def status_text(standing: Standing, wanted: Wanted, *, activity: str | None = None) -> str:
    """The status message as Markdown. The same standing gives the same text, however often it is asked."""
    lines = [_headline(standing, wanted, activity)]
    lines += [
        line for line in (_made(standing.made), _refused(standing), _next_step(standing, wanted)) if line
    ]
    return "\n\n".join([*lines, _facts(standing, wanted)])


def check_words(standing: Standing) -> tuple[CheckState, str]:
    """State and title of the check."""
    status = standing.status
    if status is RunStatus.SUCCEEDED:
        parts = ["Done", *_cost_and_time(standing)]
        return "success", ", ".join(parts)
    if status in {RunStatus.JOINED, RunStatus.INTERRUPTED}:
        return "neutral", "Another run goes on with it"
    if status in {RunStatus.FAILED, RunStatus.TIMED_OUT, RunStatus.CANCELLED}:
        what = {RunStatus.TIMED_OUT: "Ran out of time", RunStatus.CANCELLED: "Stopped"}.get(status, "Failed")
        reason = _one_line(standing.error)
        return "failure", (f"{what}: {reason}" if reason else what)[:MAX_TITLE]
    words = {
        RunStatus.QUEUED: "Queued" if standing.held is None else f"{_held(standing.held)} ({standing.held})",
        RunStatus.WAITING: "Waits for approval"
        if standing.waits_for_people
        else "Waits for its budget to be raised",
        RunStatus.REPORTING: "Posting",
        RunStatus.STOPPING: "Stopping",
    }
    return "pending", words.get(status, "At work")


def link_of(standing: Standing) -> str | None:
    """The page that tells most of the run: what it made last, of what people may see."""
    urls = [made.url for made in standing.made if made.url and made.output not in _UNSEEN]
    return urls[-1] if urls else None


def _headline(standing: Standing, wanted: Wanted, activity: str | None) -> str:
    match standing.status:
        case RunStatus.QUEUED:
            return _queued(standing)
        case RunStatus.CREATING | RunStatus.SENDING if standing.retried:
            return "**Waits to be tried again.** The service could not be reached, or did not do it."
        case RunStatus.RUNNING:
            return _at_work(standing, activity)
        case RunStatus.WAITING:
            return _waiting(standing)
        case RunStatus.REPORTING | RunStatus.SUCCEEDED:
            return f"{_PLAIN[standing.status]}{_heard(standing)}"
        case RunStatus.FAILED | RunStatus.CANCELLED:
            return f"{_PLAIN[standing.status]}{_reason(standing)}"
        case RunStatus.TIMED_OUT | RunStatus.JOINED:
            return _cut_short(standing, wanted)
        case _:
            return _PLAIN[standing.status]


def _held(by: str) -> str:
    return "Paused" if by == "paused" else "Held back"


def _queued(standing: Standing) -> str:
    if standing.ahead is not None:
        return f"**Queued.** Waits for run `{standing.ahead}` of this conversation to end."
    if standing.held is not None:
        return f"**{_held(standing.held)}.** {held_words(standing.held, standing.held_until)}"
    return _PLAIN[standing.status]


def _at_work(standing: Standing, activity: str | None) -> str:
    since = f" since {_moment(standing.started_at)}" if standing.started_at else ""
    last = f" Last it {activity}." if activity else ""
    return f"**At work**{since}.{last}{_heard(standing)}"


def _cut_short(standing: Standing, wanted: Wanted) -> str:
    if standing.status is RunStatus.JOINED:
        to = f"run `{standing.joined_to}`" if standing.joined_to else "another run"
        return f"**Passed on** to {to}, which was at work here."
    limit = f" of {duration(wanted.timeout_seconds)}" if wanted.timeout_seconds else ""
    return f"**Out of time.** The agent reached its limit{limit} and was stopped."


def _waiting(standing: Standing) -> str:
    if standing.waits_for_people:
        until = f" The question ends at {_moment(standing.deadline_at)}." if standing.deadline_at else ""
        return f"**Waits for people to approve** what it wants to do.{until}"
    used = f"${standing.budget_cents / 100:.2f} are" if standing.budget_cents else "It is"
    until = f" It gives up at {_moment(standing.deadline_at)}." if standing.deadline_at else ""
    return f"**Waits for its budget to be raised.** {used} used up.{until}"


def _reason(standing: Standing) -> str:
    reason = _one_line(standing.error)
    return f": {reason.rstrip('.')}." if reason else "."


def _heard(standing: Standing) -> str:
    if not standing.heard:
        return ""
    return f" {standing.heard} follow-up{'s were' if standing.heard > 1 else ' was'} passed on to it."


def _made(made: Sequence[Made]) -> str:
    """Links to what the run made, each page once."""
    pages = {one.url: one for one in made if one.url and one.output not in _UNSEEN}
    links = [f"[{_name(one)}]({url})" for url, one in list(pages.items())[:MAX_LINKS]]
    more = f" and {len(pages) - MAX_LINKS} more" if len(pages) > MAX_LINKS else ""
    return f"Made: {', '.join(links)}{more}." if links else ""


def _name(one: Made) -> str:
    if one.slot.partition(".")[0] == "final":
        return "answer"
    name = _NAMES.get(one.output, one.output.replace("_", " "))
    number = (one.subject or "").rpartition("#")[2]
    return f"{name} #{number}" if number.isdecimal() else name


def _refused(standing: Standing) -> str:
    """What the run wanted posted and was not let, once it has ended: until then the agent may do better."""
    if standing.ended_at is None or not standing.refused:
        return ""
    kinds: dict[str, int] = {}
    for one in standing.refused:
        clause = f" (refused by the rule: {one.clause})" if one.clause else " (the vendor refused it)"
        kinds[f"{_name(one)}{clause}"] = kinds.get(f"{_name(one)}{clause}", 0) + 1
    said = [f"{number} times {kind}" if number > 1 else kind for kind, number in kinds.items()]
    return f"Not posted: {', '.join(said[:MAX_LINKS])}."


def _next_step(standing: Standing, wanted: Wanted) -> str:
    """What a person can do, where something is to be done."""
    match standing.status:
        case RunStatus.WAITING if not standing.waits_for_people:
            more = max(1, (standing.budget_cents or 0) * 2 // 100)
            return f"To let it go on: `triggerhub runs budget {standing.run_id} --usd {more}`."
        case RunStatus.TIMED_OUT:
            return f"To give it longer, raise `limits.timeout` of the rule; then {_again(wanted)}"
        case RunStatus.FAILED:
            hidden = "" if standing.error else f"Why: `triggerhub runs show {standing.run_id}`. "
            if "budget" in (standing.error or "") and standing.budget_cents:
                now = f"${standing.budget_cents / 100:.2f}"
                return f"To let it spend more, raise `limits.budget_usd` of the rule (now {now}); then {_again(wanted)}"
            return f"{hidden}To have it tried again, {_again(wanted)}"
        case RunStatus.CANCELLED:
            return f"To have it done after all, {_again(wanted)}"
        case _:
            return ""


def _again(wanted: Wanted) -> str:
    return f"`triggerhub replay {wanted.origin.event_id} --again`."


def _facts(standing: Standing, wanted: Wanted) -> str:
    facts = [f"Rule `{wanted.rule}`", *(_cost_and_time(standing) if standing.ended_at else ())]
    return " · ".join([*facts, f"run `{standing.run_id}`"])


def _cost_and_time(standing: Standing) -> list[str]:
    cost = [] if standing.cost_cents is None else [f"${standing.cost_cents / 100:.2f}"]
    return cost + ([] if standing.seconds is None else [duration(standing.seconds)])


def duration(seconds: float) -> str:
    """`45 s`, `3 min 12 s`, `2 h 5 min`."""
    whole = round(seconds)
    hours, minutes, rest = whole // 3600, whole % 3600 // 60, whole % 60
    parts = [f"{hours} h"] if hours else []
    parts += [f"{minutes} min"] if minutes else []
    parts += [f"{rest} s"] if rest and not hours else []
    return " ".join(parts) or "0 s"


def _moment(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%d %b %H:%M} UTC"


def _one_line(text: str | None) -> str:
    line = " ".join((text or "").split())
    return line if len(line) <= MAX_REASON else f"{line[: MAX_REASON - 1]}…"
