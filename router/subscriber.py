"""The router role: events from Kafka, rules, verdicts and dispatches into the database. Short and durable, then return.

It decides nothing itself: the judge does, and this writes everything down in one transaction per batch.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Final, Protocol

import structlog
from sqlalchemy import Connection

from router.engine import RuleSet
from router.judge import Judge
from router.pausing import paused_rules
from router.prompts import dispatch_id
from router.recording import suppressed
from schemas.dispatch import Dispatch
from schemas.event import Event
from schemas.result import Result
from schemas.topics import DISPATCHES, RESULTS
from storage import pauses, replays
from storage.clock import read_clock
from storage.database import Database
from storage.deliveries import IncomingEvent, event_body, store_events
from storage.links import note_place
from storage.outbox import Message
from storage.replays import Replay
from storage.routing import RecordedVerdict, is_routed, record_routing

log = structlog.get_logger(__name__)

SAYS_LITTLE: Final = frozenset({"command.invoked", "action.clicked"})
"""Kinds whose payload does not tell whether people of other companies read the place."""
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
        rules = self._rules.current
        judge = Judge(rules)
        paused = paused_rules(rules, pauses.in_force(connection))
        for taken in batch:
            if is_routed(connection, taken.value.id):
                made += self._replay(connection, taken.value.id, judge, paused)
                continue
            event = self._whole(connection, taken)
            self._note_place(connection, event)
            judged = judge.judge(connection, event, paused=paused)
            dispatches = record_routing(connection, event.id, judged.verdicts, learnt=judged.learnt)
            made += [*(dispatches or []), *judged.posts]
        return made

    def _note_place(self, connection: Connection, event: Event) -> None:
        """Remember who reads the place: what is posted there later is judged by it."""
        container = event.data.subject.container
        # One narrow thing in a place does not make the place narrow.
        if not container or event.data.readers == "restricted" or event.data.kind in SAYS_LITTLE:
            return
        place = event.connection, container
        if self._places.get(place) != event.data.readers:
            if len(self._places) >= MAX_PLACES:
                self._places.clear()
            self._places[place] = event.data.readers
            note_place(
                connection,
                connection_name=event.connection,
                container=container,
                visibility=event.data.readers,
                now=read_clock(connection),
            )

    @staticmethod
    def _replay(
        connection: Connection, event_id: str, judge: Judge, paused: Collection[str]
    ) -> list[Dispatch]:
        """The rules are asked once more if a person wanted that; else it is a copy of a message, and stops here.

        What is asked about is the event as it was stored, whatever the message says.
        """
        replay = replays.waiting(connection, event_id)
        body = event_body(connection, event_id) if replay is not None else None
        if replay is None or body is None:
            return []
        event = Event.model_validate_json(body)
        verdicts = judge.judge(connection, event, paused=paused, is_replay=True).verdicts
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
        incoming = IncomingEvent.of(event, taken.body)
        if store_events(connection, [(None, incoming)], now=read_clock(connection)):
            log.info("an event of another program", event_id=event.id, type=event.type)
        return event


def _message(one: Dispatch | Result) -> Message:
    topic = DISPATCHES if isinstance(one, Dispatch) else RESULTS
    return Message(topic.name, one.id, one.conversation, one.model_dump_json().encode())


def _once(verdict: RecordedVerdict, before: str | None, replay: Replay) -> RecordedVerdict:
    """A replayed verdict. What was dispatched `before` is dispatched again only if a person said so, as another run."""
    if verdict.dispatch is None or before is None:
        return verdict
    if replay.again:
        name = dispatch_id(replay.event_id, verdict.rule, replay=replay.number)
        return replace(verdict, dispatch=verdict.dispatch.model_copy(update={"id": name}))
    reason = "the rule was dispatched for this event before, and the replay was not to do that again"
    return suppressed(verdict, "replay", reason, seen=before)
