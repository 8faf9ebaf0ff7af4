"""Routes of `/v1/environments`: named sandboxes' configurations. Names are unique."""

from __future__ import annotations

from typing import Any, Final

from anthropic.types.beta import EnvironmentCreateParams, EnvironmentUpdateParams
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sandbox.managed_agents.errors import conflict, invalid, not_found
from sandbox.managed_agents.http import body_of, check_metadata, patched, reply
from sandbox.managed_agents.identity import stamp
from sandbox.managed_agents.paging import Query, page
from sandbox.managed_agents.state import AgentsState

MANAGERS: Final = ("apt", "cargo", "gem", "go", "npm", "pip")
MOST_NAME: Final = 256


class Environments:
    """The environments of one state."""

    def __init__(self, state: AgentsState) -> None:
        self._state = state

    def routes(self) -> list[Route]:
        """Everything below `/v1/environments`."""
        one = "/v1/environments/{environment_id}"
        return [
            Route("/v1/environments", self.create, methods=["POST"]),
            Route("/v1/environments", self.list_all, methods=["GET"]),
            Route(one, self.retrieve, methods=["GET"]),
            Route(one, self.update, methods=["POST"]),
            Route(one, self.delete, methods=["DELETE"]),
            Route(f"{one}/archive", self.archive, methods=["POST"]),
        ]

    def find(self, identifier: str) -> dict[str, Any]:
        """The environment. Raises ApiError 404."""
        found = self._state.environments.get(identifier)
        if found is None:
            raise not_found("Environment", identifier)
        return found

    async def create(self, request: Request) -> Response:
        """POST /v1/environments. 409 where the name is taken."""
        body = await body_of(request, EnvironmentCreateParams)
        metadata = body.get("metadata", {})
        check_metadata(metadata)
        self._check_name(body["name"], None)
        now = stamp(self._state.clock.now())
        environment = {
            "id": self._state.ids.new("env"),
            "type": "environment",
            "name": body["name"],
            "description": body.get("description"),
            "config": _config(body.get("config")),
            "metadata": metadata,
            "scope": body.get("scope") or "organization",
            "created_at": now,
            "updated_at": now,
            "archived_at": None,
        }
        self._state.environments[str(environment["id"])] = environment
        return reply(environment)

    async def retrieve(self, request: Request) -> Response:
        """GET /v1/environments/{id}."""
        return reply(self.find(request.path_params["environment_id"]))

    async def update(self, request: Request) -> Response:
        """POST /v1/environments/{id}."""
        current = self.find(request.path_params["environment_id"])
        body = await body_of(request, EnvironmentUpdateParams)
        if current["archived_at"] is not None:
            raise invalid(f"Environment `{current['id']}` is archived and cannot be updated")
        changed = dict(current)
        if body.get("name") is not None:
            self._check_name(body["name"], current["id"])
            changed["name"] = body["name"]
        if body.get("config") is not None:
            changed["config"] = _config(body["config"])
        if "description" in body:
            changed["description"] = body["description"]
        if body.get("scope") is not None:
            changed["scope"] = body["scope"]
        changed["metadata"] = patched(current["metadata"], body.get("metadata"))
        if changed != current:
            current.update(changed, updated_at=stamp(self._state.clock.now()))
        return reply(current)

    async def list_all(self, request: Request) -> Response:
        """GET /v1/environments, the newest first."""
        query = Query(request, known=("include_archived",))
        archived = query.flag("include_archived")
        stored = reversed(self._state.environments.values())
        found = [one for one in stored if archived or one["archived_at"] is None]
        return reply(page(found, limit=query.limit(default=20, most=100), cursor=query.cursor("desc")))

    async def archive(self, request: Request) -> Response:
        """POST /v1/environments/{id}/archive."""
        current = self.find(request.path_params["environment_id"])
        if current["archived_at"] is None:
            current["archived_at"] = stamp(self._state.clock.now())
        return reply(current)

    async def delete(self, request: Request) -> Response:
        """DELETE /v1/environments/{id}."""
        current = self.find(request.path_params["environment_id"])
        del self._state.environments[current["id"]]
        return reply({"id": current["id"], "type": "environment_deleted"})

    def _check_name(self, name: str, own: str | None) -> None:
        if not 1 <= len(name) <= MOST_NAME:
            raise invalid(f"name: String should have from 1 to {MOST_NAME} characters")
        for other in self._state.environments.values():
            if other["name"] == name and other["id"] != own and other["archived_at"] is None:
                raise conflict(f"An environment named {name!r} already exists")


def _config(given: dict[str, Any] | None) -> dict[str, Any]:
    if given is not None and given["type"] == "self_hosted":
        return {"type": "self_hosted"}
    given = given or {}
    packages = given.get("packages") or {}
    networking = given.get("networking") or {"type": "unrestricted"}
    if networking["type"] == "limited":
        networking = {
            "type": "limited",
            "allowed_hosts": networking.get("allowed_hosts") or [],
            "allow_mcp_servers": bool(networking.get("allow_mcp_servers")),
            "allow_package_managers": bool(networking.get("allow_package_managers")),
        }
        if any(packages.get(name) for name in MANAGERS) and not networking["allow_package_managers"]:
            raise invalid(
                "config.networking.allow_package_managers: packages need it under limited networking"
            )
    listed = {name: packages.get(name) or [] for name in MANAGERS}
    return {"type": "cloud", "networking": networking, "packages": {"type": "packages", **listed}}
