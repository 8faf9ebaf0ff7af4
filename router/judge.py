"""The judge: what rules, conversations and the hub itself say of one event, each by name and with its reason.

`engine` matches; `follow_ups`, `own_things`, `loops`, `lineage` and `steering` decide about what they are named after.
This asks them in their order, and adds what only the database knows. Keeping verdicts and dispatches is the subscriber's.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from sqlalchemy import Connection

from router import learning
from router.commands import Command, command_of
from router.engine import OPENED, RuleSet
from router.follow_ups import (
    BUILD,
    MAX_BUILD_ROUNDS,
    WORDS,
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
from router.paused_notes import tell_of_pauses
from router.pausing import paused_verdict
from router.prompts import conversation_key, make_dispatch, new_conversation_key
from router.recording import as_recorded, for_every_rule, suppressed
from router.rules import CompiledRule
from router.steering import Steering, replayed
from router.verdicts import Verdict
from schemas.dispatch import Dispatch
from schemas.event import Event
from schemas.references import of_event
from schemas.result import Result
from schemas.topics import MAX_MESSAGE_BYTES
from schemas.trace import child_of
from storage import canaries
from storage.follow_ups import kinds_told, rounds_of
from storage.links import Ownership, owners_of
from storage.routing import Learnt, RecordedVerdict, fold_into

MAX_DISPATCH_BYTES: Final = MAX_MESSAGE_BYTES // 2
CANARY_REASON: Final = "a canary: it shows that events come through, and starts nothing"


@dataclass(frozen=True, slots=True)
class Judgement:
    """What the rules and conversations say of one event."""

    verdicts: list[RecordedVerdict]
    learnt: list[Learnt] = field(default_factory=list)
    posts: list[Result] = field(default_factory=list)
    """Answers to commands, and notes about loops; they are stored."""


class Judge:
    """Judges by one set of rules, whatever is loaded meanwhile."""

    def __init__(self, rules: RuleSet) -> None:
        self._rules = rules

    def judge(
        self, connection: Connection, event: Event, *, paused: Collection[str] = (), is_replay: bool = False
    ) -> Judgement:
        """All verdicts on one event, with the dispatches of those that matched, and what it teaches of links.

        `paused`: names of rules that an operator has stopped. What is said to triggerhub itself is done here, once.
        """
        if event.is_canary:
            canaries.came(connection, event.id)
            return Judgement([for_every_rule("canary", CANARY_REASON)])
        heard = hear(connection, event)
        if heard is not None:
            return Judgement([heard])
        rules = self._rules
        maker = maker_of(connection, event)
        if maker is not None or (event.data.actor.is_self and event.data.kind in OPENED):
            return self._own(connection, event, maker, paused)
        command = command_of(event)
        if command is not None:
            return self._obeyed(connection, event, command, is_replay=is_replay)
        verdicts = rules.match(event, paused=paused)
        owners = self._owners(connection, event)
        recorded = {
            verdict.rule: as_recorded(
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
                recorded[name] = as_recorded(paused_verdict(name))
            else:
                decision = decide(event, rule, self._standing(connection, event, owner))
                recorded[name] = self._follow_up(event, rule, owner, decision)
        if not is_replay:
            recorded = {name: _once(connection, event, one) for name, one in recorded.items()}
        recorded = {name: with_depth(connection, one) for name, one in recorded.items()}
        recorded, notes = (recorded, []) if is_replay else _stopped(connection, event, recorded)
        if paused and not is_replay:
            notes = notes + tell_of_pauses(connection, event, recorded, rules=rules, owned=owners)
        return Judgement(list(recorded.values()), self._learnt(event, owners, recorded), notes)

    def _own(
        self, connection: Connection, event: Event, maker: Maker | None, paused: Collection[str]
    ) -> Judgement:
        """What becomes of what we posted or opened ourselves."""
        owners = self._owners(connection, event)

        def compose(verdict: Verdict, about: Event) -> Dispatch | None:
            return self._dispatch(verdict, about, owners.get(verdict.rule))

        verdicts, notes = judge_own(
            connection, event, maker, rules=self._rules, paused=paused, compose=compose
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
        rules = self._rules
        steering = Steering(connection, event, command, rules=rules, owners=owners, compose=again)
        return Judgement(steering.obey(), posts=steering.posts)

    def _owners(self, connection: Connection, event: Event) -> dict[str, Ownership]:
        """For each rule the conversation that owns the subject: by the strongest link, then the latest use."""
        owners: dict[str, Ownership] = {}
        names = of_event(event, bare_keys=self._rules.bare_keys)
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
        rule = self._rules.get(verdict.rule)
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
        rule = self._rules.get(matched.rule)
        dispatch = matched.dispatch
        if dispatch is None or rule is None or not rule.rule.debounce or event.data.kind in SPOKEN:
            return matched
        seconds = rule.rule.debounce.total_seconds()
        of = owner.conversation if owner is not None else dispatch.conversation
        before = fold_into(connection, of, rule=rule.name, kind=event.data.kind, seconds=seconds)
        if before is None:
            waiting = dispatch.model_copy(update={"debounce_seconds": seconds})
            return replace(matched, dispatch=waiting)
        reason = "one more of the same while the run waits for more of them (debounce): it is counted there"
        return suppressed(matched, "folded", reason, seen=before)

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
            rule = self._rules.get(name)
            if rule is not None:
                recognised = owner if owner.reference is not None else None
                links = learning.links(event, rule)
                learnt.append(Learnt(owner.conversation, links, recognised))
        for verdict in recorded.values():
            rule = self._rules.get(verdict.rule)
            begun = verdict.dispatch is not None and not verdict.dispatch.follow_up
            if begun and rule is not None and verdict.dispatch is not None:
                learnt.append(Learnt(verdict.dispatch.conversation, learning.links(event, rule)))
        return [one for one in learnt if one.links or one.recognised]


def _once(connection: Connection, event: Event, matched: RecordedVerdict) -> RecordedVerdict:
    """The verdict, where the session was told of this very message by another event: Slack tells a mention twice."""
    dispatch, artefact = matched.dispatch, event.data.artefact
    if dispatch is None or not dispatch.follow_up or artefact is None or event.data.kind not in WORDS:
        return matched
    before = kinds_told(connection, dispatch.conversation, artefact) & (WORDS - {event.data.kind})
    if not before:
        return matched
    reason = "the session was told of this message before, by another event about it"
    return suppressed(matched, "duplicate", reason, seen=", ".join(sorted(before)))


def _stopped(
    connection: Connection, event: Event, recorded: Mapping[str, RecordedVerdict]
) -> tuple[dict[str, RecordedVerdict], list[Result]]:
    """The verdicts without what would only go on between programs, and at most one note about that."""
    recorded, told = stop_loops(connection, event, recorded)
    recorded, more = stop_chains(connection, event, recorded)
    return recorded, told + more


def _composed(rule: CompiledRule, event: Event, *, follow_up: bool, conversation: str) -> Dispatch:
    """The dispatch, small enough for Kafka: a payload that is too large stays in the database."""
    dispatch = make_dispatch(rule, event, follow_up=follow_up, conversation=conversation)
    dispatch = dispatch.model_copy(update={"traceparent": child_of(event.traceparent)})
    if len(dispatch.model_dump_json()) > MAX_DISPATCH_BYTES:
        dispatch = dispatch.model_copy(update={"event": event.without_payload()})
    return dispatch
