"""What we posted or opened ourselves and hear of again: it starts nothing, unless a rule lets it in (`who: [self]`), and
then only so deep.

A marker in a text shows where the text comes from, not who sent it: it stops, and opens no door.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from typing import Final

from sqlalchemy import Connection

from router.engine import OPENED, RuleSet
from router.lineage import DEPTH, MAX_DEPTH, deeper, markers_of
from router.notes import say_stopped
from router.recording import as_recorded, for_every_rule, suppressed
from router.verdicts import Verdict
from schemas.dispatch import Dispatch
from schemas.event import Event
from schemas.result import Result
from storage.lineage import is_copy, marker_key
from storage.routing import RecordedVerdict, dispatch_of_run, last_dispatch, made_by_us, run_exists

LOOP: Final = "loop"
_NOTE: Final = (
    f"This was opened by an agent that was started by what an agent opened, {MAX_DEPTH} times in a row, so it starts "
    "no further one. As soon as a person says something to an agent, it goes on."
)

Compose = Callable[[Verdict, Event], Dispatch | None]


@dataclass(frozen=True, slots=True)
class Maker:
    """What of ours made the thing that an event tells of."""

    seen: str
    """The result or run, for people."""
    run: str
    proven: bool
    """By an identifier of the vendor, not by what stands in the text alone."""


def maker_of(connection: Connection, event: Event) -> Maker | None:
    """The maker, if the event tells of our own post come back."""
    artefact = event.data.artefact
    if artefact:
        made = made_by_us(connection, connection_name=event.connection, artefact=artefact)
        if made is not None:
            return Maker(made, made.partition(":")[0], proven=True)
    elif event.data.kind not in OPENED:
        return None  # it tells of something that was there before, with that thing's text
    for marker in markers_of(event):
        genuine = marker.is_genuine(marker_key(connection))
        if not genuine and not run_exists(connection, marker.run):
            continue
        if event.data.actor.is_self:
            return Maker(marker.run, marker.run, proven=True)
        if not genuine or not is_copy(connection, marker, artefact):
            return Maker(marker.run, marker.run, proven=False)
    return None


def judge_own(
    connection: Connection,
    event: Event,
    maker: Maker | None,
    *,
    rules: RuleSet,
    paused: Collection[str],
    compose: Compose,
) -> tuple[list[RecordedVerdict], list[Result]]:
    """All verdicts on what we made, and one note where it is too deep.

    `maker` is None where an identifier says that it was us, and nothing says which run: then its depth is unknown, and
    nothing starts.
    """
    actor = event.data.actor.model_copy(update={"is_self": True})
    ours = event.model_copy(update={"data": event.data.model_copy(update={"actor": actor})})
    may_start = maker is not None and maker.proven and event.data.kind in OPENED
    made_in = dispatch_of_run(connection, maker.run) if maker is not None and may_start else None
    recorded, posts = list[RecordedVerdict](), list[Result]()
    for verdict in rules.match(ours, paused=paused):
        if not verdict.matched:
            recorded.append(_kept(verdict, maker))
            continue
        dispatch = compose(verdict, event) if made_in is not None else None
        if made_in is None or dispatch is None:
            reason = (
                "triggerhub made this itself, and nothing proves in which run: how deep it is, is not known"
            )
            recorded.append(_loop(verdict, maker, reason))
        elif made_in.depth + 1 >= MAX_DEPTH:
            depth = made_in.depth + 1
            reason = f"agents started by what agents opened are {MAX_DEPTH} deep: a person must say something first"
            plain = as_recorded(verdict)
            recorded.append(
                suppressed(plain, DEPTH, reason, expected=f"less than {MAX_DEPTH}", seen=str(depth))
            )
            if not posts:
                posts += say_stopped(connection, event, _NOTE, first=made_in, slot=DEPTH, stopped=dispatch)
        else:
            dispatch = deeper(dispatch, made_in.depth + 1, root=made_in.beginning)
            reason = f"{verdict.reason}; opened by {made_in.rule}, and the rule lets in what agents open"
            kept = _kept(verdict, maker)
            recorded.append(replace(kept, reason=reason, dispatch=dispatch))
    if not recorded:
        recorded.append(for_every_rule(LOOP, "our own post", seen=_seen(maker)))
    return recorded, posts


def with_depth(connection: Connection, verdict: RecordedVerdict) -> RecordedVerdict:
    """A follow-up that no person caused is as deep as what the conversation was told before it.

    Otherwise a failed build of what an agent opened would begin to count anew.
    """
    dispatch = verdict.dispatch
    if dispatch is None or not dispatch.follow_up:
        return verdict
    actor = dispatch.event.data.actor
    if not actor.is_bot and actor.trust != "system":
        return verdict
    before = last_dispatch(connection, dispatch.conversation)
    if before is None or not before.depth:
        return verdict
    return replace(verdict, dispatch=deeper(dispatch, before.depth, root=before.beginning))


def _kept(verdict: Verdict, maker: Maker | None) -> RecordedVerdict:
    if verdict.clause == LOOP:
        return _loop(verdict, maker, "triggerhub posted this itself")
    return as_recorded(verdict)


def _loop(verdict: Verdict, maker: Maker | None, reason: str) -> RecordedVerdict:
    return suppressed(as_recorded(verdict), LOOP, reason, seen=_seen(maker))


def _seen(maker: Maker | None) -> str | None:
    return None if maker is None else maker.seen
