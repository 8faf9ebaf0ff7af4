"""Getting a run to its session: exactly one, whatever happened before (design §2.3).

The order is fixed: the run is written first; after any doubt the session is looked for by the run's id in its
metadata; it is created empty; and only the owner whose fence still holds records it. Work is sent elsewhere.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

import structlog

from runner.errors import BusyError, RefusedError, ServiceError, UncertainError
from runner.mounts import resources_of
from runner.service import RUN_KEY
from runner.world import World
from schemas.dispatch import Dispatch, Grant
from storage.claims import Claim

if TYPE_CHECKING:
    from runner.execution import RunExecution

log = structlog.get_logger(__name__)

TITLE_LIMIT: Final = 80
METADATA_LIMIT: Final = 512
MAX_SCHEMA_DEPTH: Final = 32


async def open_session(run: RunExecution, *, doubt: bool) -> tuple[str, dict[str, Any]]:
    """Find or create the run's session. Return its id and what to record about it.

    `doubt`: an earlier attempt may have created it. Raises ServiceError, UnknownDefinitionError, MountError, and
    StopWantedError while nothing is lost by stopping.
    """
    world, claim, timing = run.world, run.claim, run.world.timing
    dispatch = claim.dispatch
    delay = timing.first_delay
    checked = False
    last: ServiceError = BusyError("the service was not asked")
    for attempt in range(1, timing.tries + 1):
        creating = False
        try:
            agent = await world.catalogue.agent(dispatch.agent)
            environment = await world.catalogue.environment(dispatch.environment)
            facts = {
                "agent_id": agent.remote_id,
                "agent_version": agent.version,
                "environment_id": environment.remote_id,
            }
            if doubt:
                found = await _look(run)
                if found is not None:
                    return found, facts
            resources, due = await resources_of(world, dispatch.mounts)
            params = await session_params(
                world, claim, agent=agent.remote_id, version=agent.version or 1, budget=run.budget.wanted
            )
            stored = await world.stores.parts(dispatch)
            params |= stored
            if resources:
                params["resources"] = [*resources, *stored.get("resources", ())]
            await run.unless_stopped(world.service.allow("creates"))
            creating = True
            async with run.lease.held():
                session_id = await world.service.create_session(
                    {**params, "environment_id": environment.remote_id}
                )
            run.tokens_due = asyncio.get_running_loop().time() + due
        except UncertainError as error:
            doubt = doubt or creating
            log.warning(
                "a call may have succeeded or not", run=claim.run_id, reason=str(error), attempt=attempt
            )
            last, wait = error, delay
        except BusyError as error:
            log.info("the service is busy", run=claim.run_id, reason=str(error), attempt=attempt)
            last, wait = error, error.retry_after if error.retry_after is not None else delay
        except RefusedError as error:
            if checked or error.unauthorised:
                raise
            checked = True
            gone = await world.catalogue.forget_what_is_gone(
                agent=dispatch.agent, environment=dispatch.environment
            )
            if not await world.stores.forget_what_is_gone(dispatch) and not gone:
                raise
            continue
        else:
            return session_id, facts
        if wait > timing.longest_wait:
            break
        await run.unless_stopped(asyncio.sleep(wait))
        delay = min(timing.max_delay, delay * 2)
    msg = f"no session yet: {last}"
    raise BusyError(msg, retry_after=last.retry_after if isinstance(last, BusyError) else None)


async def _look(run: RunExecution) -> str | None:
    """The session of an earlier attempt. Looks more than once, because a fresh one may not be listed at once."""
    claim = run.claim
    since = float(claim.row.get("intent_at") or claim.row["created_at"])
    for pause in run.world.timing.settle:
        await asyncio.sleep(pause)
        usable = await run.world.search.usable(claim.run_id, since=since)
        if usable:
            for spare in usable[1:]:
                await _archive_quietly(run.world, spare.id)
            log.info("found the session of an earlier attempt", run=claim.run_id, session=usable[0].id)
            return usable[0].id
    return None


async def _archive_quietly(world: World, session_id: str) -> None:
    """Archive a session nobody will use. A failure is left to the upkeep."""
    try:
        await world.service.archive_session(session_id)
    except ServiceError as error:
        log.warning("a spare session was not archived", session=session_id, reason=str(error))


async def session_params(
    world: World, claim: Claim, *, agent: str, version: int, budget: int | None
) -> dict[str, Any]:
    """Create parameters: a pinned agent with the rule's outputs as tools, metadata that joins it to the run, no work."""
    dispatch = claim.dispatch
    pinned: dict[str, Any] = {"type": "agent", "id": agent, "version": version}
    overrides = dict(dispatch.agent_overrides)
    if dispatch.grants:
        own = overrides.get("tools") if "tools" in overrides else await world.catalogue.tools(dispatch.agent)
        overrides["tools"] = [*(own or ()), *(custom_tool(grant) for grant in dispatch.grants)]
    if overrides:
        pinned = {**pinned, "type": "agent_with_overrides", **overrides}
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
    if budget is not None:
        cap = {"amount": str(budget), "currency": "USD"}
        params["budget"] = {"type": "limit", "max_list_cost": cap}
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
