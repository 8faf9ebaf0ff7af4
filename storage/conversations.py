"""Conversations: made with their first dispatch, their session charged and forgotten. Who owns what is in `links`."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import Connection, Select, Update, and_, bindparam, or_, select, update

from schemas import references
from schemas.dispatch import Dispatch
from schemas.event import READERS, level_of
from storage import links
from storage.clock import db_now, read_clock
from storage.rows import insert_new, plain, table
from storage.statements import Fixed
from storage.tables import ConversationRow


def _narrow() -> Update:
    rows = table(ConversationRow)
    wider = [rows.c.taint == bindparam(name) for name in _WIDER]
    change = update(rows).where(and_(rows.c.key == bindparam("conversation"), or_(*wider)))
    return change.values(taint=bindparam("narrow"), updated_at=bindparam("now"))


def _narrow_place() -> Update:
    rows = table(ConversationRow)
    wider = [rows.c.visibility == bindparam(name) for name in _WIDER]
    change = update(rows).where(
        and_(
            rows.c.key == bindparam("conversation"),
            rows.c.connection == bindparam("named"),
            rows.c.subject == bindparam("about"),
            or_(*wider),
        )
    )
    return change.values(visibility=bindparam("narrow"))


def _cost() -> Select[Any]:
    rows = table(ConversationRow)
    query = select(rows.c.session_cost_cents).where(rows.c.key == bindparam("conversation"))
    return (
        query.with_for_update()
    )  # somebody else may charge the same session; SQLite's writer is alone anyway


def _charge() -> Update:
    rows = table(ConversationRow)
    change = update(rows).where(rows.c.key == bindparam("conversation"))
    return change.values(session_cost_cents=bindparam("cents"), updated_at=bindparam("now"))


_WIDER: Final = tuple(f"wider_{level}" for level in range(len(READERS) - 1))
_NARROW: Final = Fixed(_narrow)
_NARROW_PLACE: Final = Fixed(_narrow_place)
_COST: Final = Fixed(_cost)
_CHARGE: Final = Fixed(_charge)


def run_id_of(dispatch_id: str) -> str:
    """The run of a dispatch: derived, so that taking a dispatch twice makes one run."""
    return "run_" + dispatch_id.removeprefix("dsp_")


def open_conversation(connection: Connection, dispatch: Dispatch, *, now: float) -> bool:
    """Make sure the conversation and its link from the event's subject exist. True when it is new."""
    event = dispatch.event
    subject = plain(event.subject, limit=500)
    new = insert_new(
        connection,
        ConversationRow,
        [
            {
                "key": dispatch.conversation,
                "rule": dispatch.rule,
                "connection": event.connection,
                "subject": subject,
                "session_id": None,
                "session_cost_cents": 0,
                "visibility": event.data.readers,
                "taint": event.data.readers,
                "created_at": now,
                "updated_at": now,
            }
        ],
    )
    if not new:
        _taint(connection, dispatch, now=now)
        if dispatch.follow_up:
            return False  # its subject belongs to the conversation already, or to another of the rule
    links.link_subject(
        connection, dispatch.conversation, connection_name=event.connection, subject=subject or "", now=now
    )
    if new:
        run_id = run_id_of(dispatch.id)
        own = [
            links.Link(
                reference=references.of_branch(mount.name, references.branch_of(run_id)),
                how="branch",
                connection=event.connection,
                subject=subject or "",
                proven=True,
                by=links.OURS,
                evidence=run_id,
            )
            for mount in dispatch.mounts
        ]
        links.learn(connection, dispatch.conversation, own, now=now)
    return bool(new)


def _taint(connection: Connection, dispatch: Dispatch, *, now: float) -> None:
    """The session is told of an event of a narrower place: from now on nothing it says may go to wider ones."""
    narrow = dispatch.event.data.readers
    wider = [one for one in READERS if level_of(one) < level_of(narrow)]
    if not wider:
        return
    # Each of the statement's places for a level has one, the widest where there are fewer.
    levels = dict(zip(_WIDER, [*wider, *wider[:1] * len(_WIDER)], strict=False))
    _NARROW.run(connection, conversation=dispatch.conversation, narrow=narrow, now=now, **levels)
    if dispatch.event.data.kind.startswith("message."):
        # All messages of a thread have the same readers: it is the place that is narrower than it seemed.
        _NARROW_PLACE.run(
            connection,
            conversation=dispatch.conversation,
            named=dispatch.event.connection,
            about=plain(dispatch.event.subject, limit=500),
            narrow=narrow,
            **levels,
        )


def forget_session(connection: Connection, conversation: str, session_id: str) -> None:
    """The conversation's session is gone for good: the next run makes a new one."""
    conversations = table(ConversationRow)
    connection.execute(
        update(conversations)
        .where(and_(conversations.c.key == conversation, conversations.c.session_id == session_id))
        .values(session_id=None, session_cost_cents=0, updated_at=db_now())
    )


def charge_conversation(connection: Connection, conversation: str, session_cost_cents: int) -> int:
    """Set the session's cost so far and return what was added since the last run."""
    before: int | None = _COST.run(connection, conversation=conversation).scalar_one_or_none()
    _CHARGE.run(connection, conversation=conversation, cents=session_cost_cents, now=read_clock(connection))
    return max(0, session_cost_cents - (before or 0))
