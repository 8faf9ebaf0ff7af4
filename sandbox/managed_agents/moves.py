"""What an emulated agent does over and over: speak, use a built-in tool, call the client's tools. Must not
know a task."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any, Final

import orjson

from sandbox.managed_agents.turns import Answer, Answers, Pause, Step, Turn

Move = Generator[Step, dict[str, Answer] | None, None]
DENIED: Final = "The user denied permission to use this tool."


@dataclass(frozen=True, slots=True)
class Permission:
    """How the agent's toolset decides on one tool."""

    enabled: bool
    policy: str
    """always_allow, always_ask or auto."""


def permission(turn: Turn, name: str, *, server: str | None = None) -> Permission:
    """What the session's toolset says of a built-in tool, or of an MCP server's. Without a toolset none is
    enabled."""
    kind = "agent_toolset_20260401" if server is None else "mcp_toolset"
    for toolset in turn.session.tools(kind):
        if server is not None and toolset["mcp_server_name"] != server:
            continue
        found = next((one for one in toolset["configs"] if one["name"] == name), toolset["default_config"])
        return Permission(enabled=bool(found["enabled"]), policy=str(found["permission_policy"]["type"]))
    return Permission(enabled=False, policy="always_allow")


def speak(turn: Turn, text: str) -> Move:
    """One model request that thinks and answers with a message."""
    turn.open_request()
    yield Pause(turn.pace)
    turn.think()
    yield Pause(turn.pace)
    turn.say(text)
    turn.close_request()
    yield Pause(turn.pace)


def use(
    turn: Turn, name: str, arguments: dict[str, Any], output: str | Callable[[], str], *, ask: bool = False
) -> Generator[Step, dict[str, Answer] | None, bool]:
    """One model request that uses a built-in tool; True when it ran. Asks for permission where the policy
    says so."""
    rule = permission(turn, name)
    if not ask and (not rule.enabled or turn.session.self_hosted):
        return False
    policy = "always_ask" if ask else rule.policy
    return (yield from _used(turn, policy, output, name=name, input=arguments))


def use_server(
    turn: Turn, server: str, name: str, arguments: dict[str, Any], output: str
) -> Generator[Step, dict[str, Answer] | None, bool]:
    """As `use`, a tool of an MCP server. Such tools run at their server, wherever the session's machine is."""
    rule = permission(turn, name, server=server)
    if not rule.enabled:
        return False
    return (yield from _used(turn, rule.policy, output, mcp_server_name=server, name=name, input=arguments))


def use_elsewhere(
    turn: Turn, name: str, arguments: dict[str, Any]
) -> Generator[Step, dict[str, Answer] | None, Answer]:
    """One model request that uses a built-in tool on a machine of the customer's, which sends its result."""
    turn.open_request()
    yield Pause(turn.pace)
    identifier = turn.use(
        "agent.tool_use",
        waits=True,
        elsewhere=True,
        produced=str(arguments),
        name=name,
        input=arguments,
        evaluated_permission="allow",
        evaluation={"type": "always_allow"},
    )
    turn.close_request()
    yield Pause(turn.pace)
    answers = yield Answers((identifier,))
    return (answers or {})[identifier]


def _used(
    turn: Turn, policy: str, output: str | Callable[[], str], **call: Any
) -> Generator[Step, dict[str, Answer] | None, bool]:
    sort = "mcp_tool" if "mcp_server_name" in call else "tool"
    asks = policy == "always_ask"
    evaluation: dict[str, Any] = {"type": policy}
    if policy == "auto":
        evaluation["evaluated_permission"] = {"type": "allow"}
    turn.open_request()
    yield Pause(turn.pace)
    identifier = turn.use(
        f"agent.{sort}_use",
        waits=asks,
        produced=str(call["input"]),
        **call,
        evaluated_permission="ask" if asks else "allow",
        evaluation=evaluation,
    )
    turn.close_request()
    yield Pause(turn.pace)
    allowed, refusal = True, ""
    if asks:
        answers = yield Answers((identifier,))
        answer = (answers or {})[identifier]
        allowed, refusal = answer.allowed, answer.text or DENIED
    text = refusal
    if allowed:
        text = output() if callable(output) else output
    turn.read(text)
    turn.emit(
        f"agent.{sort}_result",
        **{f"{sort}_use_id": identifier},
        content=[{"type": "text", "text": text}],
        is_error=not allowed,
    )
    yield Pause(turn.pace)
    return allowed


def call(
    turn: Turn, calls: list[tuple[str, dict[str, Any]]], *, at_once: bool = False
) -> Generator[Step, dict[str, Answer] | None, list[Answer]]:
    """One model request that calls the client's own tools side by side; the answers in the order of the
    calls.

    `at_once`: without a pause before the calls.
    """
    turn.open_request()
    if not at_once:
        yield Pause(turn.pace)
    ids = []
    for name, arguments in calls:
        produced = orjson.dumps(arguments, default=str).decode()
        ids.append(
            turn.use("agent.custom_tool_use", waits=True, produced=produced, name=name, input=arguments)
        )
    turn.close_request()
    if not at_once:
        yield Pause(turn.pace)
    answers = yield Answers(tuple(ids))
    return [(answers or {})[identifier] for identifier in ids]
