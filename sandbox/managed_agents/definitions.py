"""An agent's definition as the service stores it: defaults filled, rules checked, versions resolved
(reference §1.1, §1.9).

Pure functions on dictionaries. Must not know HTTP or sessions.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

from sandbox.managed_agents.errors import invalid

MOST_NAME: Final = 256
MOST_SYSTEM: Final = 100_000
MOST_SERVERS: Final = 20
MOST_SKILLS: Final = 20
MOST_TOOLS: Final = 256
MOST_SUBAGENTS: Final = 20
BUILT_IN_COUNT: Final = 8
TOOL_NAME: Final = re.compile(r"^[a-zA-Z0-9_-]{1,128}$")
FIELDS: Final = ("description", "mcp_servers", "model", "multiagent", "name", "skills", "system", "tools")
TAKEN: Final = ("id", "type", "version", "execution_identity", *FIELDS)
"""What a session's snapshot has of an agent."""
LISTS: Final = frozenset({"mcp_servers", "skills", "tools"})
URL_SOURCES: Final = ("client_tool_results", "server_tool_results", "user_input")

Resolve = Callable[[dict[str, Any] | str], dict[str, Any]]
"""Turns a reference to an agent into its stored definition. Raises ApiError 404."""


def complete(given: dict[str, Any], *, base: dict[str, Any] | None = None) -> dict[str, Any]:
    """The full definition: `given` over `base` (or over the defaults). Null clears. Raises ApiError 400."""
    merged: dict[str, Any] = {name: (base or {}).get(name) for name in FIELDS}
    for name in LISTS:
        merged[name] = merged[name] or []
    merged["execution_identity"] = (base or {}).get("execution_identity") or {"type": "service_account"}
    for name, value in given.items():
        if name in FIELDS:
            merged[name] = _stored(name, value)
        elif name == "execution_identity":
            merged[name] = value or {"type": "service_account"}
    check(merged)
    return merged


def check(definition: dict[str, Any]) -> None:
    """The rules that span fields. Raises ApiError 400."""
    if definition["model"] is None:
        raise invalid("model: an agent needs a model", code="agent_model_required")
    if not definition["model"]["id"]:
        raise invalid("model: String should have at least 1 character")
    if not 1 <= len(definition["name"] or "") <= MOST_NAME:
        raise invalid(f"name: String should have from 1 to {MOST_NAME} characters")
    if len(definition["system"] or "") > MOST_SYSTEM:
        raise invalid(f"system: String should have at most {MOST_SYSTEM} characters")
    if len(definition["skills"]) > MOST_SKILLS:
        raise invalid(f"skills: List should have at most {MOST_SKILLS} items")
    _check_tools(definition["tools"])
    _check_servers(definition["mcp_servers"], definition["tools"])
    if definition["skills"] and not any(
        tool["type"] == "agent_toolset_20260401" for tool in definition["tools"]
    ):
        raise invalid("tools: skills need the agent toolset; it cannot be left out while skills are present")


def snapshot(agent: dict[str, Any], resolve: Resolve) -> dict[str, Any]:
    """A session's own copy of an agent: no timestamps or metadata, and its subagents written out."""
    taken = {name: agent[name] for name in TAKEN}
    taken["multiagent"] = _written_out(agent["multiagent"], resolve)
    return taken


def bind_subagents(definition: dict[str, Any], own: dict[str, Any], resolve: Resolve) -> dict[str, Any]:
    """The definition with every reference to another agent pinned; `own` is what `self` stands for."""

    def pin(reference: Any) -> dict[str, Any]:
        if isinstance(reference, dict) and reference["type"] == "advisor":
            return reference
        if isinstance(reference, dict) and reference["type"] == "self":
            return {"type": "agent", "id": own["id"], "version": own["version"]}
        found = own if isinstance(reference, dict) and reference == _reference(own) else resolve(reference)
        return _reference(found)

    given = definition["multiagent"]
    if given is None:
        return definition
    bound = dict(given)
    if given["type"] == "coordinator":
        if not 1 <= len(given["agents"]) <= MOST_SUBAGENTS:
            raise invalid(f"multiagent.agents: List should have from 1 to {MOST_SUBAGENTS} items")
        bound["agents"] = [pin(reference) for reference in given["agents"]]
    else:
        bound["advisor"] = given.get("advisor") or {"type": "disabled"}
        for part in ("subagents", "workflows"):
            chosen = dict(given.get(part) or {"type": "enabled"})
            if chosen["type"] == "enabled":
                chosen["inline_agents"] = chosen.get("inline_agents") or {"type": "enabled"}
                chosen["predefined_agents"] = [pin(one) for one in chosen.get("predefined_agents") or []]
            bound[part] = chosen
    return {**definition, "multiagent": bound}


