"""How subjects hang together: what a conversation's subjects name, and which conversation a subject belongs to.

Whoever learns a link says how it was learnt and whether it is proven; only what is proven routes anything.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, Select, Update, and_, bindparam, func, select, update

from schemas import references
from schemas.policy.approval import ASK_OUTPUT, EDIT_OUTPUT
from schemas.references import How
from schemas.result import Receipt, Result
from storage.rows import insert_new, plain, table
from storage.statements import Fixed
from storage.tables import ConversationRow, ConversationSubject, LinkRow, PlaceRow

MAX_LINKS: Final = 200
"""Of one conversation: whoever can write into one of its subjects could fill the table otherwise."""
OURS: Final = "triggerhub"
_STRENGTH: Final[Mapping[str, int]] = {"origin": 0, "posted": 0, "branch": 1}
_MADE_OF: Final = ("title", "body", "text", "summary", "description")
"""Arguments of outputs that hold text."""


@dataclass(frozen=True, slots=True)
class Link:
    """A subject of a conversation names another."""

    reference: str
    how: How
    connection: str
    subject: str
    proven: bool
    by: str
    evidence: str


@dataclass(frozen=True, slots=True)
class Ownership:
    """A conversation that owns a subject."""

    conversation: str
    rule: str
    session_id: str | None
    how: str = "origin"
    reference: str | None = None
    """Where it was recognised by a link only now: the link. Else None."""
    visibility: str = "private"
    """Of the place where the conversation began."""
    is_origin: bool = False
    """The subject is the one it began with."""


def _conversation_columns() -> list[Any]:
    rows = table(ConversationRow)
    return [
        rows.c.key,
        rows.c.rule,
        rows.c.session_id,
        rows.c.visibility,
        rows.c.connection,
        rows.c.subject,
        rows.c.updated_at,
    ]


def _direct() -> Select[Any]:
    subjects, conversations = table(ConversationSubject), table(ConversationRow)
    return (
        select(*_conversation_columns(), subjects.c.how)
        .join(subjects, subjects.c.conversation == conversations.c.key)
        .where(and_(subjects.c.connection == bindparam("named"), subjects.c.subject == bindparam("about")))
    )


def _linked() -> Select[Any]:
    links, conversations = table(LinkRow), table(ConversationRow)
    return (
        select(*_conversation_columns(), links.c.how, links.c.reference)
        .join(links, links.c.conversation == conversations.c.key)
        .where(and_(links.c.reference == bindparam("name"), links.c.proven.is_(True)))
    )


def _count() -> Select[Any]:
    rows = table(LinkRow)
    return select(func.count()).select_from(rows).where(rows.c.conversation == bindparam("about"))


def _prove() -> Update:
    rows = table(LinkRow)
    claimed = and_(
        rows.c.reference == bindparam("name"),
        rows.c.conversation == bindparam("about"),
        rows.c.proven.is_(False),
    )
    values = ("how", "connection", "subject", "proven", "by", "evidence")
    return update(rows).where(claimed).values({name: bindparam(f"new_{name}") for name in values})


_DIRECT: Final = Fixed(_direct)
_COUNT: Final = Fixed(_count)
_PROVE: Final = Fixed(_prove)
_LINKED: Final = Fixed(_linked)


def owners_of(
    connection: Connection, *, connection_name: str, subject: str, names: Collection[str] = ()
) -> list[Ownership]:
    """Conversations that own the subject: by itself first, then by a proven link to one of its `names`.

    Among equals the most recently used comes first.
    """
    given = plain(subject, limit=500)
    found: list[tuple[tuple[int, float], Ownership]] = []
    known: set[str] = set()
    for row in _DIRECT.run(connection, named=connection_name, about=given).mappings():
        is_origin = (row["connection"], row["subject"]) == (connection_name, given)
        found.append((_rank(row), _ownership(row, is_origin=is_origin)))
        known.add(row["key"])
    for name in sorted(names):
        for row in _LINKED.run(connection, name=name).mappings():
            if row["key"] not in known:
                known.add(row["key"])
                found.append((_rank(row), _ownership(row, reference=row["reference"])))
    return [one for _, one in sorted(found, key=lambda pair: pair[0])]


def _rank(row: Mapping[Any, Any]) -> tuple[int, float]:
    return _STRENGTH.get(row["how"], 2), -row["updated_at"]


def _ownership(row: Mapping[Any, Any], *, is_origin: bool = False, reference: str | None = None) -> Ownership:
    return Ownership(
        conversation=row["key"],
        rule=row["rule"],
        session_id=row["session_id"],
        how=row["how"],
        reference=reference,
        visibility=row["visibility"],
        is_origin=is_origin,
    )


def link_subject(
    connection: Connection,
    conversation: str,
    *,
    connection_name: str,
    subject: str,
    now: float,
    how: How = "origin",
    reference: str | None = None,
) -> None:
    """`subject` belongs to `conversation` from now on: events on it are follow-ups."""
    row = {
        "connection": connection_name,
        "subject": plain(subject, limit=500),
        "conversation": conversation,
        "created_at": now,
        "how": how,
        "reference": reference,
    }
    insert_new(connection, ConversationSubject, [row])


def learn(connection: Connection, conversation: str, links: Sequence[Link], *, now: float) -> int:
    """Keep links of a conversation; one that was only claimed becomes proven. Return how many are new."""
    if not links:
        return 0
    count: int = _COUNT.run(connection, about=conversation).scalar_one()
    added = 0
    for link in links:
        values = {
            "how": link.how,
            "connection": link.connection,
            "subject": plain(link.subject, limit=500),
            "proven": link.proven,
            "by": link.by,
            "evidence": plain(link.evidence, limit=500),
        }
        name = plain(link.reference, limit=references.MAX_REFERENCE)
        if link.proven:
            changed = {f"new_{column}": value for column, value in values.items()}
            _PROVE.run(connection, name=name, about=conversation, **changed)
        if count + added >= MAX_LINKS:
            break
        row = {"reference": name, "conversation": conversation, **values, "created_at": now}
        added += bool(insert_new(connection, LinkRow, [row]))
    return added


def learn_from_post(connection: Connection, result: Result, receipt: Receipt, *, now: float) -> None:
    """What one of our own posts links: the thing it made, and the subjects that its text names."""
    made = receipt.subject
    if made:
        link_subject(
            connection,
            result.conversation,
            connection_name=result.connection,
            subject=made,
            now=now,
            how="posted",
        )
    if result.output in {ASK_OUTPUT, EDIT_OUTPUT}:
        return  # what it quotes is not said yet
    at = {"connection": result.connection, "subject": made or result.origin.subject.key}
    found: dict[str, How] = {}
    if made:
        # The same subject may be told of through another connection, so it is known by its name and address too.
        names = [
            references.of_key(made) if "#" in made else None,
            references.of_url(receipt.url) if receipt.url else None,
        ]
        found |= dict.fromkeys((name for name in names if name), "posted")
    arguments = result.arguments
    head, repository = arguments.get("head"), result.target.get("repository")
    if result.output == "open_pull_request" and isinstance(head, str) and isinstance(repository, str):
        found.setdefault(references.of_branch(repository, head), "branch")
        for one in references.in_branch(head):
            found.setdefault(one.name, one.how)
    url = arguments.get("url")
    if isinstance(url, str) and (target := references.of_url(url)) is not None:
        found.setdefault(target, "remote_link")
    for name in _MADE_OF:
        text = arguments.get(name)
        for one in references.in_text(text) if isinstance(text, str) else ():
            found.setdefault(one.name, one.how)
    learn(
        connection,
        result.conversation,
        [
            Link(reference=name, how=how, proven=True, by=OURS, evidence=result.id, **at)
            for name, how in found.items()
        ],
        now=now,
    )


def note_place(
    connection: Connection, *, connection_name: str, container: str, visibility: str, now: float
) -> None:
    """Who reads a place, as an event of it says."""
    rows = table(PlaceRow)
    here = and_(rows.c.connection == connection_name, rows.c.container == container)
    known = connection.execute(select(rows.c.visibility).where(here)).scalar_one_or_none()
    if known == visibility:
        return
    values = {"visibility": visibility, "updated_at": now}
    if known is None:
        insert_new(connection, PlaceRow, [{"connection": connection_name, "container": container, **values}])
    else:
        connection.execute(update(rows).where(here).values(**values))


def readers_of(connection: Connection, *, connection_name: str, container: str) -> str | None:
    """Visibility of a place, where an event of it was seen."""
    rows = table(PlaceRow)
    found: str | None = connection.execute(
        select(rows.c.visibility).where(
            and_(rows.c.connection == connection_name, rows.c.container == plain(container, limit=500))
        )
    ).scalar_one_or_none()
    return found


def taint_of(connection: Connection, conversation: str) -> str:
    """The narrowest place of which anything was told to a conversation's sessions."""
    rows = table(ConversationRow)
    found = connection.execute(select(rows.c.taint).where(rows.c.key == conversation)).scalar_one_or_none()
    return found or "private"


@dataclass(frozen=True, slots=True)
class Graph:
    """A conversation as people see it."""

    visibility: str
    taint: str
    subjects: list[dict[str, Any]]
    links: list[dict[str, Any]]


def graph_of(connection: Connection, conversation: str) -> Graph | None:
    """The subjects of a conversation and the links learnt from them, each in order. None: no such conversation."""
    rows, subjects, links = table(ConversationRow), table(ConversationSubject), table(LinkRow)
    own = connection.execute(
        select(rows.c.visibility, rows.c.taint).where(rows.c.key == conversation)
    ).one_or_none()
    if own is None:
        return None
    belonging = (
        select(subjects)
        .where(subjects.c.conversation == conversation)
        .order_by(subjects.c.created_at, subjects.c.connection, subjects.c.subject)
    )
    named = (
        select(links)
        .where(links.c.conversation == conversation)
        .order_by(links.c.created_at, links.c.reference)
    )
    return Graph(
        visibility=own.visibility,
        taint=own.taint,
        subjects=[dict(row) for row in connection.execute(belonging).mappings()],
        links=[dict(row) for row in connection.execute(named).mappings()],
    )
