"""What carries our words further: a text with a genuine marker of ours in it is one step deeper than the run that wrote
that. So a chain ends however many programs and places it goes through.

A marker opens no door here: whoever copies one is counted, and is let in or not by the rule's `who` as before.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Final

from sqlalchemy import Connection

from router.engine import OPENED
from router.loops import MAX_TURNS
from router.notes import say_stopped
from router.recording import suppressed
from schemas.dispatch import Dispatch
from schemas.event import Event
from schemas.marker import Marker, read_markers
from schemas.result import Result
from storage.lineage import marker_key
from storage.routing import RecordedVerdict, dispatch_of_run

DEPTH: Final = "depth"
MAX_DEPTH: Final = MAX_TURNS
"""What a person or a system caused has depth 0. A dispatch of this depth is not made."""
_NOTE: Final = (
    f"This carries on what an agent wrote, which carried on what an agent wrote, {MAX_DEPTH} times in a row, so it "
    "starts no further agent. As soon as a person says something of their own to an agent, it goes on."
)


def markers_of(event: Event) -> Iterator[Marker]:
    """Markers in what the vendor shows of the event, and in what it hides."""
    yield from read_markers(f"{event.data.marked or ''}\n{event.data.text}")


def deeper(dispatch: Dispatch, depth: int, *, root: str) -> Dispatch:
    """The dispatch as one that came of `root`."""
    return dispatch.model_copy(update={"depth": depth, "root": root})


def quoted_in(connection: Connection, event: Event) -> Marker | None:
    """The deepest genuine marker that the event carries. What a person does to a thing does not say again what stands
    in it."""
    actor, data = event.data.actor, event.data
    by_person = not actor.is_bot and actor.trust != "system"
    if by_person and data.artefact is None and data.kind not in OPENED:
        return None
    found = [marker for marker in markers_of(event) if marker.lineage is not None]
    if not found:
        return None
    key = marker_key(connection)
    genuine = [marker for marker in found if marker.is_genuine(key)]
    return max(genuine, key=_depth, default=None)


def stop_chains(
    connection: Connection, event: Event, recorded: Mapping[str, RecordedVerdict]
) -> tuple[dict[str, RecordedVerdict], list[Result]]:
    """The verdicts with the depth of what the event carries on, and without those too deep; one note about that."""
    kept, posts = dict(recorded), list[Result]()
    if all(verdict.dispatch is None for verdict in recorded.values()):
        return kept, posts
    quoted = quoted_in(connection, event)
    if quoted is None or quoted.lineage is None:
        return kept, posts
    depth = quoted.lineage.depth + 1
    for name, verdict in recorded.items():
        dispatch = verdict.dispatch
        if dispatch is None or dispatch.depth >= depth:
            continue
        if depth < MAX_DEPTH:
            kept[name] = replace(verdict, dispatch=deeper(dispatch, depth, root=quoted.lineage.root))
            continue
        reason = f"it carries on what an agent wrote, {MAX_DEPTH} deep: a person must say something of their own first"
        kept[name] = suppressed(verdict, DEPTH, reason, expected=f"less than {MAX_DEPTH}", seen=str(depth))
        first = dispatch_of_run(connection, quoted.run)
        if not posts and first is not None:
            posts += say_stopped(connection, event, _NOTE, first=first, slot=DEPTH, stopped=dispatch)
    return kept, posts


def _depth(marker: Marker) -> int:
    return -1 if marker.lineage is None else marker.lineage.depth
