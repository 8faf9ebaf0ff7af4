"""A role that is wedged while its process lives: `/readyz` turns 503 and names it, and the database tells others.

Each test puts a part that hangs into a real hub. The time until it shows is a setting, short here; what it adds up to
with the default figures is in tests/unit/test_hub_checks.py.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from crash.stage import Stage, stage
from crash.webhooks import github_comment
from wedges import (
    DeafOutbox,
    ForgetfulLeases,
    FruitlessOutbox,
    FruitlessWorker,
    ImpatientIntake,
    LostIntake,
    SleepingOutbox,
    SleepingWorker,
    WedgedIntake,
    WedgedRouter,
    checks,
    gate,
    refused_worker,
)

from connectors.intake import Intake
from hub.parts import Makers
from storage import workers

STUCK = 2.0
FLAGGED_WITHIN = 60 / 45 * STUCK + 1.5
"""What a minute is to the default figure, and what two busy cores may add."""
ASKED = "@triggerhub where do we round the total?"


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


async def test_a_wedged_intake_whose_senders_were_told_503_is_named_too(tmp_path: Path) -> None:
    async with wedged(tmp_path, Makers(intake=ImpatientIntake)) as running:
        since = time.monotonic()
        answer = await running.send(github_comment(64, 6_400, ASKED))
        assert answer.status_code == 503
        await flagged(running, "ingress", "has waited", since=since)


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
