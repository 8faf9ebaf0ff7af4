"""Approvals and words to a session, for the API and the command line: both tell and do the same.

Every function takes an open connection. `vote` and `say` write.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import Any, Final

import orjson
from sqlalchemy import Connection, select

from hub.api_values import UnknownIdError, only, time_of, time_or_none
from hub.approval_models import ApprovalDetail, ApprovalList, ApprovalView, SaidView, VotedView, VoteView
from schemas.dispatch import Dispatch
from schemas.event import Actor
from schemas.policy.approval import OPERATOR, Person
from schemas.result import Receipt, Result
from storage import approvals, queries, questions
from storage.approvals import Approval, Vote
from storage.clock import read_clock
from storage.conversations import run_id_of
from storage.deliveries import IncomingEvent, store_events
from storage.routing import RecordedVerdict, record_routing
from storage.rows import table
from storage.tables import ApprovalRow, ApprovalStatus, DispatchRow, RunRow

SAID: Final = "triggerhub"
"""The connector's name in events that an operator's words make."""
KIND: Final = "message.posted"
"""What an operator says is told like anybody's plain words."""


class VoteError(RuntimeError):
    """The vote does not count. The text says why."""


def operator(who: str) -> Person:
    """Whoever holds the API's token, or can write to the database."""
    return Person(f"{OPERATOR}:{who}", OPERATOR)


def listed(
    connection: Connection, *, status: ApprovalStatus | None, run: str | None, limit: int
) -> ApprovalList:
    """Approvals, newest first; of one run by its id or an unmistakable beginning of it. Raises UnknownIdError."""
    rows = table(ApprovalRow)
    query = select(rows.c.id).order_by(rows.c.asked_at.desc(), rows.c.id).limit(limit)
    if status is not None:
        query = query.where(rows.c.status == status.value)
    if run is not None:
        query = query.where(rows.c.run_id == only("run", run, queries.find_run(connection, run)))
    found = [approvals.approval(connection, one) for one in connection.execute(query).scalars().all()]
    return ApprovalList(items=tuple(_view(connection, one) for one in found if one is not None))


def shown(connection: Connection, given: str) -> ApprovalDetail:
    """One approval by its id, its code or an unmistakable beginning of its id. Raises UnknownIdError."""
    found = _find(connection, given)
    body = approvals.content_of(connection, found)
    content: dict[str, Any] = {}
    if body is not None and found.result_id is not None:
        result = Result.model_validate_json(body)
        content = {
            "output": result.output,
            "connection": result.connection,
            "target": result.target,
            **result.arguments,
        }
    elif body is not None:
        content = orjson.loads(body)
    return ApprovalDetail(
        **_view(connection, found).model_dump(),
        content=content,
        question=_question(connection, found),
        said=tuple(
            VoteView(
                **{name: one[name] for name in ("voter", "name", "approve", "trust", "evidence")},
                at=time_of(one["at"]),
            )
            for one in approvals.votes_of(connection, found.id)
        ),
    )


def _question(connection: Connection, found: Approval) -> str | None:
    row = questions.question_of(connection, found) if found.ask is not None else None
    if row is None:
        return None
    url = Receipt.model_validate_json(row["receipt"]).url if row["receipt"] else None
    return url or (f"{row['status']}: {row['error']}" if row["error"] else str(row["status"]))


def vote(
    connection: Connection, given: str, *, approve: bool, digest: str | None, reason: str | None, by: str
) -> VotedView:
    """An operator's vote. Raises UnknownIdError, VoteError. Writes."""
    found = _find(connection, given)
    voted = approvals.vote(
        connection,
        found.id,
        operator(by),
        approve=approve,
        digest=digest,
        reason=reason,
        evidence=by,
    )
    if voted is None:
        raise UnknownIdError("approval", given, ())
    if voted.vote is Vote.REFUSED:
        msg = f"the vote on {found.code} does not count: {voted.text}"
        raise VoteError(msg)
    return VotedView(vote=voted.vote.value, text=voted.text, approval=_view(connection, voted.approval))


def say(connection: Connection, given: str, *, text: str, by: str) -> SaidView:
    """Tell the session of a run something, as a follow-up in its conversation. Raises UnknownIdError. Writes."""
    run_id = only("run", given, queries.find_run(connection, given))
    rows, dispatches = table(RunRow), table(DispatchRow)
    query = (
        select(dispatches.c.body).join(rows, rows.c.dispatch_id == dispatches.c.id).where(rows.c.id == run_id)
    )
    body = connection.execute(query).scalar_one_or_none()
    if body is None:
        raise UnknownIdError("run", given, ())
    from router.prompts import dispatch_id  # noqa: PLC0415 - the expression library is slow to import

    now = read_clock(connection)
    before = Dispatch.model_validate_json(body)
    digest = hashlib.sha256(f"{run_id}\n{by}\n{now!r}\n{text}".encode("utf-8", "replace")).hexdigest()
    about = before.event.data.model_copy(
        update={
            "kind": KIND,
            "actor": Actor(id=by, login=by, trust="system"),
            "text": text,
            "changed": {},
            "mentions": (),
            "links": (),
            "artefact": None,
            "payload": {},
        }
    )
    event = before.event.model_copy(
        update={
            "id": f"evt_{digest[:32]}",
            "source": f"{SAID}/{OPERATOR}",
            "type": f"{SAID}.{KIND}",
            "time": datetime.fromtimestamp(now, tz=UTC),
            "dataref": None,
            "data": about,
        }
    )
    dispatch = before.model_copy(
        update={
            "id": dispatch_id(event.id, before.rule),
            "follow_up": True,
            "manner": "queue" if before.manner == "queue" and before.follow_up else "steer",
            "gather_seconds": 0.0,
            "event": event,
        }
    )
    incoming = IncomingEvent(
        id=event.id,
        connection=event.connection,
        connector=SAID,
        kind=KIND,
        subject=event.subject,
        time=now,
        body=event.model_dump_json().encode(),
    )
    store_events(connection, [(None, incoming)], now=now)
    verdict = RecordedVerdict(
        rule=before.rule,
        outcome="matched",
        clause="follow_up",
        reason=f"an operator ({by}) said something to the session",
        dispatch=dispatch,
    )
    record_routing(connection, event.id, [verdict])
    return SaidView(run_id=run_id_of(dispatch.id), event_id=event.id, conversation=dispatch.conversation)


def _find(connection: Connection, given: str) -> Approval:
    by_code = approvals.by_code(connection, given.lower())
    if by_code:
        return by_code[0]
    rows = table(ApprovalRow)
    query = select(rows.c.id).where(rows.c.id.startswith(given, autoescape=True)).order_by(rows.c.id).limit(6)
    near = list(connection.execute(query).scalars())
    found = approvals.approval(connection, near[0]) if len(near) == 1 else None
    if found is None:
        raise UnknownIdError("approval", given, near[:5])
    return found


def _view(connection: Connection, one: Approval) -> ApprovalView:
    votes = sum(bool(said["approve"]) for said in approvals.votes_of(connection, one.id))
    return ApprovalView(
        id=one.id,
        code=one.code,
        run_id=one.run_id,
        rule=one.rule,
        name=one.name,
        what=one.what,
        status=one.status.value,
        votes=votes,
        needed=one.needed,
        digest=one.digest,
        asked_at=time_of(one.asked_at),
        expires_at=time_of(one.expires_at),
        decided_at=time_or_none(one.decided_at),
        decided_by=one.decided_by,
        reason=one.reason,
    )
