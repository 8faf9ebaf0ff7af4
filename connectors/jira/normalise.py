"""From a verified webhook to facts. Pure: no socket, no clock, no fetching of what the payload leaves out.

What decides here: Cloud's comment events have no `user`; Data Center sends two webhooks per comment, one of
them without issue; Cloud may tell of one comment twice, which the semantic key folds; workflows differ, so
the changelog counts and not the name of the event.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from connectors.base import Fact, Identity, Normalised, Outcome, Request
from connectors.body import body_hash, get, id_at, read_object, text_at
from connectors.jira import changes, payloads
from connectors.jira.marks import without_marks
from connectors.jira.mentions import mentions
from schemas.event import Actor, Kind, Subject, Visibility

IDENTIFIER_HEADER: Final = "x-atlassian-webhook-identifier"
MAX_IDENTIFIER: Final = 200
MAX_REASON: Final = 100

_TOLD_BY_UPDATE: Final = ("worklog_", "attachment_", "issuelink_")
"""Events that `issue_updated` tells of as well, with the issue and a changelog."""
_COMMENT_EVENTS: Final[Mapping[str, Kind]] = {
    "comment_created": "comment.created",
    "comment_updated": "comment.edited",
    "comment_deleted": "comment.deleted",
}
_COMMENT_NAMES: Final[Mapping[str, Kind]] = {
    "issue_commented": "comment.created",
    "issue_comment_edited": "comment.edited",
    "issue_comment_deleted": "comment.deleted",
}
_OTHER_SUBJECTS: Final = ("sprint", "version", "board", "project", "issuetype", "filter", "user")

_Reading = tuple[tuple[Fact, ...], str | None]
"""Facts and the reason; the reason is needed where there are none, or only one of kind `other`."""


@dataclass(frozen=True, slots=True)
class _Delivery:
    """What every reading needs of one webhook."""

    body: Mapping[str, Any]
    digest: str
    """Hash of the raw body: the identity of facts to which Jira gives none."""
    event: str
    """`webhookEvent` without the `jira:` that only some events carry; empty when missing."""
    issue: object
    subject: Subject | None
    """The issue, where the webhook names one."""
    site: payloads.Site
    identity: Identity

    @property
    def name(self) -> str:
        """`issue_event_type_name`; older Data Centers leave it out."""
        return text_at(self.body, "issue_event_type_name") or ""

    @property
    def issue_id(self) -> str:
        """Stable when an issue moves to another project and gets another key."""
        return id_at(self.issue, "id") or (self.subject.key if self.subject else "")

    def key(self, *parts: str) -> str:
        """A semantic key. Changing how it is built breaks deduplication."""
        return ":".join((self.site.host, *(part[: payloads.MAX_KEY] for part in parts)))

    def stamp(self) -> str:
        """When it happened, as Jira wrote it; the body's hash where it did not."""
        return id_at(self.body, "timestamp") or self.digest


def normalise(request: Request, *, identity: Identity) -> Normalised:
    """Read a verified webhook. Raises UnreadableError if the body is not a JSON object."""
    digest = body_hash(request.body)
    identifier = _identifier(request)
    if not request.body.strip():
        return Normalised(
            outcome=Outcome.IGNORED,
            delivery_key=identifier or digest,
            reason="the body is empty: untick 'Exclude body' at the webhook in Jira",
        )
    delivery = _delivery(read_object(request.body), digest, identity)
    facts, reason = _read(delivery)
    outcome = Outcome.HANDLED if facts else Outcome.IGNORED
    if facts and all(fact.kind == "other" for fact in facts):
        outcome = Outcome.UNSUPPORTED
    return Normalised(
        outcome=outcome,
        delivery_key=identifier or _delivery_key(delivery),
        facts=facts,
        payload=delivery.body,
        reason=reason,
    )


def _delivery(body: Mapping[str, Any], digest: str, identity: Identity) -> _Delivery:
    where = payloads.site(body)
    issue = get(body, "issue")
    if issue is None and payloads.is_bare_issue(body):
        issue = body
    return _Delivery(
        body=body,
        digest=digest,
        event=(text_at(body, "webhookEvent") or "").removeprefix("jira:"),
        issue=issue,
        subject=payloads.subject(issue, where=where),
        site=where,
        identity=identity,
    )


