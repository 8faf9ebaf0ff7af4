"""Reading Sentry's webhooks into facts: a table from resource to function, from action to kind.

Pure. Raises UnreadableError and nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from connectors.base import Fact, Identity, Normalised, Outcome, Request, UnreadableError
from connectors.body import body_hash, epoch, get, id_at, read_object, text_at, time_at
from connectors.sentry import payloads, wording
from connectors.sentry.actors import read_actor
from connectors.sentry.payloads import MAX_KEY, MAX_TITLE, clean
from connectors.sentry.pulls import split_address
from connectors.shown import shown
from schemas.event import Actor, Kind, Subject
from schemas.marker import markers_in

RESOURCE_HEADER: Final = "sentry-hook-resource"
MAX_NAME: Final = 80
"""Characters of an unknown resource or action that a reason quotes."""

KINDS: Final[Mapping[str, Mapping[str, Kind]]] = {
    "issue": {
        "created": "issue.opened",
        "resolved": "issue.closed",
        "assigned": "issue.assigned",
        "ignored": "issue.updated",
        "archived": "issue.updated",
        "unresolved": "issue.reopened",
    },
    "event_alert": {"triggered": "alert.fired"},
    "metric_alert": {
        "critical": "alert.fired",
        "warning": "alert.fired",
        "open": "alert.fired",
        "resolved": "alert.resolved",
    },
    "activity_alert": {"triggered": "alert.fired"},
    "error": {"created": "alert.fired"},
    "comment": {"created": "comment.created", "updated": "comment.edited", "deleted": "comment.deleted"},
    "installation": {"created": "install.added", "deleted": "install.removed"},
}
"""Resource and action as Sentry sends them to kind. The actions of `seer` are open-ended and all `other`."""

_SEER: Final = re.compile(r"[a-z_]+_(?:started|completed|created|failed|errored)")


@dataclass(frozen=True, slots=True)
class _Delivery:
    """What every reading needs."""

    resource: str
    action: str
    kind: Kind
    body: Mapping[str, Any]
    data: Mapping[str, Any]
    actor: Actor
    organization: str | None
    installation: str | None
    sent_at: datetime | None
    digest: str
    """Hash of the raw body."""

    def key(self, *parts: str | None, once: bool) -> str:
        """The semantic key. What can happen again to the same thing (`once` false) is told apart by its
        content: Sentry repeats the same body on a retry and names no moment. Changing this breaks
        deduplication."""
        words = [f"{self.resource}.{self.action}", *(part or "-" for part in parts)]
        if not once:
            words.append(self.digest)
        return ":".join(words)

    def fact(self, subject: Subject, *, key: str, text: str, **more: Any) -> Fact:
        """A fact with what is the same for all of them. `at`: the payload's own time, else that of
        sending."""
        address = {
            "organization": self.organization,
            "installation": self.installation,
            "project": subject.container,
            **more.pop("address", {}),
        }
        return Fact(
            kind=self.kind,
            actor=self.actor,
            subject=subject,
            key=key,
            account=self.organization or self.installation or "",
            occurred_at=more.pop("at", None) or self.sent_at,
            text=text,
            address={name: value for name, value in address.items() if value},
            **more,
        )


Reading = Callable[[_Delivery], Fact | None]
"""None: the payload does not say which thing it is about."""


def normalise(request: Request, *, identity: Identity) -> Normalised:
    """Read one verified webhook. The body's hash under the installation is the delivery key: Request-ID is
    fresh on each of Sentry's retries and therefore no key."""
    digest = body_hash(request.body)
    resource = clean(request.headers.get(RESOURCE_HEADER), MAX_NAME)
    if not request.body.strip():
        if resource is not None:
            msg = f"the body of a Sentry webhook of resource {resource!r} is empty"
            raise UnreadableError(msg)
        return Normalised(
            Outcome.IGNORED, digest, reason="an empty request of a UI component; nothing happened"
        )
    body = read_object(request.body)
    owner = payloads.installation(body)
    delivery_key = f"{owner}:{digest}" if owner else digest
    ignored = _not_a_webhook(body) if resource is None else None
    if ignored is not None:
        return Normalised(Outcome.IGNORED, delivery_key, payload=body, reason=ignored)
    resource = resource or payloads.infer_resource(body)
    if resource is None:
        msg = "the header Sentry-Hook-Resource is missing, and `data` does not show which resource it is"
        raise UnreadableError(msg)
    return _read(
        resource, body, identity, delivery_key, sent_at=epoch(request.headers.get("sentry-hook-timestamp"))
    )


