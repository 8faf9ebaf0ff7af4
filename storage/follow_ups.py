"""Follow-ups that wait: gathered while they come thick, told together, and told once.

A follow-up is a queued run of its conversation. It becomes a turn of its own, or is *joined* to another run that
tells it to the session. `joined_to` is written before anything is sent, so a crash leaves the question "was it
sent?", never "was it forgotten?": whoever comes next looks into the session's history.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Select, and_, bindparam, or_, select, text, update

from schemas.dispatch import Dispatch
from storage.clock import read_clock
from storage.pauses import COVERS_RUN
from storage.rows import plain, table
from storage.statements import Fixed
from storage.states import check_move
from storage.tables import DispatchRow, EventRow, RunRow, RunStatus

MAX_TOGETHER: Final = 100
"""Follow-ups in one message."""
LONGEST_GATHER: Final = 5
"""A follow-up waits at most so many times the quiet time, however many come after it."""

_QUEUED: Final = RunStatus.QUEUED.value
_JOINED: Final = RunStatus.JOINED.value


@dataclass(frozen=True, slots=True)
class Group:
    """Follow-ups that are told in one message. The message's marker is that of `lead`."""

    lead: str
    dispatches: tuple[Dispatch, ...]
    known: bool
    """It was reserved before: it may have been sent."""


def gather(connection: Connection, conversation: str, *, now: float) -> None:
    """One more has come: those that wait for quiet wait on, but not for ever."""
    rows = table(RunRow)
    waiting = and_(
        rows.c.conversation == conversation,
        rows.c.status == _QUEUED,
        rows.c.manner.is_not(None),
        rows.c.gather > 0,
        rows.c.joined_to.is_(None),
    )
    query = select(rows.c.id, rows.c.created_at, rows.c.gather).where(waiting)
    for run_id, created_at, seconds in connection.execute(query).all():
        due = min(now + seconds, created_at + LONGEST_GATHER * seconds)
        connection.execute(update(rows).where(and_(rows.c.id == run_id, waiting)).values(due_at=due))


def fold(connection: Connection, run_id: str, conversation: str, *, reserved: bool, now: float) -> None:
    """A queued follow-up becomes a turn: those that wait behind it are told in its message.

    `reserved`: it may have been sent already, so nothing is added to what it carries.
    """
    check_move(RunStatus.QUEUED, RunStatus.JOINED)
    rows = table(RunRow)
    if not reserved:
        _carry(connection, run_id, conversation, except_run=run_id)
    mine = and_(rows.c.joined_to == run_id, rows.c.status == _QUEUED)
    connection.execute(update(rows).where(mine).values(status=_JOINED, ended_at=now, updated_at=now))


def _carry(connection: Connection, lead: str, conversation: str, *, except_run: str) -> None:
    """Put the follow-ups that wait, and shall not be told alone, into the message of `lead`."""
    rows = table(RunRow)
    query = (
        select(rows.c.id)
        .where(
            and_(
                rows.c.conversation == conversation,
                rows.c.status == _QUEUED,
                rows.c.manner.is_not(None),
                rows.c.gather > 0,
                rows.c.joined_to.is_(None),
                rows.c.id != except_run,
            )
        )
        .order_by(rows.c.created_at, rows.c.id)
        .limit(MAX_TOGETHER - 1)
    )
    others = list(connection.execute(query).scalars())
    if others:
        connection.execute(update(rows).where(rows.c.id.in_(others)).values(joined_to=lead))


_WAITING: Final = text(
    f"""
SELECT DISTINCT active.id, waiting.manner FROM run AS waiting
JOIN run AS active ON active.conversation = waiting.conversation
WHERE waiting.status = 'queued' AND waiting.manner IN ('steer', 'interrupt') AND waiting.due_at <= :now
AND active.status = 'running' AND active.lease_owner = :owner
AND NOT {COVERS_RUN.format(run="waiting")}
"""  # noqa: S608 - constants of ours
)