def _identifier(request: Request) -> str | None:
    """Atlassian's own: unique per site, the same on every retry. Sent by Cloud and recent Data Centers."""
    given = request.headers.get(IDENTIFIER_HEADER, "").strip()
    return given if 0 < len(given) <= MAX_IDENTIFIER else None


def _delivery_key(delivery: _Delivery) -> str:
    """Hash of what names a classic webhook; of the raw body where that would not tell two apart."""
    body = delivery.body
    issue, comment, stamp = id_at(body, "issue", "id"), id_at(body, "comment", "id"), id_at(body, "timestamp")
    if not delivery.event or stamp is None or (issue is None and comment is None):
        return delivery.digest
    parts = (delivery.event, issue, comment, stamp, id_at(body, "changelog", "id"))
    return hashlib.sha256(
        "\n".join(part or "" for part in parts).encode("utf-8", "surrogatepass")
    ).hexdigest()


def _read(delivery: _Delivery) -> _Reading:
    event, about = delivery.event, delivery.subject
    if event in _COMMENT_EVENTS:
        if about is None:
            return (
                (),
                f"{event} without an issue: Data Center tells the same comment again as jira:issue_updated",
            )
        return (_comment(delivery, about, _COMMENT_EVENTS[event]),), None
    if event.startswith(_TOLD_BY_UPDATE):
        return (), f"{event[:MAX_REASON]}: what changed on the issue comes as jira:issue_updated"
    if event.startswith("issue_property_"):
        return (), f"{event[:MAX_REASON]}: properties are written by programs for programs"
    if about is not None:
        if event == "issue_updated":
            return _updated(delivery, about)
        if event in {"issue_created", "issue_deleted"}:
            kind: Kind = "issue.opened" if event == "issue_created" else "issue.deleted"
            return (_issue(delivery, about, kind, delivery.key("issue", delivery.issue_id, kind)),), None
        if not event:
            return _nameless(delivery, about), None
    reason = (
        f"no reading for the webhookEvent {event[:MAX_REASON]}" if event else "neither webhookEvent nor issue"
    )
    return (_other(delivery),), reason


def _updated(delivery: _Delivery, about: Subject) -> _Reading:
    """`jira:issue_updated`: a comment, or changed fields, or both (a comment made on a transition)."""
    facts: list[Fact] = []
    entries = changes.items(delivery.body)
    kind = _comment_kind(delivery)
    if kind is not None:
        facts.append(_comment(delivery, about, kind))
    elif delivery.name in _COMMENT_NAMES and not entries:
        return (), f"{delivery.name} without the comment: comment_created or comment_updated tells it"
    if entries:
        change = id_at(delivery.body, "changelog", "id")
        name = ("changelog", change) if change else ("at", delivery.stamp())
        for each in changes.kinds(delivery.body, delivery.issue, entries):
            key = delivery.key("issue", delivery.issue_id, *name, each)
            facts.append(_issue(delivery, about, each, key, changed=changes.changed(entries)))
    if not facts:
        each = changes.named_kind(delivery.name)
        facts.append(
            _issue(
                delivery, about, each, delivery.key("issue", delivery.issue_id, "at", delivery.stamp(), each)
            )
        )
    return tuple(facts), None


def _comment_kind(delivery: _Delivery) -> Kind | None:
    """What `jira:issue_updated` says of a comment. Older Data Centers give no name: then creation and last
    edit are compared.
    """
    comment = get(delivery.body, "comment")
    kind = _COMMENT_NAMES.get(delivery.name)
    if not isinstance(comment, dict) or not comment:
        return kind if kind == "comment.deleted" else None
    if kind is not None:
        return kind
    created, updated = payloads.moment(comment, "created"), payloads.moment(comment, "updated")
    return "comment.edited" if created and updated and created != updated else "comment.created"


def _nameless(delivery: _Delivery, about: Subject) -> tuple[Fact, ...]:
    """Automation ("Send web request"), a workflow's post function, or a service desk rule: an issue, and no
    word of what happened. It is an update; only a transition says more. The same state sent twice is one
    fact.
    """
    entries = changes.items(delivery.body)
    stamp = (
        id_at(delivery.body, "timestamp")
        or payloads.moment(delivery.issue, "fields", "updated")
        or delivery.digest
    )
    said = text_at(delivery.body, "comment")
    return tuple(
        _issue(
            delivery,
            about,
            kind,
            delivery.key("issue", delivery.issue_id, "sent", stamp, kind),
            changed=changes.changed(entries),
            text=payloads.rich_text(said) if said else None,
        )
        for kind in changes.kinds(delivery.body, delivery.issue, entries) or ("issue.updated",)
    )


