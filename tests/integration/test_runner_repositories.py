"""Several repositories in one session: each with its own access and live tokens, and no work without one of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from runner_samples import MOUNT, QUICK, dispatch_of
from runner_world import Bench, bench

from runner.world import MountError
from schemas.dispatch import Repository
from storage.tables import RunStatus

LIBRARY = Repository(
    connection="their-github", name="vendor/library", commit="0123456789abcdef", mount_path="/workspace/lib"
)
TWO: dict[str, Any] = {"repository": MOUNT, "repositories": (LIBRARY,)}


@pytest.fixture
async def runner(sqlite_template: Path, tmp_path: Path) -> AsyncIterator[Bench]:
    async with bench(sqlite_template, tmp_path) as made:
        yield made


def rotations(runner: Bench, session_id: str) -> dict[str, int]:
    """How often each repository's token was replaced, by name."""
    session = runner.agents.sessions[session_id]
    urls = {
        resource["id"]: resource["url"].removeprefix("https://github.com/") for resource in session.resources
    }
    return {name: session.rotations.get(identifier, 0) for identifier, name in urls.items()}


async def test_every_repository_is_mounted_with_its_own_checkout(runner: Bench) -> None:
    runner.worker()
    row = await runner.run(dispatch_of(scenario="scenario=happy", **TWO))
    assert row["status"] == "succeeded", row["error"]
    session = runner.agents.sessions[row["session_id"]]
    assert [(one["url"], one["mount_path"], one["checkout"]) for one in session.resources] == [
        ("https://github.com/acme/checkout", "/workspace/checkout", {"type": "branch", "name": "main"}),
        (
            "https://github.com/vendor/library",
            "/workspace/lib",
            {"type": "commit", "sha": "0123456789abcdef"},
        ),
    ]
    (work,) = runner.agents.work
    assert "The repository acme/checkout (branch main) is checked out at /workspace/checkout." in work.text
    assert (
        "The repository vendor/library (commit 0123456789abcdef) is checked out at /workspace/lib."
        in work.text
    )
    assert runner.mounts.asked == 2
    assert rotations(runner, row["session_id"]) == {"acme/checkout": 0, "vendor/library": 0}


async def test_tokens_of_all_are_replaced_when_half_their_life_is_over(runner: Bench) -> None:
    runner.mounts.seconds = 0.8
    runner.worker()
    began = asyncio.get_running_loop().time()
    row = await runner.run(dispatch_of(scenario="scenario=slow seconds=2", **TWO))
    took = asyncio.get_running_loop().time() - began
    assert row["status"] == "succeeded", row["error"]
    found = rotations(runner, row["session_id"])
    assert found["acme/checkout"] == found["vendor/library"]
    assert 2 <= found["acme/checkout"] <= took / 0.4, "each replaced before its end, and not more often"


async def test_tokens_without_a_known_end_are_replaced_by_the_clock_alone(runner: Bench) -> None:
    runner.worker()
    row = await runner.run(dispatch_of(scenario="scenario=slow seconds=1", **TWO))
    assert row["status"] == "succeeded", row["error"]
    assert set(rotations(runner, row["session_id"]).values()) == {0}


async def test_an_idle_session_that_wakes_gets_live_tokens_first(runner: Bench) -> None:
    runner.worker()
    first = await runner.run(dispatch_of(scenario="scenario=happy", **TWO))
    row = await runner.run(dispatch_of(n=1, follow_up=True, scenario="scenario=happy", **TWO))
    assert row["session_id"] == first["session_id"]
    assert rotations(runner, row["session_id"]) == {"acme/checkout": 1, "vendor/library": 1}
    calls = [call for call in runner.outside.log.calls("anthropic") if call.method == "POST"]
    replaced = [n for n, call in enumerate(calls) if "/resources/" in call.path]
    sent = [n for n, call in enumerate(calls) if call.path.endswith("/events")]
    assert sent[0] < min(replaced) <= max(replaced) < sent[1], "before the second message"


async def test_whoever_takes_a_run_over_replaces_tokens_of_unknown_age(runner: Bench) -> None:
    worker = runner.worker()
    (run_id,) = await runner.take(dispatch_of(scenario="scenario=slow seconds=2", **TWO))
    row = await runner.until(run_id, lambda row: row["status"] == RunStatus.RUNNING)
    await worker.stop()
    assert set(rotations(runner, row["session_id"]).values()) == {0}
    runner.worker("two")
    row = await runner.ended(run_id)
    assert row["status"] == "succeeded", row["error"]
    assert rotations(runner, row["session_id"]) == {"acme/checkout": 1, "vendor/library": 1}


async def test_a_token_that_cannot_be_had_is_asked_for_again_soon(
    sqlite_template: Path, tmp_path: Path
) -> None:
    async with bench(sqlite_template, tmp_path, timing=replace(QUICK, token_refresh=0.2)) as runner:
        runner.worker()
        (run_id,) = await runner.take(dispatch_of(scenario="scenario=slow seconds=2", repository=MOUNT))
        row = await runner.until(run_id, lambda row: row["status"] == RunStatus.RUNNING)
        runner.mounts.problem = MountError("the vendor is away", permanent=False)
        asked = runner.mounts.asked
        await asyncio.sleep(0.7)
        assert runner.mounts.asked >= asked + 3
        before = rotations(runner, row["session_id"])["acme/checkout"]
        runner.mounts.problem = None
        row = await runner.ended(run_id)
        assert row["status"] == "succeeded", row["error"]
        assert rotations(runner, row["session_id"])["acme/checkout"] > before


@pytest.mark.parametrize("kind", ["authentication", "forbidden", "not_found", "checkout", "clone"])
async def test_an_error_of_any_repository_ends_the_run_with_its_name(runner: Bench, kind: str) -> None:
    runner.worker()
    scenario = f"scenario=repository_failure error=repository_{kind}_error repository=vendor/library"
    row = await runner.run(dispatch_of(scenario=scenario, **TWO))
    assert row["status"] == "failed"
    assert row["stop_reason"] == "repository"
    assert f"repository_{kind}_error" in row["error"]
    assert "https://github.com/vendor/library" in row["error"]
    assert runner.pulls() == [], "nothing came of it"
    (said,) = runner.comments()
    assert "the repository could not be mounted" in said


async def test_a_repository_that_is_no_repository_of_this_run_does_not_matter(runner: Bench) -> None:
    runner.worker()
    row = await runner.run(dispatch_of(scenario="scenario=repository_failure"))
    assert row["status"] == "succeeded", row["error"]
