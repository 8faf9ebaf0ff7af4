"""Runs that wait hear what happens to their sessions: at once where the service rings, later where nobody does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from runner_samples import QUICK, dispatch_of, limits
from runner_world import Bench, bench

from runner.upkeep import Upkeep
from storage import credentials, doorbells, remote_objects
from storage.credentials import PINNED
from storage.remote_objects import Remote
from storage.tables import RunStatus


@pytest.fixture
async def runner(sqlite_template: Path, tmp_path: Path) -> AsyncIterator[Bench]:
    async with bench(sqlite_template, tmp_path) as made:
        yield made


async def waiting(runner: Bench, n: int = 0) -> dict[str, Any]:
    """A run that waits a day at its budget."""
    bounds = limits(budget_cents=500, on_budget="wait", budget_wait_seconds=86_400.0)
    (run_id,) = await runner.take(dispatch_of(n=n, scenario="scenario=budget", limits=bounds))
    return await runner.until(run_id, lambda row: row["status"] == RunStatus.WAITING)


async def upkeep(runner: Bench) -> None:
    """One sweep, whoever's turn it is."""
    await Upkeep(runner.world).sweep()


async def settled(runner: Bench, run_id: str) -> dict[str, Any]:
    """The run's row when it waits again, held by nobody and due no sooner than at its end."""

    def rests(row: Any) -> bool:
        return bool(
            row["status"] == RunStatus.WAITING
            and row["lease_owner"] is None
            and row["due_at"] == row["deadline_at"]
        )

    return await runner.until(run_id, rests)


async def test_a_ring_wakes_a_run_whose_budget_was_raised_at_the_service(runner: Bench) -> None:
    runner.worker()
    row = await waiting(runner)
    await runner.world.service.set_budget(row["session_id"], 900)
    await asyncio.sleep(0.3)
    assert (await runner.row(row["id"]))["status"] == RunStatus.WAITING, "nobody has told it"
    await runner.database.write(doorbells.ring, row["session_id"])
    ended = await runner.ended(row["id"])
    assert ended["status"] == "succeeded", ended["error"]
    assert len(runner.messages()) == 1, "the work was told once"


async def test_without_a_ring_the_upkeep_sees_it(runner: Bench) -> None:
    runner.worker()
    row = await waiting(runner)
    await upkeep(runner)
    await settled(runner, row["id"])
    await runner.world.service.set_budget(row["session_id"], 900)
    await upkeep(runner)
    ended = await runner.ended(row["id"])
    assert ended["status"] == "succeeded", ended["error"]


async def test_where_nothing_happened_nobody_is_woken_and_no_session_is_read(runner: Bench) -> None:
    runner.worker()
    row = await waiting(runner)
    await upkeep(runner)
    before = await settled(runner, row["id"])
    calls = len(runner.outside.log.calls("anthropic"))
    for _ in range(3):
        await upkeep(runner)
    await asyncio.sleep(0.3)
    after = await settled(runner, row["id"])
    assert after["rung"] == before["rung"]
    made = runner.outside.log.calls("anthropic")[calls:]
    assert {call.path for call in made} == {"/v1/sessions"}, "the lists that the upkeep reads anyway"


async def test_a_ring_for_nothing_costs_one_look(runner: Bench) -> None:
    runner.worker()
    row = await waiting(runner)
    for _ in range(2):  # the service may say it twice
        await runner.database.write(doorbells.ring, row["session_id"])
    after = await settled(runner, row["id"])
    assert after["status"] == RunStatus.WAITING
    assert len(runner.comments()) == 1, "people are told once that it waits"


@pytest.mark.parametrize("what", ["archived", "deleted"])
@pytest.mark.parametrize("rings", [True, False])
async def test_a_session_that_is_over_ends_the_run(runner: Bench, what: str, *, rings: bool) -> None:
    runner.worker()
    row = await waiting(runner)
    await upkeep(runner)
    await settled(runner, row["id"])
    sessions = runner.world.service.beta.sessions
    await (sessions.archive if what == "archived" else sessions.delete)(row["session_id"])
    if rings:
        await runner.database.write(doorbells.ring, row["session_id"])
    else:
        await upkeep(runner)
    ended = await runner.ended(row["id"])
    assert ended["status"] == "failed"
    assert "the session is" in ended["error"]


async def test_a_session_that_no_list_shows_is_read_at_growing_distance(runner: Bench) -> None:
    """As one does that was made longer ago than the lists go back."""
    runner.worker()
    row = await waiting(runner)
    short = replace(runner.world, timing=replace(QUICK, upkeep_window=-3600.0))
    sweeper = Upkeep(short)
    await sweeper.sweep()
    await settled(runner, row["id"])
    (one,) = await runner.database.read(doorbells.waiting, limit=10)
    assert (one.is_due, round(one.distance)) == (False, 60)
    calls = len(runner.outside.log.calls("anthropic"))
    await sweeper.sweep()
    paths = {call.path for call in runner.outside.log.calls("anthropic")[calls:]}
    assert f"/v1/sessions/{row['session_id']}" not in paths, "it is not due yet"


async def test_a_ring_while_the_session_is_followed_does_no_harm(runner: Bench) -> None:
    runner.worker()
    (run_id,) = await runner.take(dispatch_of(scenario="scenario=slow seconds=1"))
    row = await runner.until(run_id, lambda row: row["status"] == RunStatus.RUNNING)
    await runner.database.write(doorbells.ring, row["session_id"])
    ended = await runner.ended(run_id)
    assert ended["status"] == "succeeded", ended["error"]
    assert len(runner.messages()) == 1


async def test_a_ring_makes_up_for_what_a_mute_stream_did_not_tell(runner: Bench) -> None:
    patient = replace(
        runner.world, timing=replace(QUICK, quiet=3600.0, max_quiet=3600.0, stream_silence=3600.0)
    )
    runner.worker(world=patient)
    (run_id,) = await runner.take(dispatch_of(scenario="scenario=slow seconds=1"))
    row = await runner.until(run_id, lambda row: row["status"] == RunStatus.RUNNING)
    session = runner.agents.sessions[row["session_id"]]
    for one in list(session.history.subscribers):
        one.mute = True
    async with asyncio.timeout(10):
        while session.status != "idle":
            await asyncio.sleep(0.05)
    await asyncio.sleep(0.3)
    assert (await runner.row(run_id))["status"] == RunStatus.RUNNING, "its stream is silent"
    await runner.database.write(doorbells.ring, row["session_id"])
    ended = await runner.ended(run_id)
    assert ended["status"] == "succeeded", ended["error"]


async def test_a_credential_that_is_gone_is_no_longer_told_of(runner: Bench) -> None:
    pin = Remote("vlt_elsewhere", "vlt_elsewhere", None)
    await runner.database.write(remote_objects.replace, kind=PINNED, name="tools", before=None, after=pin)
    await runner.database.write(
        credentials.failed, credential_id="vcrd_1", vault_id="vlt_elsewhere", event_id="evt_1", failed_at=0.0
    )
    await upkeep(runner)
    assert await runner.database.read(credentials.count) == 1, "it is asked about after a while, not at once"
    always = replace(runner.world, timing=replace(QUICK, credential_check=0.0))
    await Upkeep(always).sweep()
    assert await runner.database.read(credentials.count) == 0, "the service knows no such credential"
