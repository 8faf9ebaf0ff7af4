"""Agents and environments beyond the vendor's types: names, policies, versions; told with file, line and near name."""

from __future__ import annotations

from typing import Any

import pytest
from definition_samples import CHECKS, agents, told
from router_samples import configuration, load_config, load_text

from router.problems import ConfigError
from schemas import roster

TOOLSET = {"type": "agent_toolset_20260401"}
ALLOW = {"permission_policy": {"type": "always_allow"}}
SERVER = {"type": "url", "name": "docs", "url": "https://mcp.example.com"}


def mcp(**toolset: Any) -> dict[str, Any]:
    return {
        "model": "m",
        "mcp_servers": [SERVER],
        "tools": [{"type": "mcp_toolset", "mcp_server_name": "docs", **toolset}],
    }


@pytest.mark.parametrize(
    "fixer",
    [
        {"id": "agent_1"},
        {"id": "agent_1", "version": 3},
        {"version": 3},
        {"model": "m", "version": 3, "system": "Be brief."},
        mcp(default_config=ALLOW),
        mcp(default_config={"permission_policy": {"type": "auto"}}),
        mcp(default_config={"enabled": False}, configs=[{"name": "search", **ALLOW}]),
        {
            "model": "m",
            "tools": [TOOLSET],
            "skills": [{"type": "anthropic", "skill_id": "xlsx", "version": "1"}],
        },
    ],
)
def test_a_good_agent_loads(fixer: dict[str, Any]) -> None:
    assert told(agents(fixer=fixer)) == []


@pytest.mark.parametrize(
    ("fixer", "complaints"),
    [
        (
            {},
            [
                "agents.fixer: the field 'model' is missing",
                "agents.fixer.model: required, but missing; or name the id of an agent made elsewhere",
            ],
        ),
        ({"id": "fixer"}, [r"agents.fixer.id: must fit the pattern ^agent_\S+$, not 'fixer'"]),
        (
            {"id": "agent_1", "system": "x"},
            [
                (
                    "agents.fixer.system: cannot stand beside 'id': the agent is made elsewhere, and triggerhub does not "
                    "change it; remove 'system', or use agent_overrides in a rule"
                )
            ],
        ),
        (
            mcp(),
            [
                (
                    "agents.fixer.tools[0]: the MCP tools of 'docs' have no permission policy, and the service would ask "
                    "a person before each call; write default_config: {permission_policy: {type: always_allow}}, or "
                    "auto, or always_ask"
                )
            ],
        ),
        (
            mcp(default_config=ALLOW, mcp_server_name="dogs"),
            [
                (
                    "agents.fixer.mcp_servers[0]: no tool uses the MCP server 'docs': add {type: mcp_toolset, "
                    "mcp_server_name: docs} to tools"
                ),
                "agents.fixer.tools[0].mcp_server_name: unknown MCP server 'dogs'; did you mean 'docs'?",
            ],
        ),
        (
            {**mcp(default_config=ALLOW), "mcp_servers": [SERVER, SERVER]},
            ["agents.fixer.mcp_servers[1].name: the MCP server 'docs' is defined twice; names must differ"],
        ),
        (
            {"model": "m", "skills": [{"type": "anthropic", "skill_id": "xlsx"}]},
            [
                "agents.fixer.skills: skills need the agent toolset: add {type: agent_toolset_20260401} to tools"
            ],
        ),
        (
            {"model": "m", "skills": [{"type": "custum", "skill_id": "x"}], "tools": [TOOLSET]},
            ["agents.fixer.skills[0].type: 'custum' is not a known value; did you mean 'custom'?"],
        ),
        (
            mcp(default_config={"permission_policy": {"type": "allways_allow"}}),
            [
                (
                    "agents.fixer.tools[0].default_config.permission_policy.type: 'allways_allow' is not a known value; "
                    "did you mean 'always_allow'?"
                )
            ],
        ),
    ],
)
def test_a_bad_agent_is_told_where(fixer: dict[str, Any], complaints: list[str]) -> None:
    assert told(agents(fixer=fixer)) == complaints


def test_a_slip_inside_a_tool_is_told_with_its_own_line() -> None:
    text = """version: 1
agents:
  fixer:
    model: m
    tools:
      - type: agent_toolset_20260401
        configs:
          - name: bsh
"""
    with pytest.raises(ConfigError) as refused:
        load_text(text, **CHECKS)
    (problem,) = refused.value.problems
    assert str(problem) == (
        "triggerhub.yaml:8: agents.fixer.tools[0].configs[0].name: 'bsh' is not a known value; did you mean 'bash'?"
    )


def calls(*names: Any) -> dict[str, Any]:
    return {"model": "m", "multiagent": {"type": "coordinator", "agents": list(names)}}