def _issue(
    delivery: _Delivery,
    about: Subject,
    kind: Kind,
    key: str,
    *,
    changed: Mapping[str, Any] | None = None,
    text: str | None = None,
) -> Fact:
    words = text if text is not None else payloads.rich_text(get(delivery.issue, "fields", "description"))
    return Fact(
        kind=kind,
        actor=payloads.actor(get(delivery.body, "user"), identity=delivery.identity),
        subject=about,
        key=key,
        account=delivery.site.host,
        occurred_at=payloads.occurred(delivery.body, delivery.issue, "fields", "updated"),
        text=words,
        labels=payloads.labels(delivery.issue),
        changed=changed if changed is not None else changes.changed(changes.items(delivery.body)),
        mentions=mentions(words),
        visibility=_visibility(delivery),
        address=_address(delivery),
    )


def _comment(delivery: _Delivery, about: Subject, kind: Kind) -> Fact:
    comment = get(delivery.body, "comment")
    number = id_at(comment, "id")
    address = {**_address(delivery), **payloads.restriction(comment)}
    if number is None:
        key = delivery.key("issue", delivery.issue_id, "at", delivery.stamp(), kind)
    else:
        number = number[: payloads.MAX_KEY]
        address["comment_id"] = number
        # A comment is created once and deleted once: these need no time, so that all copies fold.
        edition = (
            (payloads.moment(comment, "updated") or delivery.stamp(),) if kind == "comment.edited" else ()
        )
        key = delivery.key("comment", number, kind, *edition)
    words, marked = without_marks(comment, payloads.rich_text(get(comment, "body")))
    return Fact(
        kind=kind,
        actor=_commenter(delivery, comment, kind),
        subject=about,
        key=key,
        account=delivery.site.host,
        occurred_at=payloads.occurred(delivery.body, comment, "updated"),
        text=words,
        labels=payloads.labels(delivery.issue),
        mentions=mentions(words),
        visibility=_visibility(delivery),
        address=address,
        artefact=f"comment:{number}" if number else None,
        marked=marked,
    )


def _commenter(delivery: _Delivery, comment: object, kind: Kind) -> Actor:
    """`user` where there is one; else the author of what was written. Who deletes is not told by Cloud."""
    person = get(delivery.body, "user")
    if person is None and kind == "comment.created":
        person = get(comment, "author")
    elif person is None and kind == "comment.edited":
        person = get(comment, "updateAuthor")
    return payloads.actor(person, identity=delivery.identity)


def _other(delivery: _Delivery) -> Fact:
    about = delivery.subject or _other_subject(delivery)
    return Fact(
        kind="other",
        actor=payloads.actor(get(delivery.body, "user"), identity=delivery.identity),
        subject=about,
        key=delivery.key("other", delivery.digest),
        account=delivery.site.host,
        occurred_at=payloads.occurred(delivery.body, delivery.issue, "fields", "updated"),
        labels=payloads.labels(delivery.issue),
        visibility=_visibility(delivery),
        address=_address(delivery),
    )


def _other_subject(delivery: _Delivery) -> Subject:
    """The first thing that the payload names; the site itself where it names none."""
    for kind in _OTHER_SUBJECTS:
        thing = get(delivery.body, kind)
        number = id_at(thing, "id") or id_at(thing, "accountId") or id_at(thing, "key")
        if number is not None:
            title = text_at(thing, "name") or text_at(thing, "displayName")
            return Subject(
                kind=kind,
                key=f"{kind}/{number[: payloads.MAX_KEY - 20]}",
                title=title[: payloads.MAX_KEY] if title else None,
            )
    return Subject(kind="site", key=delivery.site.host or "unknown")


def _visibility(delivery: _Delivery) -> Visibility:
    """Restricted: an issue under a security level, or a comment that not everybody may read."""
    secured = isinstance(get(delivery.issue, "fields", "security"), dict)
    return "restricted" if secured or payloads.restricted(get(delivery.body, "comment")) else "private"


def _address(delivery: _Delivery) -> dict[str, str]:
    return {"issue_id": delivery.issue_id[: payloads.MAX_KEY]} if delivery.issue_id else {}