def _reference(agent: dict[str, Any]) -> dict[str, Any]:
    return {"type": "agent", "id": agent["id"], "version": agent["version"]}


def _written_out(multiagent: dict[str, Any] | None, resolve: Resolve) -> dict[str, Any] | None:
    def write(reference: dict[str, Any]) -> dict[str, Any]:
        if reference["type"] == "advisor":
            return reference
        found = snapshot({**resolve(reference), "multiagent": None}, resolve)
        del found["multiagent"]
        return found

    if multiagent is None:
        return None
    written = dict(multiagent)
    if multiagent["type"] == "coordinator":
        written["agents"] = [write(reference) for reference in multiagent["agents"]]
        return written
    for part in ("subagents", "workflows"):
        if multiagent[part]["type"] == "enabled":
            agents = [write(reference) for reference in multiagent[part]["predefined_agents"]]
            written[part] = {**multiagent[part], "predefined_agents": agents}
    return written


def _stored(name: str, value: Any) -> Any:
    if name in LISTS:
        value = value or []
    if name == "model":
        return _model(value)
    if name == "tools":
        return [_tool(tool) for tool in value]
    if name == "skills":
        return [{**skill, "version": skill.get("version") or "latest"} for skill in value]
    return value


def _model(given: str | dict[str, Any] | None) -> dict[str, Any] | None:
    if given is None:
        return None
    config = {"id": given} if isinstance(given, str) else given
    effort = config.get("effort") or "high"
    return {
        "id": config["id"],
        "effort": {"type": effort} if isinstance(effort, str) else effort,
        "speed": config.get("speed") or "standard",
        "inference_geo": config.get("inference_geo"),
    }


def _tool(given: dict[str, Any]) -> dict[str, Any]:
    if given["type"] == "custom":
        return given
    mcp = given["type"] == "mcp_toolset"
    default = given.get("default_config") or {}
    policy = default.get("permission_policy") or {"type": "always_ask" if mcp else "always_allow"}
    enabled = default.get("enabled")
    resolved = {"enabled": True if enabled is None else enabled, "permission_policy": policy}
    stored: dict[str, Any] = {"type": given["type"], "default_config": resolved}
    if mcp:
        stored["mcp_server_name"] = given["mcp_server_name"]
    stored["configs"] = [_config(config, resolved, mcp=mcp) for config in given.get("configs") or []]
    return stored


def _config(given: dict[str, Any], default: dict[str, Any], *, mcp: bool) -> dict[str, Any]:
    config = {name: value for name, value in given.items() if value is not None}
    config.setdefault("enabled", default["enabled"])
    config.setdefault("permission_policy", default["permission_policy"])
    if not mcp:
        config["type"] = config["name"]
    sources = config.get("url_sources")
    if sources is not None:
        config["url_sources"] = {
            name: {"type": sources[name]} if isinstance(sources.get(name), str) else sources.get(name)
            for name in URL_SOURCES
        }
    return config


def _check_tools(tools: list[dict[str, Any]]) -> None:
    seen: set[str] = set()
    count = 0
    for place, tool in enumerate(tools):
        name = tool["name"] if tool["type"] == "custom" else tool.get("mcp_server_name", tool["type"])
        if tool["type"] == "custom" and not TOOL_NAME.match(name):
            raise invalid(f"tools.{place}.custom.name: String should match pattern '{TOOL_NAME.pattern}'")
        if tool["type"] == "custom" and not tool["description"]:
            raise invalid(f"tools.{place}.custom.description: String should have at least 1 character")
        if f"{tool['type']} {name}" in seen:
            raise invalid(f"tools.{place}: {name!r} appears twice; names must be unique")
        seen.add(f"{tool['type']} {name}")
        count += BUILT_IN_COUNT if tool["type"] == "agent_toolset_20260401" else 1
    if count > MOST_TOOLS:
        raise invalid(f"tools: at most {MOST_TOOLS} tools across all toolsets are allowed, got {count}")


def _check_servers(servers: list[dict[str, Any]], tools: list[dict[str, Any]]) -> None:
    if len(servers) > MOST_SERVERS:
        raise invalid(f"mcp_servers: List should have at most {MOST_SERVERS} items")
    names = [server["name"] for server in servers]
    used = [tool["mcp_server_name"] for tool in tools if tool["type"] == "mcp_toolset"]
    for name in names:
        if names.count(name) > 1:
            raise invalid(f"mcp_servers: {name!r} appears twice; names must be unique")
        if name not in used:
            raise invalid(f"mcp_servers: {name!r} is not referenced by an mcp_toolset in tools")
    for name in used:
        if name not in names:
            raise invalid(f"tools: mcp_toolset refers to {name!r}, which is not among mcp_servers")
