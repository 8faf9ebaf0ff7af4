"""Claims of runs: taking them under a lease, keeping the lease, giving them back.

A claim names its owner and its fence; every change of a run names both, and says whether a row was changed. What a run
is and where it goes from there is not decided here: see `storage.runs`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from pydantic import ValidationError
from sqlalchemy import Connection, and_, bindparam, select, text, update
from sqlalchemy.exc import IntegrityError

from schemas.dispatch import Dispatch
from storage import follow_ups, holding, pauses
from storage.caps import Admission, Gauge
from storage.clock import db_now, read_clock
from storage.rows import table
from storage.spacing import Spacing
from storage.statements import Fixed
from storage.tables import ACTIVE_RUN, RunRow, RunStatus

SPACING: Final = Spacing()


@dataclass(frozen=True, slots=True)
class Claim:
    """A run as its owner holds it. `fence` grows with every claim: an older owner can change nothing."""

    run_id: str
    owner: str
    fence: int
    status: RunStatus
    attempts: int
    row: dict[str, Any]
    dispatch: Dispatch


def claim_runs(
    connection: Connection,
    *,
    owner: str,
    limit: int,
    lease: float,
    spacing: Spacing = SPACING,
    admission: Admission | None = None,
) -> list[Claim]:
    """Claim up to `limit` runs for `lease` seconds: orphaned ones, then queued ones whose conversation is free.

    Queued ones that may not start are held, and those behind them looked at.
    """
    now = read_clock(connection)
    found: list[Claim] = []
    gauge = Gauge(connection, admission, now=now) if admission is not None and admission.caps else None
    for condition in (_ORPHANED, *[_FRESH] * holding.MAX_ROUNDS):
        if len(found) >= limit:
            break
        query = _claimable(condition, connection.dialect.name)
        rows = query.run(connection, now=now, limit=limit - len(found)).mappings().all()
        held = 0
        for row in map(dict, rows):
            held_by = pauses.PAUSED if row.pop("is_paused") else None
            claim = (
                None
                if held_by is not None
                else _claim_one(
                    connection, row, owner=owner, lease=lease, spacing=spacing, now=now, gauge=gauge
                )
            )
            if isinstance(claim, Claim):
                found.append(claim)
            elif (held_by := held_by or claim) is not None:
                held += holding.hold(connection, row, held_by, now=now, admission=admission)
        if condition == _FRESH and not held:
            break
    return found


_CLAIMABLE: Final = """
SELECT run.*, dispatch.body AS dispatch_body, dispatch.folded AS dispatch_folded,
  conversation.session_id AS conversation_session,
  run.status = 'queued' AND {paused} AS is_paused
