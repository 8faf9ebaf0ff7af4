"""Conversations between programs end by themselves: after three turns a person must say something.

Whether a program's words carry a marker of ours does not matter here: turns are counted by what was dispatched on the
subject. The decision is pure; what only the database knows is read by `storage.routing`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from sqlalchemy import Connection

from router.follow_ups import EDIT, WORDS
from router.notes import say_stopped
from router.recording import suppressed
from schemas.event import Event
from schemas.result import Result
from storage.clock import read_clock
from storage.routing import RecordedVerdict, last_turns

CLAUSE: Final = "turns"
MAX_TURNS: Final = 3
"""In a row, the first of which a person may have begun."""
WITHIN: Final = 24 * 3600.0
"""Seconds: what a program says once a day is no conversation."""
SPOKEN: Final = WORDS | {EDIT}
_REASON: Final = (
    f"{MAX_TURNS} turns on this subject came one after the other without a person, who must speak first"
)
_NOTE: Final = (
    f"Another program and the agent have answered each other for {MAX_TURNS} turns, so the agent stops answering "
    "programs here. As soon as a person says something to it, it goes on."
)


def is_too_deep(by_programs: Sequence[bool]) -> bool:
    """Whether a program's words begin no further turn.

    `by_programs`: of the last turns, the newest first, whether a program began it.
    """
    return len(by_programs) >= MAX_TURNS and all(by_programs[: MAX_TURNS - 1])


def stop_loops(
    connection: Connection, event: Event, recorded: Mapping[str, RecordedVerdict]
) -> tuple[dict[str, RecordedVerdict], list[Result]]:
    """The verdicts without those turns that would only go on a talk of programs, and one note about it for the thread.

    Words of people cost no query.
    """
    kept, posts = dict(recorded), list[Result]()
    if not event.data.actor.is_bot or event.data.kind not in SPOKEN:
        return kept, posts
    since = read_clock(connection) - WITHIN
    for name, verdict in recorded.items():
        if verdict.dispatch is None:
            continue
        turns = last_turns(connection, event.id, rule=name, since=since, limit=MAX_TURNS)
        if not is_too_deep([turn.event.data.actor.is_bot for turn in turns]):
            continue
        kept[name] = suppressed(
            verdict,
            CLAUSE,
            _REASON,
            expected=f"at most {MAX_TURNS}",
            seen=event.data.actor.login or event.data.actor.name,
        )
        if not posts:
            # In a slot of the turn with which the talk began, so that it is said once however long the other goes on.
            posts += say_stopped(
                connection, event, _NOTE, first=turns[-1], slot=CLAUSE, stopped=verdict.dispatch
            )
    return kept, posts