def _read(
    resource: str, body: Mapping[str, Any], identity: Identity, delivery_key: str, *, sent_at: datetime | None
) -> Normalised:
    action = clean(text_at(body, "action"), MAX_NAME) or ""
    kind = _kind(resource, action)
    data = get(body, "data")
    delivery = _Delivery(
        resource=resource,
        action=action,
        kind=kind or "other",
        body=body,
        data=data if isinstance(data, Mapping) else {},
        actor=read_actor(body, identity),
        organization=payloads.organization(body),
        installation=payloads.installation(body),
        sent_at=sent_at,
        digest=delivery_key.rpartition(":")[2],
    )
    fact = READINGS[resource](delivery) if kind is not None else None
    if fact is not None:
        return Normalised(Outcome.HANDLED, delivery_key, facts=(fact,), payload=body)
    reason = (
        f"resource {resource!r} with action {action!r} is not known yet"
        if kind is None
        else f"the payload of {resource}.{action} does not say which {resource.replace('_', ' ')} it is about"
    )
    return Normalised(
        Outcome.UNSUPPORTED, delivery_key, facts=(_other(delivery),), payload=body, reason=reason
    )


def _kind(resource: str, action: str) -> Kind | None:
    if resource == "seer":
        return "other" if _SEER.fullmatch(action) else None
    return KINDS.get(resource, {}).get(action)


def _not_a_webhook(body: Mapping[str, Any]) -> str | None:
    """Why a body without a resource header is known and means nothing, else None."""
    if "action" not in body and payloads.PLUGIN_KEYS & body.keys() and "project" in body:
        return "the project plugin 'WebHooks' does not sign its requests; use an internal integration instead"
    if "data" not in body and "installationId" in body:
        return "a request of a UI component (issue link or alert settings), not a webhook"
    return None


def _issue(delivery: _Delivery) -> Fact | None:
    issue = get(delivery.data, "issue")
    number = clean(id_at(issue, "id"), MAX_KEY)
    if number is None:
        return None
    subject = _issue_subject(delivery, issue, number)
    changed: dict[str, Any] = {}
    assignee = get(issue, "assignedTo")
    if delivery.action == "assigned":
        changed["assignee"] = {"to": _assignee(assignee)}
    elif delivery.action != "created":
        changed["status"] = {"to": text_at(issue, "status") or delivery.action}
    created = delivery.action == "created"
    return delivery.fact(
        subject,
        key=delivery.key(number, once=created),
        text=wording.issue_text(issue),
        at=time_at(issue, "firstSeen") if created else None,
        changed=changed,
        address={"issue": number, "short_id": clean(text_at(issue, "shortId"), MAX_TITLE)},
    )


def _activity_alert(delivery: _Delivery) -> Fact | None:
    issue = get(delivery.data, "issue")
    number = clean(id_at(issue, "id"), MAX_KEY)
    if number is None:
        return None
    activity = clean(text_at(delivery.data, "activity", "type"), MAX_TITLE)
    return delivery.fact(
        _issue_subject(delivery, issue, number),
        key=delivery.key(number, activity, once=False),
        text=wording.activity_text(delivery.data),
        address={"issue": number, "short_id": clean(text_at(issue, "shortId"), MAX_TITLE)},
    )


def _event(delivery: _Delivery) -> Fact | None:
    """One event of an issue: an alert rule that fired on it, or (resource `error`) the bare event."""
    event = get(delivery.data, "error" if delivery.resource == "error" else "event")
    number = payloads.issue_of_event(event)
    event_id = clean(id_at(event, "event_id") or id_at(event, "id"), MAX_TITLE)
    if number is None:
        return None
    rule = clean(
        text_at(delivery.data, "triggered_rule") or text_at(delivery.data, "issue_alert", "title"), MAX_TITLE
    )
    url = text_at(event, "web_url") or payloads.issue_url(delivery.organization, number)
    subject = Subject(
        kind="issue",
        key=number,
        url=url,
        title=clean(text_at(event, "title"), MAX_TITLE),
        container=payloads.project_of_event(event),
    )
    return delivery.fact(
        subject,
        # Two rules may fire on one event: they are two alerts. Without an event id only the content tells
        # them apart.
        key=delivery.key(number, event_id, rule, once=event_id is not None),
        text=wording.event_text(event, rule=rule),
        at=time_at(event, "datetime") or epoch(get(event, "timestamp")),
        address={"issue": number, "event": event_id},
    )


