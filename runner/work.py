"""What a run's message tells besides its own event: follow-ups that came with it, and what happened before."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from runner.digest import digest
from runner.messages import work_events
from runner.world import World
from schemas.dispatch import Dispatch
from schemas.references import branch_of
from storage import follow_ups
from storage.claims import Claim
from storage.history import chapters_before


@dataclass(frozen=True, slots=True)
class Work:
    """Read once, before the message is sent; the same after a crash."""

    also: tuple[Dispatch, ...] = ()
    """Follow-ups that are told in the same message."""
    branch: str | None = None
    """Where the conversation's work is pushed to."""
    history: str | None = None
    """What happened before, where the session is told for the first time."""

    def events(
        self, dispatch: Dispatch, run_id: str, *, opening: bool, rubric_id: str | None
    ) -> list[dict[str, Any]]:
        """Everything that is sent (`runner.messages.work_events`)."""
        return work_events(
            dispatch,
            run_id,
            opening=opening,
            rubric_id=rubric_id,
            also=self.also,
            branch=self.branch,
            history=self.history,
        )


async def gather_work(world: World, claim: Claim, *, is_own_session: bool) -> Work:
    """Read it. `is_own_session`: the session was made for this run, and knows nothing of what others did."""
    run_id, conversation = claim.run_id, claim.dispatch.conversation

    def read(connection: Connection) -> Work:
        first = follow_ups.first_run_of(connection, conversation)
        history = None
        if is_own_session and first != run_id:
            history = digest(chapters_before(connection, conversation, run_id))
        return Work(
            also=follow_ups.carried(connection, run_id),
            branch=branch_of(first) if first is not None else None,
            history=history,
        )

    return await world.database.read(read)
