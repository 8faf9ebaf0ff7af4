"""Agents and environments against the SDK's own types: what is refused, and in which words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from hub.vendor_types import check_agent, check_environment

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*.yaml"))
TOOLSET = "agent_toolset_20260401"


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_every_shipped_example_is_accepted(path: Path) -> None:
    config = yaml.safe_load(path.read_text(encoding="utf-8"))
    for name, agent in config["agents"].items():
        vendor = {key: value for key, value in agent.items() if key != "environment"}
        assert check_agent(name, vendor) == []
    for name, environment in config["environments"].items():
        assert check_environment(name, environment) == []


@pytest.mark.parametrize(
    "agent",
    [
        {"model": "claude-sonnet-5-5"},
        {"model": "a-model-of-next-year"},
        {"model": {"id": "claude-sonnet-5-5", "effort": "low"}, "system": None, "tools": []},
        {"model": {"id": "claude-sonnet-5-5", "effort": {"type": "low"}}},
        {
            "model": "m",
            "tools": [
                {
                    "type": TOOLSET,
                    "configs": [{"name": "bash", "permission_policy": {"type": "always_ask"}}],
                    "default_config": {"enabled": False},
                }
            ],
        },
        {
            "model": "m",
            "mcp_servers": [{"type": "url", "name": "docs", "url": "https://mcp.example.com"}],
            "tools": [{"type": "mcp_toolset", "mcp_server_name": "docs"}],
            "skills": [{"type": "anthropic", "skill_id": "xlsx"}],
            "metadata": {"team": "checkout"},
        },
        {
            "model": "m",
            "tools": [
                {
                    "type": "custom",
                    "name": "look_up",
                    "description": "Looks it up.",
                    "input_schema": {"type": "object", "properties": {"id": {"type": "string"}}},
                }
            ],
        },
        {"model": "m", "multiagent": {"type": "coordinator", "agents": ["agent_1", {"type": "self"}]}},
    ],
)
def test_a_good_agent(agent: dict[str, Any]) -> None:
    assert check_agent("fixer", agent) == []


@pytest.mark.parametrize(
    ("agent", "problems"),
    [
        ({}, ["the field 'model' is missing"]),
        ({"model": 3}, ["model: must be text or a mapping, not 3"]),
        ({"model": "m", "tols": []}, ["unknown field 'tols'; did you mean 'tools'?"]),
        ({"model": {"id": "m", "effot": "low"}}, ["model: unknown field 'effot'; did you mean 'effort'?"]),
        (
            {"model": {"id": "m", "effort": "lo"}},
            ["model.effort: 'lo' is not a known value; did you mean 'low'?"],
        ),
        (
            {"model": "m", "tools": [{"type": "agent_toolset"}]},
            [f"tools[0].type: 'agent_toolset' is not a known value; did you mean '{TOOLSET}'?"],
        ),
        ({"model": "m", "tools": {"type": TOOLSET}}, [f"tools: must be a list, not {{'type': '{TOOLSET}'}}"]),
        ({"model": "m", "tools": ["bash"]}, ["tools[0]: must be a mapping, not 'bash'"]),
        (
            {"model": "m", "tools": [{}]},
            ["tools[0]: the field 'type' is missing; known are agent_toolset_20260401, custom, mcp_toolset"],
        ),
        (
            {
                "model": "m",
                "tools": [{"type": TOOLSET, "configs": [{"name": "bsh"}, {"name": "bash", "on": 1}]}],
            },
            [
                "tools[0].configs[0].name: 'bsh' is not a known value; did you mean 'bash'?",
                "tools[0].configs[1]: unknown field 'on'; known are enabled, name, permission_policy, type",
            ],
        ),
        ({"model": "m", "metadata": {"a": 1}}, ["metadata.a: must be text, not 1"]),
        ({"model": "m", "system": ["x"]}, ["system: must be text or null, not ['x']"]),
        (
            {"model": "m", "multiagent": {"type": "coordinator", "agents": [{"type": "zelf"}]}},
            ["multiagent.agents[0].type: 'zelf' is not a known value; did you mean 'self'?"],
        ),
    ],
)
def test_a_bad_agent_names_the_field_and_the_nearest(agent: dict[str, Any], problems: list[str]) -> None:
    assert check_agent("fixer", agent) == problems


def test_headers_of_the_request_are_no_part_of_a_definition() -> None:
    [problem] = check_agent("fixer", {"model": "m", "betas": ["x"]})
    assert problem.startswith("unknown field 'betas'")
    [problem] = check_environment("python", {"workspace_id": "wrkspc_1"})
    assert problem.startswith("unknown field 'workspace_id'")


@pytest.mark.parametrize(
    ("environment", "problems"),
    [
        ({"config": {"type": "cloud", "networking": {"type": "unrestricted"}}}, []),
        ({"config": {"type": "cloud", "packages": {"pip": ["pytest"]}}}, []),
        ({"config": {"type": "clod"}}, ["config.type: 'clod' is not a known value; did you mean 'cloud'?"]),
        ({"config": {}}, ["config: the field 'type' is missing; known are cloud, self_hosted"]),
        (
            {"config": {"type": "cloud", "packages": {"pipp": ["a"], "npm": [1]}}},
            [
                "config.packages: unknown field 'pipp'; did you mean 'pip'?",
                "config.packages.npm[0]: must be text, not 1",
            ],
        ),
        (
            {"config": {"type": "cloud", "networking": {"type": "limited", "allowed_hosts": "example.com"}}},
            ["config.networking.allowed_hosts: must be a list or null, not 'example.com'"],
        ),
    ],
)
def test_environments(environment: dict[str, Any], problems: list[str]) -> None:
    assert check_environment("python", environment) == problems
