"""Canaries: through the whole durable way, measured, starting nothing; and what shows when one does not come through."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest
from command_line import triggerhub
from crash.stage import Stage, stage
from sqlalchemy import func, select, update
from wedges import WedgedIntake, WedgedRouter, checks, gate

from connectors.canaries import event_of
from hub.parts import Makers
from schemas.event import CANARY_CONNECTION
from storage import canaries
from storage.canaries import KEPT_SECONDS, Canary
from storage.canary_tables import CanaryRow
from storage.database import Database
from storage.rows import table
from storage.tables import Delivery, DispatchRow, EventRow, OutboxRow, RunRow, VerdictRow

STUCK = 2.0


def on(config: dict[str, Any]) -> None:
    """Canaries for two connections, and a rule that would match anything they bring."""
    config["connections"]["acme-github"]["canary"] = True
    config["connections"]["acme-slack"]["canary"] = True
    eager = {"name": "eager", "match": {"kind": ["ping", "push"]}, "who": ["system", "bot"], "prompt": "Go."}
    config["rules"].append({**eager, "agent": "colleague", "report": "none"})


async def came(running: Stage, count: int) -> list[dict[str, Any]]:
    async def enough() -> list[dict[str, Any]] | None:
        rows = [row for row in await running.rows(CanaryRow) if row["came_at"] is not None]
        return rows if len(rows) >= count else None

    found: list[dict[str, Any]] = await running.until(enough, seconds=15)
    return found


async def test_they_come_through_are_measured_and_start_nothing(tmp_path: Path) -> None:
    async with stage(tmp_path, edit=on, canary_seconds=1.0) as running:
        rows = await came(running, 4)
        assert {row["connection"] for row in rows} == {"acme-github", "acme-slack"}
        assert all(row["came_at"] >= row["sent_at"] for row in rows)
        events = await running.rows(EventRow, connection=CANARY_CONNECTION)
        assert {event["id"] for event in events} >= {row["event_id"] for row in rows}
        verdicts = await running.rows(VerdictRow)
        assert {(one["rule"], one["outcome"], one["clause"]) for one in verdicts} == {
            ("*", "suppressed", "canary")
        }
        assert await running.rows(DispatchRow) == []
        assert await running.rows(RunRow) == []

        async def measured() -> bool:
            page = (await running.http.get(f"{running.hub.url}/metrics")).text
            return all(
                f'triggerhub_canary_seconds_count{{connection="{name}"}}' in page
                and f'triggerhub_canary_age_seconds{{connection="{name}"}}' in page
                for name in ("acme-github", "acme-slack")
            )

        await running.until(measured, seconds=5)
        status, found = await checks(running)
        assert (status, found["canary"]["ok"]) == (200, True)
        listed = (await running.http.get(f"{running.hub.url}/api/v1/events")).json()
        assert listed["items"] == []
        asked = {"connection": CANARY_CONNECTION}
        listed = (await running.http.get(f"{running.hub.url}/api/v1/events", params=asked)).json()
        assert len(listed["items"]) >= 4


async def test_without_the_switch_there_are_none(tmp_path: Path) -> None:
    async with stage(tmp_path, canary_seconds=1.0) as running:
        _, found = await checks(running)
        assert found["canary"]["ok"]
        assert await running.rows(CanaryRow) == []


@pytest.mark.parametrize(
    ("makers", "said"),
    [
        (Makers(router=WedgedRouter), "is stored, and no router had it"),
        (Makers(intake=WedgedIntake), "could not be stored"),
    ],
    ids=["router", "intake"],
)
async def test_one_that_does_not_come_through_shows(tmp_path: Path, makers: Makers, said: str) -> None:
    async with stage(
        tmp_path, makers=makers, canary=True, canary_seconds=1.0, stuck_seconds=STUCK
    ) as running:
        since = time.monotonic()
        try:

            async def told() -> bool:
                status, found = await checks(running)
                return status == 503 and not found["canary"]["ok"] and said in found["canary"]["detail"]

            await running.until(told, seconds=2 * STUCK + 3)
            assert time.monotonic() - since > STUCK - 0.5
        finally:
            gate().set()


async def test_doctor_reads_what_a_wedged_process_says(tmp_path: Path) -> None:
    """From outside, by the database alone: the role, the queue and the canary."""
    async with stage(
        tmp_path, makers=Makers(router=WedgedRouter), canary=True, canary_seconds=1.0, stuck_seconds=STUCK
    ) as running:
        try:

            async def told() -> bool:
                _, found = await checks(running)
                return not found["router"]["ok"] and not found["canary"]["ok"]

            await running.until(told, seconds=10)
            await asyncio.sleep(STUCK / 2)
            env = {
                "TRIGGERHUB_DATABASE_URL": f"sqlite:///{tmp_path}/hub.db",
                "TRIGGERHUB_STUCK_SECONDS": str(STUCK),
                "ANTHROPIC_API_KEY": "sandbox-key",
            }
            ran = await asyncio.to_thread(
                triggerhub, "doctor", "--offline", "--json", folder=tmp_path, env=env
            )
            failed = {one["about"]: one["detail"] for one in ran.json()["findings"] if one["state"] == "fail"}
        finally:
            gate().set()
    assert ran.code == 1
    assert failed["role"].startswith("router of ")
    assert "is stuck" in failed["role"]
    assert "look at the router" in failed["outbox"]
    assert "no router had it" in failed["canary"]


async def test_of_several_processes_one_sends_it(database: Database, other_database: Database) -> None:
    first = await database.write(canaries.begin, ["a", "b"], interval=3600.0)
    assert {one.connection for one in first} == {"a", "b"}
    assert await other_database.write(canaries.begin, ["a", "b"], interval=3600.0) == []


async def test_one_whose_process_died_before_storing_it_is_sent_by_another(database: Database) -> None:
    [first] = await database.write(canaries.begin, ["a"], interval=3600.0)
    rows = table(CanaryRow)
    await database.write(lambda c: c.execute(update(rows).values(sent_at=rows.c.sent_at - 60)).rowcount)
    [again] = await database.write(canaries.begin, ["a"], interval=3600.0)
    assert again.event_id == first.event_id
    [standing] = await database.read(canaries.standing)
    assert (standing.came_ago, standing.stored) == (None, False)
    assert standing.waits > 59
    assert await database.write(canaries.came, first.event_id)
    assert not await database.write(canaries.came, first.event_id)
    [standing] = await database.read(canaries.standing)
    assert (standing.waits, standing.stored) == (0.0, True)


async def test_old_ones_are_deleted_whole(tmp_path: Path) -> None:
    """Rows stay bounded: what was made of a canary goes with it."""
    async with stage(tmp_path, canary=True, canary_seconds=1.0) as running:
        await came(running, 4)
        rows = table(CanaryRow)
        old = update(rows).values(sent_at=rows.c.sent_at - KEPT_SECONDS)
        await running.hub.database.write(lambda c: c.execute(old).rowcount)
        ids = {row["event_id"] for row in await running.rows(CanaryRow)}

        async def gone() -> bool:
            return not ids & {row["event_id"] for row in await running.rows(CanaryRow)}

        await running.until(gone, seconds=5)
        for model, column in ((EventRow, "id"), (VerdictRow, "event_id"), (OutboxRow, "ref")):
            assert not ids & {row[column] for row in await running.rows(model)}
        deliveries = {row["id"] for row in await running.rows(Delivery)}
        assert not {canaries.delivery_of(one) for one in ids} & deliveries
        count = await running.hub.database.read(
            lambda c: c.execute(select(func.count()).select_from(rows)).scalar_one()
        )
        assert count < 20


def test_an_older_router_takes_it_for_an_act_of_our_own() -> None:
    """0.1.0 suppresses what its actor's `is_self` says that we did ourselves: no rule of any version starts."""
    event = event_of(Canary("acme-github", "evt_canary_1", 0.0))
    assert event.is_canary
    assert event.data.actor.is_self
    assert event.data.kind == "ping"
