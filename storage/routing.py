"""What the router writes: verdicts, dispatches, links; and what it asks of our own posts and of earlier turns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, cast

from sqlalchemy import (
    CompoundSelect,
    Connection,
    Select,
    Update,
    and_,
    bindparam,
    select,
    text,
    union_all,
    update,
)

from schemas.dispatch import Dispatch
from schemas.topics import DISPATCHES, EVENTS
from storage import conversations, outbox, replays
from storage.clock import read_clock
from storage.dispatches import store_dispatch
from storage.links import Link, Ownership, learn, link_subject
from storage.presence_tables import PresenceRow
from storage.replays import Replay
from storage.rows import insert_new, plain, table
from storage.statements import Fixed
from storage.tables import EventRow, ResultRow, RunRow, VerdictRow

if TYPE_CHECKING:
    from schemas.references import How


@dataclass(frozen=True, slots=True)
class RecordedVerdict:
    """One rule's verdict as it is kept."""

    rule: str
    outcome: str
    reason: str
    clause: str | None = None
    expected: str | None = None
    seen: str | None = None
    dispatch: Dispatch | None = None


@dataclass(frozen=True, slots=True)
class Learnt:
    """What an event says of the subjects of one conversation."""

    conversation: str
    links: tuple[Link, ...] = ()
    recognised: Ownership | None = None
    """The event's subject was recognised by a link, and belongs to the conversation from now on."""


def _routed() -> Select[Any]:
    rows = table(EventRow)
    return select(rows.c.id).where(and_(rows.c.id == bindparam("event"), rows.c.routed_at.is_not(None)))


def _route() -> Update:
    rows = table(EventRow)
    change = update(rows).where(and_(rows.c.id == bindparam("event"), rows.c.routed_at.is_(None)))
    return change.values(routed_at=bindparam("now"), matched=bindparam("count"))


def _made() -> CompoundSelect[Any]:
    posts, signs = table(ResultRow), table(PresenceRow)
    return union_all(
        select(posts.c.id).where(
            and_(posts.c.connection == bindparam("named"), posts.c.artefact == bindparam("artefact"))
        ),
        select(signs.c.run_id).where(
            and_(signs.c.connection == bindparam("named"), signs.c.artefact == bindparam("artefact"))
        ),
    )


_ROUTED: Final = Fixed(_routed)
_ROUTE: Final = Fixed(_route)
_MADE: Final = Fixed(_made)
_WAITS: Final = Fixed(
    lambda: text(
        "SELECT id FROM dispatch WHERE conversation = :conversation AND rule = :rule AND kind = :kind "
        "AND created_at > :since ORDER BY created_at DESC LIMIT 1"
    )
)
_FOLD: Final = Fixed(lambda: text("UPDATE dispatch SET folded = folded + 1 WHERE id = :id"))
_OF_RUN: Final = Fixed(
    lambda: text(
        "SELECT dispatch.body FROM run JOIN dispatch ON dispatch.id = run.dispatch_id WHERE run.id = :run"
    )
)
_LAST: Final = Fixed(
    lambda: text(
        "SELECT body FROM dispatch WHERE conversation = :conversation ORDER BY created_at DESC, id DESC LIMIT 1"
    )
)
_TURNS: Final = Fixed(
    lambda: text(
        "SELECT dispatch.body FROM event "
        "JOIN conversation_subject AS owned "
        "ON owned.connection = event.connection AND owned.subject = event.subject "
        "JOIN dispatch ON dispatch.conversation = owned.conversation "
        "WHERE event.id = :event AND dispatch.rule = :rule AND dispatch.created_at > :since "
        "ORDER BY dispatch.created_at DESC, dispatch.id DESC LIMIT :most"
    )
)


def is_routed(connection: Connection, event_id: str) -> bool:
    """True when the event was routed before: a copy of its message stops here."""
    return _ROUTED.run(connection, event=event_id).first() is not None


