"""Queued runs that may not start yet: by what they are held, and when that is looked at again.

A held run stays queued and is due later, so nothing else finds it again but the look for work itself.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import Connection, Update, and_, bindparam, func, update

from storage.rows import table
from storage.statements import Fixed
from storage.tables import RunRow, RunStatus

SOONEST: Final = 2.0
LATEST: Final = 60.0
"""Seconds until a held run is looked at again."""
SHARE: Final = 8
"""It is looked at again after this part of its age: the longer it has waited, the less a moment matters."""
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


def hold(connection: Connection, row: dict[str, Any], reason: str, *, now: float) -> bool:
    """Write down by what a queued run is held, and look again later. False: somebody else has changed it."""
    due = now + next_look(now - row["created_at"])
    held = _HOLD.run(connection, run=row["id"], expected=row["fence"], reason=reason, now=now, due=due)
    return held.rowcount == 1
