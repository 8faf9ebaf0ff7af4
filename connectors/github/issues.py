"""Issues and the comments under issues, pull requests and commits. Must not look at CI or code."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from connectors.base import Fact
from connectors.body import get, id_at, text_at, time_at
from connectors.github.actors import app_of, read_actor
from connectors.github.changes import read_changes, read_edits
from connectors.github.mentions import read_mentions
from connectors.github.payloads import Delivery, Ignored, Reading, Unsupported
from connectors.github.subjects import (
    account_of,
    address,
    commit,
    fact_key,
    labels_of,
    number_of,
    numbered,
    visibility_of,
    words,
)
from schemas.event import Kind, Subject, Trust

_ISSUES: Final[Mapping[str, Kind]] = {
    "opened": "issue.opened",
    "edited": "issue.updated",
    "labeled": "issue.labeled",
    "unlabeled": "issue.updated",
    "assigned": "issue.assigned",
    "unassigned": "issue.updated",
    "closed": "issue.closed",
    "reopened": "issue.reopened",
    "deleted": "issue.deleted",
    "transferred": "issue.updated",
    "milestoned": "issue.updated",
    "demilestoned": "issue.updated",
    "typed": "issue.updated",
    "untyped": "issue.updated",
    "locked": "issue.updated",
    "unlocked": "issue.updated",
}
_COMMENTS: Final[Mapping[str, Kind]] = {
    "created": "comment.created",
    "edited": "comment.edited",
    "deleted": "comment.deleted",
}
_PINNING: Final = frozenset({"pinned", "unpinned"})
ONCE: Final = frozenset({"opened", "created", "deleted", "transferred", "submitted"})
"""Actions that happen to an object one time. Their key has no time in it, because two hooks may show
different ones.
"""


def read_issue(delivery: Delivery) -> Reading:
    """`issues`: one fact about an issue."""
    if delivery.action in _PINNING:
        return Ignored("pinning changes nothing in the issue")
    kind = _ISSUES.get(delivery.action)
    if kind is None:
        return Unsupported(f"no reader for {delivery.name}")
    issue = delivery.part("issue")
    if delivery.part("comment"):
        return Unsupported(f"the header says {delivery.event} but the body carries a comment")
    subject = numbered(delivery, issue, "issue")
    if subject is None:
        return Unsupported(f"{delivery.name} without repository.full_name or issue.number")
    opened = delivery.action == "opened"
    changed = read_changes(delivery, issue)
    text = words(text_at(issue, "body"))
    told = opened or "body" in changed
    return Fact(
        kind=kind,
        actor=read_actor(
            delivery, wrote=issue, otherwise=_trust(delivery), apps=(app_of(issue),) if opened else ()
        ),
        subject=subject,
        key=fact_key(delivery.name, _id(issue, subject), stamp(delivery, issue), changed),
        account=account_of(delivery.body),
        occurred_at=time_at(issue, "created_at" if opened else "updated_at"),
        text=text,
        labels=labels_of(issue),
        changed=changed,
        mentions=read_mentions(text) if told else (),
        visibility=visibility_of(delivery.body),
        links=_moved(delivery),
        address=address(delivery, number=number_of(issue)),
        artefact=f"issue:{subject.key}" if opened else None,
    )


def read_issue_comment(delivery: Delivery) -> Reading:
    """`issue_comment`: a comment in the conversation of an issue or, where `issue.pull_request` is there, a
    PR.
    """
    if delivery.action in _PINNING:
        return Ignored("pinning changes nothing in the comment")
    kind = _COMMENTS.get(delivery.action)
    if kind is None:
        return Unsupported(f"no reader for {delivery.name}")
    issue = delivery.part("issue")
    subject = numbered(delivery, issue, "pr" if get(issue, "pull_request") is not None else "issue")
    comment = delivery.part("comment")
    ident = id_at(comment, "id")
    if subject is None or ident is None:
        return Unsupported(f"{delivery.name} without repository.full_name, issue.number or comment.id")
    return comment_fact(
        delivery,
        kind,
        subject,
        artefact=f"comment:{ident}",
        labels=labels_of(issue),
        reply=address(delivery, number=number_of(issue), comment_id=ident),
    )


def read_commit_comment(delivery: Delivery) -> Reading:
    """`commit_comment`: a comment on a commit."""
    comment = delivery.part("comment")
    sha, ident = text_at(comment, "commit_id"), id_at(comment, "id")
    subject = commit(delivery, sha) if sha else None
    if delivery.action != "created" or subject is None or ident is None:
        return Unsupported(f"no reader for {delivery.name} of this shape")
    return comment_fact(
        delivery,
        "comment.created",
        subject,
        artefact=f"commit_comment:{ident}",
        reply=address(delivery, head_sha=sha, commit_comment_id=ident),
    )


def comment_fact(
    delivery: Delivery,
    kind: Kind,
    subject: Subject,
    *,
    artefact: str,
    reply: dict[str, str],
    labels: tuple[str, ...] = (),
    links: tuple[str, ...] = (),
) -> Fact:
    """A fact about the object under `comment`, whoever's conversation it stands in.

    Somebody else's comment can only be edited or deleted with write access.
    """
    comment = delivery.part("comment")
    created = delivery.action == "created"
    changed = read_edits(delivery, comment) if delivery.action == "edited" else {}
    text = words(text_at(comment, "body"))
    url = text_at(comment, "html_url")
    times = {"created": "created_at", "edited": "updated_at"}
    return Fact(
        kind=kind,
        actor=read_actor(
            delivery,
            wrote=comment,
            otherwise="unknown" if created else "collaborator",
            apps=(app_of(comment),) if created else (),
        ),
        subject=subject,
        key=fact_key(delivery.name, artefact, stamp(delivery, comment), changed),
        account=account_of(delivery.body),
        occurred_at=time_at(comment, times[delivery.action]) if delivery.action in times else None,
        text=text,
        labels=labels,
        changed=changed,
        mentions=read_mentions(text),
        visibility=visibility_of(delivery.body),
        links=((url,) if url else ()) + links,
        address=reply,
        artefact=artefact,
    )


def stamp(delivery: Delivery, thing: Mapping[str, Any]) -> str | None:
    """The time that tells one action on an object from the next of its kind."""
    if delivery.action in ONCE:
        return None
    found = delivery.action == "closed" and text_at(thing, "closed_at")
    return found or text_at(thing, "updated_at")


def _trust(delivery: Delivery) -> Trust:
    """What an action on another's issue proves: everything but opening needs triage rights or more.

    A transferred issue is opened in its new place by whoever moved it, which takes write access to both.
    """
    if delivery.action == "opened" and not delivery.part("changes").get("old_issue"):
        return "unknown"
    return "collaborator"


def _moved(delivery: Delivery) -> tuple[str, ...]:
    """Key and address of the issue at the other end of a transfer."""
    changes = delivery.part("changes")
    links: list[str] = []
    for side in ("new", "old"):
        name = text_at(changes, f"{side}_repository", "full_name")
        number = number_of(get(changes, f"{side}_issue"))
        if name and number:
            links.append(f"{name}#{number}")
        url = text_at(changes, f"{side}_issue", "html_url")
        if url:
            links.append(url)
    return tuple(links)


def _id(thing: Mapping[str, Any], subject: Subject) -> str:
    return id_at(thing, "id") or id_at(thing, "node_id") or subject.key
