"""Resources of a session: repositories and files, at creation and afterwards (reference §1.9).

A repository's token is write-only: it is neither kept nor shown, only counted when it is replaced.
"""

from __future__ import annotations

import re
from typing import Any, Final

from anthropic.types.beta.sessions import ResourceAddParams, ResourceUpdateParams
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sandbox.managed_agents.errors import invalid, not_found
from sandbox.managed_agents.http import body_of, reply
from sandbox.managed_agents.identity import stamp
from sandbox.managed_agents.lookup import find_session
from sandbox.managed_agents.paging import Query, page
from sandbox.managed_agents.reading import slug
from sandbox.managed_agents.session import Session
from sandbox.managed_agents.state import AgentsState, StoredFile

REPOSITORY: Final = re.compile(r"^https://github\.com/[A-Za-z0-9][A-Za-z0-9-]*/[A-Za-z0-9._-]+$")
MOST_RESOURCES: Final = 500
MOST_INSTRUCTIONS: Final = 4096


class Resources:
    """The resources of one state's sessions."""

    def __init__(self, state: AgentsState) -> None:
        self._state = state

    def routes(self) -> list[Route]:
        """Everything below `/v1/sessions/{id}/resources`."""
        every = "/v1/sessions/{session_id}/resources"
        one = every + "/{resource_id}"
        return [
            Route(every, self.list_all, methods=["GET"]),
            Route(every, self.add, methods=["POST"]),
            Route(one, self.retrieve, methods=["GET"]),
            Route(one, self.update, methods=["POST"]),
            Route(one, self.delete, methods=["DELETE"]),
        ]

    async def list_all(self, request: Request) -> Response:
        """GET …/resources."""
        query = Query(request, known=())
        session = find_session(self._state, request)
        limit = query.limit(default=1_000, most=1_000)
        return reply(page(session.resources, limit=limit, cursor=query.cursor("asc"), order="asc"))

    async def add(self, request: Request) -> Response:
        """POST …/resources: only files can be added later."""
        session = _open(find_session(self._state, request))
        body = await body_of(request, ResourceAddParams)
        resource = mount_file(self._state, session.id, body)
        _check_mounts([*session.resources, resource])
        session.resources.append(resource)
        return reply(resource)

    async def retrieve(self, request: Request) -> Response:
        """GET …/resources/{id}."""
        return reply(_find(find_session(self._state, request), request))

    async def update(self, request: Request) -> Response:
        """POST …/resources/{id}: replace a repository's token."""
        session = _open(find_session(self._state, request))
        resource = _find(session, request)
        body = await body_of(request, ResourceUpdateParams)
        if resource["type"] != "github_repository":
            raise invalid("authorization_token: only a github_repository has a token to replace")
        if not body["authorization_token"]:
            raise invalid("authorization_token: String should have at least 1 character")
        session.rotations[resource["id"]] = session.rotations.get(resource["id"], 0) + 1
        resource["updated_at"] = stamp(self._state.clock.now())
        return reply(resource)

    async def delete(self, request: Request) -> Response:
        """DELETE …/resources/{id}: repositories stay for the session's life."""
        session = _open(find_session(self._state, request))
        resource = _find(session, request)
        if resource["type"] != "file":
            raise invalid(f"Resource `{resource['id']}` is a {resource['type']}: only files can be removed")
        session.resources.remove(resource)
        self._state.files.pop(resource["file_id"], None)
        return reply({"id": resource["id"], "type": "session_resource_deleted"})


def mount(state: AgentsState, session_id: str, given: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The resources of a new session. Raises ApiError 400 or 404."""
    if len(given) > MOST_RESOURCES:
        raise invalid(f"resources: List should have at most {MOST_RESOURCES} items")
    for place, one in enumerate(given):
        if one["type"] == "github_repository":
            _check_repository(one, place)
    makers = {
        "github_repository": lambda one: _repository(state, one),
        "memory_store": lambda one: _memory_store(state, one),
        "file": lambda one: mount_file(state, session_id, one),
    }
    mounted = [makers[one["type"]](one) for one in given]
    _check_mounts(mounted)
    return mounted


def mount_file(state: AgentsState, session_id: str, given: dict[str, Any]) -> dict[str, Any]:
    """Mount a file: the session gets its own copy, under another file id. Raises ApiError 404."""
    source = state.files.get(given["file_id"])
    if source is None:
        raise not_found("File", given["file_id"])
    now = stamp(state.clock.now())
    own = state.ids.new("file")
    scope = {"type": "session", "id": session_id}
    metadata = {**source.metadata, "id": own, "created_at": now, "downloadable": False, "scope": scope}
    state.files[own] = StoredFile(metadata=metadata, content=source.content)
    return {
        "id": state.ids.new("sesrsc"),
        "type": "file",
        "file_id": own,
        "mount_path": given.get("mount_path") or f"/mnt/session/uploads/{given['file_id']}",
        "created_at": now,
        "updated_at": now,
    }


def _memory_store(state: AgentsState, given: dict[str, Any]) -> dict[str, Any]:
    store = state.memory_stores.get(given["memory_store_id"])
    if store is None:
        raise not_found("Memory store", given["memory_store_id"])
    if store["archived_at"] is not None:
        raise invalid(f"resources: memory store `{store['id']}` is archived")
    if len(given.get("instructions") or "") > MOST_INSTRUCTIONS:
        raise invalid(f"resources: instructions: String should have at most {MOST_INSTRUCTIONS} characters")
    return {
        "id": state.ids.new("sesrsc"),
        "type": "memory_store",
        "memory_store_id": store["id"],
        "access": given.get("access") or "read_write",
        "instructions": given.get("instructions"),
        "description": store["description"],
        "name": store["name"],
        "mount_path": f"/mnt/memory/{slug(store['name'])}",
    }


def _repository(state: AgentsState, given: dict[str, Any]) -> dict[str, Any]:
    now = stamp(state.clock.now())
    return {
        "id": state.ids.new("sesrsc"),
        "type": "github_repository",
        "url": given["url"],
        "mount_path": given.get("mount_path") or f"/workspace/{given['url'].rpartition('/')[2]}",
        "checkout": given.get("checkout"),
        "created_at": now,
        "updated_at": now,
    }


def _check_repository(given: dict[str, Any], place: int) -> None:
    url = given["url"]
    if not REPOSITORY.match(url) or url.endswith(".git"):
        raise invalid(
            f"resources.{place}.github_repository.url: {url!r} must be https://github.com/<owner>/<repo>, "
            "without .git"
        )
    path = given.get("mount_path")
    if path is not None and not path.startswith("/"):
        raise invalid(f"resources.{place}.github_repository.mount_path: {path!r} must be an absolute path")


def _check_mounts(resources: list[dict[str, Any]]) -> None:
    seen: set[str] = set()
    for resource in resources:
        path = resource["mount_path"]
        if path in seen:
            raise invalid(f"resources: mount_path {path!r} is used twice")
        seen.add(path)


def _find(session: Session, request: Request) -> dict[str, Any]:
    identifier = request.path_params["resource_id"]
    found = next((one for one in session.resources if one["id"] == identifier), None)
    if found is None:
        raise not_found("Session resource", identifier)
    return found


def _open(session: Session) -> Session:
    if session.archived_at is not None:
        raise invalid(f"Session `{session.id}` is archived: its resources cannot be changed")
    return session