def _metric_alert(delivery: _Delivery) -> Fact | None:
    alert = get(delivery.data, "metric_alert")
    number = clean(id_at(alert, "id") or id_at(alert, "identifier"), MAX_TITLE)
    if number is None:
        return None
    projects = get(alert, "projects") or get(alert, "alert_rule", "projects")
    only = text_at(projects, 0) if isinstance(projects, list) and len(projects) == 1 else None
    title = text_at(delivery.data, "description_title") or text_at(alert, "title")
    subject = Subject(
        kind="alert",
        key=f"metric:{number}",
        url=text_at(delivery.data, "web_url"),
        title=clean(title or text_at(alert, "alert_rule", "name"), MAX_TITLE),
        container=clean(only, MAX_TITLE),
    )
    resolved = delivery.kind == "alert.resolved"
    at = (
        time_at(alert, "dateClosed")
        if resolved
        else time_at(alert, "dateDetected") or time_at(alert, "dateStarted")
    )
    return delivery.fact(
        subject, key=delivery.key(number, once=False), text=wording.metric_text(delivery.data), at=at
    )


def _comment(delivery: _Delivery) -> Fact | None:
    number = clean(id_at(delivery.data, "issue_id"), MAX_KEY)
    comment = clean(id_at(delivery.data, "comment_id"), MAX_TITLE)
    if number is None or comment is None:
        return None
    subject = Subject(
        kind="issue",
        key=number,
        url=payloads.issue_url(delivery.organization, number),
        container=clean(text_at(delivery.data, "project_slug"), MAX_TITLE),
    )
    said = text_at(delivery.data, "comment") or ""
    return delivery.fact(
        subject,
        key=delivery.key(number, comment, once=delivery.action != "updated"),
        # Before it is shortened: half a comment of HTML would show.
        text=wording.lines([shown(said)]),
        marked=markers_in(said),
        at=time_at(delivery.data, "timestamp"),
        address={"issue": number, "comment": comment},
        artefact=f"comment:{comment}",
    )


def _seer(delivery: _Delivery) -> Fact | None:
    number = clean(id_at(delivery.data, "group_id"), MAX_KEY)
    if number is None:
        return None
    run = clean(id_at(delivery.data, "run_id"), MAX_TITLE)
    subject = Subject(kind="issue", key=number, url=payloads.issue_url(delivery.organization, number))
    return delivery.fact(
        subject,
        key=delivery.key(number, run, once=False),
        text=wording.seer_text(delivery.data),
        links=tuple(_pull_links(delivery.data)),
        address={"issue": number},
    )


def _pull_links(data: object) -> list[str]:
    """Address and `owner/repo#12` of each pull request that Seer opened."""
    links: list[str] = []
    for address in wording.pull_requests(data):
        links.append(address)
        parts = split_address(address)
        if parts is not None:
            links.append(f"{parts[0]}#{parts[1]}")
    return links


def _installation(delivery: _Delivery) -> Fact | None:
    uuid = clean(text_at(delivery.data, "installation", "uuid"), MAX_KEY) or delivery.installation
    if uuid is None:
        return None
    subject = Subject(kind="installation", key=uuid, title=clean(delivery.organization, MAX_TITLE))
    return delivery.fact(subject, key=delivery.key(uuid, once=True), text="")


def _other(delivery: _Delivery) -> Fact:
    """What a webhook of an unknown type is about, as far as it can be told."""
    issue = get(delivery.data, "issue")
    number = clean(
        id_at(issue, "id") or id_at(delivery.data, "issue_id") or id_at(delivery.data, "group_id"), MAX_KEY
    )
    if number is not None:
        subject = _issue_subject(delivery, issue, number)
    else:
        key = delivery.installation or delivery.organization or delivery.resource
        subject = Subject(kind="installation", key=key[:MAX_KEY])
    address = {"issue": number} if number is not None else {}
    return delivery.fact(
        subject, key=delivery.key(number, once=False), text=wording.issue_text(issue), address=address
    )


def _issue_subject(delivery: _Delivery, issue: object, number: str) -> Subject:
    url = text_at(issue, "web_url") or text_at(issue, "permalink")
    return Subject(
        kind="issue",
        key=number,
        url=url or payloads.issue_url(delivery.organization, number),
        title=clean(text_at(issue, "title"), MAX_TITLE),
        container=clean(text_at(issue, "project", "slug"), MAX_TITLE),
    )


def _assignee(given: object) -> str | None:
    """`user:7` or `team:3`, as Sentry takes it when assigning."""
    kind, number = text_at(given, "type"), id_at(given, "id")
    return clean(f"{kind}:{number}", MAX_TITLE) if kind and number else None


READINGS: Final[Mapping[str, Reading]] = {
    "issue": _issue,
    "event_alert": _event,
    "error": _event,
    "metric_alert": _metric_alert,
    "activity_alert": _activity_alert,
    "comment": _comment,
    "seer": _seer,
    "installation": _installation,
}
