"""Routes of `/v1/agents`: stored, versioned definitions. There is no delete: archiving is permanent."""

from __future__ import annotations

from typing import Any

from anthropic.types.beta import AgentCreateParams, AgentUpdateParams
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sandbox.managed_agents.definitions import bind_subagents, complete
from sandbox.managed_agents.errors import conflict, invalid, not_found
from sandbox.managed_agents.http import body_of, check_metadata, patched, reply
from sandbox.managed_agents.identity import stamp
from sandbox.managed_agents.paging import Query, page
from sandbox.managed_agents.state import AgentsState


class Agents:
    """The agents of one state."""

    def __init__(self, state: AgentsState) -> None:
        self._state = state

    def routes(self) -> list[Route]:
        """Everything below `/v1/agents`."""
        one = "/v1/agents/{agent_id}"
        return [
            Route("/v1/agents", self.create, methods=["POST"]),
            Route("/v1/agents", self.list_all, methods=["GET"]),
            Route(one, self.retrieve, methods=["GET"]),
            Route(one, self.update, methods=["POST"]),
            Route(f"{one}/archive", self.archive, methods=["POST"]),
            Route(f"{one}/versions", self.versions, methods=["GET"]),
        ]

    def find(self, reference: dict[str, Any] | str) -> dict[str, Any]:
        """The definition that `"id"` or `{id, version?}` names. Raises ApiError 404."""
        identifier = reference if isinstance(reference, str) else reference["id"]
        version = None if isinstance(reference, str) else reference.get("version")
        return self._version(identifier, version)

    async def create(self, request: Request) -> Response:
        """POST /v1/agents."""
        body = await body_of(request, AgentCreateParams)
        metadata = body.pop("metadata", {})
        check_metadata(metadata)
        now = stamp(self._state.clock.now())
        own: dict[str, Any] = {"id": self._state.ids.new("agent"), "type": "agent", "version": 1}
        definition = bind_subagents(complete(body), own, self.find)
        agent = {
            **own,
            **definition,
            "metadata": metadata,
            "created_at": now,
            "updated_at": now,
            "archived_at": None,
        }
        self._state.agents[own["id"]] = [agent]
        return reply(agent)

    async def retrieve(self, request: Request) -> Response:
        """GET /v1/agents/{id}; `version` picks an older one."""
        version = Query(request, known=("version",)).number("version")
        return reply(self._version(request.path_params["agent_id"], version))

    async def update(self, request: Request) -> Response:
        """POST /v1/agents/{id}: a new version where anything changed. 409 where `version` is not the
        current one."""
        current = self._version(request.path_params["agent_id"], None)
        body = await body_of(request, AgentUpdateParams)
        expected = body.pop("version", None)
        if expected is not None and expected != current["version"]:
            raise conflict(
                f"Agent `{current['id']}` is at version {current['version']}, not {expected}. "
                "Retrieve it and send the update again."
            )
        if current["archived_at"] is not None:
            raise invalid(f"Agent `{current['id']}` is archived and cannot be updated")
        metadata = patched(current["metadata"], body.pop("metadata", None))
        own = {"id": current["id"], "type": "agent", "version": current["version"] + 1}
        changed = {
            **current,
            **bind_subagents(complete(body, base=current), own, self.find),
            "metadata": metadata,
        }
        if changed == current:
            return reply(current)
        changed |= {"version": current["version"] + 1, "updated_at": stamp(self._state.clock.now())}
        self._state.agents[current["id"]].append(changed)
        return reply(changed)

    async def list_all(self, request: Request) -> Response:
        """GET /v1/agents, the newest first."""
        query = Query(request, known=("created_at", "include_archived"))
        bounds, archived = query.bounds(), query.flag("include_archived")
        found = [
            versions[-1]
            for versions in reversed(self._state.agents.values())
            if (archived or versions[-1]["archived_at"] is None)
            and bounds.hold_stamp(versions[-1]["created_at"])
        ]
        return reply(page(found, limit=query.limit(default=20, most=100), cursor=query.cursor("desc")))

    async def archive(self, request: Request) -> Response:
        """POST /v1/agents/{id}/archive."""
        current = self._version(request.path_params["agent_id"], None)
        if current["archived_at"] is None:
            current["archived_at"] = stamp(self._state.clock.now())
        return reply(current)

    async def versions(self, request: Request) -> Response:
        """GET /v1/agents/{id}/versions, the newest first."""
        query = Query(request, known=())
        self._version(request.path_params["agent_id"], None)
        found = self._state.agents[request.path_params["agent_id"]][::-1]
        return reply(page(found, limit=query.limit(default=20, most=100), cursor=query.cursor("desc")))

    def _version(self, identifier: str, version: int | None) -> dict[str, Any]:
        versions = self._state.agents.get(identifier)
        if versions is None:
            raise not_found("Agent", identifier)
        if version is None:
            return versions[-1]
        found = next((one for one in versions if one["version"] == version), None)
        if found is None:
            raise not_found("Agent", f"{identifier} version {version}")
        return found
