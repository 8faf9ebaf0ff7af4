"""Approvals: asked for, voted on, and what follows from the vote, each in one transaction.

What is approved is a stored body, known by its hash: nothing of it can change between the question and the deed. A
decision frees or refuses the held result and makes the waiting run due, so that no connection has to be held for it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import Connection, Select, and_, bindparam, func, select, update

from schemas.policy.approval import APPROVAL, ApprovalPolicy, Person, digest_of, may_vote, person_key
from schemas.result import Result
from schemas.topics import RESULTS
from storage import follow_ups, outbox
from storage.approval_tables import ApprovalRow, ApprovalStatus, ApprovalVote
from storage.claims import Claim
from storage.clock import read_clock
from storage.results import hold_result, want_result
from storage.rows import insert_new, plain, table
from storage.runs import let_wait
from storage.statements import Fixed
from storage.tables import ResultRow, ResultStatus, RunRow, RunStatus

PEOPLE: Final = "people"
"""`run.waits_for` of a run that waits for approvals."""
MIN_DIGEST: Final = 12
"""Characters of a hash that say which content is meant."""
MAX_REASON: Final = 500
EXPIRY_GRACE: Final = 5.0
"""Seconds after an expiry in which whoever looks for it closes the approval, before the run is taken up anyway."""
CHANGED: Final = "what is to be approved is not what was asked about; nothing was approved"


class Vote(StrEnum):
    """What became of a vote."""

    COUNTED = "counted"
    """It counts, and more are needed."""
    REPEATED = "repeated"
    """The person had said so before."""
    DECIDED = "decided"
    """It was the one that decided."""
    REFUSED = "refused"
    """It does not count; the text says why."""


@dataclass(frozen=True, slots=True)
class Approval:
    """One approval as it stands."""

    id: str
    run_id: str
    rule: str
    conversation: str
    call: str
    name: str
    result_id: str | None
    digest: str
    code: str
    what: str
    policy: ApprovalPolicy
    asker: str | None
    home: str | None
    """The connection where the run came from."""
    status: ApprovalStatus
    needed: int
    asked_at: float
    expires_at: float
    decided_at: float | None = None
    decided_by: str | None = None
    reason: str | None = None
    ask: str | None = None
    told: int = 0
    body: bytes | None = None

    @property
    def is_open(self) -> bool:
        return self.status is ApprovalStatus.ASKED


@dataclass(frozen=True, slots=True)
class Voted:
    """A vote and where it left the approval."""

    vote: Vote
    text: str
    approval: Approval
    votes: int = 0
    """People who said yes."""


def ask(
    connection: Connection, wanted: Approval, *, result: Result | None, question: Result | None
) -> Approval:
    """Keep an approval with the result that it holds back and the question that is posted. Once; then it is read.

    `result` None: a tool of the session asks, and `wanted.body` is its call.
    """
    now = read_clock(connection)
    values = {
        "id": wanted.id,
        "run_id": wanted.run_id,
        "rule": wanted.rule,
        "conversation": wanted.conversation,
        "call": wanted.call,
        "name": wanted.name,
        "result_id": wanted.result_id,
        "digest": wanted.digest,
        "body": wanted.body,
        "code": wanted.code,
        "what": plain(wanted.what, limit=100_000),
        "policy": wanted.policy.model_dump_json(),
        "asker": plain(wanted.asker, limit=300),
        "home": wanted.home,
        "status": ApprovalStatus.ASKED.value,
        "needed": wanted.needed,
        "asked_at": now,
        "expires_at": now + wanted.policy.expires.total_seconds(),
        "ask": question.slot if question is not None else None,
        "stale": False,
        "told": 0,
    }
    if insert_new(connection, ApprovalRow, [values]):
        if result is not None:
            hold_result(connection, result, tool_use_id=wanted.call)
        if question is not None:
            want_result(connection, question, tool_use_id=None)
    found = approval(connection, wanted.id)
    if found is None:
        msg = f"the approval {wanted.id} was not kept"
        raise RuntimeError(msg)
    return found


def approval(connection: Connection, approval_id: str, *, lock: bool = False) -> Approval | None:
    """One approval by its id."""
    rows = table(ApprovalRow)
    query = select(rows).where(rows.c.id == approval_id)
    row = connection.execute(query.with_for_update() if lock else query).mappings().one_or_none()
    return None if row is None else as_approval(row)


def by_code(connection: Connection, code: str) -> list[Approval]:
    """Approvals that people mean by a code, the open ones first."""
    rows = table(ApprovalRow)
    query = select(rows).where(rows.c.code == code).order_by(rows.c.decided_at.is_not(None), rows.c.asked_at)
    return [as_approval(row) for row in connection.execute(query).mappings()]


def of_runs(connection: Connection, run_ids: Collection[str]) -> dict[str, list[Approval]]:
    """Every approval of these runs, in the order in which they were asked for."""
    rows = table(ApprovalRow)
    query = select(rows).where(rows.c.run_id.in_(list(run_ids))).order_by(rows.c.asked_at, rows.c.id)
    found: dict[str, list[Approval]] = {}
    for row in connection.execute(query).mappings():
        found.setdefault(row["run_id"], []).append(as_approval(row))
    return found


def open_ones(connection: Connection) -> tuple[int, float]:
    """How many are not decided, and for how many seconds the oldest of them has been asked; 0 where there is none."""
    rows = table(ApprovalRow)
    query = select(func.count(), func.min(rows.c.asked_at)).where(rows.c.status == ApprovalStatus.ASKED.value)
    count, oldest = connection.execute(query).one()
    return int(count), 0.0 if oldest is None else max(0.0, read_clock(connection) - oldest)


def votes_of(connection: Connection, approval_id: str) -> list[Mapping[Any, Any]]:
    """Who said what, in order."""
    rows = table(ApprovalVote)
    query = select(rows).where(rows.c.approval == approval_id).order_by(rows.c.at, rows.c.voter)
    return list(connection.execute(query).mappings())


def vote(
    connection: Connection,
    approval_id: str,
    person: Person,
    *,
    approve: bool,
    digest: str | None,
    reason: str | None,
    evidence: str,
) -> Voted | None:
    """Count what a person says. None: there is no such approval.

    `digest`: the content that the person saw, by its hash or the beginning of one; None where the id alone says so.
    """
    found = approval(connection, approval_id, lock=True)
    if found is None:
        return None
    now = read_clock(connection)
    if found.is_open and now >= found.expires_at:
        found = _decide(connection, found, ApprovalStatus.EXPIRED, now=now, reason=expired_text(found))
    if not found.is_open:
        return Voted(Vote.REFUSED, f"it is {found.status} already", found)
    if not _is_same(connection, found, digest):
        return Voted(Vote.REFUSED, CHANGED, found)
    why_not = may_vote(found.policy, person, askers=_askers(connection, found), home=found.home)
    if why_not is not None:
        return Voted(Vote.REFUSED, why_not, found)
    row = {
        "approval": found.id,
        "voter": plain(person.key, limit=300),
        "approve": approve,
        "trust": person.trust,
        "name": plain(person.name, limit=200) or "",
        "evidence": plain(evidence, limit=300),
        "at": now,
    }
    votes = table(ApprovalVote)
    mine = and_(votes.c.approval == found.id, votes.c.voter == row["voter"])
    new = connection.execute(select(votes.c.voter).where(mine)).first() is None
    if new:
        connection.execute(votes.insert().values(**row))
    elif not approve:
        connection.execute(update(votes).where(mine).values(**row))
    query = select(func.count()).where(and_(votes.c.approval == found.id, votes.c.approve.is_(True)))
    yes: int = connection.execute(query).scalar_one()
    if not approve:
        said = plain(reason, limit=MAX_REASON)
        text = f"denied by {person.shown}" + (f": {said}" if said else "")
        found = _decide(
            connection, found, ApprovalStatus.DENIED, now=now, reason=text, decided_by=person.shown
        )
        return Voted(Vote.DECIDED, text, found, yes)
    if yes >= found.needed:
        names = ", ".join(_name(one) for one in votes_of(connection, found.id) if one["approve"])
        found = _decide(connection, found, ApprovalStatus.APPROVED, now=now, reason=None, decided_by=names)
        return Voted(Vote.DECIDED, f"approved by {names}", found, yes)
    if new:
        rows = table(ApprovalRow)
        connection.execute(update(rows).where(rows.c.id == found.id).values(stale=True))
    text = f"{yes} of {found.needed} have approved"
    return Voted(Vote.COUNTED if new else Vote.REPEATED, text, found, yes)


def expired_text(found: Approval) -> str:
    """What the agent is told of an approval whose time is over."""
    hours = (found.expires_at - found.asked_at) / 3600
    return f"nobody approved it in time ({hours:g} h)"


def is_any_over(connection: Connection) -> bool:
    """Whether `expire` has something to do: nobody shall write every second to find that there is nothing."""
    rows = table(ApprovalRow)
    over = and_(rows.c.status == ApprovalStatus.ASKED.value, rows.c.expires_at <= read_clock(connection))
    return connection.execute(select(rows.c.id).where(over).limit(1)).first() is not None


def expire(connection: Connection, *, limit: int = 100) -> int:
    """Close approvals whose time is over. Return how many."""
    rows = table(ApprovalRow)
    now = read_clock(connection)
    over = and_(rows.c.status == ApprovalStatus.ASKED.value, rows.c.expires_at <= now)
    query = select(rows.c.id).where(over).order_by(rows.c.expires_at).limit(limit)
    count = 0
    for approval_id in connection.execute(query).scalars().all():
        found = approval(connection, approval_id, lock=True)
        if found is not None and found.is_open:
            _decide(connection, found, ApprovalStatus.EXPIRED, now=now, reason=expired_text(found))
            count += 1
    return count


def withdraw(connection: Connection, run_id: str, *, reason: str) -> int:
    """What a run asked for is not wanted any more. Return how many were open."""
    now, count = read_clock(connection), 0
    for approval_id in _OPEN.run(connection, run=run_id).scalars().all():
        found = approval(connection, approval_id, lock=True)
        if found is not None and found.is_open:
            _decide(connection, found, ApprovalStatus.WITHDRAWN, now=now, reason=reason)
            count += 1
    return count


def _open() -> Select[Any]:
    rows = table(ApprovalRow)
    mine = and_(rows.c.run_id == bindparam("run"), rows.c.status == ApprovalStatus.ASKED.value)
    return select(rows.c.id).where(mine).order_by(rows.c.id)


_OPEN: Final = Fixed(_open)


def wait_for_people(connection: Connection, /, claim: Claim, awaited: Collection[str], **values: Any) -> bool:
    """RUNNING → WAITING, held by nobody, due when the first of these approvals expires. False: it was lost.

    One that was decided meanwhile makes it due at once. The rows are locked in the order in which a vote takes them,
    so that no decision falls between looking and waiting.
    """
    rows = table(ApprovalRow)
    query = select(rows.c.id, rows.c.expires_at).where(
        and_(
            rows.c.id.in_(sorted(awaited)),
            rows.c.run_id == claim.run_id,
            rows.c.status == ApprovalStatus.ASKED.value,
        )
    )
    still = connection.execute(query.order_by(rows.c.id).with_for_update()).all()
    until = min((row.expires_at for row in still), default=0.0) + EXPIRY_GRACE
    if len(still) < len(set(awaited)):
        until = read_clock(connection)
    return let_wait(connection, claim, until=until, waits_for=PEOPLE, **values)


def content_of(connection: Connection, found: Approval) -> bytes | None:
    """Exactly what is approved."""
    if found.result_id is None:
        return found.body
    rows = table(ResultRow)
    body: bytes | None = connection.execute(
        select(rows.c.body).where(rows.c.id == found.result_id)
    ).scalar_one_or_none()
    return body


def _askers(connection: Connection, found: Approval) -> set[str]:
    """Whoever told the run what to do: by its own event, or by a follow-up that it was told."""
    keys = {found.asker}
    for told in follow_ups.told_in(connection, found.run_id):
        keys.add(person_key(told.event.connector, told.event.data.actor.id))
    return {key for key in keys if key is not None}


def _is_same(connection: Connection, found: Approval, digest: str | None) -> bool:
    """Whether what the person saw, what was asked about and what is stored are one content."""
    if digest is not None and (len(digest) < MIN_DIGEST or not found.digest.startswith(digest)):
        return False
    body = content_of(connection, found)
    return body is not None and digest_of(body) == found.digest


def _decide(
    connection: Connection,
    found: Approval,
    status: ApprovalStatus,
    *,
    now: float,
    reason: str | None,
    decided_by: str | None = None,
) -> Approval:
    """Close it, free or refuse what it held back, and wake whoever waits. The caller has locked it."""
    rows, results, runs = table(ApprovalRow), table(ResultRow), table(RunRow)
    values = {
        "status": status.value,
        "decided_at": now,
        "decided_by": plain(decided_by, limit=1000),
        "reason": plain(reason, limit=1000),
    }
    is_open = and_(rows.c.id == found.id, rows.c.status == ApprovalStatus.ASKED.value)
    connection.execute(update(rows).where(is_open).values(**values, stale=found.ask is not None))
    if found.result_id is not None:
        held = and_(results.c.id == found.result_id, results.c.status == ResultStatus.HELD.value)
        if status is ApprovalStatus.APPROVED:
            freed = update(results).where(held).values(status=ResultStatus.PENDING.value, updated_at=now)
            if connection.execute(freed).rowcount:
                key = found.conversation
                outbox.put(connection, RESULTS.name, ref=found.result_id, key=key, now=now, due_at=now)
        else:
            refused = {"status": ResultStatus.REFUSED.value, "error": values["reason"], "clause": APPROVAL}
            connection.execute(update(results).where(held).values(**refused, updated_at=now))
    waiting = and_(runs.c.id == found.run_id, runs.c.status == RunStatus.WAITING.value)
    waiting = and_(waiting, runs.c.waits_for == PEOPLE)
    connection.execute(update(runs).where(waiting).values(due_at=now))
    decided = approval(connection, found.id)
    return found if decided is None else decided


def _name(row: Mapping[Any, Any]) -> str:
    return Person(row["voter"], row["trust"], name=row["name"]).shown


def as_approval(row: Mapping[Any, Any]) -> Approval:
    """An approval of its row."""
    fields = {name: row[name] for name in Approval.__dataclass_fields__ if name not in {"policy", "status"}}
    policy = ApprovalPolicy.model_validate_json(row["policy"])
    return Approval(**fields, policy=policy, status=ApprovalStatus(row["status"]))
