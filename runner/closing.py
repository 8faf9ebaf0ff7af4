"""The last words of a run: what people are told where it began, and where follow-ups that were told came from."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import Final

import structlog
from sqlalchemy import Connection

from runner.report import failure_text, final_result, hosts_of, origins_of
from runner.turn import Turn
from runner.world import World
from schemas.dispatch import Dispatch
from schemas.policy.readers import container_of, judge_readers
from schemas.policy.shapes import Refusal
from schemas.result import Result
from storage import credentials, follow_ups, links, presence
from storage.claims import Claim
from storage.results import Settled
from storage.tables import ResultStatus, RunStatus

log = structlog.get_logger(__name__)

DONE: Final = frozenset({ResultStatus.POSTED, ResultStatus.STAGED})
"""What counts as published where only that matters."""


async def with_broken_vaults(
    world: World, dispatch: Dispatch, status: RunStatus, reason: str | None
) -> str | None:
    """Why a run failed, with the vaults it was given in which a credential can no longer be renewed."""
    if status not in {RunStatus.FAILED, RunStatus.TIMED_OUT} or not dispatch.vaults:
        return reason
    broken = await world.database.read(credentials.failures, dispatch.vaults)
    if not broken:
        return reason
    names = ", ".join(sorted({one.vault for one in broken}))
    return f"{reason or 'no reason given'}; a credential in the vault {names} can no longer be renewed"


async def closing_words(
    world: World,
    claim: Claim,
    turn: Turn,
    *,
    status: RunStatus,
    error: str | None,
    settled: Collection[Settled],
) -> list[Result]:
    """One answer for each place that was heard in this run, where its readers may read it."""
    text = _text(claim, turn, status, error)
    if not text:
        return []
    failed = status is not RunStatus.SUCCEEDED
    told = await world.database.read(follow_ups.told_in, claim.run_id)
    results = []
    for place, one in enumerate(origins_of((claim.dispatch, *told))):
        if not world.can_report(one.event.connection):
            continue
        if failed and place == 0 and await world.database.read(presence.tells, claim.run_id):
            continue  # the status message tells it
        if place == 0 and not failed and _spoke_at_origin(claim.dispatch, settled):
            continue  # the agent answered by its own comment; its closing words would only repeat it
        safe = await asyncio.to_thread(world.gate.own_words, text, hosts=hosts_of(one))
        result = final_result(one, claim.run_id, safe, place=place)
        refused = await readers_refusal(world, claim.dispatch, result)
        if refused is None:
            results.append(result)
        else:
            log.warning(
                "the answer is not posted",
                run=claim.run_id,
                place=result.origin.subject.key,
                reason=refused.reason,
            )
    return results


def _text(claim: Claim, turn: Turn, status: RunStatus, error: str | None) -> str | None:
    report, failed = claim.dispatch.report, status is not RunStatus.SUCCEEDED
    if status is RunStatus.INTERRUPTED:
        return None  # the next run goes on at once
    if report == "none" or (report == "failures" and not failed):
        return None
    held_back = _needs_approval(claim.dispatch)
    if failed:
        last_text = None if held_back else turn.last_text
        return failure_text(status, error, claim.run_id, last_text=last_text)
    return None if held_back else turn.last_text


def _needs_approval(dispatch: Dispatch) -> bool:
    """What the agent says where the event came from must be approved: its last words were not."""
    return any(
        grant.output == "comment" and grant.connection is None and grant.policy.approve is not None
        for grant in dispatch.grants
    )


def _spoke_at_origin(dispatch: Dispatch, settled: Collection[Settled]) -> bool:
    speaking = {
        grant.name for grant in dispatch.grants if grant.output == "comment" and grant.connection is None
    }
    return any(result.slot.partition(":")[0] in speaking for result in settled if result.status in DONE)


async def readers_refusal(world: World, dispatch: Dispatch, result: Result) -> Refusal | None:
    """Why the readers of the place where a result is to go may not read what the session was told."""

    def read(connection: Connection) -> tuple[str, str | None]:
        container = container_of(result.target, result.arguments)
        place: str | None = result.origin.readers
        if result.target.get("to") != "origin" and container is not None:
            place = links.readers_of(connection, connection_name=result.connection, container=container)
        return links.taint_of(connection, dispatch.conversation), place

    told, place = await world.database.read(read)
    return judge_readers(told, place, dispatch.publish_to)
