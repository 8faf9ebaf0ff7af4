"""Agents and environments of the configuration, made or updated at the service by name and content hash.

Never one per run: an unchanged definition costs no call. Nothing is deleted here, because open sessions use old ones.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import orjson
import structlog

from runner.errors import RefusedError, ServiceError, UncertainError
from runner.service import Service
from schemas import roster
from storage import remote_objects
from storage.database import Database
from storage.remote_objects import Remote

log = structlog.get_logger(__name__)

NAME_KEY: Final = "triggerhub_name"
HASH_KEY: Final = "triggerhub_hash"
_CLEARABLE: Final[dict[str, Any]] = {
    "system": None,
    "description": None,
    "multiagent": None,
    "tools": [],
    "mcp_servers": [],
    "skills": [],
}
"""What an update must say when the definition no longer has it: an omitted field would keep its old value."""

Kind = Literal["agent", "environment"]


@dataclass(frozen=True, slots=True)
class Pin:
    """An agent that is used as it stands at the service. Without an id it is one that we made under its name."""

    id: str | None
    version: int | None


@dataclass(slots=True)
class Definitions:
    """The vendor part of the configuration: create parameters by name."""

    agents: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    pins: Mapping[str, Pin] = field(default_factory=dict)
    """Agents whose definition here is not written to the service. Each is among `agents` too."""
    environments: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


class UnknownDefinitionError(LookupError):
    """A dispatch names an agent or environment that the configuration no longer has."""


class Catalogue:
    """Finds or makes the remote object of a definition. One per process."""

    def __init__(
        self,
        service: Service,
        database: Database,
        definitions: Definitions,
        *,
        settle: tuple[float, ...] = (0.0, 2.0),
    ) -> None:
        self._service = service
        self._database = database
        self.definitions = definitions
        """Replaced whole when the configuration is loaded again."""
        self._settle = settle
        self._locks: dict[tuple[Kind, str], asyncio.Lock] = {}
        self._tools: dict[tuple[str, int], list[dict[str, Any]]] = {}
        """Of agents that are used as they stand, by id and version."""
        self._held: dict[tuple[Kind, str], Remote] = {}
        """What this process last used: agents' versions never change, so it stays true until the service objects."""

    async def agent(self, name: str) -> Remote:
        """The agent's id and the version that matches the definition. Raises ServiceError, UnknownDefinitionError."""
        pin = self.definitions.pins.get(name)
        return await self._ensure("agent", name) if pin is None else await self._pinned(name, pin)

    async def tools(self, name: str) -> list[dict[str, Any]]:
        """The tools of the agent that `agent` gives, as parameters. Raises ServiceError, UnknownDefinitionError."""
        if name not in self.definitions.pins:
            return list(self.definition("agent", name).get("tools") or ())
        remote = await self.agent(name)
        return list(self._tools[remote.remote_id, remote.version or 1])

    async def environment(self, name: str) -> Remote:
        """The environment's id. Raises ServiceError, UnknownDefinitionError."""
        return await self._ensure("environment", name)

    def definition(self, kind: Kind, name: str) -> Mapping[str, Any]:
        """The vendor part as configured. Raises UnknownDefinitionError."""
        known = self.definitions.agents if kind == "agent" else self.definitions.environments
        if name not in known:
            msg = f"the configuration has no {kind} {name!r}; it has {', '.join(sorted(known)) or 'none'}"
            raise UnknownDefinitionError(msg)
        return known[name]

    async def forget_what_is_gone(self, *, agent: str, environment: str) -> bool:
        """Look whether the agent or the environment was archived or deleted at the service; forget those.

        True where one was: the next `agent` or `environment` makes it anew. Called when a create was refused.
        """
        gone = False
        keys: list[tuple[Kind, str]] = [("agent", one) for one in self._with_callable(agent)]
        for key in (*keys, ("environment", environment)):
            kind, name = key
            remote = self._held.get(key)
            if remote is not None and not await self._exists(kind, remote):
                log.warning("it is gone at the service and is made anew", kind=kind, name=name)
                self._held.pop(key, None)
                await self._database.write(
                    remote_objects.forget, kind=kind, name=name, remote_id=remote.remote_id
                )
                gone = True
        return gone

    async def _exists(self, kind: Kind, remote: Remote) -> bool:
        retrieve = self._service.retrieve_agent if kind == "agent" else self._service.retrieve_environment
        try:
            found = await retrieve(remote.remote_id)
        except RefusedError as error:
            return not error.gone
        return getattr(found, "archived_at", None) is None

    def _with_callable(self, agent: str) -> list[str]:
        """The agent and every agent of the configuration that it calls, those called first."""
        found: list[str] = []
        definition = self.definitions.agents.get(agent, {})
        for called in roster.callable_names(definition.get("multiagent"), self.definitions.agents.keys()):
            found += [name for name in self._with_callable(called) if name not in found]
        return [*found, agent]

    async def _pinned(self, name: str, pin: Pin) -> Remote:
        """An agent as it stands. One without a version is looked at each time: it may have a newer one by now."""
        identifier = pin.id
        if identifier is None:
            ours = await self._find_agent(name, None)
            if ours is None:
                msg = f"the agent {name!r} has a version and no id, and triggerhub never made it: remove the version"
                raise UnknownDefinitionError(msg)
            identifier = str(ours.id)
        if pin.version is not None and (identifier, pin.version) in self._tools:
            return Remote(content_hash="", remote_id=identifier, version=pin.version)
        try:
            found = await self._service.retrieve_agent(identifier, version=pin.version)
        except RefusedError as error:
            if not error.gone:
                raise
            wanted = identifier if pin.version is None else f"{identifier} version {pin.version}"
            msg = f"the agent {name!r} ({wanted}) is not in this workspace: correct its id or version"
            raise UnknownDefinitionError(msg) from None
        tools = [
            tool.model_dump(mode="json", exclude_none=True) for tool in getattr(found, "tools", None) or []
        ]
        self._tools[identifier, int(found.version)] = tools
        return Remote(content_hash="", remote_id=identifier, version=int(found.version))

    async def _bound(self, name: str) -> Mapping[str, Any]:
        """The definition with the agents that it calls as ids and versions. They are made or updated first."""
        definition = self.definition("agent", name)
        multiagent = definition.get("multiagent")
        ids: dict[str, tuple[str, int | None]] = {}
        for called in roster.callable_names(multiagent, self.definitions.agents.keys()):
            remote = await self.agent(called)
            ids[called] = remote.remote_id, remote.version
        return (
            {**definition, "multiagent": roster.with_ids(multiagent, ids)}
            if ids and multiagent
            else definition
        )

    async def _ensure(self, kind: Kind, name: str) -> Remote:
        definition = await self._bound(name) if kind == "agent" else self.definition(kind, name)
        digest = content_hash(definition)
        key = (kind, name)
        async with self._locks.setdefault(key, asyncio.Lock()):
            held = self._held.get(key)
            if held is not None and held.content_hash == digest:
                return held
            before = await self._database.read(remote_objects.find, kind=kind, name=name)
            if before is not None and before.content_hash == digest:
                remote = before
            else:
                make = self._make_agent if kind == "agent" else self._make_environment
                remote = await make(name, definition, digest, before)
            self._held[key] = remote
            return remote

    async def _make_agent(
        self, name: str, definition: Mapping[str, Any], digest: str, before: Remote | None
    ) -> Remote:
        params = _with_metadata({"name": name, **definition}, name, digest)
        agent = await self._find_agent(name, before)
        made = agent is None
        if agent is None:
            try:
                agent = await self._service.create_agent(params)
            except UncertainError:
                agent = await self._find_agent_that_may_exist(name, before)
                if agent is None:
                    raise
            log.info("agent created", agent=name, id=agent.id, version=agent.version)
        elif _metadata(agent).get(HASH_KEY) != digest:
            cleared = {key: value for key, value in _CLEARABLE.items() if key not in params}
            agent = await self._service.update_agent(agent.id, {**cleared, **params})
            log.info("agent updated", agent=name, id=agent.id, version=agent.version)
        mine = Remote(content_hash=digest, remote_id=agent.id, version=agent.version)
        kept = await self._keep("agent", name, before, mine)
        if made and kept.remote_id != mine.remote_id:
            # Another process made one in the same moment and was first to write it down.
            await self._archive_quietly(mine.remote_id)
        return kept

    async def _find_agent(self, name: str, before: Remote | None) -> Any:
        """The agent of that name that we made: the one known from before, else the oldest."""
        ours = [
            agent
            for agent in await self._service.list_agents()
            if _metadata(agent).get(NAME_KEY) == name and getattr(agent, "archived_at", None) is None
        ]
        known = before.remote_id if before is not None else None
        return min(ours, key=lambda agent: (agent.id != known, agent.created_at, agent.id), default=None)

    async def _find_agent_that_may_exist(self, name: str, before: Remote | None) -> Any:
        for pause in self._settle:
            await asyncio.sleep(pause)
            agent = await self._find_agent(name, before)
            if agent is not None:
                return agent
        return None

    async def _make_environment(
        self, name: str, definition: Mapping[str, Any], digest: str, before: Remote | None
    ) -> Remote:
        params = _with_metadata({"name": name, **definition}, name, digest)
        environment = await self._find_environment(name, before)
        if environment is None:
            try:
                environment = await self._service.create_environment(params)
                log.info("environment created", environment=name, id=environment.id)
            except UncertainError:
                # A conflict (409) or a lost answer: somebody, perhaps we, made it just now.
                for pause in self._settle:
                    await asyncio.sleep(pause)
                    environment = await self._find_environment(name, before)
                    if environment is not None:
                        break
                else:
                    raise
        if _metadata(environment).get(HASH_KEY) != digest:
            environment = await self._service.update_environment(environment.id, params)
            log.info("environment updated", environment=name, id=environment.id)
        mine = Remote(content_hash=digest, remote_id=environment.id, version=None)
        return await self._keep("environment", name, before, mine)

    async def _find_environment(self, name: str, before: Remote | None) -> Any:
        """The environment of that name, whoever made it: names are unique."""
        known = before.remote_id if before is not None else None
        for environment in await self._service.list_environments():
            if getattr(environment, "archived_at", None) is None and (
                environment.name == name or environment.id == known
            ):
                return environment
        return None

    async def _keep(self, kind: Kind, name: str, before: Remote | None, mine: Remote) -> Remote:
        return await self._database.write(
            remote_objects.replace, kind=kind, name=name, before=before, after=mine
        )

    async def _archive_quietly(self, agent_id: str) -> None:
        try:
            await self._service.archive_agent(agent_id)
        except ServiceError as error:
            log.warning("a spare agent was not archived; it does no harm", agent=agent_id, reason=str(error))


def content_hash(definition: Mapping[str, Any]) -> str:
    """Hash of a definition, independent of the order of its keys."""
    return hashlib.sha256(orjson.dumps(definition, option=orjson.OPT_SORT_KEYS, default=str)).hexdigest()[:32]


def _with_metadata(params: dict[str, Any], name: str, digest: str) -> dict[str, Any]:
    return {**params, "metadata": {**(params.get("metadata") or {}), NAME_KEY: name, HASH_KEY: digest}}


def _metadata(remote: Any) -> Mapping[str, str]:
    found: Mapping[str, str] = getattr(remote, "metadata", None) or {}
    return found
