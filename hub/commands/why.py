"""`why EVENT_ID`: what became of an event, and for every rule the reason."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hub.commands.events import EventId
from hub.commands.operating import FETCHED, Json, Url, ask
from hub.commands.runs import cost, held, told
from hub.commands.terminal import as_json, emit, honest, moment, say
from router.verdicts import EVERY_RULE

if TYPE_CHECKING:
    from hub.api_models import EventDetail, ReplayView, RunDetail, VerdictView
    from hub.records import Records


@honest
def why(event_id: EventId, *, url: Url = None, json: Json = False) -> None:
    """Tell what became of an event: each rule's verdict with its reason, then runs and what they posted."""

    async def question(records: Records) -> EventDetail:
        return await records.event(event_id)

    found = ask(url, question)
    if json:
        emit(as_json(found))
        return
    for line in story(found):
        say(line)


def story(found: EventDetail) -> list[str]:
    """The whole chain in plain sentences."""
    actor = found.event.data.actor
    who = actor.login or actor.name or actor.id or "nobody named"
    received = f"received {moment(found.received_at)} at {found.connection}"
    lines = [
        f"{found.id}: {found.event.type} on {found.subject}, by {who} (trust {actor.trust}), {received}."
    ]
    if found.delivery is not None:
        because = f" ({found.delivery.reason})" if found.delivery.reason else ""
        if found.delivery.origin == FETCHED:
            lines.append(
                "It was fetched, not delivered: no webhook told of it, so the vendor was asked what happened."
            )
        else:
            lines.append(f"It came with the delivery {found.delivery.id}: {found.delivery.outcome}{because}.")
    else:
        lines.append("No webhook brought it: another program published it.")
    lines += ["", *_verdicts(found)]
    for replay in found.replays:
        lines += ["", *_replay(replay)]
    for waiting in found.waiting:
        since = moment(waiting.created_at)
        lines += ["", f"{waiting.rule}: dispatch {waiting.id} has waited for a runner since {since}."]
    for run in found.runs:
        lines += ["", *_run(run)]
    return lines


def _verdicts(found: EventDetail) -> list[str]:
    if found.routed_at is None:
        return ["The rules were not asked yet: it waits for the router; is a hub running?"]
    if not found.verdicts:
        return ["No rule was asked: none has this source, connection and kind."]
    return [_verdict(verdict) for verdict in found.verdicts]


def _replay(replay: ReplayView) -> list[str]:
    """A replay and what the rules said then."""
    again = ", dispatching again what was dispatched before" if replay.again else ""
    because = f", because: {replay.reason}" if replay.reason else ""
    line = f"Replay {replay.number} was asked for {moment(replay.asked_at)} by {replay.by}{again}{because}."
    if replay.routed_at is None:
        return [line, "  It waits for the router; is a hub running?"]
    if not replay.verdicts:
        return [line, "  No rule was asked: none has this source, connection and kind."]
    return [line, *(f"  {_verdict(verdict)}" for verdict in replay.verdicts)]


def _verdict(verdict: VerdictView) -> str:
    rule = "Every rule" if verdict.rule == EVERY_RULE else verdict.rule
    if verdict.outcome == "matched":
        what = "follow-up" if verdict.clause == "follow_up" else "matched"
        line = f"{rule}: {what}: {verdict.reason}"
        return f"{line} (dispatch {verdict.dispatch_id})." if verdict.dispatch_id else f"{line}."
    if verdict.outcome == "suppressed":
        seen = f" ({verdict.seen})" if verdict.seen else ""
        return f"{rule}: suppressed by {verdict.clause}: {verdict.reason}{seen}."
    line = f"{rule}: no match: {verdict.reason}"
    if verdict.clause == "match.if" and verdict.expected:
        line += f"; the condition is {verdict.expected}"
        line += f", it saw {verdict.seen}" if verdict.seen else ""
    return f"{line}."


def _run(run: RunDetail) -> list[str]:
    parts = [f"{run.rule}: run {run.id} is {run.status}"]
    if (waits := held(run)) is not None:
        parts.append(f"held {waits}")
    if run.error:
        parts.append(f"error: {run.error}")
    if run.stop_reason:
        parts.append(f"stopped by {run.stop_reason}")
    parts.append(f"session {run.session_id}" if run.session_id else "no session yet")
    if run.cost_usd is not None:
        parts.append(f"cost {cost(run)}")
    lines = [", ".join(parts) + "."]
    lines += [f"  {told(result)}" for result in run.results] or ["  It wanted nothing posted (yet)."]
    return lines
