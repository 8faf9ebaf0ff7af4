"""Credentials in vaults that can no longer be renewed: told by a webhook, kept until the service says otherwise."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, and_, delete, func, select, update

from schemas.dispatch import Dispatch
from storage.clock import read_clock
from storage.rows import insert_new, table
from storage.tables import CredentialFailure, DispatchRow, RemoteObject

KEPT_SECONDS: Final = 90 * 86_400.0
"""Failures in vaults that are not ours are forgotten after this time: nobody here can tell what became of them."""
PINNED: Final = "pinned_vault"
"""Kind of `remote_object` of a vault that the configuration names by its id."""
KINDS: Final = ("vault", PINNED)


@dataclass(frozen=True, slots=True)
class Failure:
    """A credential that is broken, in a vault that the configuration knows."""

    vault: str
    vault_id: str
    credential_id: str
    failed_at: float
    checked_ago: float


def failed(
    connection: Connection, *, credential_id: str, vault_id: str, event_id: str, failed_at: float
) -> bool:
    """Note that a credential could not be renewed. False where that was known."""
    rows = table(CredentialFailure)
    now = read_clock(connection)
    connection.execute(delete(rows).where(rows.c.checked_at < now - KEPT_SECONDS))
    row = {
        "credential_id": credential_id,
        "vault_id": vault_id,
        "event_id": event_id,
        "failed_at": failed_at,
        "checked_at": now,
    }
    if insert_new(connection, CredentialFailure, [row]):
        return True
    later = and_(rows.c.credential_id == credential_id, rows.c.failed_at < failed_at)
    connection.execute(update(rows).where(later).values(event_id=event_id, failed_at=failed_at))
    return False


def found_broken(connection: Connection, *, credential_id: str, vault_id: str) -> bool:
    """Note, as of now, what nobody told: the service itself says so when it is asked. False where that was known."""
    now = read_clock(connection)
    row = {
        "credential_id": credential_id,
        "vault_id": vault_id,
        "event_id": "",
        "failed_at": now,
        "checked_at": now,
    }
    return bool(insert_new(connection, CredentialFailure, [row]))


def our_vaults(connection: Connection) -> list[str]:
    """Ids of the vaults that the configuration knows, as far as a run needed them."""
    objects = table(RemoteObject)
    query = select(objects.c.remote_id).where(objects.c.kind.in_(KINDS)).distinct()
    return list(connection.execute(query.order_by(objects.c.remote_id)).scalars())


def mended(connection: Connection, credential_id: str) -> bool:
    """The credential was renewed, replaced or given up. False where nothing was wrong with it."""
    rows = table(CredentialFailure)
    return bool(connection.execute(delete(rows).where(rows.c.credential_id == credential_id)).rowcount)


def vault_gone(connection: Connection, vault_id: str) -> int:
    """The vault was archived or deleted, and its credentials with it."""
    rows = table(CredentialFailure)
    return connection.execute(delete(rows).where(rows.c.vault_id == vault_id)).rowcount


def checked(connection: Connection, credential_id: str) -> None:
    """The service was asked, and it is still so."""
    rows = table(CredentialFailure)
    here = rows.c.credential_id == credential_id
    connection.execute(update(rows).where(here).values(checked_at=read_clock(connection)))


def failures(connection: Connection, vaults: Collection[str] | None = None) -> list[Failure]:
    """What is broken in our vaults, or in those of these names; the oldest first."""
    rows, objects = table(CredentialFailure), table(RemoteObject)
    now = read_clock(connection)
    ours = and_(objects.c.remote_id == rows.c.vault_id, objects.c.kind.in_(KINDS))
    query = (
        select(objects.c.name, rows.c.vault_id, rows.c.credential_id, rows.c.failed_at, rows.c.checked_at)
        .join(objects, ours)
        .order_by(rows.c.failed_at, rows.c.credential_id, objects.c.name)
    )
    if vaults is not None:
        query = query.where(objects.c.name.in_(sorted(vaults)))
    return [
        Failure(row.name, row.vault_id, row.credential_id, row.failed_at, now - row.checked_at)
        for row in connection.execute(query)
    ]


def hurting(connection: Connection, dispatch_id: str, *, until: float | None) -> list[Failure]:
    """What is broken in the vaults of a dispatch and was so before its run ended, at `until`; None: it goes on."""
    rows = table(DispatchRow)
    body = connection.execute(select(rows.c.body).where(rows.c.id == dispatch_id)).scalar_one_or_none()
    vaults = () if body is None else Dispatch.model_validate_json(body).vaults
    found = failures(connection, vaults) if vaults else []
    return [one for one in found if until is None or one.failed_at <= until]


def count(connection: Connection) -> int:
    """How many credentials in our vaults are broken."""
    rows, objects = table(CredentialFailure), table(RemoteObject)
    ours = select(objects.c.remote_id).where(objects.c.kind.in_(KINDS))
    query = select(func.count()).select_from(rows).where(rows.c.vault_id.in_(ours))
    return int(connection.execute(query).scalar_one())
