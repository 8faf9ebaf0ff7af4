"""Scenarios with tools that run outside the service's container: at an MCP server, or on a machine of the customer's."""

from __future__ import annotations

from collections.abc import Mapping

from sandbox.managed_agents.moves import Move, speak, use_elsewhere, use_server
from sandbox.managed_agents.turns import Turn


def server(turn: Turn, directive: Mapping[str, str], about: str) -> Move:
    """One tool of an MCP server, as its toolset allows: `tool=server/name`."""
    known = [toolset["mcp_server_name"] for toolset in turn.session.tools("mcp_toolset")]
    given, _, name = directive.get("tool", "").partition("/")
    where, name = given or next(iter(known), ""), name or "write"
    if where not in known:
        yield from speak(turn, f"I have no MCP server {where!r}.")
        return
    done = yield from use_server(turn, where, name, {"title": about}, "written")
    yield from speak(turn, f"`{where}/{name}` was {'run' if done else 'not run'}.")


def machine(turn: Turn, directive: Mapping[str, str]) -> Move:
    """One command on the environment's own machine; its result is told."""
    command = directive.get("command", "make")
    if not turn.session.self_hosted:
        yield from speak(turn, "This environment has no machine of its own.")
        return
    answer = yield from use_elsewhere(turn, "bash", {"command": command})
    yield from speak(turn, f"`{command}` {'failed' if answer.is_error else 'said'}: {answer.text}")
