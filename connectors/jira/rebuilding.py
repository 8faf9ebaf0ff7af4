"""From an issue as Jira's REST interface shows it to the webhooks that its changes should have sent. Pure.

The reader of webhooks makes the same facts of them, with the same keys: of a creation by the issue's id, of a change
by the id of its changelog entry, of a comment by its own. So the entry's own status must stand in the issue, with its
category, or a later change of status would make another kind of the fact. Deletions leave nothing to rebuild from.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

import orjson

from connectors.base import Request
from connectors.body import get, id_at, text_at, time_at

HEADERS: Final[Mapping[str, str]] = {"content-type": "application/json"}
GATEWAY: Final = "https://api.atlassian.com/ex/jira"
LEFT_OUT: Final = frozenset({"comment", "worklog"})
"""Fields that repeat what is told by itself; an issue of years has megabytes of them."""


@dataclass(frozen=True, slots=True)
class Span:
    """What is looked for, in seconds since the epoch."""

    since: float
    until: float

    def holds(self, thing: object, *path: str) -> bool:
        """Whether the time at `path` falls into it."""
        at = time_at(thing, *path)
        return at is not None and self.since <= at.timestamp() <= self.until


@dataclass(frozen=True, slots=True)
class Seen:
    """An issue with the whole of what may have changed within the span."""

    issue: Mapping[str, Any]
    histories: Sequence[Mapping[str, Any]]
    comments: Sequence[Mapping[str, Any]]


def webhooks(
    seen: Seen, span: Span, *, base: str, statuses: Mapping[str, Mapping[str, Any]]
) -> list[Request]:
    """The webhooks of what happened to the issue within the span, oldest first.

    `base`: the address of the site as its webhooks write it. `statuses`: by id, those that histories lead to.
    """
    issue = _bare(seen.issue, base)
    found: list[tuple[float, dict[str, Any]]] = []
    if span.holds(issue, "fields", "created"):
        body = {
            "webhookEvent": "jira:issue_created",
            "issue_event_type_name": "issue_created",
            "user": get(issue, "fields", "creator"),
            "issue": issue,
        }
        found.append((_at(issue, "fields", "created"), body))
    found += [
        (_at(history, "created"), _updated(issue, history, statuses))
        for history in seen.histories
        if span.holds(history, "created") and id_at(history, "id")
    ]
    for comment in seen.comments:
        found += _comment(issue, comment, span)
    found.sort(key=lambda item: item[0])
    return [
        Request(HEADERS, orjson.dumps({"timestamp": int(at * 1000), **_without_none(body)}))
        for at, body in found
    ]


def reached(history: object) -> Iterator[str]:
    """Ids of the statuses that the changes of a history lead to."""
    items = get(history, "items")
    for item in items if isinstance(items, list) else ():
        if text_at(item, "field") == "status" and (status := id_at(item, "to")) is not None:
            yield status


def base_of(address: str | None, *, account: str | None) -> str | None:
    """The site's address as webhooks write it: `account` is the host (or cloud id) that keys of facts hold.

    `address` is the `self` of an issue by REST. Behind the gateway that is not the site's own; then only the account
    tells, and without one None comes back.
    """
    host, base = _site(address)
    if account is None:
        return base if host is not None and base is not None and not base.startswith(GATEWAY) else None
    if account == host and base is not None:
        return base
    return f"https://{account}" if "." in account or account == "localhost" else f"{GATEWAY}/{account}"


def _site(address: str | None) -> tuple[str | None, str | None]:
    """Host (behind the gateway: cloud id) and base of an address below `/rest/`."""
    if address is None or "/rest/" not in address:
        return None, None
    base = address.partition("/rest/")[0]
    try:
        host = urlsplit(base).hostname
    except ValueError:
        return None, None
    return (base.rpartition("/")[2] if base.startswith(GATEWAY + "/") else host), base


def _bare(issue: Mapping[str, Any], base: str) -> dict[str, Any]:
    fields = get(issue, "fields")
    kept = (
        {name: value for name, value in fields.items() if name not in LEFT_OUT}
        if isinstance(fields, dict)
        else {}
    )
    return {
        "id": id_at(issue, "id"),
        "key": text_at(issue, "key"),
        "self": f"{base}/rest/api/2/issue/{id_at(issue, 'id')}",
        "fields": kept,
    }


def _updated(
    issue: dict[str, Any], history: Mapping[str, Any], statuses: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    fields = dict(issue["fields"])
    for status in reached(history):
        if status != id_at(fields, "status", "id"):
            fields["status"] = statuses.get(status, {"id": status})
    return {
        "webhookEvent": "jira:issue_updated",
        "user": history.get("author"),
        "issue": {**issue, "fields": fields},
        "changelog": {"id": id_at(history, "id"), "items": history.get("items")},
    }


def _comment(
    issue: dict[str, Any], comment: Mapping[str, Any], span: Span
) -> Iterator[tuple[float, dict[str, Any]]]:
    """Its creation, and its last edit: earlier ones left no trace."""
    if span.holds(comment, "created"):
        yield _at(comment, "created"), {"webhookEvent": "comment_created", "issue": issue, "comment": comment}
    if comment.get("updated") != comment.get("created") and span.holds(comment, "updated"):
        yield _at(comment, "updated"), {"webhookEvent": "comment_updated", "issue": issue, "comment": comment}


def _at(thing: object, *path: str) -> float:
    found = time_at(thing, *path)
    return found.timestamp() if found is not None else 0.0


def _without_none(body: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in body.items() if value is not None}
