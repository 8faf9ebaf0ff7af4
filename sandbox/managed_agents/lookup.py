"""Finding the session that a request's path names. Must not change anything."""

from __future__ import annotations

from starlette.requests import Request

from sandbox.managed_agents.errors import not_found
from sandbox.managed_agents.session import Session
from sandbox.managed_agents.state import AgentsState


def find_session(state: AgentsState, request: Request) -> Session:
    """The session of the path's `session_id`. Raises ApiError 404."""
    identifier = request.path_params["session_id"]
    found = state.sessions.get(identifier)
    if found is None:
        raise not_found("Session", identifier)
    return found
