"""Living roles: who is there, and when each last got something done. Readiness is judged from this."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, and_, delete, select, update

from storage.clock import read_clock
from storage.rows import insert_new, plain, table
from storage.tables import WorkerRow

FORGET_AFTER_SECONDS = 3600.0


@dataclass(frozen=True, slots=True)
class Worker:
    """One role of one process; ages in seconds."""

    role: str
    instance: str
    seen_ago: float
    progress_ago: float
    note: str


def report(connection: Connection, *, role: str, instance: str, progressed: bool, note: str = "") -> None:
    """Say that a role lives, and whether it did something (or had nothing to do) since its last report."""
    rows = table(WorkerRow)
    now = read_clock(connection)
    insert_new(
        connection,
        WorkerRow,
        [
            {
                "role": role,
                "instance": instance,
                "started_at": now,
                "seen_at": now,
                "progress_at": now,
                "note": plain(note, limit=300),
            }
        ],
    )
    values = {"seen_at": now, "note": plain(note, limit=300)} | ({"progress_at": now} if progressed else {})
    connection.execute(
        update(rows).where(and_(rows.c.role == role, rows.c.instance == instance)).values(**values)
    )


def leave(connection: Connection, *, instance: str) -> None:
    """A process stops in good order."""
    rows = table(WorkerRow)
    connection.execute(delete(rows).where(rows.c.instance == instance))


def living(connection: Connection) -> list[Worker]:
    """All roles that reported in the last hour."""
    rows = table(WorkerRow)
    now = read_clock(connection)
    query = (
        select(rows).where(rows.c.seen_at > now - FORGET_AFTER_SECONDS).order_by(rows.c.role, rows.c.instance)
    )
    return [
        Worker(
            role=row["role"],
            instance=row["instance"],
            seen_ago=now - row["seen_at"],
            progress_ago=now - row["progress_at"],
            note=row["note"],
        )
        for row in connection.execute(query).mappings()
    ]