def record_routing(
    connection: Connection,
    event_id: str,
    verdicts: Sequence[RecordedVerdict],
    *,
    replay: Replay | None = None,
    learnt: Sequence[Learnt] = (),
) -> list[Dispatch] | None:
    """Keep verdicts, dispatches and what was learnt, put the dispatches' messages, settle the event's.

    None: routed before.

    A replay's verdicts are kept under its number, beside those of the first time.
    """
    events = table(EventRow)
    now = read_clock(connection)
    outbox.settle(connection, EVENTS.name, event_id)
    if replay is not None:
        if not replays.finish(connection, replay, now=now):
            return None
        known = set(replays.dispatched(connection, event_id))
        fed = {verdict.rule for verdict in verdicts if verdict.dispatch is not None} - known
        matched = update(events).where(events.c.id == event_id).values(matched=events.c.matched + len(fed))
        connection.execute(matched)
    else:
        count = sum(verdict.dispatch is not None for verdict in verdicts)
        if not _ROUTE.run(connection, event=event_id, now=now, count=count).rowcount:
            return None
    if verdicts:
        insert_new(
            connection,
            VerdictRow,
            [
                {
                    "event_id": event_id,
                    "replay": replay.number if replay is not None else 0,
                    "rule": verdict.rule,
                    "outcome": verdict.outcome,
                    "clause": verdict.clause,
                    "expected": plain(verdict.expected, limit=500),
                    "seen": plain(verdict.seen, limit=500),
                    "reason": plain(verdict.reason, limit=1000),
                    "dispatch_id": verdict.dispatch.id if verdict.dispatch else None,
                    "at": now,
                }
                for verdict in verdicts
            ],
        )
    made: list[Dispatch] = []
    for dispatch in (verdict.dispatch for verdict in verdicts if verdict.dispatch):
        body = dispatch.model_dump_json().encode()
        if store_dispatch(connection, dispatch, body, now=now, caused_by=event_id):
            # At once, so that what comes a moment later finds its conversation.
            conversations.open_conversation(connection, dispatch, now=now)
            outbox.put(connection, DISPATCHES.name, ref=dispatch.id, key=dispatch.conversation, now=now)
            made.append(dispatch)
    for one in learnt:
        _keep(connection, event_id, one, now=now)
    return made


def _keep(connection: Connection, event_id: str, learnt: Learnt, *, now: float) -> None:
    owner = learnt.recognised
    if owner is not None:
        rows = table(EventRow)
        at = connection.execute(select(rows.c.connection, rows.c.subject).where(rows.c.id == event_id)).one()
        how = cast("How", owner.how)
        link_subject(
            connection,
            learnt.conversation,
            connection_name=at.connection,
            subject=at.subject,
            now=now,
            how=how,
            reference=owner.reference,
        )
    learn(connection, learnt.conversation, learnt.links, now=now)


def made_by_us(connection: Connection, *, connection_name: str, artefact: str) -> str | None:
    """The result, or the run whose sign of presence, made this artefact, if one of our posts did."""
    found = _MADE.run(connection, named=connection_name, artefact=artefact).first()
    return None if found is None else str(found[0])


def dispatch_of_run(connection: Connection, run_id: str) -> Dispatch | None:
    """What the run was started for; None where the run is not of this hub, or was forgotten."""
    found = _OF_RUN.run(connection, run=run_id).first()
    return None if found is None else Dispatch.model_validate_json(found[0])


def last_dispatch(connection: Connection, conversation: str) -> Dispatch | None:
    """The newest dispatch of the conversation."""
    found = _LAST.run(connection, conversation=conversation).first()
    return None if found is None else Dispatch.model_validate_json(found[0])


def last_turns(
    connection: Connection, event_id: str, *, rule: str, since: float, limit: int
) -> list[Dispatch]:
    """The newest dispatches of the rule on the event's subject, in whichever of its conversations; the newest first."""
    found = _TURNS.run(connection, event=event_id, rule=rule, since=since, most=limit)
    return [Dispatch.model_validate_json(body) for (body,) in found]


def fold_into(
    connection: Connection, conversation: str, *, rule: str, kind: str, seconds: float
) -> str | None:
    """Count one more event at a dispatch whose run waits for more of them. Return its id; None: none waits."""
    since = read_clock(connection) - seconds
    found = _WAITS.run(connection, conversation=conversation, rule=rule, kind=kind, since=since).first()
    if found is None:
        return None
    _FOLD.run(connection, id=found[0])
    return str(found[0])


def run_exists(connection: Connection, run_id: str) -> bool:
    """True for a run of ours: a marker that names it is genuine enough to stop a loop."""
    rows = table(RunRow)
    return connection.execute(select(rows.c.id).where(rows.c.id == run_id)).first() is not None
