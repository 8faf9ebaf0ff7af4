"""The parts of a hub's process in tests: with short waits, and forgetful ones in place of those that are switched off.

That is how the crash harness is tested: it must notice what is missing. No test runs here.
"""

from __future__ import annotations

import asyncio
import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Final

from sqlalchemy import Engine, event

from connectors.base import Identity
from connectors.intake import Intake
from connectors.outbox import Outbox
from connectors.poster import Post, Poster, RepositoryAccess
from hub.parts import Makers
from hub.publisher import Publisher
from runner.client import CALL_SECONDS
from runner.service import Service
from runner.timing import Timing
from runner.worker import Worker
from schemas.result import Receipt
from storage.deliveries import Incoming

QUICK: Final[Mapping[str, Any]] = {
    "give_back": 1.0,
    "max_give_back": 5.0,
    "quiet": 5.0,
    "stream_silence": 8.0,
    "interrupt_again": 3.0,
    "calm": 5.0,
    "settle": (0.0, 0.3, 0.7),
    "upkeep": 3.0,
    "upkeep_grace": 3.0,
}
"""`runner.timing`: a harness that kills every second cannot wait for minutes."""

QUICK_CALL_SECONDS: Final = 4.0
"""For one call of the Managed Agents service: what hangs must be given up before the harness gives up."""


class BlindPoster(Poster):
    """Never finds what was posted before."""

    def __init__(self, inner: Poster) -> None:
        self._inner = inner

    async def find(self, post: Post) -> Receipt | None:
        del post
        return None

    async def create(self, post: Post) -> Receipt:
        return await self._inner.create(post)

    async def update(self, post: Post, receipt: Receipt) -> Receipt:
        return await self._inner.update(post, receipt)

    async def identify(self) -> Identity:
        return await self._inner.identify()

    async def repository(self, name: str, *, write: bool = True) -> RepositoryAccess:
        return await self._inner.repository(name, write=write)


def blind_outbox(connections: Any, database: Any, **options: Any) -> Outbox:
    return Outbox(
        lambda: {name: replace(one, poster=BlindPoster(one.poster)) for name, one in connections().items()},
        database,
        **options,
    )


class BlindService(Service):
    """Never finds a session or a message of an earlier attempt."""

    async def sessions_since(self, *_: Any, **__: Any) -> list[Any]:
        return []

    async def list_events(self, session_id: str, *, types: Sequence[str] = ()) -> list[Any]:
        return [] if types else await super().list_events(session_id)


class CredulousIntake(Intake):
    """Takes every copy for something new."""

    async def store(self, delivery: Incoming) -> set[str]:
        copy = uuid.uuid4().hex[:8]
        events = []
        for one in delivery.events:
            name = f"{one.id[:-8]}{copy}"
            body = one.body.replace(one.id.encode(), name.encode())
            events.append(replace(one, id=name, body=body))
        await super().store(replace(delivery, id=f"{delivery.id}:{copy}", events=events))
        return set()  # the sweep publishes them under their new names


class SweeplessPublisher(Publisher):
    """Publishes what this process has just committed, and never anything else."""

    async def _sweep(self) -> None:
        await asyncio.Event().wait()


class StubbornWorker(Worker):
    """Takes its leases for endless, and never hears that it lost one."""

    def _lease_from_now(self) -> float:
        return float("inf")

    async def _keep_leases(self) -> None:
        return


_OWNED: Final = re.compile(r"\b(?:run|result)\.(?:lease_owner|fence|status) = (\$\d+(?:::\w+)?|\?)")


def _unfenced(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> tuple[str, Any]:
    """A worker's write without what it says of owner, fence and status."""
    change, where, wanted = statement.partition(" WHERE ")
    if change.startswith("UPDATE") and "lease_owner = " in wanted and "fence = " in wanted:
        statement = change + where + _OWNED.sub(r"(\1 IS NOT NULL)", wanted)
    return statement, parameters


def forgetful_makers(without: Sequence[str], *, quick: bool) -> Makers:
    """The parts of one process."""
    if "fence" in without:
        event.listen(Engine, "before_cursor_execute", _unfenced, retval=True)
    return Makers(
        intake=CredulousIntake if "dedup" in without else Intake,
        service=partial(
            BlindService if "reconcile" in without else Service,
            call_seconds=QUICK_CALL_SECONDS if quick else CALL_SECONDS,
        ),
        outbox=blind_outbox if "find" in without else Outbox,
        publisher=SweeplessPublisher if "sweep" in without else Publisher,
        worker=StubbornWorker if "fence" in without else Worker,
        timing=Timing(**QUICK) if quick else Timing(),
    )
