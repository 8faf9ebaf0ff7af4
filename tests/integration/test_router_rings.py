"""Runs whose session something happens to while nobody follows it: rung for by a webhook, or found by the upkeep."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from router_samples import rule, rule_set
from runner_samples import QUICK, dispatch_of, grant, limits
from runner_world import Bench, bench
from services.facts import make_incoming_event
from sqlalchemy import update

from hub.broker import Taken
from router.subscriber import Router, Rules
from runner.stores import Stored
from runner.upkeep import Upkeep
from runner.waiting import WaitingRuns
from sandbox.managed_agents.subscribers import StreamFault
from schemas.dispatch import Dispatch
from schemas.event import Actor, Event, EventData, Subject
from schemas.policy.approval import ApprovalPolicy
from schemas.policy.shapes import OutputPolicy
from storage import credentials, queries
from storage.deliveries import Incoming, store_deliveries
from storage.rows import table
from storage.tables import RunRow, RunStatus

TIMING = replace(QUICK, look_first=0.0, credential_check=0.0)
ANY = rule(name="any", match={"kind": "other"}, who=["system"], conversation="event")


@pytest.fixture
async def runner(sqlite_template: Path, tmp_path: Path) -> AsyncIterator[Bench]:
    async with bench(sqlite_template, tmp_path, timing=TIMING) as made:
        yield made


def at_budget(n: int = 12) -> Dispatch:
    """A run that waits: its first request eats the whole budget."""
    bounds = limits(budget_cents=500, on_budget="wait", budget_wait_seconds=86_400.0)
    return dispatch_of(n, scenario="scenario=budget", limits=bounds)


def for_people() -> Dispatch:
    """A run that waits: it comments, if people let it."""
    one = grant(name="say", policy=OutputPolicy(approve=ApprovalPolicy()))
    return dispatch_of(scenario="scenario=custom_tools", grants=(one,))


async def waiting(runner: Bench, dispatch: Dispatch) -> dict[str, Any]:
    (run_id,) = await runner.take(dispatch)
    return await runner.until(run_id, lambda row: row["status"] == RunStatus.WAITING)


async def webhook(runner: Bench, what: str, key: str, *, n: int = 1, vault: str | None = None) -> str:
    """A webhook of the service takes its way through the router. Returns what the one verdict says."""
    family = what.partition(".")[0]
    event = Event(
        id=f"evt_{what}_{key}_{n}",
        source="anthropic/wrkspc_1",
        type=f"anthropic.{what}",
        subject=key,
        time=datetime.now(UTC),
        connection="acme-anthropic",
        data=EventData(
            kind="other",
            actor=Actor(trust="system"),
            subject=Subject(kind=family, key=key),
            address={} if vault is None else {"vault": vault},
        ),
    )
    incoming = Incoming(
        id=f"acme-anthropic:{event.id}",
        connection="acme-anthropic",
        outcome="handled",
        body_hash="0" * 64,
        body_size=1,
        events=[make_incoming_event(event)],
    )
    await runner.database.write(store_deliveries, [incoming])
    body = event.model_dump_json().encode()
    router = Router(Rules(rule_set(ANY)), runner.database, announce=lambda _: None)
    await router.take([Taken(Event.model_validate_json(body), body)])
    (verdict,) = await runner.database.read(queries.verdict_rows, event.id)
    assert (verdict["outcome"] == "matched") == (family != "session"), "no rule is asked about a session"
    return str(verdict["reason"])


async def raise_at_the_service(runner: Bench, session_id: str) -> None:
    await runner.world.service.set_budget(session_id, 900)


async def end_at_the_service(runner: Bench, session_id: str) -> None:
    await runner.world.service.archive_session(session_id)


async def test_a_ring_wakes_a_run_that_waits_long_before_anybody_would_look(runner: Bench) -> None:
    runner.worker()
    row = await waiting(runner, at_budget())
    await raise_at_the_service(runner, row["session_id"])
    assert f"rings for {row['id']}" in await webhook(runner, "session.updated", row["session_id"])
    ended = await runner.ended(row["id"], seconds=5)
    assert ended["status"] == "succeeded", ended["error"]
    assert len(runner.messages()) == 1, "the work was told once"


@pytest.mark.parametrize("waits", [at_budget, for_people])
async def test_a_session_that_ends_while_its_run_waits(runner: Bench, waits: Any) -> None:
    runner.worker()
    row = await waiting(runner, waits())
    await end_at_the_service(runner, row["session_id"])
    await webhook(runner, "session.status_terminated", row["session_id"])
    ended = await runner.ended(row["id"], seconds=5)
    assert ended["status"] == "failed"
    assert "session" in ended["error"]
    assert "terminated" in ended["error"]


async def test_a_ring_for_nothing_costs_one_look(runner: Bench) -> None:
    runner.worker()
    row = await waiting(runner, at_budget())
    path = f"/v1/sessions/{row['session_id']}"
    before = runner.calls("GET", path)
    await webhook(runner, "session.budget_reached", row["session_id"])
    for _ in range(3):
        await webhook(runner, "session.budget_reached", row["session_id"])  # the same one once more
    await runner.until(row["id"], lambda _: runner.calls("GET", path) > before)
    again = await runner.until(row["id"], lambda now: now["lease_owner"] is None)
    assert (again["status"], again["due_at"]) == ("waiting", row["deadline_at"])
    await asyncio.sleep(0.3)
    assert runner.calls("GET", path) == before + 1
    assert (await runner.row(row["id"]))["rung"] == 1, "the router takes an event once"


@pytest.mark.parametrize("claimed", [False, True], ids=["recorded", "recorded and claimed"])
async def test_a_ring_outlives_whoever_should_have_looked(runner: Bench, *, claimed: bool) -> None:
    worker = runner.worker()
    row = await waiting(runner, at_budget())
    await worker.stop()
    await raise_at_the_service(runner, row["session_id"])
    await webhook(runner, "session.updated", row["session_id"])
    if claimed:  # and its process is killed before it looks
        assert [claim.run_id for claim in await runner.claim("killed", lease=0.2)] == [row["id"]]
    runner.worker("two")
    ended = await runner.ended(row["id"], seconds=10)
    assert ended["status"] == "succeeded", ended["error"]


async def test_a_run_at_work_notices_behind_a_dead_stream_that_its_session_ended(runner: Bench) -> None:
    runner.agents.faults.add(StreamFault(half_open=True))
    runner.worker()
    (run_id,) = await runner.take(dispatch_of(scenario="scenario=terminal"))
    row = await runner.until(run_id, lambda row: row["status"] == RunStatus.RUNNING)
    session = runner.agents.sessions[row["session_id"]]
    await runner.until(run_id, lambda _: session.status == "terminated")
    started = asyncio.get_running_loop().time()
    await webhook(runner, "session.status_terminated", row["session_id"])
    ended = await runner.ended(run_id)
    took = asyncio.get_running_loop().time() - started
    assert (ended["status"], ended["rung"]) == ("failed", 1)
    assert took < min(TIMING.quiet, TIMING.stream_silence) / 2, "it did not wait for the stream"


async def test_sessions_of_others_are_left_alone(runner: Bench) -> None:
    agent = await runner.world.catalogue.agent("fixer")
    environment = await runner.world.catalogue.environment("python")
    params = {"agent": agent.remote_id, "environment_id": environment.remote_id}
    theirs = await runner.world.service.create_session(params)
    calls = len(runner.outside.log.calls("anthropic"))
    said = await webhook(runner, "session.status_idled", theirs)
    assert "another program's" in said
    assert len(runner.outside.log.calls("anthropic")) == calls, "nothing is fetched"
    assert runner.agents.sessions[theirs].archived_at is None


async def test_a_ring_for_a_run_that_ended_says_so(runner: Bench) -> None:
    runner.worker()
    row = await runner.run(dispatch_of(scenario="scenario=happy"))
    said = await webhook(runner, "session.status_idled", row["session_id"])
    assert said == f"the session's last run {row['id']} has ended (succeeded): nothing is left to do"


async def test_without_webhooks_the_upkeep_finds_it_by_its_lists(runner: Bench) -> None:
    runner.worker()
    row = await waiting(runner, at_budget())
    upkeep, path = Upkeep(runner.world), f"/v1/sessions/{row['session_id']}"
    before = runner.calls("GET", path)
    await upkeep.sweep()
    await runner.until(row["id"], lambda _: runner.calls("GET", path) > before)
    await runner.until(row["id"], lambda now: now["lease_owner"] is None and now["rung"] == 1)
    calls = len(runner.outside.log.calls("anthropic"))
    for _ in range(3):
        await upkeep.sweep()
    assert (await runner.row(row["id"]))["rung"] == 1, "nothing happened to it"
    asked = runner.outside.log.calls("anthropic")[calls:]
    assert {call.path for call in asked} == {"/v1/sessions"}, "the lists alone"
    await raise_at_the_service(runner, row["session_id"])
    await upkeep.sweep()
    ended = await runner.ended(row["id"], seconds=5)
    assert ended["status"] == "succeeded", ended["error"]


async def test_sessions_in_no_list_are_read_within_a_share_of_the_budget(
    sqlite_template: Path, tmp_path: Path
) -> None:
    timing = replace(QUICK, upkeep_window=0.0, look_first=0.0)
    async with bench(sqlite_template, tmp_path, timing=timing, reads=30_000) as runner:
        runner.worker()
        rows = [await waiting(runner, at_budget(n)) for n in range(1, 6)]
        await runner.write(update(table(RunRow)).values(seen_as="idle", looked_at=0.0, look_at=0.0))
        for row in rows:
            await raise_at_the_service(runner, row["session_id"])
        looking = WaitingRuns(runner.world, share=15_000)
        for woken, n in ((2, 2), (2, 4), (1, 5)):
            assert await looking.look({}) == woken
            looked = [await runner.row(row["id"]) for row in rows]
            assert sum(row["looked_at"] != 0.0 for row in looked) == n
        for row in rows:
            ended = await runner.ended(row["id"])
            assert ended["status"] == "succeeded", ended["error"]


async def test_a_broken_credential_is_named_in_the_run_it_hurts_until_it_is_mended(runner: Bench) -> None:
    written = {
        "auth": None,
        "type": "static_bearer",
        "mcp_server_url": "https://mcp.example.com",
        "token": "t",
    }
    del written["auth"]
    runner.world.stores.stored = Stored(vaults={"tools": {"credentials": [written]}})
    vault_id = await runner.world.stores.vault("tools")
    (credential_id,) = runner.agents.credentials[vault_id]
    await webhook(runner, "vault_credential.refresh_failed", credential_id, vault=vault_id)
    await webhook(runner, "vault_credential.refresh_failed", "vcrd_9", vault="vlt_of_another_program")
    runner.worker()
    ended = await runner.run(dispatch_of(scenario="scenario=terminal", vaults=("tools",)))
    assert ended["error"].endswith("a credential in the vault tools can no longer be renewed")
    other = await runner.run(dispatch_of(2, scenario="scenario=terminal"))
    assert "vault" not in other["error"], "it has none"
    upkeep = Upkeep(runner.world)
    await upkeep.sweep()
    (left,) = await runner.database.read(credentials.failures)
    assert (left.vault, left.credential_id) == ("tools", credential_id)
    await runner.world.service.beta.vaults.credentials.archive(credential_id, vault_id=vault_id)
    await upkeep.sweep()
    assert await runner.database.read(credentials.failures) == []


async def test_without_webhooks_oauth_credentials_are_tried_within_the_share_of_the_budget(
    runner: Bench,
) -> None:
    calls = runner.world.service.beta.vaults
    vault = await calls.create(display_name="tools")
    oauth: list[str] = []
    for n in range(3):
        made = await calls.credentials.create(
            vault.id,
            auth={"type": "mcp_oauth", "mcp_server_url": f"https://mcp{n}.example.com", "access_token": "x"},
        )
        oauth.append(made.id)
    fixed = "https://mcp.example.com"
    await calls.credentials.create(
        vault.id, auth={"type": "static_bearer", "mcp_server_url": fixed, "token": "t"}
    )
    runner.world.stores.stored = Stored(vaults={"tools": {"id": vault.id}})
    assert await runner.world.stores.vault("tools") == vault.id
    runner.agents.broken_credentials.update(oauth)
    looking = WaitingRuns(runner.world, share=50_000)  # two calls in a round
    tried = 0
    for known in (1, 2, 3, 3, 3):
        await looking.try_credentials()
        assert await runner.database.read(credentials.count) == known
        tried = sum("mcp_oauth_validate" in call.path for call in runner.outside.log.calls("anthropic"))
    assert tried == 3, "each of them once, and no other"
    runner.agents.broken_credentials.discard(oauth[0])
    await WaitingRuns(runner.world).try_credentials()
    left = {one.credential_id for one in await runner.database.read(credentials.failures)}
    assert left == set(oauth[1:]), "one works again"
