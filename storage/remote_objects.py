"""Which agent or environment of the configuration stands under which id at the Managed Agents service."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, and_, select, update

from storage.clock import read_clock
from storage.rows import insert_new, table
from storage.tables import RemoteObject


@dataclass(frozen=True, slots=True)
class Remote:
    """A remote object as it was last synchronised. `version` is None for environments."""

    content_hash: str
    remote_id: str
    version: int | None


def find(connection: Connection, *, kind: str, name: str) -> Remote | None:
    """What is known of `kind` (`agent` or `environment`) `name`."""
    rows = table(RemoteObject)
    row = connection.execute(
        select(rows.c.content_hash, rows.c.remote_id, rows.c.version).where(
            and_(rows.c.kind == kind, rows.c.name == name)
        )
    ).one_or_none()
    return Remote(*row) if row else None


def keep(connection: Connection, *, kind: str, name: str, remote: Remote) -> None:
    """Remember the object as it now stands."""
    rows = table(RemoteObject)
    values = {
        "content_hash": remote.content_hash,
        "remote_id": remote.remote_id,
        "version": remote.version,
        "updated_at": read_clock(connection),
    }
    insert_new(connection, RemoteObject, [{"kind": kind, "name": name, **values}])
    connection.execute(update(rows).where(and_(rows.c.kind == kind, rows.c.name == name)).values(**values))
