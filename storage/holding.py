"""Queued runs that may not start yet: by what they are held, and when that is looked at again.

A held run stays queued and is due later, so nothing else finds it again but the look for work itself.
"""

from __future__ import annotations

from typing import Any, Final

from pydantic import ValidationError
from sqlalchemy import Connection, Update, and_, bindparam, func, text, update

from schemas.dispatch import Dispatch
from storage import presence
from storage.caps import Admission, held_until
from storage.results import want_result
from storage.rows import table
from storage.statements import Fixed
from storage.tables import RunRow, RunStatus

SOONEST: Final = 2.0
LATEST: Final = 60.0
"""Seconds until a held run is looked at again."""
SHARE: Final = 8
"""It is looked at again after this part of its age: the longer it has waited, the less a moment matters."""
TELL_AFTER: Final = 60.0
"""Seconds: who waits for less is not told."""
HELD_SLOT: Final = "held"
"""Of the result that tells the origin."""
MAX_ROUNDS: Final = 20
"""Of looking for runs that may start behind those that may not, in one transaction."""


def next_look(age: float) -> float:
    """Seconds until a run that has waited for `age` seconds is looked at again."""
    return min(LATEST, max(SOONEST, age / SHARE))


def _hold() -> Update:
    rows = table(RunRow)
    mine = and_(
        rows.c.id == bindparam("run"),
        rows.c.fence == bindparam("expected"),
        rows.c.status == RunStatus.QUEUED.value,
    )
    return (
        update(rows)
        .where(mine)
        .values(
            held=bindparam("reason"),
            held_at=func.coalesce(rows.c.held_at, bindparam("now")),
            due_at=bindparam("due"),
            updated_at=bindparam("now"),
        )
    )


_HOLD: Final = Fixed(_hold)
_TOLD: Final = Fixed(lambda: text("SELECT 1 FROM result WHERE id = :id"))


def hold(
    connection: Connection,
    row: dict[str, Any],
    reason: str,
    *,
    now: float,
    admission: Admission | None = None,
) -> bool:
    """Write down by what a queued run is held, and look again later. False: somebody else has changed it.

    Its status message says so; where there is none and it has been held for a while, its origin is told once, in a slot
    of its own.
    """
    due = now + next_look(now - row["created_at"])
    held = _HOLD.run(connection, run=row["id"], expected=row["fence"], reason=reason, now=now, due=due)
    if held.rowcount != 1:
        return False
    if row["held"] != reason:
        presence.touch(connection, row["id"], now=now)
    since: float = row["held_at"] if row["held_at"] is not None else now
    if admission is not None and now - since >= TELL_AFTER:
        told = _TOLD.run(connection, id=f"{row['id']}:{HELD_SLOT}").first() is not None
        if told or presence.tells(connection, row["id"]):
            return True
        try:
            dispatch = Dispatch.model_validate_json(row["dispatch_body"])
        except ValidationError:
            return True  # of another version: claiming it says so
        until = held_until(connection, reason, rule=row["rule"], team=row["team"], now=now)
        notice = admission.notice(dispatch, row["id"], reason, until)
        if notice is not None:
            want_result(connection, notice, tool_use_id=None)
    return True
