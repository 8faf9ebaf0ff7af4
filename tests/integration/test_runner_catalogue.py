"""Agents and environments are made once, changed in place, and made anew when somebody removed them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from runner_samples import dispatch_of, grant
from runner_world import Bench, bench, world_over

from runner.catalogue import NAME_KEY, Definitions, Pin
from sandbox.faults import Mode

TOOLSET = {"type": "agent_toolset_20260401"}


@pytest.fixture
async def runner(sqlite_template: Path, tmp_path: Path) -> AsyncIterator[Bench]:
    async with bench(sqlite_template, tmp_path) as made:
        yield made


def define(runner: Bench, agent: dict[str, Any], environment: dict[str, Any] | None = None) -> None:
    runner.world.catalogue.definitions = Definitions(
        agents={"fixer": {"model": "claude-sonnet-5-5", **agent}},
        environments={"python": environment or {"config": {"type": "cloud"}}},
    )


def living(runner: Bench) -> list[dict[str, Any]]:
    return [versions[-1] for versions in runner.agents.agents.values() if versions[-1]["archived_at"] is None]


async def test_an_unchanged_definition_costs_no_call(runner: Bench) -> None:
    first = await runner.world.catalogue.agent("fixer")
    environment = await runner.world.catalogue.environment("python")
    last = runner.outside.log.calls()[-1].n
    for _ in range(3):
        assert await runner.world.catalogue.agent("fixer") == first
        assert await runner.world.catalogue.environment("python") == environment
    async with AsyncExitStack() as stack:
        other = await world_over(stack, runner.sandbox, runner.database)
        assert await other.catalogue.agent("fixer") == first
    assert runner.outside.log.calls(since=last) == []


async def test_a_changed_definition_is_a_new_version_of_the_same_agent(runner: Bench) -> None:
    define(runner, {"system": "Be brief.", "tools": [TOOLSET], "description": "Repairs."})
    first = await runner.world.catalogue.agent("fixer")
    define(runner, {"model": "claude-opus-5-5"})
    second = await runner.world.catalogue.agent("fixer")
    assert (first.remote_id, first.version, second.version) == (second.remote_id, 1, 2)
    (agent,) = living(runner)
    assert agent["model"]["id"] == "claude-opus-5-5"
    assert (agent["system"], agent["description"], agent["tools"]) == (None, None, []), (
        "what was left out is gone"
    )
    define(runner, {"system": "Be brief.", "tools": [TOOLSET], "description": "Repairs."})
    assert (await runner.world.catalogue.agent("fixer")).version == 3


async def test_an_environment_that_exists_already_is_adopted(runner: Bench) -> None:
    existing = await runner.world.service.create_environment({"name": "python", "config": {"type": "cloud"}})
    define(runner, {}, {"config": {"type": "cloud", "packages": {"pip": ["pytest"]}}})
    assert (await runner.world.catalogue.environment("python")).remote_id == existing.id
    stored = runner.agents.environments[existing.id]
    assert stored["config"]["packages"]["pip"] == ["pytest"]


async def test_an_environment_that_is_made_by_another_in_the_same_moment_is_adopted(runner: Bench) -> None:
    runner.outside.faults.ask(
        "delay", service="anthropic", method="POST", path="/v1/environments", seconds=0.3
    )
    async with asyncio.TaskGroup() as tasks:
        ours = tasks.create_task(runner.world.catalogue.environment("python"))
        await asyncio.sleep(0.1)
        theirs = await runner.world.service.create_environment(
            {"name": "python", "config": {"type": "cloud"}}
        )
    assert ours.result().remote_id == theirs.id


@pytest.mark.parametrize("mode", ["commit_then_status", "commit_then_cut"])
async def test_a_create_that_succeeded_behind_an_error_is_found(runner: Bench, mode: Mode) -> None:
    runner.outside.faults.ask(mode, service="anthropic", method="POST", path="/v1/agents")
    runner.outside.faults.ask(mode, service="anthropic", method="POST", path="/v1/environments")
    runner.worker()
    row = await runner.run(dispatch_of(scenario="scenario=happy"))
    assert row["status"] == "succeeded", row["error"]
    assert len(runner.agents.agents) == len(runner.agents.environments) == 1


async def test_two_processes_racing_use_one_agent(runner: Bench) -> None:
    async with AsyncExitStack() as stack:
        worlds = [runner.world] + [await world_over(stack, runner.sandbox, runner.database) for _ in range(4)]
        runner.outside.faults.ask(
            "delay", service="anthropic", method="POST", path="/v1/agents", seconds=0.2, times=5
        )
        agents = await asyncio.gather(*(world.catalogue.agent("fixer") for world in worlds))
        environments = await asyncio.gather(*(world.catalogue.environment("python") for world in worlds))
    assert len(runner.agents.agents) == 5, "the race took place"
    assert len(set(agents)) == 1
    assert len(set(environments)) == 1
    assert [agent["id"] for agent in living(runner)] == [agents[0].remote_id]


async def test_one_process_asked_often_at_once_makes_one(runner: Bench) -> None:
    agents = await asyncio.gather(*(runner.world.catalogue.agent("fixer") for _ in range(20)))
    assert len(set(agents)) == len(runner.agents.agents) == 1


@pytest.mark.parametrize("what", ["agent archived", "environment archived", "environment deleted"])
async def test_what_was_removed_at_the_service_is_made_anew(runner: Bench, what: str) -> None:
    runner.worker()
    first = await runner.run(dispatch_of(1, scenario="scenario=happy"))
    if what == "agent archived":
        await runner.world.service.archive_agent(first["agent_id"])
    elif what == "environment archived":
        runner.agents.environments[first["environment_id"]]["archived_at"] = "2026-11-22T00:00:00.000000Z"
    else:
        del runner.agents.environments[first["environment_id"]]
    second = await runner.run(dispatch_of(2, scenario="scenario=happy"))
    assert second["status"] == "succeeded", second["error"]
    changed = [key for key in ("agent_id", "environment_id") if first[key] != second[key]]
    assert changed == ["agent_id" if what.startswith("agent") else "environment_id"]
    third = await runner.run(dispatch_of(3, scenario="scenario=happy"))
    assert (third["agent_id"], third["environment_id"]) == (second["agent_id"], second["environment_id"])


async def test_agents_of_the_same_name_that_we_did_not_make_are_left_alone(runner: Bench) -> None:
    theirs = await runner.world.service.create_agent({"name": "fixer", "model": "claude-opus-5-5"})
    ours = await runner.world.catalogue.agent("fixer")
    assert ours.remote_id != theirs.id
    assert {agent["metadata"].get(NAME_KEY) for agent in living(runner)} == {None, "fixer"}


def call(*names: Any) -> dict[str, Any]:
    return {"type": "multiagent_20261001", "subagents": {"type": "enabled", "predefined_agents": list(names)}}


async def test_agents_that_are_called_are_made_first_and_named_by_id_and_version(runner: Bench) -> None:
    tester: dict[str, Any] = {"model": "claude-haiku-5-5"}
    lead = {"model": "claude-sonnet-5-5", "multiagent": call("tester", {"type": "self"})}
    older = {"type": "coordinator", "agents": ["lead", {"type": "advisor", "model": "claude-opus-5-5"}]}

    def defined() -> None:
        runner.world.catalogue.definitions = Definitions(
            agents={
                "boss": {"model": "claude-opus-5-5", "multiagent": older},
                "lead": lead,
                "tester": tester,
            },
            environments={"python": {"config": {"type": "cloud"}}},
        )

    defined()
    boss = await runner.world.catalogue.agent("boss")
    made = {one["name"]: one for one in living(runner)}
    assert list(made) == ["tester", "lead", "boss"], "whoever is called comes first"
    of_lead = made["lead"]["multiagent"]["subagents"]["predefined_agents"]
    assert of_lead[0] == {"type": "agent", "id": made["tester"]["id"], "version": 1}
    assert of_lead[1]["id"] == made["lead"]["id"]
    assert made["boss"]["multiagent"]["agents"][0] == {
        "type": "agent",
        "id": made["lead"]["id"],
        "version": 1,
    }
    last = runner.outside.log.calls()[-1].n
    assert await runner.world.catalogue.agent("boss") == boss
    assert runner.outside.log.calls(since=last) == [], "unchanged, it costs no call"
    tester["system"] = "Test it."
    defined()
    assert (await runner.world.catalogue.agent("boss")).version == 2
    latest = {one["name"]: one for one in living(runner)}
    assert {name: one["version"] for name, one in latest.items()} == {"tester": 2, "lead": 2, "boss": 2}
    assert latest["lead"]["multiagent"]["subagents"]["predefined_agents"][0]["version"] == 2


async def test_an_archived_subagent_is_made_anew_with_its_caller(runner: Bench) -> None:
    runner.world.catalogue.definitions = Definitions(
        agents={
            "fixer": {"model": "claude-sonnet-5-5", "multiagent": call("tester")},
            "tester": {"model": "claude-haiku-5-5"},
        },
        environments={"python": {"config": {"type": "cloud"}}},
    )
    runner.worker()
    first = await runner.run(dispatch_of(1, scenario="scenario=happy"))
    assert first["status"] == "succeeded", first["error"]
    catalogue = runner.world.catalogue
    before = await catalogue.agent("tester")
    await runner.world.service.archive_agent(before.remote_id)
    assert await catalogue.forget_what_is_gone(agent="fixer", environment="python")
    assert (await catalogue.agent("fixer")).version == 2
    assert (await catalogue.agent("tester")).remote_id != before.remote_id


async def test_an_agent_made_elsewhere_is_used_as_it_stands(runner: Bench) -> None:
    theirs = await runner.world.service.create_agent(
        {
            "name": "theirs",
            "model": "claude-opus-5-5",
            "tools": [{**TOOLSET, "configs": [{"name": "bash", "enabled": False}]}],
        }
    )
    await runner.world.service.update_agent(theirs.id, {"system": "Newer."})
    pins = {"fixer": Pin(id=theirs.id, version=1), "newest": Pin(id=theirs.id, version=None)}
    runner.world.catalogue.definitions = Definitions(
        agents={"fixer": {}, "newest": {}}, pins=pins, environments={"python": {"config": {"type": "cloud"}}}
    )
    runner.worker()
    asked = dispatch_of(
        1, scenario="scenario=happy", grants=(grant(),), agent_overrides={"system": "Antworte auf Deutsch."}
    )
    pinned = await runner.run(asked)
    newest = await runner.run(dispatch_of(2, scenario="scenario=happy", agent="newest"))
    assert (pinned["status"], pinned["agent_version"]) == ("succeeded", 1), pinned["error"]
    assert (newest["status"], newest["agent_version"]) == ("succeeded", 2), newest["error"]
    agent = runner.agents.sessions[pinned["session_id"]].agent
    assert (agent["id"], agent["version"], agent["system"]) == (theirs.id, 1, "Antworte auf Deutsch.")
    assert [tool.get("name", tool["type"]) for tool in agent["tools"]] == [TOOLSET["type"], "comment"]
    assert agent["tools"][0]["configs"][0]["enabled"] is False, "its own tools were kept as they are"
    assert len(runner.agents.agents) == 1, "nothing was made"
    assert len(runner.agents.agents[theirs.id]) == 2, "nothing was changed"


async def test_a_pinned_version_is_the_way_back(runner: Bench) -> None:
    define(runner, {"system": "First."})
    first = await runner.world.catalogue.agent("fixer")
    define(runner, {"system": "Second."})
    assert (await runner.world.catalogue.agent("fixer")).version == 2
    define(runner, {"system": "Third."})
    definitions = runner.world.catalogue.definitions
    runner.world.catalogue.definitions = replace(definitions, pins={"fixer": Pin(id=None, version=1)})
    back = await runner.world.catalogue.agent("fixer")
    assert (back.remote_id, back.version) == (first.remote_id, 1)
    (agent,) = living(runner)
    assert agent["version"] == 2, "the third definition was not written"
    runner.world.catalogue.definitions = definitions
    assert (await runner.world.catalogue.agent("fixer")).version == 3


@pytest.mark.parametrize("pin", [Pin(id="agent_gone", version=None), Pin(id=None, version=9)])
async def test_a_pin_to_nothing_fails_the_run_with_its_name(runner: Bench, pin: Pin) -> None:
    runner.world.catalogue.definitions = Definitions(
        agents={"fixer": {}}, pins={"fixer": pin}, environments={"python": {"config": {"type": "cloud"}}}
    )
    runner.worker()
    row = await runner.run(dispatch_of(scenario="scenario=happy"))
    assert row["status"] == "failed"
    assert "the agent 'fixer'" in row["error"]


@pytest.mark.parametrize("form", ["coordinator", "multiagent_20261001"])
async def test_a_run_whose_agent_calls_others_ends_when_they_are_done(runner: Bench, form: str) -> None:
    advisor = {"type": "advisor", "model": "claude-opus-5-5"}
    older = {"type": "coordinator", "agents": ["tester", advisor]}
    newer = {**call("tester"), "advisor": {**advisor, "type": "enabled"}}
    runner.world.catalogue.definitions = Definitions(
        agents={
            "fixer": {"model": "claude-sonnet-5-5", "multiagent": older if form == "coordinator" else newer},
            "tester": {"model": "claude-haiku-5-5"},
        },
        environments={"python": {"config": {"type": "cloud"}}},
    )
    runner.worker()
    row = await runner.run(dispatch_of(1, scenario="scenario=team"))
    assert row["status"] == "succeeded", row["error"]
    assert [one.name for one in runner.agents.sessions[row["session_id"]].children] == ["tester", "advisor"]
    assert "tester: looked at it, and agrees" in row["final_text"]
    assert row["cost_cents"] is not None
    asked = await runner.run(dispatch_of(2, scenario="scenario=team command=make"))
    assert asked["status"] == "succeeded", asked["error"]
    assert "tester: was not allowed" in asked["final_text"], "nobody can approve, and the run does not hang"
