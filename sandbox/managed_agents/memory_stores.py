"""Routes of `/v1/memory_stores` and their memories. Nothing is kept on disk."""

from __future__ import annotations

import hashlib
from typing import Any, Final

from anthropic.types.beta import MemoryStoreCreateParams, MemoryStoreUpdateParams
from anthropic.types.beta.memory_stores import MemoryCreateParams
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sandbox.managed_agents.errors import conflict, invalid, not_found
from sandbox.managed_agents.http import body_of, check_metadata, patched, reply
from sandbox.managed_agents.identity import stamp
from sandbox.managed_agents.paging import Query, page
from sandbox.managed_agents.state import AgentsState

MOST_NAME: Final = 255
MOST_DESCRIPTION: Final = 1024


class MemoryStores:
    """The memory stores of one state."""

    def __init__(self, state: AgentsState) -> None:
        self._state = state

    def routes(self) -> list[Route]:
        """Everything below `/v1/memory_stores`."""
        one = "/v1/memory_stores/{store_id}"
        memory = one + "/memories/{memory_id}"
        return [
            Route("/v1/memory_stores", self.create, methods=["POST"]),
            Route("/v1/memory_stores", self.list_all, methods=["GET"]),
            Route(one, self.retrieve, methods=["GET"]),
            Route(one, self.update, methods=["POST"]),
            Route(one, self.delete, methods=["DELETE"]),
            Route(f"{one}/archive", self.archive, methods=["POST"]),
            Route(f"{one}/memories", self.create_memory, methods=["POST"]),
            Route(f"{one}/memories", self.list_memories, methods=["GET"]),
            Route(memory, self.retrieve_memory, methods=["GET"]),
            Route(memory, self.delete_memory, methods=["DELETE"]),
        ]

    async def create(self, request: Request) -> Response:
        """POST /v1/memory_stores."""
        body = await body_of(request, MemoryStoreCreateParams)
        metadata = body.get("metadata", {})
        check_metadata(metadata)
        now = stamp(self._state.clock.now())
        store = {
            "id": self._state.ids.new("memstore"),
            "type": "memory_store",
            "name": _name(body["name"]),
            "description": _description(body.get("description")),
            "metadata": metadata,
            "created_at": now,
            "updated_at": now,
            "archived_at": None,
        }
        self._state.memory_stores[str(store["id"])] = store
        self._state.memories[str(store["id"])] = {}
        return reply(store)

    async def retrieve(self, request: Request) -> Response:
        """GET /v1/memory_stores/{id}."""
        return reply(self._find(request))

    async def update(self, request: Request) -> Response:
        """POST /v1/memory_stores/{id}."""
        store = self._open(self._find(request))
        body = await body_of(request, MemoryStoreUpdateParams)
        if body.get("name") is not None:
            store["name"] = _name(body["name"])
        if "description" in body:
            store["description"] = _description(body["description"])
        store["metadata"] = patched(store["metadata"], body.get("metadata"))
        store["updated_at"] = stamp(self._state.clock.now())
        return reply(store)

    async def list_all(self, request: Request) -> Response:
        """GET /v1/memory_stores, the newest first."""
        query = Query(request, known=("created_at", "include_archived"))
        bounds, archived = query.bounds(), query.flag("include_archived")
        found = [
            store
            for store in reversed(self._state.memory_stores.values())
            if (archived or store["archived_at"] is None) and bounds.hold_stamp(store["created_at"])
        ]
        return reply(page(found, limit=query.limit(default=20, most=100), cursor=query.cursor("desc")))

    async def archive(self, request: Request) -> Response:
        """POST /v1/memory_stores/{id}/archive: it cannot be undone."""
        store = self._find(request)
        if store["archived_at"] is None:
            store["archived_at"] = stamp(self._state.clock.now())
            store["updated_at"] = store["archived_at"]
        return reply(store)

    async def delete(self, request: Request) -> Response:
        """DELETE /v1/memory_stores/{id}: its memories too."""
        store = self._find(request)
        del self._state.memory_stores[store["id"]], self._state.memories[store["id"]]
        return reply({"id": store["id"], "type": "memory_store_deleted"})

    async def create_memory(self, request: Request) -> Response:
        """POST …/memories. 409 where the path is taken."""
        store = self._open(self._find(request))
        body = await body_of(request, MemoryCreateParams)
        stored = self._state.memories[store["id"]]
        if any(one["path"] == body["path"] for one in stored.values()):
            raise conflict(f"The store already has a memory at {body['path']!r}")
        now = stamp(self._state.clock.now())
        content = body.get("content") or ""
        memory = {
            "id": self._state.ids.new("mem"),
            "type": "memory",
            "memory_store_id": store["id"],
            "memory_version_id": self._state.ids.new("memver"),
            "path": body["path"],
            "content": content,
            "content_sha256": hashlib.sha256(content.encode()).hexdigest(),
            "content_size_bytes": len(content.encode()),
            "created_at": now,
            "updated_at": now,
        }
        stored[str(memory["id"])] = memory
        return reply(memory)

    async def list_memories(self, request: Request) -> Response:
        """GET …/memories, by path."""
        query = Query(request, known=("path_prefix", "depth", "view", "order", "order_by"))
        prefix = query.one("path_prefix") or ""
        stored = self._state.memories[self._find(request)["id"]].values()
        found = sorted(
            (one for one in stored if one["path"].startswith(prefix)), key=lambda one: str(one["path"])
        )
        return reply(
            page(found, limit=query.limit(default=20, most=100), cursor=query.cursor("asc"), order="asc")
        )

    async def retrieve_memory(self, request: Request) -> Response:
        """GET …/memories/{id}."""
        return reply(self._memory(request))

    async def delete_memory(self, request: Request) -> Response:
        """DELETE …/memories/{id}."""
        memory = self._memory(request)
        del self._state.memories[memory["memory_store_id"]][memory["id"]]
        return reply({"id": memory["id"], "type": "memory_deleted"})

    def _find(self, request: Request) -> dict[str, Any]:
        found = self._state.memory_stores.get(request.path_params["store_id"])
        if found is None:
            raise not_found("Memory store", request.path_params["store_id"])
        return found

    def _memory(self, request: Request) -> dict[str, Any]:
        found = self._state.memories[self._find(request)["id"]].get(request.path_params["memory_id"])
        if found is None:
            raise not_found("Memory", request.path_params["memory_id"])
        return found

    def _open(self, store: dict[str, Any]) -> dict[str, Any]:
        if store["archived_at"] is not None:
            raise invalid(f"`{store['id']}` is archived and cannot be changed")
        return store


def _name(name: str) -> str:
    if not 1 <= len(name) <= MOST_NAME:
        raise invalid(f"name: String should have from 1 to {MOST_NAME} characters")
    return name


def _description(description: str | None) -> str:
    if len(description or "") > MOST_DESCRIPTION:
        raise invalid(f"description: String should have at most {MOST_DESCRIPTION} characters")
    return description or ""
