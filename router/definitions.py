"""What must hold inside agents and environments beyond the vendor's types: rules that span fields and names.

The service refuses most of these when the first session starts; here they are told at load. Works on plain values,
reports, never raises.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from router.problems import Location, quote, unknown
from router.shapes import Finding
from schemas import roster

TOOLSET: Final = "agent_toolset_20260401"
MCP: Final = "mcp_toolset"
SYSTEM_MESSAGES: Final = ("claude-fable-5", "claude-mythos", "claude-opus-4-8", "claude-opus-5")
"""How models begin that take a system message in the middle of a conversation (managed-agents reference §1.3)."""
PINNED: Final = ("environment", "id", "version", "vaults")
"""What may stand beside `id`: the rest belongs to whoever made the agent."""


def check_environment_rules(raw: Mapping[str, Any]) -> Iterator[Finding]:
    """Packages need the network to reach their registries."""
    config = _mapping(raw.get("config"))
    networking = _mapping(config.get("networking"))
    packages = {
        name for name, wanted in _mapping(config.get("packages")).items() if wanted and name != "type"
    }
    if (
        packages
        and networking.get("type") == "limited"
        and networking.get("allow_package_managers") is not True
    ):
        msg = (
            f"packages ({', '.join(sorted(packages))}) cannot be installed under a limited network: "
            "add allow_package_managers: true"
        )
        yield Finding(("config", "networking"), msg)


def check_agent_rules(name: str, raw: Mapping[str, Any], agents: Mapping[str, Any]) -> Iterator[Finding]:
    """Findings about one agent. `agents` are all agents as written, by name."""
    if raw.get("id") is not None:
        for field in sorted(raw.keys() - set(PINNED)):
            msg = (
                f"cannot stand beside 'id': the agent is made elsewhere, and triggerhub does not change it; "
                f"remove {quote(field)}, or use agent_overrides in a rule"
            )
            yield Finding((field,), msg)
        return
    if raw.get("model") is None and raw.get("version") is None:
        yield Finding(("model",), "required, but missing; or name the id of an agent made elsewhere")
    yield from check_tools(raw)
    yield from _roster(name, raw, agents)


def check_tools(agent: Mapping[str, Any], place: Location = ()) -> Iterator[Finding]:
    """Tools, MCP servers and skills of one agent against one another. `place` is where its fields stand."""
    tools = [(index, one) for index, one in enumerate(_list(agent.get("tools"))) if isinstance(one, Mapping)]
    servers = [
        (index, str(one.get("name")))
        for index, one in enumerate(_list(agent.get("mcp_servers")))
        if isinstance(one, Mapping) and isinstance(one.get("name"), str)
    ]
    names = [name for _, name in servers]
    used = {one.get("mcp_server_name") for _, one in tools if one.get("type") == MCP}
    for index, name in servers:
        at = (*place, "mcp_servers", index)
        if names.index(name) != [n for n, _ in servers].index(index):
            yield Finding((*at, "name"), f"the MCP server {quote(name)} is defined twice; names must differ")
        elif name not in used:
            msg = f"no tool uses the MCP server {quote(name)}: add {{type: {MCP}, mcp_server_name: {name}}} to tools"
            yield Finding(at, msg)
    for index, tool in tools:
        if tool.get("type") == MCP:
            yield from _mcp_toolset(tool, names, (*place, "tools", index))
    if _list(agent.get("skills")) and not any(one.get("type") == TOOLSET for _, one in tools):
        yield Finding((*place, "skills"), f"skills need the agent toolset: add {{type: {TOOLSET}}} to tools")


def check_system_message(rule: Mapping[str, Any], agent: Mapping[str, Any]) -> Iterator[Finding]:
    """Only some models take one. Of an agent made elsewhere the model is not known here."""
    written = _mapping(rule.get("agent_overrides")).get("model") or agent.get("model")
    model = _mapping(written).get("id") if isinstance(written, Mapping) else written
    if (
        rule.get("system_message") is not None
        and isinstance(model, str)
        and not model.startswith(SYSTEM_MESSAGES)
    ):
        msg = (
            f"the model {quote(model)} takes no system message in the middle of a conversation; those that begin "
            f"with {', '.join(SYSTEM_MESSAGES)} do. Write it into the agent's system instead"
        )
        yield Finding(("system_message",), msg)


def _mcp_toolset(tool: Mapping[str, Any], servers: list[str], at: Location) -> Iterator[Finding]:
    server = tool.get("mcp_server_name")
    if isinstance(server, str) and server not in servers:
        yield Finding((*at, "mcp_server_name"), unknown("MCP server", server, servers))
    default = _mapping(tool.get("default_config"))
    if default.get("permission_policy") is not None:
        return
    configs = [one for one in _list(tool.get("configs")) if isinstance(one, Mapping)]
    if default.get("enabled") is False and all(
        one.get("permission_policy") is not None or one.get("enabled") is False for one in configs
    ):
        return
    msg = (
        f"the MCP tools of {quote(server)} have no permission policy, and the service would ask a person before each "
        "call; write default_config: {permission_policy: {type: always_allow}}, or auto, or always_ask"
    )
    yield Finding(at, msg)


def _roster(name: str, raw: Mapping[str, Any], agents: Mapping[str, Any]) -> Iterator[Finding]:
    for inner, entry in roster.entries(raw.get("multiagent")):
        place = ("multiagent", *inner)
        called = roster.named(entry)
        if called is None:
            continue
        if called == name:
            yield Finding(place, f"the agent {quote(name)} calls itself: write {{type: self}}")
        elif called not in agents and not called.startswith(roster.AGENT_ID):
            msg = unknown("agent", called, agents)
            yield Finding(place, f"{msg} Ids of agents made elsewhere begin with {roster.AGENT_ID!r}")
        elif called in agents and (way := _way(called, name, agents)) is not None:
            chain = " → ".join((name, *way))
            yield Finding(place, f"agents call one another in a circle: {chain}; break it")


def _way(start: str, goal: str, agents: Mapping[str, Any]) -> list[str] | None:
    """How `start` comes to call `goal`, both included, or None."""
    waiting, seen = [[start]], {start}
    while waiting:
        way = waiting.pop(0)
        written = _mapping(agents.get(way[-1]))
        for called in roster.callable_names(written.get("multiagent"), agents.keys()):
            if called == goal:
                return [*way, goal]
            if called not in seen:
                seen.add(called)
                waiting.append([*way, called])
    return None


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _list(value: object) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else []
