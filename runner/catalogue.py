"""Agents and environments of the configuration, made or updated at the service by name and content hash.

Never one per run: an unchanged definition costs no call. Nothing is deleted here, because open sessions use old ones.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import orjson
import structlog

from runner.service import RefusedError, Service
from storage import remote_objects
from storage.database import Database
from storage.remote_objects import Remote

log = structlog.get_logger(__name__)

NAME_KEY: Final = "triggerhub_name"
HASH_KEY: Final = "triggerhub_hash"
_CLEARABLE: Final[dict[str, Any]] = {"system": "", "description": "", "tools": [], "mcp_servers": [], "skills": []}
"""What an update must say when the definition no longer has it: an omitted field would keep its old value."""


@dataclass(slots=True)
class Definitions:
    """The vendor part of the configuration: create parameters by name."""

    agents: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    environments: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


class UnknownDefinitionError(LookupError):
    """A dispatch names an agent or environment that the configuration no longer has."""


class Catalogue:
    """Finds or makes the remote object of a definition. One per process."""

    def __init__(self, service: Service, database: Database, definitions: Definitions) -> None:
        self._service = service
        self._database = database
        self.definitions = definitions
        """Replaced whole when the configuration is loaded again."""
        self._locks: dict[tuple[str, str], asyncio.Lock] = {}

    async def agent(self, name: str) -> Remote:
        """The agent's id and the version that matches the definition. Raises ServiceError, UnknownDefinitionError."""
        return await self._ensure("agent", name, self.definitions.agents)

    async def environment(self, name: str) -> Remote:
        """The environment's id. Raises ServiceError, UnknownDefinitionError."""
        return await self._ensure("environment", name, self.definitions.environments)

    async def _ensure(self, kind: str, name: str, known: Mapping[str, Mapping[str, Any]]) -> Remote:
        definition = known.get(name)
        if definition is None:
            msg = f"the configuration has no {kind} {name!r}; it has {', '.join(sorted(known)) or 'none'}"
            raise UnknownDefinitionError(msg)
        digest = content_hash(definition)
        async with self._locks.setdefault((kind, name), asyncio.Lock()):
            remote = await self._database.read(remote_objects.find, kind=kind, name=name)
            if remote is None or remote.content_hash != digest:
                make = self._make_agent if kind == "agent" else self._make_environment
                remote = await make(name, definition, digest, remote)
                await self._database.write(remote_objects.keep, kind=kind, name=name, remote=remote)
            return remote

    async def _make_agent(
        self, name: str, definition: Mapping[str, Any], digest: str, before: Remote | None
    ) -> Remote:
        params = _with_metadata({"name": name, **definition}, name, digest)
        existing = [
            agent
            for agent in await self._service.list_agents()
            if (agent.metadata or {}).get(NAME_KEY) == name and agent.archived_at is None
        ]
        existing.sort(key=lambda agent: (agent.id != (before.remote_id if before else None), agent.created_at))
        if not existing:
            agent = await self._service.create_agent(params)
            log.info("agent created", agent=name, id=agent.id, version=agent.version)
        else:
            agent = existing[0]
            if (agent.metadata or {}).get(HASH_KEY) != digest:
                cleared = {key: value for key, value in _CLEARABLE.items() if key not in params}
                agent = await self._service.update_agent(agent.id, {**cleared, **params})
                log.info("agent updated", agent=name, id=agent.id, version=agent.version)
        return Remote(content_hash=digest, remote_id=agent.id, version=agent.version)

    async def _make_environment(
        self, name: str, definition: Mapping[str, Any], digest: str, before: Remote | None
    ) -> Remote:
        params = _with_metadata({"name": name, **definition}, name, digest)
        environment = await self._find_environment(name, before)
        if environment is None:
            try:
                environment = await self._service.create_environment(params)
                log.info("environment created", environment=name, id=environment.id)
            except RefusedError:
                raise
            except Exception:
                # A conflict (409) or a lost answer: somebody, perhaps we, made it just now.
                environment = await self._find_environment(name, before)
                if environment is None:
                    raise
        if (environment.metadata or {}).get(HASH_KEY) != digest:
            environment = await self._service.update_environment(environment.id, params)
            log.info("environment updated", environment=name, id=environment.id)
        return Remote(content_hash=digest, remote_id=environment.id, version=None)

    async def _find_environment(self, name: str, before: Remote | None) -> Any:
        for environment in await self._service.list_environments():
            if environment.archived_at is not None:
                continue
            if environment.name == name or (before and environment.id == before.remote_id):
                return environment
        return None


def content_hash(definition: Mapping[str, Any]) -> str:
    """Hash of a definition, independent of the order of its keys."""
    return hashlib.sha256(orjson.dumps(definition, option=orjson.OPT_SORT_KEYS, default=str)).hexdigest()[:32]


def _with_metadata(params: dict[str, Any], name: str, digest: str) -> dict[str, Any]:
    return {**params, "metadata": {**params.get("metadata", {}), NAME_KEY: name, HASH_KEY: digest}}
