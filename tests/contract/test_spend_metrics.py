"""Metrics of spend and approvals on both databases: what the page of a process says after it looked."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from services.facts import body_of, make_dispatch, make_result
from sqlalchemy import Connection, update

from hub.metrics import Metrics
from hub.progress import Progress
from schemas.caps import Cap, CapSet
from schemas.dispatch import Limits
from schemas.policy.approval import ApprovalPolicy, approval_id, code_of, digest_of
from storage import approvals, ledger, runs
from storage.approvals import Approval
from storage.caps import Admission
from storage.claims import claim_runs
from storage.database import Database
from storage.rows import table
from storage.tables import ApprovalRow, ApprovalStatus, RunRow

OURS: Final = ("triggerhub_spent", "triggerhub_reserved", "triggerhub_runs_held", "triggerhub_approvals")


class Broker:
    poisoned: str | None = None

    async def ping(self) -> bool:
        return True


async def page(database: Database, metrics: Metrics) -> set[str]:
    """Lines of the page of a process that has just looked."""
    broker: Any = Broker()
    progress = Progress(database, broker, metrics, instance="box", roles=frozenset({"web"}))
    async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
        running = tasks.create_task(progress.run())
        while not all(one.ok for one in progress.checks() if one.name == "database"):
            await asyncio.sleep(0.01)
        running.cancel()
    lines = metrics.page().decode().splitlines()
    return {line for line in lines if line.startswith(OURS)}


def ask(connection: Connection) -> None:
    held = make_result("run_1")
    digest = digest_of(held.model_dump_json().encode())
    id_ = approval_id("run_1", "toolu_1", digest)
    wanted = Approval(
        id=id_,
        run_id="run_1",
        rule="answer",
        conversation=held.conversation,
        call="toolu_1",
        name="comment",
        result_id=held.id,
        digest=digest,
        body=None,
        code=code_of(id_),
        what="The agent wants to comment.",
        policy=ApprovalPolicy(),
        asker="github:99",
        home="acme-github",
        status=ApprovalStatus.ASKED,
        needed=1,
        asked_at=0.0,
        expires_at=0.0,
    )
    approvals.ask(connection, wanted, result=held, question=None)


async def test_money_people_and_what_waits_for_either(database: Database) -> None:
    metrics = Metrics()
    assert await page(database, metrics) == {
        "triggerhub_approvals_open 0.0",
        "triggerhub_approvals_oldest_seconds 0.0",
    }

    dear, cheap, none = (
        make_dispatch(1, rule="fix", team="shop", conversation="c1", limits=Limits(budget_cents=250)),
        make_dispatch(2, rule="fix", team="shop", conversation="c2", limits=Limits(budget_cents=250)),
        make_dispatch(3, rule="answer", conversation="c3"),
    )

    def happen(connection: Connection) -> None:
        for one in (dear, cheap, none):
            runs.take_dispatch(connection, one, body_of(one))
        caps = Admission(CapSet(teams={"shop": Cap(per_day_cents=400)}))
        claims = claim_runs(connection, owner="w", limit=3, lease=60.0, admission=caps)
        assert len(claims) == 2
        for name, rule, team, cents in (("s1", "fix", "shop", 123), ("s3", "answer", None, 7)):
            ledger.charge(connection, session_id=name, total=cents, run_id=name, rule=rule, team=team)
        ask(connection)

    await database.write(happen)
    rows = table(ApprovalRow)
    await database.write(lambda c: c.execute(update(rows).values(asked_at=rows.c.asked_at - 3600)).rowcount)
    found = await page(database, metrics)
    (age,) = (line for line in found if line.startswith("triggerhub_approvals_oldest_seconds"))
    assert 3600 <= float(age.split()[1]) < 3700
    assert found - {age} == {
        'triggerhub_spent_today_usd{rule="fix",team="shop"} 1.23',
        'triggerhub_spent_today_usd{rule="answer",team=""} 0.07',
        'triggerhub_reserved_usd{rule="fix",team="shop"} 2.5',
        'triggerhub_reserved_usd{rule="answer",team=""} 0.0',
        'triggerhub_runs_held{by="team.per_day_usd",rule="fix",team="shop"} 1.0',
        "triggerhub_approvals_open 1.0",
    }

    def end(connection: Connection) -> None:
        connection.execute(update(table(RunRow)).values(status="cancelled", ended_at=1.0))
        approvals.withdraw(connection, "run_1", reason="over")

    await database.write(end)
    assert {line for line in await page(database, metrics) if "spent" not in line} == {
        "triggerhub_approvals_open 0.0",
        "triggerhub_approvals_oldest_seconds 0.0",
    }
