"""`/_emu/…`: looking into the emulator and making it misbehave. Kept off `/v1`; asks for no credential."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, Literal, TypeVar

import orjson
from pydantic import BaseModel, ConfigDict, ValidationError
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sandbox.managed_agents.errors import invalid, not_found
from sandbox.managed_agents.history import encode
from sandbox.managed_agents.http import raw, reply
from sandbox.managed_agents.scenarios import SCENARIOS
from sandbox.managed_agents.session import Session
from sandbox.managed_agents.settings import Settings
from sandbox.managed_agents.state import AgentsState
from sandbox.managed_agents.subscribers import StreamFault
from sandbox.managed_agents.validation import explain

M = TypeVar("M", bound=BaseModel)


class Act(BaseModel):
    """`POST /_emu/streams/act`: something done to the streams that are open now."""

    model_config = ConfigDict(extra="forbid")

    do: Literal["cut", "end", "mute", "error"]
    """cut: break off. end: finish in good order. mute: stay open, silent. error: an `event: error` frame."""
    session_id: str | None = None
    """None means every session's."""
    error: str = "overloaded_error"


class Knobs:
    """The admin routes of one state."""

    def __init__(self, state: AgentsState) -> None:
        self._state = state

    def routes(self) -> list[Route]:
        """Everything below `/_emu`."""
        return [
            Route("/_emu/state", self.state, methods=["GET"]),
            Route("/_emu/work", self.work, methods=["GET"]),
            Route("/_emu/scenarios", self.scenarios, methods=["GET"]),
            Route("/_emu/settings", self.settings, methods=["GET", "POST"]),
            Route("/_emu/streams", self.streams, methods=["POST"]),
            Route("/_emu/streams/act", self.act, methods=["POST"]),
            Route("/_emu/reset", self.reset, methods=["POST"]),
        ]

    async def state(self, request: Request) -> Response:
        """GET: a summary of everything."""
        del request
        return reply(self._state.snapshot())

    async def work(self, request: Request) -> Response:
        """GET: which session got which work."""
        del request
        return reply({"data": [asdict(item) for item in self._state.work]})

    async def scenarios(self, request: Request) -> Response:
        """GET: names and what they do."""
        del request
        told = {name: (script.__doc__ or "").strip() for name, script in SCENARIOS.items()}
        return reply({"data": told})

    async def settings(self, request: Request) -> Response:
        """GET or POST: read, or change any of, the settings."""
        settings = self._state.settings
        if request.method == "POST":
            given = await _json(request)
            changed = _checked(Settings, {**settings.model_dump(), **given})
            for name in given:
                setattr(settings, name, getattr(changed, name))
            self._state.limits.clear()
        return reply(settings.model_dump())

    async def streams(self, request: Request) -> Response:
        """POST: ask for a fault of streams that open from now on, or of frames."""
        fault = _checked(StreamFault, await _json(request))
        self._state.faults.add(fault)
        return reply(fault.model_dump())

    async def act(self, request: Request) -> Response:
        """POST: do something to open streams; answers how many there were."""
        act = _checked(Act, await _json(request))
        count = 0
        for session in self._sessions(act.session_id):
            for subscriber in tuple(session.history.subscribers):
                count += 1
                if act.do == "cut":
                    subscriber.cut()
                elif act.do == "end":
                    subscriber.end()
                elif act.do == "mute":
                    subscriber.mute = True
                else:
                    error = {"type": act.error, "message": "Asked for by the sandbox"}
                    subscriber.offer(encode("error", {"type": "error", "error": error}))
        return reply({"streams": count})

    async def reset(self, request: Request) -> Response:
        """POST: forget everything."""
        del request
        self._state.reset()
        return reply({"reset": True})

    def _sessions(self, identifier: str | None) -> list[Session]:
        if identifier is None:
            return list(self._state)
        found = self._state.sessions.get(identifier)
        if found is None:
            raise not_found("Session", identifier)
        return [found]


async def _json(request: Request) -> dict[str, Any]:
    try:
        found = orjson.loads(await raw(request))
    except orjson.JSONDecodeError:
        raise invalid("The body is not valid JSON") from None
    if not isinstance(found, dict):
        raise invalid("The body must be a JSON object")
    return found


def _checked(model: type[M], given: dict[str, Any]) -> M:
    try:
        return model.model_validate(given)
    except ValidationError as error:
        raise invalid(explain(error)) from None
