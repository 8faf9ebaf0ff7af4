"""Tells the story to a set-up, kills parts of it on the way, and judges by the sandbox's own record."""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import dataclass, field
from typing import Final

import httpx
from crash.judge import read_books, unequal
from crash.outside import artefacts, twice, work_by_run
from crash.setups import SetUp

from storage.database import StorageUnavailableError, open_database
from story.quotes import Said, everything
from story.steps import STORY, Step
from story.tale import RULE, VENDOR_SECONDS, Tale

STEP_SECONDS: Final = 60.0
"""Within which a step must be seen, kills and the leases of the dead included."""
LOOK_SECONDS: Final = 0.05


@dataclass(frozen=True, slots=True)
class Kill:
    """SIGKILL to a part, so long after a step began."""

    step: int
    after: float
    target: str


@dataclass(slots=True)
class Telling:
    """How it went."""

    kills: list[Kill] = field(default_factory=list)
    seen: list[str] = field(default_factory=list)
    """Titles of the steps, in the order in which they were seen."""
    violations: list[str] = field(default_factory=list)
    said: list[Said] = field(default_factory=list)
    """Every text that came in or was posted, as it stands at the end."""


def deaths(setup: SetUp, *, seed: int, kills: int) -> list[Kill]:
    """So many, at different steps; the same for the same seed."""
    chance = random.Random(f"{setup.name}-{seed}")  # noqa: S311 - a schedule that can be repeated, not a secret
    names, weights = zip(*setup.killable.items(), strict=True)
    acting = [n for n, step in enumerate(STORY) if step.act is not None]
    steps = sorted(chance.sample(acting, kills))
    return [Kill(n, chance.uniform(0.0, 0.5), chance.choices(names, weights)[0]) for n in steps]


async def tell(setup: SetUp, *, seed: int, kills: int) -> Telling:
    """The whole story. Raises AssertionError where a step is not seen."""
    telling = Telling(deaths(setup, seed=seed, kills=kills))
    database = open_database(setup.database_url)
    try:
        async with httpx.AsyncClient(timeout=VENDOR_SECONDS, trust_env=False) as http:
            tale = Tale(setup, database, http)
            for n, step in enumerate(STORY):
                async with asyncio.TaskGroup() as tasks:
                    for kill in telling.kills:
                        if kill.step == n:
                            tasks.create_task(_kill(setup, kill))
                    tasks.create_task(_take(tale, step, n))
                telling.seen.append(step.title)
            telling.violations += await _settle(tale)
            telling.violations += await _judge(tale)
            telling.said += await everything(tale)
    finally:
        await database.close()
    return telling


async def _kill(setup: SetUp, kill: Kill) -> None:
    await asyncio.sleep(kill.after)
    await setup.kill(kill.target)


async def _take(tale: Tale, step: Step, n: int) -> None:
    if step.act is not None:
        await step.act(tale)
    until = time.monotonic() + STEP_SECONDS
    while not await step.seen(tale):
        assert time.monotonic() < until, (
            f"step {n + 1}, {step.title!r}, was not seen within {STEP_SECONDS:.0f} s"
        )
        await asyncio.sleep(LOOK_SECONDS)


async def _settle(tale: Tale) -> list[str]:
    """Wait until nothing is under way."""
    until = time.monotonic() + STEP_SECONDS
    while True:
        try:
            books = await tale.database.read(read_books)
        except StorageUnavailableError:
            books = None
        if books is not None and not books.unfinished:
            denied = [one for one in books.refused_results if "say what changed" not in one]
            wrong = {
                "events lost": books.unrouted,
                "dead letters": books.dead,
                "failed runs": books.failed_runs,
            }
            wrong |= {"refused": denied, "ambiguous": books.ambiguous}
            found = [f"{what}: {rows}" for what, rows in wrong.items() if rows]
            if books.event_ids != {one.event_id for one in tale.facts}:
                found.append(f"{len(tale.facts)} facts were sent, and {books.events} events exist")
            return found
        if time.monotonic() > until:
            return [f"still under way: {books}"]
        await asyncio.sleep(LOOK_SECONDS)


async def _judge(tale: Tale) -> list[str]:
    """One session, told everything once and in order; one artefact in each slot."""
    state, work = await tale.state(), await tale.setup.sandbox.work()
    found = [f"made twice: {one}" for one in twice(artefacts(state))]
    found += unequal(await tale.database.read(read_books), state["anthropic"])
    sessions = {str(item["session_id"]) for item in work}
    if len(sessions) != 1:
        found.append(f"{len(sessions)} sessions were given work")
    sent = work_by_run(work)
    found += [f"{run}: work sent {len(to)} times" for run, to in sent.items() if len(to) != 1]
    wanted = [step.tells for step in STORY if step.tells]
    told = [message for session in sessions for message in await tale.told(session)]
    if len(told) != len(wanted):
        found.append(f"{len(wanted)} turns wanted, {len(told)} told")
    found += [
        f"{words!r} was not told in its turn"
        for words, message in zip(wanted, told, strict=False)
        if words not in message
    ]
    for name in sent:
        if not any(one.run == name for one in artefacts(state)):
            found.append(f"{name} of {RULE} said nothing to anybody")
    found += [f"{len(await tale.pulls())} pull requests"] if len(await tale.pulls()) != 1 else []
    for step in STORY:
        if step.stays and not await step.seen(tale) and step.title not in _OVERTAKEN:
            found.append(f"no longer so: {step.title}")
    return found


_OVERTAKEN: Final = frozenset({"who asked may not approve"})
"""Steps whose look counts votes: later steps add some."""
