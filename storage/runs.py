"""Runs: making them, and moving and changing only what one still owns (`storage.claims`).

Every change by a worker names its owner, its fence and the status it expects, and says whether a row was changed.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any, Final

from sqlalchemy import Connection, Select, Update, and_, bindparam, func, select, update

from schemas.dispatch import Dispatch
from schemas.topics import DISPATCHES
from storage import follow_ups, outbox, presence
from storage.claims import Claim, change_run
from storage.clock import db_now, read_clock
from storage.conversations import open_conversation, run_id_of
from storage.dispatches import store_dispatch
from storage.rows import insert_new, table
from storage.statements import Fixed
from storage.states import RUN_ACTIVE, RUN_TERMINAL, check_move
from storage.tables import ConversationRow, RunRow, RunStatus

CLOCK_STEP: Final = 1e-5
"""Seconds: the smallest difference that a time in a double column keeps with certainty is 2.4e-7."""


def _last_place() -> Select[Any]:
    runs = table(RunRow)
    return select(func.max(runs.c.created_at)).where(runs.c.conversation == bindparam("key"))


def _session() -> Update:
    rows = table(ConversationRow)
    change = update(rows).where(rows.c.key == bindparam("owner"))
    return change.values(session_id=bindparam("session"), session_cost_cents=0, updated_at=db_now())


_LAST_PLACE: Final = Fixed(_last_place)
_SESSION: Final = Fixed(_session)


def take_dispatch(connection: Connection, dispatch: Dispatch, body: bytes) -> bool:
    """Make the run and its conversation, and settle the message. True when the run is new."""
    now = read_clock(connection)
    wait = max(0.0, dispatch.debounce_seconds)
    gather = max(wait, dispatch.gather_seconds) if dispatch.follow_up else 0.0
    # New only where another program published the dispatch.
    store_dispatch(connection, dispatch, body, now=now)
    new = insert_new(
        connection,
        RunRow,
        [
            {
                "id": run_id_of(dispatch.id),
                "dispatch_id": dispatch.id,
                "event_id": dispatch.event.id,
                "rule": dispatch.rule,
                "team": dispatch.team,
                "agent": dispatch.agent,
                "conversation": dispatch.conversation,
                "status": RunStatus.QUEUED.value,
                "attempts": 0,
                "due_at": now + max(wait, gather),
                "fence": 0,
                "created_at": _next_place(connection, dispatch.conversation, now=now),
                "updated_at": now,
                "manner": dispatch.manner if dispatch.follow_up else None,
                "gather": gather,
            }
        ],
    )
    if new and gather > 0:
        follow_ups.gather(connection, dispatch.conversation, now=now)
    open_conversation(connection, dispatch, now=now)
    outbox.settle(connection, DISPATCHES.name, dispatch.id)
    return bool(new)


def _next_place(connection: Connection, conversation: str, *, now: float) -> float:
    """A creation time after every other run's of the conversation: runs go in the order in which they were taken.

    The clock alone does not say that: it may be set back, and two dispatches of a batch may fall into one tick.
    """
    last = _LAST_PLACE.run(connection, key=conversation).scalar()
    return now if last is None else max(now, last + CLOCK_STEP)


def move_run(
    connection: Connection, /, claim: Claim, before: RunStatus, after: RunStatus, **values: Any
) -> bool:
    """Change the status if this claim still owns the run. Progress resets the attempts. False: it was lost."""
    check_move(before, after)
    now = read_clock(connection)
    changes: dict[str, Any] = {
        "status": after.value,
        "updated_at": now,
        "attempts": 0,
        "due_at": now,
        **values,
    }
    if after in RUN_TERMINAL:
        changes |= {"lease_owner": None, "lease_until": None, "ended_at": now}
    elif after is RunStatus.WAITING:
        # How its session looked last is kept: alike, it need not be looked at again.
        changes |= {"looked_at": None, "look_at": None}
    owned = {
        "id": claim.run_id,
        "lease_owner": claim.owner,
        "fence": claim.fence,
        "status": before.value,
    }
    if change_run(connection, owned, changes) != 1:
        return False
    if claim.dispatch.presence == "status" or claim.dispatch.check is not None:
        waited_for = after in RUN_TERMINAL or RunStatus.WAITING in {before, after}
        presence.touch(connection, claim.run_id, now=now, waited_for=waited_for)
    return True


def let_wait(
    connection: Connection, /, claim: Claim, *, until: float, waits_for: str | None, **values: Any
) -> bool:
    """RUNNING → WAITING, held by nobody and due at `until`. False: it was lost."""
    return move_run(
        connection,
        claim,
        RunStatus.RUNNING,
        RunStatus.WAITING,
        lease_owner=None,
        lease_until=0.0,
        due_at=until,
        deadline_at=until,
        waits_for=waits_for,
        **values,
    )


def note_run(connection: Connection, /, claim: Claim, **values: Any) -> bool:
    """Write fields of a run without moving it. False: it was lost."""
    runs = table(RunRow)
    changed = connection.execute(
        update(runs)
        .where(
            and_(runs.c.id == claim.run_id, runs.c.lease_owner == claim.owner, runs.c.fence == claim.fence)
        )
        .values(updated_at=db_now(), **values)
    ).rowcount
    return changed == 1


def adopt_session(connection: Connection, /, claim: Claim, session_id: str, **values: Any) -> bool:
    """Record the session of a run and its conversation in one step, moving CREATING → SENDING."""
    if not move_run(
        connection, claim, RunStatus.CREATING, RunStatus.SENDING, session_id=session_id, **values
    ):
        return False
    _SESSION.run(connection, owner=claim.dispatch.conversation, session=session_id)
    return True


def ask_to_stop(connection: Connection, run_id: str, *, reason: str) -> str | None:
    """A person wants the run stopped. Return its status before, or None when there is no such run.

    A queued run ends here; an active one is asked, and its owner interrupts the session.
    """
    runs = table(RunRow)
    row = connection.execute(select(runs.c.status).where(runs.c.id == run_id)).scalar_one_or_none()
    if row is None:
        return None
    now = read_clock(connection)
    if row == RunStatus.QUEUED:
        changed = connection.execute(
            update(runs)
            .where(and_(runs.c.id == run_id, runs.c.status == RunStatus.QUEUED.value))
            .values(status=RunStatus.CANCELLED.value, ended_at=now, updated_at=now, stop_reason=reason)
        ).rowcount
        if changed:
            presence.touch(connection, run_id, now=now)
            return str(row)
    connection.execute(
        update(runs)
        .where(and_(runs.c.id == run_id, runs.c.status.in_([status.value for status in RUN_ACTIVE])))
        .values(stop_reason=reason, updated_at=now)
    )
    waiting = and_(runs.c.id == run_id, runs.c.status == RunStatus.WAITING.value)
    connection.execute(update(runs).where(waiting).values(due_at=now))
    return str(row)


def stop_wanted(connection: Connection, run_ids: Collection[str]) -> dict[str, str]:
    """Which of these runs somebody asked to stop, with the reason."""
    runs = table(RunRow)
    query = select(runs.c.id, runs.c.stop_reason).where(
        and_(
            runs.c.id.in_(list(run_ids)),
            runs.c.stop_reason.is_not(None),
            runs.c.status.in_([RunStatus.CREATING.value, RunStatus.SENDING.value, RunStatus.RUNNING.value]),
        )
    )
    return {run_id: reason for run_id, reason in connection.execute(query)}  # noqa: C416 - rows are not tuples


def usage_json(usage: object) -> str:
    """Usage as it is stored."""
    return json.dumps(usage, sort_keys=True, default=str)