def subagents(*names: Any, **more: Any) -> dict[str, Any]:
    called = {"type": "enabled", "predefined_agents": list(names)}
    return {"model": "m", "multiagent": {"type": "multiagent_20261001", "subagents": called, **more}}


ADVISOR = {"type": "enabled", "model": "claude-opus-5-5"}


@pytest.mark.parametrize(
    "fixer",
    [
        calls("tester", "agent_0123", {"type": "self"}, {"type": "advisor", "model": "claude-opus-5-5"}),
        calls({"type": "agent", "id": "tester", "version": 2}),
        subagents("tester", {"type": "self"}, advisor=ADVISOR, workflows={"type": "disabled"}),
    ],
)
def test_agents_may_call_others(fixer: dict[str, Any]) -> None:
    assert told(agents(fixer=fixer, tester={"model": "m"})) == []


@pytest.mark.parametrize("form", [calls, subagents])
def test_an_unknown_subagent_names_the_nearest(form: Any) -> None:
    (complaint,) = told(agents(fixer=form("testr"), tester={"model": "m"}))
    assert "unknown agent 'testr'; did you mean 'tester'?" in complaint


@pytest.mark.parametrize("form", [calls, subagents])
def test_a_circle_of_agents_is_refused_at_each_of_them(form: Any) -> None:
    found = told(agents(fixer=form("tester"), tester=form("reviewer"), reviewer=form("fixer")))
    assert len(found) == 3
    assert "agents call one another in a circle: fixer → tester → reviewer → fixer; break it" in found[0]
    (alone,) = told(agents(fixer=form("fixer")))
    assert alone.endswith("the agent 'fixer' calls itself: write {type: self}")


def test_a_misspelt_form_of_several_agents_is_refused() -> None:
    (complaint,) = told(agents(fixer={"model": "m", "multiagent": {"type": "cordinator", "agents": []}}))
    assert (
        complaint
        == "agents.fixer.multiagent.type: 'cordinator' is not a known value; did you mean 'coordinator'?"
    )


def test_names_become_ids_in_both_forms_and_written_versions_stay() -> None:
    ids: dict[str, tuple[str, int | None]] = {"tester": ("agent_t", 4)}
    older = roster.with_ids(calls("tester", {"type": "self"}, "agent_x")["multiagent"], ids)
    assert older["agents"] == [{"type": "agent", "id": "agent_t", "version": 4}, {"type": "self"}, "agent_x"]
    newer = roster.with_ids(subagents({"type": "agent", "id": "tester", "version": 2})["multiagent"], ids)
    assert newer["subagents"]["predefined_agents"] == [{"type": "agent", "id": "agent_t", "version": 2}]


@pytest.mark.parametrize(
    ("networking", "fine"),
    [
        ({"type": "unrestricted"}, True),
        ({"type": "limited", "allowed_hosts": ["example.com"]}, False),
        ({"type": "limited", "allow_package_managers": False}, False),
        ({"type": "limited", "allow_package_managers": True}, True),
    ],
)
def test_packages_need_their_registries(networking: dict[str, Any], fine: bool) -> None:  # noqa: FBT001 - a table
    config = {"type": "cloud", "networking": networking, "packages": {"pip": ["pytest"]}}
    found = told(configuration(environments={"python": {"config": config}}))
    assert found == (
        []
        if fine
        else [
            (
                "environments.python.config.networking: packages (pip) cannot be installed under a limited network: "
                "add allow_package_managers: true"
            )
        ]
    )


def test_a_self_hosted_environment_loads() -> None:
    assert told(configuration(environments={"python": {"config": {"type": "self_hosted"}}})) == []


def overriding(fixer: dict[str, Any], **overrides: Any) -> dict[str, Any]:
    config = agents(fixer=fixer)
    config["rules"][0]["agent_overrides"] = overrides
    return config


@pytest.mark.parametrize(
    ("fixer", "overrides", "complaints"),
    [
        ({"model": "m"}, {"model": "claude-opus-5-5", "system": None, "tools": []}, []),
        ({"id": "agent_1"}, {"tools": [TOOLSET]}, []),
        ({"model": "m"}, {"sistem": "x"}, [": unknown field 'sistem'; did you mean 'system'?"]),
        (
            {"model": "m"},
            {"version": 3},
            [": unknown field 'version'; known are mcp_servers, model, skills, system, tools"],
        ),
        (
            {"model": "m"},
            {"tools": [{"type": "agent_toolset"}]},
            [".tools[0].type: 'agent_toolset' is not a known value; did you mean 'agent_toolset_20260401'?"],
        ),
        (
            mcp(default_config=ALLOW),
            {"mcp_servers": []},
            [".tools[0].mcp_server_name: unknown MCP server 'docs'; none is defined"],
        ),
    ],
)
def test_overrides_fit_the_agent_they_change(
    fixer: dict[str, Any], overrides: dict[str, Any], complaints: list[str]
) -> None:
    assert told(overriding(fixer, **overrides)) == [f"rules[0].agent_overrides{one}" for one in complaints]


