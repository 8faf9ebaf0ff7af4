"""The router role: events from Kafka, rules, verdicts and dispatches into the database. Short and durable, then return.

It decides nothing itself: `engine` matches, this adds what only the database knows (is it our own post come back, does
a session own the subject) and writes everything down in one transaction per batch.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Protocol

import structlog
from sqlalchemy import Connection

from router import learning
from router.commands import Command, command_of
from router.engine import OPENED, RuleSet
from router.follow_ups import (
    BUILD,
    MAX_BUILD_ROUNDS,
    Decision,
    Fate,
    Standing,
    decide,
    may_follow,
    told_too_narrow,
)
from router.hearing import hear
from router.lineage import stop_chains
from router.loops import SPOKEN, stop_loops
from router.own_things import Maker, judge_own, maker_of, with_depth
from router.pausing import paused_rules, paused_verdict
from router.prompts import conversation_key, dispatch_id, make_dispatch, new_conversation_key
from router.rules import CompiledRule
from router.steering import Steering, replayed
from router.verdicts import Verdict, VerdictOutcome
from schemas.dispatch import Dispatch
from schemas.event import Event
from schemas.references import of_event
from schemas.result import Result
from schemas.topics import DISPATCHES, MAX_MESSAGE_BYTES, RESULTS
from schemas.trace import child_of
from storage import canaries, pauses, replays
from storage.clock import read_clock
from storage.database import Database
from storage.deliveries import IncomingEvent, event_body, store_events
from storage.follow_ups import kinds_told, rounds_of
from storage.links import Ownership, note_place, owners_of
from storage.outbox import Message
from storage.replays import Replay
from storage.routing import (
    Learnt,
    RecordedVerdict,
    fold_into,
    is_routed,
    record_routing,
)

log = structlog.get_logger(__name__)

MAX_DISPATCH_BYTES: Final = MAX_MESSAGE_BYTES // 2
CANARY_REASON: Final = "a canary: it shows that events come through, and starts nothing"
MAX_PLACES: Final = 20_000
"""Places whose visibility is remembered, so that it is not written with every event."""


class TakenEvent(Protocol):
    """A decoded record of `triggerhub.events`."""

    @property
    def value(self) -> Event: ...

    @property
    def body(self) -> bytes: ...


Announce = Callable[[Sequence[tuple[Message, Dispatch | Result | None]]], None]


@dataclass(slots=True)
class Rules:
    """The rules in force. Replaced whole when the configuration is loaded again."""

    current: RuleSet


@dataclass(frozen=True, slots=True)
class Judgement:
    """What the rules and conversations say of one event."""

    verdicts: list[RecordedVerdict]
    learnt: list[Learnt] = field(default_factory=list)
    posts: list[Result] = field(default_factory=list)
    """Answers to commands, and notes about loops; they are stored."""


class Router:
    """One per process with the role `router`."""

    def __init__(
        self,
        rules: Rules,
        database: Database,
        *,
        announce: Announce,
    ) -> None:
        self._rules = rules
        self._database = database
        self._announce = announce
        self._places: dict[tuple[str, str], str] = {}

    async def take(self, batch: Sequence[TakenEvent]) -> None:
        """Kafka handler. Raises StorageUnavailableError when nothing of the batch could be kept."""
        made = await self._database.write(self._route_batch, batch)
        if made:
            self._announce([(_message(one), one) for one in made])

    def _route_batch(self, connection: Connection, batch: Sequence[TakenEvent]) -> list[Dispatch | Result]:
        made: list[Dispatch | Result] = []
        paused = paused_rules(self._rules.current, pauses.in_force(connection))
        for taken in batch:
            if is_routed(connection, taken.value.id):
                made += self._replay(connection, taken.value.id, paused)
                continue
            event = self._whole(connection, taken)
            self._note_place(connection, event)
            judged = self.judge(connection, event, paused=paused)
            dispatches = record_routing(connection, event.id, judged.verdicts, learnt=judged.learnt)
            made += [*(dispatches or []), *judged.posts]
        return made

    def _note_place(self, connection: Connection, event: Event) -> None:
        """Remember who reads the place: what is posted there later is judged by it."""
        container = event.data.subject.container
        # One narrow thing in a place does not make the place narrow.
        if not container or event.data.visibility == "restricted":
            return
        place = event.connection, container
        if self._places.get(place) != event.data.visibility:
            if len(self._places) >= MAX_PLACES:
                self._places.clear()
            self._places[place] = event.data.visibility
            note_place(
                connection,
                connection_name=event.connection,
                container=container,
                visibility=event.data.visibility,
                now=read_clock(connection),
            )

    def _replay(self, connection: Connection, event_id: str, paused: Collection[str]) -> list[Dispatch]:
        """The rules are asked once more if a person wanted that; else it is a copy of a message, and stops here.

        What is asked about is the event as it was stored, whatever the message says.
        """
        replay = replays.waiting(connection, event_id)
        body = event_body(connection, event_id) if replay is not None else None
        if replay is None or body is None:
            return []
        event = Event.model_validate_json(body)
        verdicts = self.judge(connection, event, paused=paused, is_replay=True).verdicts
        before = replays.dispatched(connection, event_id)
        log.info("replayed", event_id=event_id, number=replay.number, again=replay.again)
        kept = [_once(verdict, before.get(verdict.rule), replay) for verdict in verdicts]
        return record_routing(connection, event_id, kept, replay=replay) or []

    def _whole(self, connection: Connection, taken: TakenEvent) -> Event:
        """The event with its payload; an event that another program published is stored first."""
        event = taken.value
        if (
            event.dataref is not None or event.is_canary
        ):  # a canary that was forgotten meanwhile stays forgotten
            body = event_body(connection, event.id)
            return Event.model_validate_json(body) if body is not None else event
        incoming = IncomingEvent(
            id=event.id,
            connection=event.connection,
            connector=event.connector,
            kind=event.data.kind,
            subject=event.subject,
            time=event.time.timestamp(),
            body=taken.body,
        )
        if store_events(connection, [(None, incoming)], now=read_clock(connection)):
            log.info("an event of another program", event_id=event.id, type=event.type)
        return event

    def judge(
        self, connection: Connection, event: Event, *, paused: Collection[str] = (), is_replay: bool = False
    ) -> Judgement:
        """All verdicts on one event, with the dispatches of those that matched, and what it teaches of links.

        `paused`: names of rules that an operator has stopped. What is said to triggerhub itself is done here, once.
        """
        if event.is_canary:
            canaries.came(connection, event.id)
            return Judgement(
                [
                    RecordedVerdict(
                        rule="*",
                        outcome=VerdictOutcome.SUPPRESSED.value,
                        clause="canary",
                        reason=CANARY_REASON,
                    )
                ]
            )
        heard = hear(connection, event)
        if heard is not None:
            return Judgement([heard])
        rules = self._rules.current
        maker = maker_of(connection, event)
        if maker is not None or (event.data.actor.is_self and event.data.kind in OPENED):
            return self._own(connection, event, maker, paused)
        command = command_of(event)
        if command is not None:
            return self._obeyed(connection, event, command, is_replay=is_replay)
        verdicts = rules.match(event, paused=paused)
        owners = self._owners(connection, event)
        recorded = {
            verdict.rule: _plain(
                verdict,
                self._dispatch(verdict, event, owners.get(verdict.rule)) if verdict.matched else None,
            )
            for verdict in verdicts
        }
        if not is_replay:
            recorded = {
                name: self._folded(connection, event, owners.get(name), one) for name, one in recorded.items()
            }
        for name, owner in owners.items():
            rule = rules.get(name)
            if rule is None or (name in recorded and recorded[name].dispatch is not None):
                continue
            if not may_follow(event, rule):
                continue
            if name in paused:
                recorded[name] = _plain(paused_verdict(name))
            else:
                decision = decide(event, rule, self._standing(connection, event, owner))
                recorded[name] = self._follow_up(event, rule, owner, decision)
        recorded = {name: with_depth(connection, one) for name, one in recorded.items()}
        recorded, notes = (recorded, []) if is_replay else _stopped(connection, event, recorded)
        return Judgement(list(recorded.values()), self._learnt(event, owners, recorded), notes)

    def _own(
        self, connection: Connection, event: Event, maker: Maker | None, paused: Collection[str]
    ) -> Judgement:
        """What becomes of what we posted or opened ourselves."""
        owners = self._owners(connection, event)

        def compose(verdict: Verdict, about: Event) -> Dispatch | None:
            return self._dispatch(verdict, about, owners.get(verdict.rule))

        verdicts, notes = judge_own(
            connection, event, maker, rules=self._rules.current, paused=paused, compose=compose
        )
        learning_from = owners if maker is None else {}
        return Judgement(
            verdicts, self._learnt(event, learning_from, {one.rule: one for one in verdicts}), notes
        )

    def _obeyed(
        self, connection: Connection, event: Event, command: Command, *, is_replay: bool
    ) -> Judgement:
        """What became of a command. It reaches no rule."""
        if is_replay:
            return Judgement([replayed(command)])

        def again(rule: CompiledRule, about: Event, conversation: str) -> Dispatch:
            return _composed(rule, about, follow_up=True, conversation=conversation)

        owners = self._owners(connection, event)
        rules = self._rules.current
        steering = Steering(connection, event, command, rules=rules, owners=owners, compose=again)
        return Judgement(steering.obey(), posts=steering.posts)

    def _owners(self, connection: Connection, event: Event) -> dict[str, Ownership]:
        """For each rule the conversation that owns the subject: by the strongest link, then the latest use."""
        owners: dict[str, Ownership] = {}
        names = of_event(event, bare_keys=self._rules.current.bare_keys)
        for owner in owners_of(
            connection, connection_name=event.connection, subject=event.subject, names=names
        ):
            owners.setdefault(owner.rule, owner)
        return owners

    def _standing(self, connection: Connection, event: Event, owner: Ownership) -> Standing:
        kind, artefact = event.data.kind, event.data.artefact
        return Standing(
            how=owner.how,
            visibility=owner.visibility,
            is_origin=owner.is_origin,
            told=kinds_told(connection, owner.conversation, artefact) if artefact else (),
            build_rounds=rounds_of(connection, owner.conversation, BUILD, limit=MAX_BUILD_ROUNDS)
            if kind == BUILD
            else 0,
        )

    def _dispatch(self, verdict: Verdict, event: Event, owner: Ownership | None) -> Dispatch | None:
        """The work of a rule that matched, in the conversation that it has on the subject, if any."""
        rule = self._rules.current.get(verdict.rule)
        if rule is None:
            return None
        # Each rule has a session of its own on a subject: agents and grants of rules differ.
        key = f"{conversation_key(rule, event)}:{rule.name}"
        if owner is None or rule.rule.conversation == "event":
            return _composed(rule, event, follow_up=False, conversation=key)
        standing = Standing(visibility=owner.visibility, is_origin=owner.is_origin)
        if rule.rule.follow_up == "new" or told_too_narrow(event, rule, standing) is not None:
            return _composed(rule, event, follow_up=False, conversation=new_conversation_key(rule, event))
        return _composed(rule, event, follow_up=True, conversation=owner.conversation)

    def _folded(
        self, connection: Connection, event: Event, owner: Ownership | None, matched: RecordedVerdict
    ) -> RecordedVerdict:
        """The verdict, where the event is one more of a storm: it is counted at the dispatch that waits for it."""
        rule = self._rules.current.get(matched.rule)
        dispatch = matched.dispatch
        if dispatch is None or rule is None or not rule.rule.debounce or event.data.kind in SPOKEN:
            return matched
        seconds = rule.rule.debounce.total_seconds()
        of = owner.conversation if owner is not None else dispatch.conversation
        before = fold_into(connection, of, rule=rule.name, kind=event.data.kind, seconds=seconds)
        if before is None:
            waiting = dispatch.model_copy(update={"debounce_seconds": seconds})
            return replace(matched, dispatch=waiting)
        return replace(
            matched,
            outcome=VerdictOutcome.SUPPRESSED.value,
            clause="folded",
            expected=None,
            seen=before,
            reason="one more of the same while the run waits for more of them (debounce): it is counted there",
            dispatch=None,
        )

    @staticmethod
    def _follow_up(event: Event, rule: CompiledRule, owner: Ownership, decision: Decision) -> RecordedVerdict:
        """The verdict on an event that no match, but a conversation lets in."""
        dispatch = None
        if decision.fate is Fate.TOLD:
            dispatch = _composed(rule, event, follow_up=True, conversation=owner.conversation)
        elif decision.fate is Fate.ANOTHER:
            dispatch = _composed(rule, event, follow_up=False, conversation=new_conversation_key(rule, event))
        return RecordedVerdict(
            rule=rule.name,
            outcome=decision.outcome.value,
            clause=decision.clause,
            expected=decision.expected,
            seen=decision.seen,
            reason=decision.reason,
            dispatch=dispatch,
        )

    def _learnt(
        self, event: Event, owners: Mapping[str, Ownership], recorded: Mapping[str, RecordedVerdict]
    ) -> list[Learnt]:
        """What the event says of the subjects of the conversations it concerns."""
        learnt = []
        for name, owner in owners.items():
            rule = self._rules.current.get(name)
            if rule is not None:
                recognised = owner if owner.reference is not None else None
                links = learning.links(event, rule)
                learnt.append(Learnt(owner.conversation, links, recognised))
        for verdict in recorded.values():
            rule = self._rules.current.get(verdict.rule)
            begun = verdict.dispatch is not None and not verdict.dispatch.follow_up
            if begun and rule is not None and verdict.dispatch is not None:
                learnt.append(Learnt(verdict.dispatch.conversation, learning.links(event, rule)))
        return [one for one in learnt if one.links or one.recognised]


def _stopped(
    connection: Connection, event: Event, recorded: Mapping[str, RecordedVerdict]
) -> tuple[dict[str, RecordedVerdict], list[Result]]:
    """The verdicts without what would only go on between programs, and at most one note about that."""
    recorded, told = stop_loops(connection, event, recorded)
    recorded, more = stop_chains(connection, event, recorded)
    return recorded, told + more


def _message(one: Dispatch | Result) -> Message:
    topic = DISPATCHES if isinstance(one, Dispatch) else RESULTS
    return Message(topic.name, one.id, one.conversation, one.model_dump_json().encode())


def _plain(verdict: Verdict, dispatch: Dispatch | None = None) -> RecordedVerdict:
    return RecordedVerdict(
        rule=verdict.rule,
        outcome=verdict.outcome.value,
        clause=verdict.clause,
        expected=verdict.expected,
        seen=verdict.seen,
        reason=verdict.reason,
        dispatch=dispatch,
    )


def _once(verdict: RecordedVerdict, before: str | None, replay: Replay) -> RecordedVerdict:
    """A replayed verdict. What was dispatched `before` is dispatched again only if a person said so, as another run."""
    if verdict.dispatch is None or before is None:
        return verdict
    if replay.again:
        name = dispatch_id(replay.event_id, verdict.rule, replay=replay.number)
        return replace(verdict, dispatch=verdict.dispatch.model_copy(update={"id": name}))
    return replace(
        verdict,
        outcome=VerdictOutcome.SUPPRESSED.value,
        clause="replay",
        expected=None,
        seen=before,
        reason="the rule was dispatched for this event before, and the replay was not to do that again",
        dispatch=None,
    )


def _composed(rule: CompiledRule, event: Event, *, follow_up: bool, conversation: str) -> Dispatch:
    """The dispatch, small enough for Kafka: a payload that is too large stays in the database."""
    dispatch = make_dispatch(rule, event, follow_up=follow_up, conversation=conversation)
    dispatch = dispatch.model_copy(update={"traceparent": child_of(event.traceparent)})
    if len(dispatch.model_dump_json()) > MAX_DISPATCH_BYTES:
        dispatch = dispatch.model_copy(update={"event": event.without_payload()})
    return dispatch
