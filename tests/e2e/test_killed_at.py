"""The process is killed at chosen moments, between two durable steps, and started again on the same database."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import httpx
import psutil
import pytest
from crash.judge import Books, read_books
from crash.outside import artefacts, twice, work_by_run
from crash.setups import Embedded, embedded
from crash.webhooks import Webhook, github_comment, sentry_alert
from patience import until

from storage.database import open_database

pytestmark = pytest.mark.timeout(240)
ASKED = "@triggerhub where do we round the total?"
WAIT_SECONDS = 60.0


@pytest.fixture
async def setup() -> AsyncIterator[Embedded]:
    """An embedded hub in a process of its own, and the sandbox in another."""
    async with embedded() as found:
        yield found


async def send(setup: Embedded, webhook: Webhook) -> None:
    async with httpx.AsyncClient(timeout=20, trust_env=False) as http:
        answer = await webhook.send(http, setup.ingress.url)
        assert answer.status_code == 202, answer.text


async def books(setup: Embedded) -> Books:
    database = open_database(setup.database_url)
    try:
        return await database.read(read_books)
    finally:
        await database.close()


async def settled(setup: Embedded, *, runs: int) -> Books:
    """Wait until so many runs have ended well and nothing is under way."""

    async def done() -> Books | None:
        found = await books(setup)
        return found if len(found.runs) == runs and not found.unfinished else None

    found: Books = await until(done)
    assert found.failed_runs == []
    assert found.refused_results == []
    assert found.dead == []
    return found


async def judged(setup: Embedded, *, runs: int, made: int) -> None:
    """One session with work for each run, one artefact for each slot, nothing left at work."""
    found = await settled(setup, runs=runs)
    state, work = await setup.sandbox.state(), await setup.sandbox.work()
    assert {run: len(to) for run, to in work_by_run(work).items()} == dict.fromkeys(found.runs, 1)
    assert twice(artefacts(state)) == []
    assert len(artefacts(state)) == made
    sessions = state["anthropic"]["sessions"]
    assert [one["status"] for one in sessions if one["work"]] == ["idle"] * runs
    async with httpx.AsyncClient(timeout=20, trust_env=False) as http:
        spend = (await http.get(f"{setup.ingress.url}/api/v1/spend")).json()
    assert round(spend["total_usd"] * 100) == sum(one["cost_cents"] for one in sessions)
    assert sum(one["runs"] for one in spend["spent"]) == runs


async def test_between_creating_the_session_and_recording_it(setup: Embedded) -> None:
    await setup.sandbox.fault("commit_then_hang", service="anthropic", method="POST", path="/v1/sessions")
    await send(setup, github_comment(31, 1, ASKED))
    await until(lambda: setup.sandbox.struck("commit_then_hang"))
    (before,) = (await setup.sandbox.state())["anthropic"]["sessions"]
    await setup.kill("hub")
    await judged(setup, runs=1, made=1)
    used = {item["session_id"] for item in await setup.sandbox.work()}
    assert used == {before["id"]}  # the one of the first life was found, and no other was made
    assert len((await setup.sandbox.state())["anthropic"]["sessions"]) == 1


async def test_between_sending_the_work_and_recording_it(setup: Embedded) -> None:
    await setup.sandbox.fault(
        "commit_then_hang", service="anthropic", method="POST", path="/v1/sessions/*/events"
    )
    await send(setup, github_comment(31, 1, ASKED))
    await until(lambda: setup.sandbox.struck("commit_then_hang"))
    assert len(await setup.sandbox.work()) == 1
    await setup.kill("hub")
    await judged(setup, runs=1, made=1)


async def test_after_202_and_before_anything_is_published(setup: Embedded) -> None:
    await setup.freeze_broker()
    for number in range(5):
        await send(setup, github_comment(31 + number, 1 + number, ASKED))
    assert (await books(setup)).events == 5
    assert (await books(setup)).runs == {}
    await setup.kill("hub")  # its frozen broker goes with it
    await judged(setup, runs=5, made=5)


@pytest.mark.parametrize(
    ("service", "path", "webhook", "made"),
    [
        ("github", "/repos/*/issues/*/comments", github_comment(31, 1, ASKED), 1),
        ("github", "/repos/*/pulls", sentry_alert(1), 3),
        ("sentry", "*/comments/", sentry_alert(1), 3),
        ("slack", "/chat.postMessage", sentry_alert(1), 3),
    ],
    ids=["github-comment", "pull-request", "sentry-comment", "slack-message"],
)
async def test_between_posting_and_keeping_the_receipt(
    setup: Embedded, service: str, path: str, webhook: Webhook, made: int
) -> None:
    await setup.sandbox.fault("commit_then_hang", service=service, method="POST", path=path)
    await send(setup, webhook)
    await until(lambda: setup.sandbox.struck("commit_then_hang"))
    await setup.kill("hub")
    await judged(setup, runs=1, made=made)


async def test_while_the_vendor_is_slow_to_post(setup: Embedded) -> None:
    # The vendor does it four seconds after it was asked, though the asker is long dead.
    await setup.sandbox.fault("delay", service="github", method="POST", path="*/comments", seconds=4)
    await send(setup, github_comment(31, 1, ASKED))
    await until(lambda: setup.sandbox.struck("delay"))
    await setup.kill("hub")
    await judged(setup, runs=1, made=1)


async def test_while_the_agent_waits_for_its_answers(setup: Embedded) -> None:
    await setup.sandbox.fault("rate_limit", service="sentry", method="POST", seconds=3)
    await send(setup, sentry_alert(1))

    async def waits() -> bool:
        sessions = (await setup.sandbox.state())["anthropic"]["sessions"]
        return any(one["pending"] for one in sessions) and await setup.sandbox.struck("rate_limit")

    await until(waits)
    await setup.kill("hub")
    await judged(setup, runs=1, made=3)


async def test_the_broker_dies_while_runs_are_under_way(setup: Embedded) -> None:
    for number in range(6):
        await send(setup, sentry_alert(1 + number))
        (broker,) = psutil.Process(setup.ingress.pid).children()
        await setup.kill("broker")

        async def again(dead: int = broker.pid) -> bool:
            children = psutil.Process(setup.ingress.pid).children()
            return bool(children) and children[0].pid != dead

        await until(again)
    await judged(setup, runs=6, made=18)
    assert setup.ingress.lives == 1


async def test_a_full_disk_means_503_and_nothing_is_lost(setup: Embedded) -> None:
    await send(setup, sentry_alert(1))
    await settled(setup, runs=1)
    setup.ingress.kill()
    setup.ingress.start("--file-limit", str(setup.full_at()))
    await setup.ingress.answering()
    answers: list[int] = []
    async with httpx.AsyncClient(timeout=20, trust_env=False) as http:
        for number in range(2, 60):
            answer = await github_comment(number, number, ASKED + "!" * 4000).send(http, setup.ingress.url)
            answers.append(answer.status_code)
            if answer.status_code == 503:
                assert answer.headers["retry-after"] == "5"
                break
    assert answers[-1] == 503  # the disk was full, and it said so
    accepted = answers.count(202)
    assert accepted + 1 == len(answers)
    await setup.kill("hub")  # there is room again
    await judged(setup, runs=1 + accepted, made=3 + accepted)


async def test_killed_again_and_again_while_it_starts(setup: Embedded) -> None:
    await send(setup, sentry_alert(1))
    for tenths in range(1, 9):
        setup.ingress.kill()
        setup.ingress.start()
        await asyncio.sleep(tenths / 4)
    await setup.revive(setup.ingress)
    await judged(setup, runs=1, made=3)
