"""The row of a dispatch: written by the router, and by the runner where another program published the dispatch."""

from __future__ import annotations

from sqlalchemy import Connection

from schemas.dispatch import Dispatch
from schemas.marker import MAX_DEPTH_READ
from storage.rows import insert_new, plain
from storage.tables import DispatchRow


def store_dispatch(
    connection: Connection, dispatch: Dispatch, body: bytes, *, now: float, caused_by: str | None = None
) -> bool:
    """Store it once. True when it is new.

    `caused_by`: the event that was routed, where it is another than the dispatch's own: a command to try again.
    """
    data = dispatch.event.data
    row = {
        "id": dispatch.id,
        "event_id": caused_by or dispatch.event.id,
        "rule": dispatch.rule,
        "conversation": dispatch.conversation,
        "body": body,
        "created_at": now,
        "kind": data.kind,
        "artefact": plain(data.artefact, limit=500),
        "root_event": plain(dispatch.beginning, limit=128),
        "depth": max(0, min(dispatch.depth, MAX_DEPTH_READ)),
    }
    return bool(insert_new(connection, DispatchRow, [row]))