FROM run
JOIN dispatch ON dispatch.id = run.dispatch_id
LEFT JOIN conversation ON conversation.key = run.conversation
WHERE {condition}
LIMIT :limit {lock}
"""


@lru_cache
def _claimable(condition: str, dialect: str) -> Fixed:
    lock = "FOR UPDATE OF run SKIP LOCKED" if dialect == "postgresql" else ""
    paused = pauses.COVERS_RUN.format(run="run")
    return Fixed(lambda: text(_CLAIMABLE.format(condition=condition, lock=lock, paused=paused)))


_ORPHANED: Final = (
    f"run.lease_until < :now AND run.due_at <= :now AND run.{ACTIVE_RUN} ORDER BY run.lease_until"
)


_FRESH: Final = f"""
run.status = 'queued' AND run.due_at <= :now
AND NOT EXISTS (SELECT 1 FROM run AS busy WHERE busy.conversation = run.conversation AND busy.{ACTIVE_RUN})
AND NOT EXISTS (
  SELECT 1 FROM run AS earlier
  WHERE earlier.conversation = run.conversation AND earlier.status = 'queued'
  AND (earlier.created_at < run.created_at OR (earlier.created_at = run.created_at AND earlier.id < run.id))
)
ORDER BY run.due_at
"""  # noqa: S608 - one constant of ours


def _claim_one(
    connection: Connection,
    row: dict[str, Any],
    *,
    owner: str,
    lease: float,
    spacing: Spacing,
    now: float,
    gauge: Gauge | None,
) -> Claim | str | None:
    """The claim; or the cap by which the run is held; or None where it is no longer there to be claimed."""
    runs = table(RunRow)
    body, folded = row["dispatch_body"], row.pop("dispatch_folded")
    session_id = row.pop("conversation_session")
    values: dict[str, Any] = {
        "lease_owner": owner,
        "lease_until": now + lease,
        "fence": row["fence"] + 1,
        "attempts": row["attempts"] + 1,
        "due_at": now + spacing.after(row["attempts"] + 1),
        "updated_at": now,
    }
    if row["status"] == RunStatus.QUEUED:
        values |= {"session_id": session_id, "intent_at": now}
        values["status"] = (RunStatus.SENDING if session_id else RunStatus.CREATING).value
    try:
        dispatch = Dispatch.model_validate_json(body)
    except ValidationError as error:
        # Written by a version of another shape. Left as it is, it would stop every claim of every run.
        problem = f"the dispatch cannot be read by this version: {error.errors()[0]['msg']}"
        failed = {
            "status": RunStatus.FAILED.value,
            "error": problem,
            "ended_at": now,
            "lease_owner": None,
            "lease_until": None,
        }
        connection.execute(update(runs).where(runs.c.id == row["id"]).values(updated_at=now, **failed))
        return None
    if folded:
        dispatch = dispatch.model_copy(update={"folded": folded})
    is_start, wanted = row["status"] == RunStatus.QUEUED, None
    if is_start:
        own = row["budget_cents"]
        wanted = dispatch.limits.budget_cents if own is None else own
        if gauge is not None:
            given = gauge.budget(row["rule"], row["team"], wanted)
            held_by = gauge.held_by(row["rule"], row["team"], wanted=given)
            if held_by is not None:
                return held_by
            if given != wanted:
                wanted = values["budget_cents"] = given
        values["reserved_cents"] = wanted
    owned = {"id": row["id"], "fence": row["fence"]}
    try:
        with connection.begin_nested() if connection.dialect.name == "postgresql" else nullcontext():
            changed = change_run(connection, owned, values)
    except IntegrityError:
        return None  # another process made a run of this conversation active in the same instant
    if not changed:
        return None
    if gauge is not None and is_start:
        gauge.took(row["rule"], row["team"], wanted=wanted)
    del row["dispatch_body"]
    if row["status"] == RunStatus.QUEUED and row["manner"] is not None and row["gather"] > 0:
        reserved = row["joined_to"] is not None
        follow_ups.fold(connection, row["id"], row["conversation"], reserved=reserved, now=now)
    row |= values
    return Claim(
        run_id=row["id"],
        owner=owner,
        fence=row["fence"],
        status=RunStatus(row["status"]),
        attempts=row["attempts"],
        row=row,
        dispatch=dispatch,
    )


def renew_leases(connection: Connection, run_ids: Collection[str], *, owner: str, lease: float) -> set[str]:
    """Extend the leases that `owner` has on these runs; return the ids it still holds. What is missing was lost.

    Only what is in hand: a run that could not be given back is found by others when its lease runs out, and would not
    be if its owner went on renewing it.
    """
    runs = table(RunRow)
    now = read_clock(connection)
    held = and_(runs.c.id.in_(list(run_ids)), runs.c.lease_owner == owner, runs.c.lease_until >= now)
    connection.execute(update(runs).where(held).values(lease_until=now + lease))
    return set(connection.execute(select(runs.c.id).where(held)).scalars())


def change_run(connection: Connection, owned: Mapping[str, Any], values: Mapping[str, Any]) -> int:
    """Set columns of a run where these others are as expected. Return the number of rows changed."""
    given = {f"is_{name}": value for name, value in owned.items()}
    given |= {f"new_{name}": value for name, value in values.items()}
    return _change(tuple(owned), tuple(values)).run(connection, **given).rowcount


@lru_cache
def _change(owned: tuple[str, ...], columns: tuple[str, ...]) -> Fixed:
    runs = table(RunRow)
    mine = and_(*(runs.c[name] == bindparam(f"is_{name}") for name in owned))
    return Fixed(
        lambda: update(runs).where(mine).values({name: bindparam(f"new_{name}") for name in columns})
    )


def release_run(connection: Connection, claim: Claim, *, delay: float, count_attempt: bool) -> bool:
    """Give a run back, to be claimed again after `delay` seconds. A graceful stop does not count as an attempt."""
    attempts = claim.attempts if count_attempt else max(0, claim.attempts - 1)
    runs = table(RunRow)
    changed = connection.execute(
        update(runs)
        .where(
            and_(runs.c.id == claim.run_id, runs.c.lease_owner == claim.owner, runs.c.fence == claim.fence)
        )
        .values(
            lease_owner=None,
            lease_until=0.0,
            due_at=db_now() + delay,
            attempts=attempts,
            updated_at=db_now(),
        )
    ).rowcount
    return changed == 1


def release_all(connection: Connection, *, except_owner: str) -> int:
    """Take every lease away from owners other than `except_owner`: only where one process owns the database."""
    runs = table(RunRow)
    return connection.execute(
        update(runs)
        .where(and_(runs.c.lease_owner.is_not(None), runs.c.lease_owner != except_owner))
        .values(lease_until=0.0)
    ).rowcount
