"""Invented events, dispatches and results for tests of storage and brokers. All are about acme's checkout."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from schemas.dispatch import Dispatch
from schemas.event import Actor, Event, EventData, Subject
from schemas.result import Origin, Result
from storage.deliveries import Incoming, IncomingEvent

MOMENT = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)


def make_event(
    event_id: str, *, subject: str = "acme/checkout#12", text: str = "hello", **data: Any
) -> Event:
    """An issue opened by Ada."""
    return Event(
        id=event_id,
        source="github/acme",
        type="github.issue.opened",
        subject=subject,
        time=MOMENT,
        connection="acme-github",
        data=EventData(
            kind="issue.opened",
            actor=Actor(id="5", login="ada", trust="member"),
            subject=Subject(kind="issue", key=subject, container="acme/checkout"),
            text=text,
            **data,
        ),
    )


def make_incoming_event(event: Event) -> IncomingEvent:
    """The event as it is stored."""
    return IncomingEvent.of(event, event.model_dump_json().encode())


def make_delivery(delivery_id: str, *events: Event, **values: Any) -> Incoming:
    """A handled delivery with these events."""
    return Incoming(
        id=f"acme-github:{delivery_id}",
        connection="acme-github",
        outcome="handled",
        body_hash="0" * 64,
        body_size=1,
        events=[make_incoming_event(event) for event in events],
        **values,
    )


def make_dispatch(
    number: int | str,
    *,
    conversation: str = "github:acme-github:acme/checkout#12",
    rule: str = "answer",
    **values: Any,
) -> Dispatch:
    """A dispatch of one event and rule; `number` tells dispatches apart."""
    return Dispatch(
        id=f"dsp_{number:0>32}",
        rule=rule,
        agent="fixer",
        environment="python",
        conversation=conversation,
        prompt="Answer the question.",
        event=values.pop("event", None) or make_event(f"evt_{number:0>32}"),
        **values,
    )


def body_of(dispatch: Dispatch) -> bytes:
    """As it travels."""
    return dispatch.model_dump_json().encode()


def make_result(run: str, slot: str = "comment:1", **values: Any) -> Result:
    """A comment that a run wants posted to its origin."""
    event = make_event("evt_" + "0" * 32)
    return Result(
        id=f"{run}:{slot}",
        run=run,
        slot=slot,
        conversation="github:acme-github:acme/checkout#12",
        output="comment",
        connection="acme-github",
        arguments={"text": "Done."},
        origin=Origin(
            connection=event.connection, event_id=event.id, kind=event.data.kind, subject=event.data.subject
        ),
        **values,
    )
