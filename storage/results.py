"""Results: one row per (run, slot), claimed by posters under a lease, kept with its receipt."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Final

from pydantic import ValidationError
from sqlalchemy import Connection, and_, or_, select, update

from schemas.marker import Lineage
from schemas.result import Receipt, Result
from schemas.topics import RESULTS
from storage import outbox
from storage.clock import db_now, read_clock
from storage.lineage import lineage_of
from storage.links import learn_from_post
from storage.rows import insert_new, plain, table
from storage.spacing import Spacing
from storage.states import RESULT_TERMINAL
from storage.tables import ResultRow, ResultStatus

SPACING: Final = Spacing(base=2.0, longest=60.0)
MAX_CLAIMS: Final = 36
"""Claims up to which an attempt that ended with its poster's process does not count."""
MAX_ATTEMPTS: Final = 12
"""Tries at one post before it is refused: with growing delays this is more than half an hour."""


@dataclass(frozen=True, slots=True)
class ResultClaim:
    """A result as one poster holds it."""

    id: str
    owner: str
    fence: int
    attempts: int
    result: Result
    excused: int = 0
    """Attempts that failed while the vendor was down, or that ended with their poster's process."""
    age: float = 0.0
    """Seconds since it was wanted."""
    wanted_at: float = 0.0
    """Seconds since the epoch."""
    lineage: Lineage | None = None
    """Of its run, for the marker."""

    @property
    def counted(self) -> int:
        """Attempts, this one included, that were not the vendor's fault."""
        return self.attempts - self.excused


@dataclass(frozen=True, slots=True)
class Settled:
    """A result that is through."""

    id: str
    slot: str
    output: str
    status: ResultStatus
    receipt: Receipt | None
    error: str | None
    tool_use_id: str | None
    answered: bool
    clause: str | None = None


def settle_result(
    connection: Connection,
    result: Result,
    *,
    status: ResultStatus,
    tool_use_id: str | None,
    error: str | None = None,
    clause: str | None = None,
) -> Settled:
    """Store a result that is through before anybody tried it (refused by the rule, or staged), once.

    It is announced to nobody. Where the slot is taken already, what is stored there counts.
    """
    now = read_clock(connection)
    row = _row(result, body=result.model_dump_json().encode(), now=now, tool_use_id=tool_use_id)
    row |= {"status": status.value, "error": plain(error), "clause": clause}
    insert_new(connection, ResultRow, [row])
    stored = settled_results(connection, [result.run]).get(result.run, [])
    found = next((one for one in stored if one.id == result.id), None)
    if found is None:
        msg = f"the result {result.id} is on its way and cannot be settled as {status}"
        raise RuntimeError(msg)
    return found


def _row(result: Result, *, body: bytes, now: float, tool_use_id: str | None) -> dict[str, Any]:
    return {
        "id": result.id,
        "run_id": result.run,
        "slot": result.slot,
        "conversation": result.conversation,
        "output": result.output,
        "connection": result.connection,
        "status": ResultStatus.PENDING.value,
        "body": body,
        "tool_use_id": tool_use_id,
        "attempts": 0,
        "excused": 0,
        "due_at": now,
        "fence": 0,
        "created_at": now,
        "updated_at": now,
    }


def hold_result(connection: Connection, result: Result, *, tool_use_id: str | None) -> bool:
    """Store a result that people have to approve first, once. It is announced to nobody. True when it is new."""
    now = read_clock(connection)
    row = _row(result, body=result.model_dump_json().encode(), now=now, tool_use_id=tool_use_id)
    return bool(insert_new(connection, ResultRow, [row | {"status": ResultStatus.HELD.value}]))


def want_result(connection: Connection, result: Result, *, tool_use_id: str | None) -> bool:
    """Store a result and its message, once. True when it is new."""
    now = read_clock(connection)
    row = _row(result, body=result.model_dump_json().encode(), now=now, tool_use_id=tool_use_id)
    new = insert_new(connection, ResultRow, [row])
    if new:
        outbox.put(connection, RESULTS.name, ref=result.id, key=result.conversation, now=now)
    return bool(new)


def take_result(connection: Connection, result: Result, body: bytes) -> None:
    """A poster has the message: PENDING → READY. A result that another program published is stored first."""
    now = read_clock(connection)
    rows = table(ResultRow)
    insert_new(connection, ResultRow, [_row(result, body=body, now=now, tool_use_id=None)])
    connection.execute(
        update(rows)
        .where(and_(rows.c.id == result.id, rows.c.status == ResultStatus.PENDING.value))
        .values(status=ResultStatus.READY.value, updated_at=now)
    )
    outbox.settle(connection, RESULTS.name, result.id)


