"""Conversations: made with their first dispatch, their session charged and forgotten. Who owns what is in `links`."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, and_, select, update

from schemas import references
from schemas.dispatch import Dispatch
from schemas.event import VISIBILITIES, level_of
from storage import links
from storage.clock import db_now
from storage.rows import insert_new, plain, table
from storage.tables import ConversationRow


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
                "visibility": event.data.visibility,
                "taint": event.data.visibility,
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
    conversations = table(ConversationRow)
    narrow = dispatch.event.data.visibility
    wider = [one for one in VISIBILITIES if level_of(one) < level_of(narrow)]
    connection.execute(
        update(conversations)
        .where(and_(conversations.c.key == dispatch.conversation, conversations.c.taint.in_(wider)))
        .values(taint=narrow, updated_at=now)
    )
    if dispatch.event.data.kind.startswith("message."):
        # All messages of a thread have the same readers: it is the place that is narrower than it seemed.
        connection.execute(
            update(conversations)
            .where(
                and_(
                    conversations.c.key == dispatch.conversation,
                    conversations.c.connection == dispatch.event.connection,
                    conversations.c.subject == plain(dispatch.event.subject, limit=500),
                    conversations.c.visibility.in_(wider),
                )
            )
            .values(visibility=narrow)
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
    conversations = table(ConversationRow)
    before = connection.execute(
        select(conversations.c.session_cost_cents).where(conversations.c.key == conversation)
    ).scalar_one_or_none()
    connection.execute(
        update(conversations)
        .where(conversations.c.key == conversation)
        .values(session_cost_cents=session_cost_cents, updated_at=db_now())
    )
    return max(0, session_cost_cents - (before or 0))


def owner_of_session(connection: Connection, session_ids: Sequence[str]) -> dict[str, str]:
    """Which conversation each of these sessions belongs to."""
    conversations = table(ConversationRow)
    query = select(conversations.c.session_id, conversations.c.key).where(
        conversations.c.session_id.in_(list(session_ids))
    )
    return {session_id: key for session_id, key in connection.execute(query)}  # noqa: C416 - rows are not tuples
