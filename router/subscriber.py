"""The router role: events from Kafka, rules, verdicts and dispatches into the database. Short and durable, then return.

It decides nothing itself: `engine` matches, this adds what only the database knows (is it our own post come back, does
a session own the subject) and writes everything down in one transaction per batch.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final, Protocol

import structlog
from sqlalchemy import Connection

from router.engine import RuleSet, trust_of
from router.prompts import conversation_key, dispatch_id, make_dispatch
from router.rules import CompiledRule
from router.verdicts import Verdict, VerdictOutcome
from schemas.dispatch import Dispatch
from schemas.event import Event
from schemas.topics import DISPATCHES, MAX_MESSAGE_BYTES
from schemas.trace import child_of
from storage import canaries, replays
from storage.clock import read_clock
from storage.database import Database
from storage.deliveries import IncomingEvent, event_body, store_events
from storage.outbox import Message
from storage.replays import Replay
from storage.routing import (
    Ownership,
    RecordedVerdict,
    is_routed,
    made_by_us,
    owners_of,
    record_routing,
    run_exists,
)

log = structlog.get_logger(__name__)

FOLLOW_UP_KINDS: Final = frozenset(
    {"comment.created", "message.posted", "message.mention", "review.submitted", "review_comment.created"}
)
"""Plain words in a conversation: they reach the session that owns it, without a rule of their own matching."""
MAX_DISPATCH_BYTES: Final = MAX_MESSAGE_BYTES // 2
CANARY_REASON: Final = "a canary: it shows that events come through, and starts nothing"
_OWN_MARKER: Final = re.compile(r"triggerhub run=(run_[0-9a-f]{8,64})")


class TakenEvent(Protocol):
    """A decoded record of `triggerhub.events`."""

    @property
    def value(self) -> Event: ...

    @property
    def body(self) -> bytes: ...


Announce = Callable[[Sequence[tuple[Message, Dispatch | None]]], None]


@dataclass(slots=True)
class Rules:
    """The rules in force. Replaced whole when the configuration is loaded again."""

    current: RuleSet


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

    async def take(self, batch: Sequence[TakenEvent]) -> None:
        """Kafka handler. Raises StorageUnavailableError when nothing of the batch could be kept."""
        made = await self._database.write(self._route_batch, batch)
        if made:
            self._announce(
                [
                    (
                        Message(
                            DISPATCHES.name,
                            dispatch.id,
                            dispatch.conversation,
                            dispatch.model_dump_json().encode(),
                        ),
                        dispatch,
                    )
                    for dispatch in made
                ]
            )

    def _route_batch(self, connection: Connection, batch: Sequence[TakenEvent]) -> list[Dispatch]:
        made: list[Dispatch] = []
        for taken in batch:
            if is_routed(connection, taken.value.id):
                made += self._replay(connection, taken.value.id)
                continue
            event = self._whole(connection, taken)
            verdicts = self.judge(connection, event)
            dispatches = record_routing(connection, event.id, verdicts)
            made += dispatches or []
        return made

    def _replay(self, connection: Connection, event_id: str) -> list[Dispatch]:
        """The rules are asked once more if a person wanted that; else it is a copy of a message, and stops here.

        What is asked about is the event as it was stored, whatever the message says.
        """
        replay = replays.waiting(connection, event_id)
        body = event_body(connection, event_id) if replay is not None else None
        if replay is None or body is None:
            return []
        verdicts = self.judge(connection, Event.model_validate_json(body))
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

    def judge(self, connection: Connection, event: Event) -> list[RecordedVerdict]:
        """All verdicts on one event, with the dispatches of those that matched."""
        if event.is_canary:
            canaries.came(connection, event.id)
            return [
                RecordedVerdict(
                    rule="*", outcome=VerdictOutcome.SUPPRESSED.value, clause="canary", reason=CANARY_REASON
                )
            ]
        rules = self._rules.current
        verdicts = rules.match(event)
        own = self._own_post(connection, event)
        if own is not None:
            return [
                RecordedVerdict(
                    rule=verdict.rule,
                    outcome=VerdictOutcome.SUPPRESSED,
                    clause="loop",
                    seen=own,
                    reason="triggerhub posted this itself",
                )
                for verdict in verdicts
            ] or [
                RecordedVerdict(
                    rule="*", outcome="suppressed", clause="loop", seen=own, reason="our own post"
                )
            ]
        recorded: list[RecordedVerdict] = []
        for verdict in verdicts:
            dispatch = self._dispatch(connection, verdict, event) if verdict.matched else None
            recorded.append(
                RecordedVerdict(
                    rule=verdict.rule,
                    outcome=verdict.outcome.value,
                    clause=verdict.clause,
                    expected=verdict.expected,
                    seen=verdict.seen,
                    reason=verdict.reason,
                    dispatch=dispatch,
                )
            )
        if not any(verdict.matched for verdict in verdicts):
            follow_up = self._follow_up(connection, event)
            if follow_up is not None:
                recorded = [verdict for verdict in recorded if verdict.rule != follow_up.rule] + [follow_up]
        return recorded

    def _dispatch(self, connection: Connection, verdict: Verdict, event: Event) -> Dispatch | None:
        rule = self._rules.current.get(verdict.rule)
        if rule is None:
            return None
        # Each rule has a session of its own on a subject: agents and grants of rules differ.
        key = f"{conversation_key(rule, event)}:{rule.name}"
        owned = self._owned(connection, event, rule.name)
        conversation = (
            owned.conversation if owned is not None and rule.rule.conversation == "subject" else key
        )
        return _composed(rule, event, follow_up=owned is not None, conversation=conversation)

    def _follow_up(self, connection: Connection, event: Event) -> RecordedVerdict | None:
        """A plain word in a conversation that a session owns goes to that session (design §5)."""
        if event.data.kind not in FOLLOW_UP_KINDS or event.data.actor.is_self:
            return None
        for owner in owners_of(connection, connection_name=event.connection, subject=event.subject):
            rule = self._rules.current.get(owner.rule)
            if rule is None or owner.session_id is None or rule.rule.follow_up in {"ignore", "new"}:
                continue
            trust = trust_of(event.data.actor)
            if trust not in rule.who or not rule.rule.enabled:
                return RecordedVerdict(
                    rule=rule.name,
                    outcome=VerdictOutcome.NOT_MATCHED.value,
                    clause="who",
                    expected=", ".join(rule.rule.who),
                    seen=trust,
                    reason=f"the session of this conversation takes no follow-up from trust {trust!r}",
                )
            dispatch = _composed(rule, event, follow_up=True, conversation=owner.conversation)
            return RecordedVerdict(
                rule=rule.name,
                outcome=VerdictOutcome.MATCHED.value,
                clause="follow_up",
                reason="a follow-up in a conversation that this rule's session owns",
                dispatch=dispatch,
            )
        return None

    @staticmethod
    def _owned(connection: Connection, event: Event, rule: str) -> Ownership | None:
        owners = owners_of(connection, connection_name=event.connection, subject=event.subject)
        return next((owner for owner in owners if owner.rule == rule and owner.session_id), None)

    @staticmethod
    def _own_post(connection: Connection, event: Event) -> str | None:
        """The result or run that made what this event tells of, if it is our own post come back."""
        artefact = event.data.artefact
        if artefact:
            made = made_by_us(connection, connection_name=event.connection, artefact=artefact)
            if made is not None:
                return made
        found = _OWN_MARKER.search(event.data.text)
        return found[1] if found and run_exists(connection, found[1]) else None


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
