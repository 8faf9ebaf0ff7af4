"""Pull requests, reviews and the comments in review threads. Must not look at CI."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from connectors.base import Fact
from connectors.body import get, id_at, text_at, time_at
from connectors.github.actors import app_of, read_actor, wrote_it
from connectors.github.changes import read_changes, read_edits, value
from connectors.github.issues import comment_fact, stamp
from connectors.github.mentions import read_mentions
from connectors.github.payloads import Delivery, Ignored, Reading, Unsupported
from connectors.github.subjects import (
    account_of,
    address,
    fact_key,
    labels_of,
    number_of,
    numbered,
    visibility_of,
    words,
)
from schemas.event import Kind, Trust

_PULLS: Final[Mapping[str, Kind]] = {
    "opened": "pr.opened",
    "synchronize": "pr.updated",
    "edited": "pr.updated",
    "ready_for_review": "pr.updated",
    "converted_to_draft": "pr.updated",
    "reopened": "pr.updated",
    "closed": "pr.closed",
    "labeled": "pr.labeled",
    "unlabeled": "pr.updated",
    "assigned": "pr.updated",
    "unassigned": "pr.updated",
    "review_requested": "pr.review_requested",
    "review_request_removed": "pr.updated",
    "milestoned": "pr.updated",
    "demilestoned": "pr.updated",
    "locked": "pr.updated",
    "unlocked": "pr.updated",
    "auto_merge_enabled": "pr.updated",
    "auto_merge_disabled": "pr.updated",
    "enqueued": "pr.updated",
    "dequeued": "pr.updated",
}
_REVIEWS: Final[Mapping[str, Kind]] = {
    "submitted": "review.submitted",
    "edited": "comment.edited",
    "dismissed": "pr.updated",
}
_REVIEW_COMMENTS: Final[Mapping[str, Kind]] = {
    "created": "review_comment.created",
    "edited": "comment.edited",
    "deleted": "comment.deleted",
}


def read_pull(delivery: Delivery) -> Reading:
    """`pull_request`: one fact about a pull request."""
    kind = _PULLS.get(delivery.action)
    if kind is None:
        return Unsupported(f"no reader for {delivery.name}")
    pull = delivery.part("pull_request")
    if any(delivery.part(name) for name in ("review", "comment", "thread")):
        return Unsupported(f"the header says {delivery.event} but the body carries a review or a comment")
    subject = numbered(delivery, pull, "pr")
    if subject is None:
        return Unsupported(f"{delivery.name} without repository.full_name or pull_request.number")
    merged = delivery.action == "closed" and get(pull, "merged") is True
    opened = delivery.action == "opened"
    changed = read_changes(delivery, pull)
    text = words(text_at(pull, "body"))
    times = {"opened": "created_at", "closed": "merged_at" if merged else "closed_at"}
    return Fact(
        kind="pr.merged" if merged else kind,
        actor=read_actor(
            delivery, wrote=pull, otherwise=_trust(delivery, pull), apps=(app_of(pull),) if opened else ()
        ),
        subject=subject,
        key=fact_key(delivery.name, id_at(pull, "id") or subject.key, stamp(delivery, pull), changed),
        account=account_of(delivery.body),
        occurred_at=time_at(pull, times.get(delivery.action, "updated_at")) or time_at(pull, "updated_at"),
        text=text,
        labels=labels_of(pull),
        changed=changed,
        mentions=read_mentions(text) if opened or "body" in changed else (),
        visibility=visibility_of(delivery.body),
        address=_address(delivery, pull),
        artefact=f"pr:{subject.key}" if opened else None,
    )


def read_review(delivery: Delivery) -> Reading:
    """`pull_request_review`: a verdict, its rewording, or its dismissal."""
    kind = _REVIEWS.get(delivery.action)
    if kind is None:
        return Unsupported(f"no reader for {delivery.name}")
    pull, review = delivery.part("pull_request"), delivery.part("review")
    subject, ident = numbered(delivery, pull, "pr"), id_at(review, "id")
    if subject is None or ident is None:
        return Unsupported(f"{delivery.name} without repository.full_name, pull_request.number or review.id")
    state = (text_at(review, "state") or "").lower() or None
    is_edit = delivery.action == "edited"
    changed = read_edits(delivery, review) if is_edit else {"review": value(None, state)}
    text = words(text_at(review, "body"))
    url = text_at(review, "html_url")
    submitted = delivery.action == "submitted"
    return Fact(
        kind=kind,
        actor=read_actor(
            delivery,
            wrote=_reviewed_by(delivery, review, pull),
            otherwise=_review_trust(delivery, pull),
            apps=(app_of(review),) if submitted else (),
        ),
        subject=subject,
        key=fact_key(delivery.name, ident, None if submitted else text_at(review, "updated_at"), changed),
        account=account_of(delivery.body),
        occurred_at=time_at(review, "submitted_at") if submitted else time_at(review, "updated_at"),
        text=text,
        labels=labels_of(pull),
        changed=changed,
        mentions=read_mentions(text) if delivery.action != "dismissed" else (),
        visibility=visibility_of(delivery.body),
        links=(url,) if url else (),
        address=_address(delivery, pull, review_id=ident),
        artefact=f"review:{ident}",
    )


def read_review_comment(delivery: Delivery) -> Reading:
    """`pull_request_review_comment`: a note on a line. Replies go to the first comment of its thread."""
    kind = _REVIEW_COMMENTS.get(delivery.action)
    if kind is None:
        return Unsupported(f"no reader for {delivery.name}")
    pull, comment = delivery.part("pull_request"), delivery.part("comment")
    subject, ident = numbered(delivery, pull, "pr"), id_at(comment, "id")
    if subject is None or ident is None:
        return Unsupported(f"{delivery.name} without repository.full_name, pull_request.number or comment.id")
    return comment_fact(
        delivery,
        kind,
        subject,
        artefact=f"review_comment:{ident}",
        labels=labels_of(pull),
        reply=_address(
            delivery,
            pull,
            review_comment_id=ident,
            thread_id=id_at(comment, "in_reply_to_id") or ident,
            review_id=id_at(comment, "pull_request_review_id"),
        ),
    )


def read_review_thread(delivery: Delivery) -> Reading:
    """`pull_request_review_thread`: resolving says nothing that needs an answer."""
    if delivery.action in {"resolved", "unresolved"}:
        return Ignored("resolving a review thread says nothing that needs an answer")
    return Unsupported(f"no reader for {delivery.name}")


def _address(delivery: Delivery, pull: Mapping[str, Any], **extra: str | None) -> dict[str, str]:
    return address(
        delivery,
        number=number_of(pull),
        head_sha=text_at(pull, "head", "sha"),
        own_branch=text_at(pull, "head", "ref") if _is_in_repository(pull) else None,
        **extra,
    )


def _trust(delivery: Delivery, pull: Mapping[str, Any]) -> Trust:
    """What an action on another's pull request proves.

    Pushing to its branch needs write access only where the branch is in this repository; a pull request
    also closes when its fork is deleted, by whoever owned the fork. Everything else needs triage rights or
    more.
    """
    match delivery.action:
        case "opened":
            return "unknown"
        case "synchronize":
            return "collaborator" if _is_in_repository(pull) else "unknown"
        case "closed" if get(pull, "merged") is not True and get(pull, "head", "repo") is None:
            return "unknown"
        case _:
            return "collaborator"


def _review_trust(delivery: Delivery, pull: Mapping[str, Any]) -> Trust:
    """A push may dismiss reviews by itself, so a dismissal proves no more than a push does."""
    if delivery.action == "submitted":
        return "unknown"
    if delivery.action == "dismissed" and not _is_in_repository(pull):
        return "unknown"
    return "collaborator"


def _reviewed_by(delivery: Delivery, review: Mapping[str, Any], pull: Mapping[str, Any]) -> Mapping[str, Any]:
    """The object whose author the sender is: the review, or the pull request whose push dismissed it."""
    return pull if delivery.action == "dismissed" and not wrote_it(delivery, review) else review


def _is_in_repository(pull: Mapping[str, Any]) -> bool:
    head, base = id_at(pull, "head", "repo", "id"), id_at(pull, "base", "repo", "id")
    return head is not None and head == base