def claim_results(
    connection: Connection,
    *,
    owner: str,
    limit: int,
    lease: float,
    only: str | None = None,
    without: Collection[str] = (),
) -> list[ResultClaim]:
    """Claim results that are due, and those whose poster vanished; `only` of one connection, or `without` some."""
    rows = table(ResultRow)
    now = read_clock(connection)
    wanted = [
        rows.c.due_at <= now,
        or_(
            rows.c.status == ResultStatus.READY.value,
            and_(rows.c.status == ResultStatus.POSTING.value, rows.c.lease_until < now),
        ),
    ]
    if only is not None:
        wanted.append(rows.c.connection == only)
    if without:
        wanted.append(rows.c.connection.not_in(sorted(without)))
    query = (
        select(
            rows.c.id,
            rows.c.status,
            rows.c.fence,
            rows.c.attempts,
            rows.c.excused,
            rows.c.created_at,
            rows.c.body,
        )
        .where(and_(*wanted))
        .order_by(rows.c.due_at)
        .limit(limit)
    )
    if connection.dialect.name == "postgresql":
        query = query.with_for_update(skip_locked=True)
    claims: list[ResultClaim] = []
    for row in connection.execute(query).all():
        try:
            result = Result.model_validate_json(row.body)
        except ValidationError as error:
            # Written by a version of another shape. Left as it is, it would stop every claim of every result.
            problem = f"the result cannot be read by this version: {error.errors()[0]['msg']}"
            refused = {"status": ResultStatus.REFUSED.value, "error": problem, "updated_at": now}
            free = {"lease_owner": None, "lease_until": None}
            connection.execute(update(rows).where(rows.c.id == row.id).values(**refused, **free))
            continue
        # Its poster died over it, or beside it: no fault of the vendor's, and none of the post's until it is too often.
        died = row.status == ResultStatus.POSTING and row.attempts < MAX_CLAIMS
        excused = row.excused + died
        connection.execute(
            update(rows)
            .where(rows.c.id == row.id)
            .values(
                status=ResultStatus.POSTING.value,
                lease_owner=owner,
                lease_until=now + lease,
                fence=row.fence + 1,
                attempts=row.attempts + 1,
                excused=excused,
                due_at=now + SPACING.after(row.attempts + 1),
                updated_at=now,
            )
        )
        claims.append(
            ResultClaim(
                id=row.id,
                owner=owner,
                fence=row.fence + 1,
                attempts=row.attempts + 1,
                result=result,
                excused=excused,
                age=now - row.created_at,
                wanted_at=row.created_at,
                lineage=lineage_of(connection, result.run),
            )
        )
    return claims


def keep_receipt(connection: Connection, claim: ResultClaim, receipt: Receipt) -> bool:
    """POSTING → POSTED, with its receipt; what was made and named belongs to the conversation. False: claim lost."""
    changed = _finish(
        connection,
        claim,
        status=ResultStatus.POSTED,
        receipt=receipt.model_dump_json(),
        artefact=plain(receipt.artefact, limit=500),
    )
    if changed:
        learn_from_post(connection, claim.result, receipt, now=read_clock(connection))
    return changed


def refuse_result(
    connection: Connection, claim: ResultClaim, error: str, *, clause: str | None = None
) -> bool:
    """POSTING → REFUSED for good. `clause`: the part of the rule's policy, where it was that."""
    return _finish(connection, claim, status=ResultStatus.REFUSED, error=plain(error), clause=clause)


def postpone_result(
    connection: Connection, claim: ResultClaim, *, delay: float, error: str, excused: bool = False
) -> bool:
    """POSTING → READY again after `delay` seconds. The next attempt looks for the artefact first.

    `excused`: the vendor was down, so the attempt does not count towards giving up. It was made all the same.
    """
    return _finish(
        connection,
        claim,
        status=ResultStatus.READY,
        error=plain(error),
        due_at=read_clock(connection) + delay,
        excused=claim.excused + excused,
    )


def give_back_result(connection: Connection, claim: ResultClaim, *, delay: float = 0.0) -> bool:
    """POSTING → READY after `delay` seconds, without an attempt: nothing was tried."""
    due_at = read_clock(connection) + delay
    return _finish(connection, claim, status=ResultStatus.READY, due_at=due_at, attempts=claim.attempts - 1)


def _finish(connection: Connection, claim: ResultClaim, *, status: ResultStatus, **values: Any) -> bool:
    rows = table(ResultRow)
    changed = connection.execute(
        update(rows)
        .where(
            and_(
                rows.c.id == claim.id,
                rows.c.lease_owner == claim.owner,
                rows.c.fence == claim.fence,
                rows.c.status == ResultStatus.POSTING.value,
            )
        )
        .values(status=status.value, lease_owner=None, lease_until=None, updated_at=db_now(), **values)
    ).rowcount
    return changed == 1


def release_all(connection: Connection, *, except_owner: str, settle: float = 0.0) -> int:
    """End every lease of owners other than `except_owner`: only where one process owns the database.

    `settle`: seconds that the leases still last, because a vendor may be at work on a post of a process that died.
    """
    rows = table(ResultRow)
    until = read_clock(connection) + settle if settle else 0.0
    taken = and_(rows.c.lease_owner.is_not(None), rows.c.lease_owner != except_owner)
    return connection.execute(
        update(rows).where(and_(taken, rows.c.lease_until > until)).values(lease_until=until)
    ).rowcount


def settled_results(connection: Connection, run_ids: Collection[str]) -> dict[str, list[Settled]]:
    """Results of these runs that are through, by run."""
    rows = table(ResultRow)
    query = select(rows).where(
        and_(
            rows.c.run_id.in_(list(run_ids)), rows.c.status.in_([status.value for status in RESULT_TERMINAL])
        )
    )
    found: dict[str, list[Settled]] = {}
    for row in connection.execute(query).mappings():
        found.setdefault(row["run_id"], []).append(
            Settled(
                id=row["id"],
                slot=row["slot"],
                output=row["output"],
                status=ResultStatus(row["status"]),
                receipt=Receipt.model_validate_json(row["receipt"]) if row["receipt"] else None,
                error=row["error"],
                tool_use_id=row["tool_use_id"],
                answered=row["answered_at"] is not None,
                clause=row["clause"],
            )
        )
    return found


def mark_answered(connection: Connection, result_id: str) -> None:
    """The session was told."""
    rows = table(ResultRow)
    connection.execute(update(rows).where(rows.c.id == result_id).values(answered_at=db_now()))


def slots_of(connection: Connection, run_id: str) -> dict[str, str]:
    """Output of each slot of a run."""
    rows = table(ResultRow)
    query = select(rows.c.slot, rows.c.output).where(rows.c.run_id == run_id)
    return {slot: output for slot, output in connection.execute(query)}  # noqa: C416 - rows are not tuples
