"""A role that is wedged while its process lives: `/readyz` turns 503 and names it, and the database tells others.

Each test puts a part that hangs into a real hub. The time until it shows is a setting, short here; what it adds up to
with the default figures is in tests/unit/test_hub_checks.py.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import httpx
import pytest
from crash.stage import Stage, stage
from crash.webhooks import github_comment

from connectors.intake import Intake
from connectors.outbox import Outbox
from hub.hub import Makers
from router.subscriber import Router
from runner.worker import Worker
from runner.world import World
from storage import workers
from storage.database import Database, StorageUnavailableError
from storage.deliveries import Incoming
from storage.runs import claim_runs

STUCK = 2.0
FLAGGED_WITHIN = 60 / 45 * STUCK + 1.5
"""What a minute is to the default figure, and what two busy cores may add."""
ASKED = "@triggerhub where do we round the total?"


_GATES: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Event] = WeakKeyDictionary()


def gate() -> asyncio.Event:
    """Opens when the test is over: a hub that cannot stop in order takes its time."""
    return _GATES.setdefault(asyncio.get_running_loop(), asyncio.Event())


async def never() -> None:
    await gate().wait()


class WedgedRouter(Router):
    async def take(self, batch: Sequence[Any]) -> None:
        del batch
        await never()


class SleepingWorker(Worker):
    """Its claims hang. Everything beside them goes on."""

    async def _claim(self) -> list[Any]:
        await never()
        return []


class FruitlessWorker(Worker):
    """It comes round, and gets nothing though work is due."""

    async def _claim(self) -> list[Any]:
        self._on_progress("claims", 0.5)
        return []


class ClaimsRefused(Database):
    """A database that takes everything but claims of runs."""

    def __init__(self, inner: Database) -> None:
        self._inner = inner

    async def write(self, work: Any, /, *args: Any, **kwargs: Any) -> Any:
        if work is claim_runs:
            msg = "the table is locked"
            raise StorageUnavailableError(msg)
        return await self._inner.write(work, *args, **kwargs)

    async def read(self, work: Any, /, *args: Any, **kwargs: Any) -> Any:
        return await self._inner.read(work, *args, **kwargs)

    async def close(self) -> None:
        await self._inner.close()


def refused_worker(world: World, **options: Any) -> Worker:
    """Every claim fails, and it goes on trying."""
    return Worker(replace(world, database=ClaimsRefused(world.database)), **options)


class ForgetfulLeases(Worker):
    async def _keep_leases(self) -> None:
        await never()


class SleepingOutbox(Outbox):
    async def _claim(self) -> list[Any]:
        await never()
        return []


class FruitlessOutbox(Outbox):
    async def _claim(self) -> list[Any]:
        return []


class DeafOutbox(Outbox):
    async def take(self, batch: Sequence[Any]) -> None:
        del batch
        await never()


class WedgedIntake(Intake):
    async def _commit(self) -> None:
        await never()


class LostIntake(Intake):
    async def store(self, delivery: Incoming) -> set[str]:
        del delivery
        await never()
        return set()


async def checks(running: Stage) -> tuple[int, dict[str, dict[str, Any]]]:
    answer = await running.http.get(f"{running.hub.url}/readyz")
    return answer.status_code, {one["name"]: one for one in answer.json()["checks"]}


async def flagged(running: Stage, role: str, said: str, *, since: float) -> None:
    """Wait until the role's own check fails and says this. Raises AssertionError when that takes too long."""
    while True:
        status, found = await checks(running)
        if status == 503 and not found[role]["ok"] and said in found[role]["detail"]:
            return
        assert time.monotonic() - since < FLAGGED_WITHIN, found
        await asyncio.sleep(0.05)


@asynccontextmanager
async def wedged(folder: Path, makers: Makers) -> AsyncIterator[Stage]:
    async with stage(folder, makers=makers, stuck_seconds=STUCK, run_lease_seconds=2.0) as running:

        async def ready() -> bool:
            return (await checks(running))[0] == 200

        try:
            await running.until(ready, seconds=10)
            yield running
        finally:
            gate().set()


ROLES: list[tuple[str, str, Makers]] = [
    ("router", "the same batch of triggerhub.events in hand", Makers(router=WedgedRouter)),
    ("runner", "'claims' last came round", Makers(worker=SleepingWorker)),
    ("runner", "'claims' last came round", Makers(worker=refused_worker)),
    ("runner", "has been due", Makers(worker=FruitlessWorker)),
    ("runner", "'keep_leases' last came round", Makers(worker=ForgetfulLeases)),
    ("poster", "'work' last came round", Makers(outbox=SleepingOutbox)),
    ("poster", "has been due", Makers(outbox=FruitlessOutbox)),
    ("poster", "the same batch of triggerhub.results in hand", Makers(outbox=DeafOutbox)),
]


@pytest.mark.parametrize(
    ("role", "said", "makers"), ROLES, ids=[f"{role}-{number}" for number, (role, *_) in enumerate(ROLES)]
)
async def test_a_wedged_role_is_named(tmp_path: Path, role: str, said: str, makers: Makers) -> None:
    async with wedged(tmp_path, makers) as running:
        since = time.monotonic()
        await running.accepted(github_comment(61, 6_100, ASKED))
        await flagged(running, role, said, since=since)
        assert (await running.http.get(f"{running.hub.url}/livez")).status_code == 200

        async def told() -> bool:  # to whoever reads the database
            found = {one.role: one for one in await running.hub.database.read(workers.living)}
            others = {one.role for one in found.values() if one.note}
            return said in found[role].note and others == {role}

        await running.until(told, seconds=5)


@pytest.mark.parametrize("intake", [WedgedIntake, LostIntake])
async def test_a_wedged_intake_is_named(tmp_path: Path, intake: type[Intake]) -> None:
    async with wedged(tmp_path, Makers(intake=intake)) as running, asyncio.TaskGroup() as tasks:
        since = time.monotonic()
        sending = tasks.create_task(_send(running))
        await flagged(running, "ingress", "has waited", since=since)
        sending.cancel()


async def _send(running: Stage) -> None:
    with pytest.raises(httpx.HTTPError):
        await running.send(github_comment(62, 6_200, ASKED))


async def test_a_hub_at_work_is_never_called_wedged(tmp_path: Path) -> None:
    """Longer than the limit, with work all the time and idle after it."""
    async with wedged(tmp_path, Makers()) as running:
        until = time.monotonic() + 2 * STUCK
        number = 0
        while time.monotonic() < until:
            number += 1
            await running.accepted(github_comment(63, 6_300 + number, ASKED if number % 5 == 0 else "hm"))
            status, found = await checks(running)
            assert status == 200, found
            await asyncio.sleep(0.05)
        await asyncio.sleep(STUCK)
        assert (await checks(running))[0] == 200


async def test_a_clock_that_is_off_is_seen_by_the_answers_of_others(tmp_path: Path) -> None:
    async with stage(tmp_path, makers=Makers(clock=lambda: time.time() + 90)) as running:

        async def compared() -> dict[str, Any] | None:
            _, found = await checks(running)
            return found["clock"] if "no other" not in found["clock"]["detail"] else None

        line = await running.until(compared, seconds=10)
        assert not line["ok"]
        assert "ahead of the services that answered" in line["detail"]