def waiting_for(connection: Connection, owner: str) -> dict[str, str]:
    """Runs of this owner that are at work while a follow-up wants to be told, with its manner."""
    found = connection.execute(_WAITING, {"now": read_clock(connection), "owner": owner})
    return {run_id: manner for run_id, manner in found}  # noqa: C416 - rows are not tuples


_HELD_UP: Final = text(
    f"""
SELECT DISTINCT active.id FROM run AS waiting
JOIN run AS active ON active.conversation = waiting.conversation
WHERE waiting.status = 'queued' AND waiting.manner = 'interrupt' AND waiting.due_at <= :now
AND active.status = 'waiting' AND active.stop_reason IS NULL
AND NOT {COVERS_RUN.format(run="waiting")}
"""  # noqa: S608 - constants of ours
)


def held_up(connection: Connection) -> list[str]:
    """Runs that wait for people while a follow-up wants to interrupt them."""
    return list(connection.execute(_HELD_UP, {"now": read_clock(connection)}).scalars())


def reserve(connection: Connection, run_id: str, conversation: str) -> Group | None:
    """The next message for the session of a run at work, written down before it is sent. None: nothing waits.

    What was reserved before, and may have been sent, comes first.
    """
    rows = table(RunRow)
    mine = and_(rows.c.joined_to == run_id, rows.c.status == _QUEUED)
    order = (rows.c.created_at, rows.c.id)
    lead = connection.execute(select(rows.c.id).where(mine).order_by(*order).limit(1)).scalar_one_or_none()
    known = lead is not None
    if lead is None:
        query = (
            select(rows.c.id, rows.c.due_at, rows.c.manner, rows.c.gather)
            .where(and_(rows.c.conversation == conversation, rows.c.status == _QUEUED))
            .where(text(f"NOT {COVERS_RUN.format(run='run')}"))
            .order_by(*order)
            .limit(1)
        )
        first = connection.execute(query).one_or_none()
        if first is None or first.manner != "steer" or first.due_at > read_clock(connection):
            return None
        lead = str(first.id)
        if first.gather > 0:
            _carry(connection, lead, conversation, except_run=lead)
        connection.execute(update(rows).where(rows.c.id == lead).values(joined_to=run_id))
    return Group(str(lead), (_dispatch(connection, str(lead)), *carried(connection, str(lead))), known=known)


def reserved(connection: Connection, run_id: str) -> list[Group]:
    """Messages that an earlier owner of a run may have sent."""
    rows = table(RunRow)
    query = (
        select(rows.c.id)
        .where(and_(rows.c.joined_to == run_id, rows.c.status == _QUEUED))
        .order_by(rows.c.created_at, rows.c.id)
    )
    return [
        Group(lead, (_dispatch(connection, lead), *carried(connection, lead)), known=True)
        for lead in connection.execute(query).scalars().all()
    ]


def join(connection: Connection, told: Collection[tuple[str, str]], *, now: float) -> None:
    """These messages (lead and the message's id) were taken up: they and what they carry are joined."""
    check_move(RunStatus.QUEUED, RunStatus.JOINED)
    rows = table(RunRow)
    for lead, message_id in told:
        ended = {"status": _JOINED, "ended_at": now, "updated_at": now}
        leads = and_(rows.c.id == lead, rows.c.status == _QUEUED)
        connection.execute(update(rows).where(leads).values(message_id=message_id, **ended))
        carrying = and_(rows.c.joined_to == lead, rows.c.status == _QUEUED)
        connection.execute(update(rows).where(carrying).values(**ended))


def carried(connection: Connection, lead: str) -> tuple[Dispatch, ...]:
    """What the message of a run tells besides its own event, in order."""
    return tuple(_read(*row) for row in _CARRIED.run(connection, lead=lead))


