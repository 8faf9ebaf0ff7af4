"""Serves the emulator of Managed Agents on loopback for tests, and the small moves of a client that tests
share."""

from __future__ import annotations

import asyncio
import hashlib
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import uvicorn
from anthropic import AsyncAnthropic
from starlette.applications import Starlette
from starlette.routing import Mount

from sandbox.managed_agents.app import Emulator, build
from sandbox.managed_agents.settings import Settings
from sandbox.managed_agents.state import AgentsState

PACE = 0.003
TOOLSET: dict[str, Any] = {"type": "agent_toolset_20260401"}


def tool(name: str, **properties: Any) -> dict[str, Any]:
    """A custom tool whose fields are all required."""
    return {
        "type": "custom",
        "name": name,
        "description": f"{name} for tests",
        "input_schema": {"type": "object", "properties": properties, "required": list(properties)},
    }


TEXT = {"type": "string"}
REPOSITORY = {
    "type": "github_repository",
    "url": "https://github.com/acme/checkout",
    "authorization_token": "t0",
}
LOOKUP = tool("lookup_issue", key=TEXT)


@dataclass
class Push:
    """A branch that an agent pushed."""

    repo: str
    branch: str
    base: str
    message: str
    files: dict[str, str]


@dataclass
class Code:
    """A code host that remembers pushes, and refuses those to `unknown`."""

    pushes: list[Push] = field(default_factory=list)

    def push(self, repo: str, branch: str, *, base: str, message: str, files: dict[str, str]) -> str:
        """See CodeHost."""
        if repo.endswith("/unknown"):
            msg = f"{repo} does not exist"
            raise LookupError(msg)
        self.pushes.append(Push(repo, branch, base, message, files))
        return hashlib.sha1(f"{branch}{len(self.pushes)}".encode(), usedforsecurity=False).hexdigest()


@dataclass
class SmallWorld:
    """A world with nothing but a code host."""

    github: Code = field(default_factory=Code)
    agents: AgentsState | None = None


