"""What `triggerhub doctor` says by what the database knows: gaps that cannot be closed, silence, broken credentials.

Reads only; leaves nothing behind.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final, Literal

from connectors.observations import Observations
from connectors.silence import spoken
from connectors.vigil import Vigil
from storage import credentials, healing, migrate
from storage.credentials import Failure
from storage.database import Database
from storage.healing import Standing

OVERDUE: Final = 3600.0
"""Seconds since the last sweep above which it is told that none takes place."""


@dataclass(frozen=True, slots=True)
class Remark:
    """One thing about one connection or vault."""

    state: Literal["ok", "warn"]
    about: Literal["gaps", "silence", "vaults"]
    detail: str


async def remarks(database: Database, names: Collection[str]) -> list[Remark]:
    """Everything worth saying about the connections. Nothing where the schema is not the newest."""
    if await database.read(migrate.current) != migrate.head():
        return []
    found: list[Remark] = []
    for standing in await database.read(healing.standings):
        if standing.connection in names:
            found += of_standing(standing)
    vigil = Vigil(lambda: names, database, observations=Observations())
    await vigil.look()
    found += [
        Remark("warn", "silence", f"connection {name}: {why}; look at the webhook in the vendor's settings")
        for name, why in sorted(vigil.silent.items())
    ]
    found += [of_credential(one) for one in await database.read(credentials.failures)]
    return found


def of_credential(failure: Failure) -> Remark:
    """A credential in a vault that the service could not renew. Pure."""
    detail = (
        f"credential {failure.credential_id} in vault {failure.vault} can no longer be renewed: sessions that need it "
        "fail; authorise it again in the Console, or replace it"
    )
    return Remark("warn", "vaults", detail)


def of_standing(standing: Standing) -> list[Remark]:
    """What the search for gaps came to. Pure."""
    name = f"connection {standing.connection}"
    found = [
        Remark("warn", "gaps", f"{name}: what is lost in {stream} cannot be fetched: {reason}")
        for stream, reason in standing.off
    ]
    if standing.error is not None:
        found.append(
            Remark("warn", "gaps", f"{name}: the last search for lost webhooks ended early: {standing.error}")
        )
    elif standing.swept_ago is None or standing.swept_ago > OVERDUE:
        ago = "never" if standing.swept_ago is None else f"{spoken(standing.swept_ago)} ago"
        detail = f"{name}: lost webhooks were last looked for {ago}; is a hub with the role poster running?"
        found.append(Remark("warn", "gaps", detail))
    elif not found:
        detail = f"{name}: {standing.fetched} events fetched and {standing.redelivered} deliveries asked for again so far"
        found.append(Remark("ok", "gaps", detail))
    return found
