"""Looking after runs that wait, whose sessions nobody follows: has something happened to one, somebody looks.

Webhooks of the service tell it at once; here it is looked for, because they may be lost, or not be set up. Lists that are
read anyway serve for most sessions; the others are read one by one, at growing distance.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Final

import structlog

from runner.errors import RefusedError
from runner.service import cap_of, is_over
from runner.turn import cost_cents, plain_usage
from runner.world import World
from storage import credentials, doorbells
from storage.doorbells import Look, Waiting

log = structlog.get_logger(__name__)

MOST: Final = 5_000
"""Waiting runs that are looked after in one sweep."""
READS_SHARE: Final = 10
"""At most one in so many of the reads per minute goes into looks at single sessions and credentials."""
NEVER: Final = float("-inf")
GONE: Final = "gone"
"""How a session looks that the service does not know any more."""
MARGIN_SECONDS: Final = 60.0
"""A credential that was changed so long after its failure was renewed: the failure itself may count as a change."""


class WaitingRuns:
    """A part of the upkeep, so that one process at a time does it."""

    def __init__(self, world: World, *, share: int = READS_SHARE) -> None:
        self._world = world
        self._timing = world.timing
        self._share = share
        self._tried: dict[str, float] = {}
        """When each OAuth credential of ours was tried last, by the loop's clock; of each vault, when it was listed."""

    async def look(self, sessions: Mapping[str, Any]) -> int:
        """Look at the sessions of all runs that wait; `sessions` were just listed. Return how many runs were woken.

        Raises ServiceError, having kept what was seen until then.
        """
        waiting = await self._world.database.read(doorbells.waiting, limit=MOST)
        if not waiting:
            return 0
        # In no list any more, a session is read by itself at once: a distance of nothing.
        listed = [
            judge(one, sessions[one.session_id], again=0.0) for one in waiting if one.session_id in sessions
        ]
        woken = await self._world.database.write(doorbells.looked, listed) if listed else 0
        most = self._most
        for one in [one for one in waiting if one.is_due and one.session_id not in sessions][:most]:
            woken += await self._world.database.write(doorbells.looked, [await self._read(one)])
        if woken:
            log.info("waiting runs have something to see", runs=woken)
        return woken

    async def _read(self, waiting: Waiting) -> Look:
        again = distance_after(waiting, first=self._timing.look_first, longest=self._timing.look_longest)
        try:
            session = await self._world.service.retrieve_session(waiting.session_id)
        except RefusedError as error:
            if not error.gone:
                raise
            return Look(waiting.run_id, GONE, again, wakes=waiting.seen_as != GONE)
        return judge(waiting, session, again=again)

    async def check_credentials(self) -> None:
        """Ask whether credentials that could not be renewed still cannot. Raises ServiceError."""
        broken = await self._world.database.read(credentials.failures)
        late = [one for one in broken if one.checked_ago >= self._timing.credential_check]
        for one in late[: self._most]:
            changed = await self._world.stores.credential_changed(one.vault_id, one.credential_id)
            if changed is None or changed > one.failed_at + MARGIN_SECONDS:
                await self._world.database.write(credentials.mended, one.credential_id)
                log.info(
                    "a credential was renewed or given up", vault=one.vault, credential=one.credential_id
                )
            else:
                await self._world.database.write(credentials.checked, one.credential_id)

    async def try_credentials(self) -> None:
        """Have the service try OAuth credentials in our vaults that nobody tried for a while. Raises ServiceError.

        Its webhook about one that cannot be renewed may be lost, or not be set up.
        """
        now, left = asyncio.get_running_loop().time(), self._most
        old = now - self._timing.credential_probe
        for vault_id in await self._world.database.read(credentials.our_vaults):
            if left <= 0 or self._tried.get(vault_id, NEVER) > old:
                continue
            left -= 1
            for credential_id in await self._world.stores.renewable(vault_id):
                if self._tried.get(credential_id, NEVER) > old:
                    continue
                if left <= 0:
                    return  # the vault is taken up again by the next round
                left -= 1
                await self._try(vault_id, credential_id)
                self._tried[credential_id] = now
            self._tried[vault_id] = now

    async def _try(self, vault_id: str, credential_id: str) -> None:
        works = await self._world.stores.still_works(vault_id, credential_id)
        if works:
            await self._world.database.write(credentials.mended, credential_id)
        elif works is False and await self._world.database.write(
            credentials.found_broken, credential_id=credential_id, vault_id=vault_id
        ):
            log.warning("a credential can no longer be renewed", credential=credential_id, vault=vault_id)

    @property
    def _most(self) -> int:
        return max(1, self._world.service.permits.per_minute("reads") // self._share)


def seen_as(session: Any) -> str:
    """How a session looks: alike twice means that nothing happened in between."""
    usage = plain_usage(getattr(session, "usage", None))
    status = "over" if is_over(session) else getattr(session, "status", None)
    words, cap = usage.get("output_tokens"), cap_of(session)
    return f"{status} spent={cost_cents(usage)} words={words} cap={cap}"


def judge(waiting: Waiting, session: Any, *, again: float) -> Look:
    """What a look at the session means. After the first one the run itself looks: it knows best what it waits for."""
    now = seen_as(session)
    return Look(waiting.run_id, now, again, wakes=waiting.seen_as != now)


def distance_after(waiting: Waiting, *, first: float, longest: float) -> float:
    """Seconds until the next look: twice as many as before this one."""
    return min(longest, max(first, 2 * waiting.distance))
