"""Composition of the emulator: the routes, and before them authentication, the beta header and the limits."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Any, Final, Protocol, runtime_checkable

from starlette.applications import Starlette
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sandbox.managed_agents.agents import Agents
from sandbox.managed_agents.environments import Environments
from sandbox.managed_agents.errors import ApiError, answer
from sandbox.managed_agents.events import Events
from sandbox.managed_agents.files import Files
from sandbox.managed_agents.knobs import Knobs
from sandbox.managed_agents.memory_stores import MemoryStores
from sandbox.managed_agents.resources import Resources
from sandbox.managed_agents.scenarios import cast
from sandbox.managed_agents.sessions import Sessions
from sandbox.managed_agents.settings import Settings
from sandbox.managed_agents.state import AgentsState
from sandbox.managed_agents.vaults import Vaults
from sandbox.managed_agents.webhooks import Sender
from sandbox.managed_agents.worker import CodeHost

BETA: Final = "managed-agents-2026-04-01"
GATED: Final = ("/v1/agents", "/v1/environments", "/v1/sessions", "/v1/vaults")
MEMORY: Final = "/v1/memory_stores"
MEMORY_BETA: Final = "agent-memory-2026-07-22"
CREATES: Final = frozenset({*GATED, MEMORY, "/v1/files"})


class World(Protocol):
    """What the emulator uses of the outside world that it is part of."""

    @property
    def github(self) -> CodeHost:
        """Where the agents' branches go."""
        ...


@runtime_checkable
class Registry(Protocol):
    """A world that shows and resets every service's state in one place."""

    def register(self, name: str, *, snapshot: Callable[[], Any], reset: Callable[[], None]) -> None:
        """Take the service into its views."""
        ...


def build(world: World, *, settings: Settings | None = None) -> ASGIApp:
    """The ASGI app with all routes under `/v1` (and `/_emu`), wherever it is mounted.

    Its state becomes `world.agents` where the world has such an attribute, and `.state` of the app in any
    case. `settings` default to `world.pace` (seconds between steps), if there is one, and the environment.
    """
    pace = getattr(world, "pace", None)
    chosen = settings or Settings.from_environment(pace=pace if isinstance(pace, int | float) else None)
    state = AgentsState(code=world.github, cast=cast(world.github), settings=chosen)
    if isinstance(world, Registry):
        world.register("anthropic", snapshot=state.snapshot, reset=state.reset)
    if hasattr(world, "agents"):
        world.agents = state
    if isinstance(post := getattr(world, "post", None), Sender):
        state.webhooks.sender = post
    return Emulator(state)


class Emulator:
    """The ASGI app. `state` is what it knows."""

    def __init__(self, state: AgentsState) -> None:
        self.state = state
        agents, environments = Agents(state), Environments(state)
        routes = [
            *Events(state).routes(),
            *Sessions(state, agents, environments).routes(),
            *Resources(state).routes(),
            *agents.routes(),
            *environments.routes(),
            *Vaults(state).routes(),
            *MemoryStores(state).routes(),
            *Files(state).routes(),
            *Knobs(state).routes(),
        ]
        self._app = Starlette(
            routes=routes,
            exception_handlers={ApiError: _refused, HTTPException: _no_route},
        )
        self._app.router.redirect_slashes = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; every response carries `request-id`."""
        if scope["type"] == "lifespan":
            await _lifespan(self.state, receive, send)
            return
        if scope["type"] != "http":
            return
        request_id = "req_01" + secrets.token_hex(11)
        scope["request_id"] = request_id

        async def identified(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)["request-id"] = request_id
            await send(message)

        try:
            self._admit(scope)
        except ApiError as error:
            await answer(error, request_id=request_id)(scope, receive, identified)
            return
        await self._app(scope, receive, identified)

    def _admit(self, scope: Scope) -> None:
        """Authentication, beta header, limits. Raises ApiError."""
        path = str(scope["path"]).removeprefix(scope.get("root_path", ""))
        if path.startswith("/_emu/"):
            return
        headers = Headers(scope=scope)
        scheme, _, key = headers.get("authorization", "").partition(" ")
        if not ((scheme.lower() == "bearer" and key.strip()) or headers.get("x-api-key")):
            raise ApiError(401, "authentication_error", "Authentication is required: send a bearer token")
        gated = path.startswith((*GATED, MEMORY))
        betas = {token.strip() for value in headers.getlist("anthropic-beta") for token in value.split(",")}
        if gated and not betas & ({BETA, MEMORY_BETA} if path.startswith(MEMORY) else {BETA}):
            raise ApiError(404, "not_found_error", f"Not found. This endpoint needs the beta header {BETA}.")
        if scope["method"] == "POST" and path in CREATES:
            self.state.limits.take("create")
        elif scope["method"] == "GET":
            self.state.limits.take("read")


async def _refused(request: Request, error: Exception) -> Response:
    if not isinstance(error, ApiError):
        raise error
    return answer(error, request_id=request.scope["request_id"])


async def _no_route(request: Request, error: Exception) -> Response:
    if isinstance(error, HTTPException) and error.status_code == 405:  # noqa: PLR2004 - Method Not Allowed
        refusal = ApiError(405, "invalid_request_error", "Method Not Allowed")
    else:
        refusal = ApiError(404, "not_found_error", "Not Found")
    return answer(refusal, request_id=request.scope["request_id"])


async def _lifespan(state: AgentsState, receive: Receive, send: Send) -> None:
    """Where the app is served by itself: streams end when the server stops."""
    while True:
        message = await receive()
        if message["type"] == "lifespan.startup":
            await send({"type": "lifespan.startup.complete"})
        else:
            state.close()
            await send({"type": "lifespan.shutdown.complete"})
            return