def test_overrides_reach_the_rule() -> None:
    _, rules = load_config(overriding({"model": "m"}, system="Antworte auf Deutsch."), **CHECKS)
    assert rules.rules[0].rule.agent_overrides == {"system": "Antworte auf Deutsch."}


def mounting(*further: dict[str, Any], first: dict[str, Any] | None = None) -> list[str]:
    config = agents()
    config["rules"][0]["repository"] = first or {"connection": "acme-github", "name": "acme/checkout"}
    config["rules"][0]["repositories"] = list(further)
    return told(config)


def test_several_repositories_each_with_a_place_of_its_own() -> None:
    other = {"connection": "acme-github", "name": "vendor/checkout"}
    assert mounting({**other, "mount_path": "/workspace/theirs", "commit": "0123456"}) == []
    assert mounting(other) == [
        (
            "rules[0].repositories[0]: it would stand at /workspace/checkout, where repository stands: "
            "give it another mount_path"
        )
    ]
    (near,) = mounting({"connection": "acme-githup", "name": "a/b"})
    assert (
        near
        == "rules[0].repositories[0].connection: unknown connection 'acme-githup'; did you mean 'acme-github'?"
    )
    (both,) = mounting({**other, "branch": "main", "commit": "0123456", "mount_path": "/w"})
    assert both == "rules[0].repositories[0]: write either a branch or a commit, not both"


@pytest.mark.parametrize(
    ("fixer", "overrides", "fine"),
    [
        ({"model": "claude-opus-5-5"}, {}, True),
        ({"model": {"id": "claude-fable-5-1"}}, {}, True),
        ({"model": "claude-opus-4-8"}, {}, True),
        ({"model": "claude-opus-4-7"}, {}, False),
        ({"model": "claude-sonnet-5-5"}, {}, False),
        ({"model": "claude-opus-5-5"}, {"model": "claude-haiku-5-5"}, False),
        ({"model": "claude-haiku-5-5"}, {"model": "claude-opus-5"}, True),
        ({"id": "agent_1"}, {}, True),
    ],
)
def test_a_system_message_needs_a_model_that_takes_it(
    fixer: dict[str, Any],
    overrides: dict[str, Any],
    fine: bool,  # noqa: FBT001 - a table
) -> None:
    config = overriding(fixer, **overrides)
    config["rules"][0]["system_message"] = "Be brief."
    found = told(config)
    assert bool(found) is not fine
    assert all("takes no system message in the middle of a conversation" in one for one in found)


@pytest.mark.parametrize(
    ("outcome", "complaint"),
    [
        ({"description": "A report."}, "rules[0].outcome.rubric: required, but missing"),
        (
            {"description": "A report.", "rubric": "x", "max_iterations": 21},
            "rules[0].outcome.max_iterations: input should be less than or equal to 20, not 21",
        ),
        (
            {"description": "A report.", "rubrik": "x", "rubric": "y"},
            "rules[0].outcome.rubrik: unknown field 'rubrik'; did you mean 'rubric'?",
        ),
        ({"description": " ", "rubric": "y"}, "rules[0].outcome.description: must not be empty, not ' '"),
    ],
)
def test_a_wrong_outcome_is_told_where(outcome: dict[str, Any], complaint: str) -> None:
    config = agents()
    config["rules"][0]["outcome"] = outcome
    assert told(config) == [complaint]


@pytest.mark.parametrize(
    ("limits", "complaint"),
    [
        ({"budget_usd": 2.5, "on_budget": "wait", "budget_wait": "168h"}, None),
        ({"on_budget": "wait"}, "limits: on_budget: wait needs a budget to wait at: set budget_usd"),
        (
            {"budget_usd": 2.5, "on_budget": "wate"},
            "limits.on_budget: unknown value 'wate'; did you mean 'wait'?",
        ),
        (
            {"budget_usd": 2.5, "budget_wait": "169h"},
            "limits.budget_wait: '169h' is outside the range: above 0s, at most 168h",
        ),
        ({"timeout": "25h"}, "limits.timeout: '25h' is outside the range: above 0s, at most 24h"),
    ],
)
def test_limits_of_a_budget(limits: dict[str, Any], complaint: str | None) -> None:
    config = agents()
    config["rules"][0]["limits"] = limits
    assert told(config) == ([] if complaint is None else [f"rules[0].{complaint}"])