def _carried() -> Select[Any]:
    rows, dispatches, lead = table(RunRow), table(DispatchRow), table(RunRow).alias("lead")
    # Queued runs belong to a message only where its lead is queued itself: else they wait to be steered.
    queued = select(lead.c.id).where(and_(lead.c.id == bindparam("lead"), lead.c.status == _QUEUED)).exists()
    return (
        select(dispatches.c.body, dispatches.c.folded)
        .join(rows, rows.c.dispatch_id == dispatches.c.id)
        .where(and_(rows.c.joined_to == bindparam("lead"), rows.c.message_id.is_(None)))
        .where(or_(rows.c.status == _JOINED, queued))
        .order_by(rows.c.created_at, rows.c.id)
    )


def told_in(connection: Connection, run_id: str) -> list[Dispatch]:
    """Every follow-up that was told in a run's message or turn, in order."""
    rows, dispatches = table(RunRow), table(DispatchRow)
    query = (
        select(dispatches.c.body)
        .join(rows, rows.c.dispatch_id == dispatches.c.id)
        .where(_told_in(run_id))
        .order_by(rows.c.created_at, rows.c.id)
    )
    return [Dispatch.model_validate_json(body) for body in connection.execute(query).scalars()]


def ids_told_in(connection: Connection, run_id: str) -> list[str]:
    """The same as ids of their runs."""
    rows = table(RunRow)
    query = select(rows.c.id).where(_told_in(run_id)).order_by(rows.c.created_at, rows.c.id)
    return list(connection.execute(query).scalars())


def _told_in(run_id: str) -> ColumnElement[bool]:
    rows = table(RunRow)
    steered = select(rows.c.id).where(and_(rows.c.joined_to == run_id, rows.c.status == _JOINED))
    return and_(rows.c.status == _JOINED, or_(rows.c.joined_to == run_id, rows.c.joined_to.in_(steered)))


def kinds_told(connection: Connection, conversation: str, artefact: str) -> set[str]:
    """Kinds of the events about one comment or message that went into a conversation."""
    rows = table(DispatchRow)
    query = select(rows.c.kind).where(
        and_(rows.c.conversation == conversation, rows.c.artefact == plain(artefact, limit=500))
    )
    return {kind for kind in connection.execute(query).scalars() if kind}


def rounds_of(connection: Connection, conversation: str, kind: str, *, limit: int) -> int:
    """How many of the last turns of a conversation, without a break, began with an event of this kind."""
    rows, events = table(RunRow), table(EventRow)
    query = (
        select(events.c.kind)
        .join(rows, rows.c.event_id == events.c.id)
        .where(and_(rows.c.conversation == conversation, rows.c.status != _JOINED))
        .order_by(rows.c.created_at.desc())
        .limit(limit)
    )
    count = 0
    for found in connection.execute(query).scalars():
        if found != kind:
            break
        count += 1
    return count


def first_run_of(connection: Connection, conversation: str) -> str | None:
    """The run with which a conversation began."""
    found: str | None = _FIRST.run(connection, conversation=conversation).scalar_one_or_none()
    return found


def _first() -> Select[Any]:
    rows = table(RunRow)
    return (
        select(rows.c.id)
        .where(rows.c.conversation == bindparam("conversation"))
        .order_by(rows.c.created_at, rows.c.id)
        .limit(1)
    )


def _dispatch(connection: Connection, run_id: str) -> Dispatch:
    rows, dispatches = table(RunRow), table(DispatchRow)
    query = (
        select(dispatches.c.body, dispatches.c.folded)
        .join(rows, rows.c.dispatch_id == dispatches.c.id)
        .where(rows.c.id == run_id)
    )
    return _read(*connection.execute(query).one())


def _read(body: bytes, folded: int) -> Dispatch:
    dispatch = Dispatch.model_validate_json(body)
    return dispatch.model_copy(update={"folded": folded}) if folded else dispatch


_CARRIED: Final = Fixed(_carried)
_FIRST: Final = Fixed(_first)
