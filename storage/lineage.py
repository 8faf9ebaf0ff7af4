"""Where a run comes from, signed with a key that all processes of a hub share, and what is known of a marker.

The key is made once, in the one place that every role can read: a rule's credentials belong to some roles only. Who reads
it can forge markers, which stop agents and start none.
"""

from __future__ import annotations

import secrets
from typing import Final

from sqlalchemy import Connection, text

from schemas.marker import Lineage, Marker, signed
from storage.clock import read_clock
from storage.hub_tables import HubKeyRow
from storage.rows import insert_new
from storage.statements import Fixed

KEY_BYTES: Final = 32
_NAME: Final = "markers"
_KEY: Final = Fixed(lambda: text("SELECT value FROM hub_key WHERE name = :name"))
_OF_RUN: Final = Fixed(
    lambda: text(
        "SELECT COALESCE(dispatch.root_event, dispatch.event_id) AS root, dispatch.depth "
        "FROM run JOIN dispatch ON dispatch.id = run.dispatch_id WHERE run.id = :run"
    )
)
_MADE: Final = Fixed(
    lambda: text(
        "SELECT artefact FROM result WHERE run_id = :run AND slot = :slot "
        "UNION ALL SELECT artefact FROM presence WHERE run_id = :run AND :slot LIKE 'status%' AND kind = 'status'"
    )
)


def marker_key(connection: Connection) -> bytes:
    """The key. The first to ask makes it; needs a connection that may write."""
    for _ in range(2):
        found = _KEY.run(connection, name=_NAME).first()
        if found is not None:
            return bytes.fromhex(found[0])
        row = {"name": _NAME, "value": secrets.token_hex(KEY_BYTES), "created_at": read_clock(connection)}
        insert_new(connection, HubKeyRow, [row])
    msg = "the table hub_key keeps no key: has somebody emptied it just now? Start the hub again"
    raise RuntimeError(msg)


def came_of(connection: Connection, run_id: str) -> tuple[str, int] | None:
    """(root event, depth) of a run; None where this hub knows no such run."""
    found = _OF_RUN.run(connection, run=run_id).first()
    return None if found is None else (str(found[0]), int(found[1]))


def lineage_of(connection: Connection, run_id: str) -> Lineage | None:
    """The signed lineage of a run; None where this hub knows no such run: another program's post."""
    found = came_of(connection, run_id)
    if found is None:
        return None
    root, depth = found
    return signed(marker_key(connection), run=run_id, root=root, depth=depth)


def is_copy(connection: Connection, marker: Marker, artefact: str | None) -> bool:
    """Whether what carries the marker is known to be another thing than the one it was made for.

    A post whose receipt is not kept yet is no copy as far as one knows. A run that was forgotten posts nothing any more.
    """
    if came_of(connection, marker.run) is None:
        return True
    made = [row[0] for row in _MADE.run(connection, run=marker.run, slot=marker.slot or "")]
    return any(one is not None and one != artefact for one in made)