@dataclass
class Service:
    """A served emulator, a client for it, and its inside."""

    url: str
    client: Any
    """An AsyncAnthropic, untyped: tests look at fields of events and resources whose kind they know."""
    world: SmallWorld
    state: AgentsState
    admin: httpx.AsyncClient

    async def agent(self, **fields: Any) -> Any:
        """An agent with sensible defaults."""
        return await self.client.beta.agents.create(
            **{"model": "claude-sonnet-5-5", "name": "Coder", **fields}
        )

    async def environment(self, name: str = "ci", **fields: Any) -> Any:
        """The environment of that name, made once."""
        async for found in self.client.beta.environments.list():
            if found.name == name:
                return found
        return await self.client.beta.environments.create(name=name, **fields)

    async def session(self, *, tools: list[dict[str, Any]] | None = None, **fields: Any) -> Any:
        """A session of a new agent with these tools."""
        agent = fields.pop("agent", None) or (await self.agent(tools=tools or [])).id
        environment = fields.pop("environment_id", None) or (await self.environment()).id
        return await self.client.beta.sessions.create(agent=agent, environment_id=environment, **fields)

    async def say(self, session_id: str, text: str, *, data: str | None = None) -> Any:
        """Send a message, with a document where there is data."""
        content: list[dict[str, Any]] = [{"type": "text", "text": text}]
        if data is not None:
            source = {"type": "text", "media_type": "text/plain", "data": data}
            content.append({"type": "document", "title": "event", "source": source})
        event = {"type": "user.message", "content": content}
        return await self.client.beta.sessions.events.send(session_id, events=[event])

    async def send(self, session_id: str, *events: dict[str, Any]) -> Any:
        """Send any events."""
        return await self.client.beta.sessions.events.send(session_id, events=list(events))

    async def answer(self, session_id: str, call: str, text: str = "ok", *, is_error: bool = False) -> Any:
        """Answer a custom tool."""
        content = [{"type": "text", "text": text}]
        return await self.send(session_id, result(call, content, is_error=is_error))

    async def history(self, session_id: str, **filters: Any) -> list[Any]:
        """All events."""
        return [event async for event in self.client.beta.sessions.events.list(session_id, **filters)]

    async def idle(self, session_id: str, *, count: int = 1) -> list[Any]:
        """Wait until the history shows `count` idles, and return it."""
        return await self.until(session_id, lambda events: len(idles(events)) >= count)

    async def until(self, session_id: str, met: Callable[[list[Any]], bool]) -> list[Any]:
        """Wait until the history is as wanted, and return it."""
        async with asyncio.timeout(10):
            while True:
                events = await self.history(session_id)
                if met(events):
                    return events
                await asyncio.sleep(0.005)

    async def knob(self, path: str, **body: Any) -> Any:
        """POST to `/_emu/…`."""
        answer = await self.admin.post(f"/_emu/{path}", json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()


def result(
    call: str, content: list[dict[str, Any]] | None = None, *, is_error: bool = False
) -> dict[str, Any]:
    """A `user.custom_tool_result`."""
    return {
        "type": "user.custom_tool_result",
        "custom_tool_use_id": call,
        "content": content or [{"type": "text", "text": "ok"}],
        "is_error": is_error,
    }


def types(events: list[Any]) -> list[str]:
    """Event types in order."""
    return [event.type for event in events]


def of(events: list[Any], kind: str) -> list[Any]:
    """Events of one type."""
    return [event for event in events if event.type == kind]


def idles(events: list[Any]) -> list[Any]:
    """The idle events."""
    return of(events, "session.status_idle")


def said(events: list[Any]) -> list[str]:
    """What the agent said."""
    return ["".join(block.text for block in event.content) for event in of(events, "agent.message")]


async def eventually(met: Callable[[], bool]) -> None:
    """Wait until it is so, 10 seconds at most."""
    async with asyncio.timeout(10):
        while True:
            if met():
                return
            await asyncio.sleep(0.005)


async def drain(stream: Any, into: list[Any]) -> None:
    """Put every event of a stream into the list, until it ends or breaks."""
    async for event in stream:
        into.append(event)  # noqa: PERF401 - what came before a break counts


async def first(stream: Any) -> Any:
    """The first event."""
    return await anext(aiter(stream))


async def finish(service: Service, session_id: str) -> list[Any]:
    """Answer everything until the session has ended its turn or itself."""
    answered: set[str] = set()
    async with asyncio.timeout(15):
        while True:
            events = await service.history(session_id)
            if events and events[-1].type == "session.status_terminated":
                return events
            if events and events[-1].type == "session.status_idle":
                stop = events[-1].stop_reason
                if stop.type != "requires_action":
                    return events
                by_id = {event.id: event for event in events}
                for identifier in stop.event_ids:
                    if identifier in answered:
                        continue
                    answered.add(identifier)
                    if by_id[identifier].type == "agent.tool_use":
                        confirmation = {
                            "type": "user.tool_confirmation",
                            "tool_use_id": identifier,
                            "result": "allow",
                        }
                        await service.send(session_id, confirmation)
                    else:
                        await service.answer(session_id, identifier)
            await asyncio.sleep(0.005)


@asynccontextmanager
async def served(settings: Settings | None = None, *, mount: str = "/anthropic") -> AsyncIterator[Service]:
    """Serve an emulator below `mount` while the block runs."""
    world = SmallWorld()
    app = build(world, settings=settings or Settings(pace=PACE, heartbeat=0.2))
    assert isinstance(app, Emulator)
    inner = app.state
    outer = Starlette(routes=[Mount(mount, app=app)])
    config = uvicorn.Config(
        outer, lifespan="off", log_config=None, access_log=False, timeout_graceful_shutdown=1
    )
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        # asyncio turns off Nagle's algorithm only on sockets made with proto=IPPROTO_TCP, unlike this one:
        # without this every small answer waits 40 ms for a delayed acknowledgement.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}{mount}"
        async with asyncio.TaskGroup() as group:
            serving = group.create_task(server.serve(sockets=[listener]), name="emulator")
            await eventually(lambda: server.started)
            async with (
                AsyncAnthropic(api_key="emu", base_url=url, max_retries=0) as client,
                httpx.AsyncClient(base_url=url, timeout=10) as admin,
            ):
                try:
                    yield Service(url=url, client=client, world=world, state=inner, admin=admin)
                finally:
                    inner.close()
                    server.should_exit = True
            await serving
