"""What of the configuration stands under which id at the Managed Agents service: agents, vaults and the rest."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, and_, delete, select, update

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


def replace(connection: Connection, *, kind: str, name: str, before: Remote | None, after: Remote) -> Remote:
    """Remember the object as it now stands; return what is remembered.

    That is another one than `after` where another process changed the row since `before` was read and means the
    same definition: whoever wrote first has won, and both use the same remote object.
    """
    rows = table(RemoteObject)
    here = and_(rows.c.kind == kind, rows.c.name == name)
    values = {
        "content_hash": after.content_hash,
        "remote_id": after.remote_id,
        "version": after.version,
        "updated_at": read_clock(connection),
    }
    if insert_new(connection, RemoteObject, [{"kind": kind, "name": name, **values}]):
        return after
    if before is not None:
        unchanged = and_(rows.c.content_hash == before.content_hash, rows.c.remote_id == before.remote_id)
        if connection.execute(update(rows).where(and_(here, unchanged)).values(**values)).rowcount:
            return after
    standing = find(connection, kind=kind, name=name)
    if standing is not None and standing.content_hash == after.content_hash:
        return standing
    connection.execute(update(rows).where(here).values(**values))
    return after


def forget(connection: Connection, *, kind: str, name: str, remote_id: str) -> None:
    """The object is gone at the service. Does nothing where another one took its place already."""
    rows = table(RemoteObject)
    connection.execute(
        delete(rows).where(and_(rows.c.kind == kind, rows.c.name == name, rows.c.remote_id == remote_id))
    )
