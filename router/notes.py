"""What the router itself says in a thread: answers to commands, and why something was stopped. Said as a result like any
other, once in its slot; nothing here calls a vendor.
"""

from __future__ import annotations

from sqlalchemy import Connection

from schemas.dispatch import Dispatch
from schemas.event import Event
from schemas.result import Origin, Result
from storage.conversations import run_id_of
from storage.results import want_result


def say(
    connection: Connection, event: Event, text: str, *, run_id: str, slot: str, conversation: str
) -> list[Result]:
    """Want `text` said where `event` came from, in this slot of the run. Empty where it was wanted before."""
    note = Result(
        id=f"{run_id}:{slot}",
        run=run_id,
        slot=slot,
        conversation=conversation,
        output="comment",
        connection=event.connection,
        target={"to": "origin"},
        arguments={"text": text},
        origin=Origin.of(event),
    )
    return [note] if want_result(connection, note, tool_use_id=None) else []


def say_stopped(
    connection: Connection, event: Event, text: str, *, first: Dispatch, slot: str, stopped: Dispatch
) -> list[Result]:
    """Say why `stopped` was not made, in a slot of the run of `first`. A rule that reports nothing says nothing here."""
    if stopped.report == "none" or stopped.staged:
        return []
    return say(
        connection, event, text, run_id=run_id_of(first.id), slot=slot, conversation=first.conversation
    )
