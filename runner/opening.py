"""Getting a run to its session: exactly one, whatever happened before (design §2.3).

The order is fixed: the run is written first; after any doubt the session is looked for by the run's id in its
metadata; it is created empty; and only the owner whose fence still holds records it. Work is sent elsewhere.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

import structlog

from runner.service import RUN_KEY, BusyError, RefusedError, Service, UncertainError
from runner.world import World
from schemas.dispatch import Dispatch, Grant
from storage.runs import Claim

log = structlog.get_logger(__name__)

SETTLE_SECONDS: Final = 2.0
"""How long a session that was just created may be missing from the list: looked for again after this."""
TRIES: Final = 6
FIRST_DELAY: Final = 1.0
MAX_DELAY: Final = 60.0
TITLE_LIMIT: Final = 80
METADATA_LIMIT: Final = 512
MAX_SCHEMA_DEPTH: Final = 32


async def open_session(world: World, claim: Claim, *, doubt: bool) -> tuple[str, dict[str, Any]]:
    """Find or create the run's session. Return its id and what to record about it.

    `doubt`: an earlier attempt may have created it. Raises ServiceError, UnknownDefinitionError, MountError.
    """
    dispatch = claim.dispatch
    agent = await world.catalogue.agent(dispatch.agent)
    environment = await world.catalogue.environment(dispatch.environment)
    facts = {"agent_id": agent.remote_id, "agent_version": agent.version, "environment_id": environment.remote_id}
    since = float(claim.row["intent_at"] or claim.row["created_at"])
    delay = FIRST_DELAY
    for attempt in range(1, TRIES + 1):
        try:
            if doubt:
                found = await _look(world.service, claim, agent_id=agent.remote_id, since=since)
                if found is not None:
                    return found, facts
            params = await session_params(world, claim, agent=agent.remote_id, version=agent.version or 1)
            session = await world.service.create_session({**params, "environment_id": environment.remote_id})
        except UncertainError as error:
            doubt = True
            log.warning("a session may have been created", run=claim.run_id, reason=str(error), attempt=attempt)
            wait = delay
        except BusyError as error:
            log.info("the service is busy", run=claim.run_id, reason=str(error), attempt=attempt)
            wait = min(error.retry_after, MAX_DELAY) if error.retry_after is not None else delay
        else:
            return session.id, facts
        await asyncio.sleep(wait)
        delay = min(MAX_DELAY, delay * 2)
    msg = f"no session after {TRIES} tries; trying again later"
    raise BusyError(msg, retry_after=MAX_DELAY)


async def _look(service: Service, claim: Claim, *, agent_id: str, since: float) -> str | None:
    """The session of an earlier attempt. Looks twice, because a fresh session may not be listed at once."""
    for pause in (0.0, SETTLE_SECONDS):
        await asyncio.sleep(pause)
        sessions = await service.find_sessions(claim.run_id, agent_id=agent_id, since=since)
        usable = [session for session in sessions if session.archived_at is None and session.status != "terminated"]
        if usable:
            for spare in usable[1:]:
                await archive_quietly(service, spare.id)
            log.info("found the session of an earlier attempt", run=claim.run_id, session=usable[0].id)
            return usable[0].id
    return None


async def archive_quietly(service: Service, session_id: str) -> None:
    """Archive a session nobody will use. A failure is left to the sweep."""
    try:
        await service.archive_session(session_id)
    except (RefusedError, BusyError, UncertainError) as error:
        log.warning("a spare session was not archived", session=session_id, reason=str(error))


async def session_params(world: World, claim: Claim, *, agent: str, version: int) -> dict[str, Any]:
    """Create parameters: a pinned agent with the rule's outputs as tools, metadata that joins it to the run, no work."""
    dispatch = claim.dispatch
    definition = world.catalogue.definitions.agents[dispatch.agent]
    pinned: dict[str, Any] = {"type": "agent", "id": agent, "version": version}
    if dispatch.grants:
        tools = [*definition.get("tools", []), *(custom_tool(grant) for grant in dispatch.grants)]
        pinned = {**pinned, "type": "agent_with_overrides", "tools": tools}
    params: dict[str, Any] = {
        "agent": pinned,
        "title": title_of(dispatch),
        "metadata": {
            RUN_KEY: claim.run_id,
            "triggerhub_rule": dispatch.rule[:METADATA_LIMIT],
            "triggerhub_conversation": dispatch.conversation[:METADATA_LIMIT],
            "triggerhub_event": dispatch.event.id[:METADATA_LIMIT],
        },
    }
    if dispatch.limits.budget_cents is not None:
        cap = {"amount": str(dispatch.limits.budget_cents), "currency": "USD"}
        params["budget"] = {"type": "limit", "max_list_cost": cap}
    if dispatch.repository is not None:
        access = await world.repositories.access(dispatch.repository.connection, dispatch.repository.name)
        resource: dict[str, Any] = {
            "type": "github_repository",
            "url": access.url,
            "authorization_token": access.token,
        }
        if dispatch.repository.branch:
            resource["checkout"] = {"type": "branch", "name": dispatch.repository.branch}
        params["resources"] = [resource]
    return params


def custom_tool(grant: Grant) -> dict[str, Any]:
    """A grant as the agent sees it."""
    return {
        "type": "custom",
        "name": grant.name,
        "description": grant.description or f"Publish: {grant.output}.",
        "input_schema": tool_schema(grant.input_schema),
    }


def tool_schema(schema: dict[str, Any]) -> dict[str, Any]:
    """The part of a JSON Schema that the service takes for a tool: type, properties, required; references inlined."""
    definitions = schema.get("$defs", {})

    def inline(value: Any, depth: int = 0) -> Any:
        if isinstance(value, dict):
            reference = value.get("$ref")
            if isinstance(reference, str) and depth < MAX_SCHEMA_DEPTH:
                return inline(definitions.get(reference.rpartition("/")[2], {}), depth + 1)
            return {key: inline(inner, depth + 1) for key, inner in value.items()}
        return [inline(inner, depth + 1) for inner in value] if isinstance(value, list) else value

    properties = inline(schema.get("properties", {}))
    return {"type": "object", "properties": properties, "required": list(schema.get("required", []))}


def title_of(dispatch: Dispatch) -> str:
    """A short name for people who look at the service's console."""
    text = f"{dispatch.rule}: {dispatch.event.subject}"
    return "".join(char if char.isprintable() else " " for char in text)[:TITLE_LIMIT]
