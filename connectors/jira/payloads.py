"""Reading the objects inside Jira's webhooks: people, sites, issues, comments, rich text.

Every function takes whatever stands there (missing, null, another type) and never raises. Must not decide
what a webhook means; that is `normalise`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import quote, urlsplit

from connectors.base import Identity
from connectors.body import epoch, get, id_at, text_at, time_at
from schemas.event import Actor, Subject, Trust

MAX_KEY: Final = 500
MAX_TEXT: Final = 100_000
"""Characters. Jira Cloud stores 32,767; Data Center's limit is the administrator's."""
MAX_LABELS: Final = 200
MAX_STAMP: Final = 10**14
"""Milliseconds: the year 5138. Larger numbers are no times, and would overflow when divided."""
GATEWAY: Final = "api.atlassian.com"
"""Host of the API gateway that OAuth apps use; nothing under it can be opened in a browser."""

ISSUE_KEY: Final = re.compile(r"^(?P<project>[A-Za-z][A-Za-z0-9_]*)-[0-9]+$")

_SELF_PLACES: Final = (
    ("issue", "self"),
    ("user", "self"),
    ("comment", "self"),
    ("comment", "author", "self"),
    ("self",),
    ("issue", "fields", "project", "self"),
    ("fields", "project", "self"),
    *((thing, "self") for thing in ("sprint", "version", "project", "board", "worklog")),
)
_TRUST: Final[Mapping[str, Trust]] = {"atlassian": "member", "customer": "outsider", "app": "bot"}


@dataclass(frozen=True, slots=True)
class Site:
    """A Jira installation, as the `self` addresses in a payload give it away."""

    host: str = ""
    """Lower case, without port; the cloud id behind the API gateway; empty when unknown."""
    base: str | None = None
    """Scheme, host and context path, to which `/browse/KEY` can be added; None when unknown."""

    def browse(self, key: str) -> str | None:
        """Address of an issue for people."""
        return f"{self.base}/browse/{quote(key, safe='')}" if self.base else None


def site(body: Mapping[str, Any]) -> Site:
    """The first usable `self`: issue, user, comment, then the bare issue of Automation, then other things.

    Only scheme, host and the path before `/rest/` are used: in Cloud's comment events the rest of the path is
    not what the REST documentation says.
    """
    for place in _SELF_PLACES:
        found = _site(text_at(body, *place))
        if found is not None:
            return found
    return Site()


def _site(address: str | None) -> Site | None:
    if address is None or len(address) > 2 * MAX_KEY:
        return None
    try:
        parts = urlsplit(address)
        host = (parts.hostname or "").lower()
    except ValueError:
        return None
    if parts.scheme not in {"http", "https"} or not host or "@" in parts.netloc:
        return None
    context = parts.path.partition("/rest/")[0].rstrip("/") if "/rest/" in parts.path else ""
    if host == GATEWAY:
        return Site(host=context.rpartition("/")[2] or GATEWAY)
    return Site(host=host, base=f"{parts.scheme}://{parts.netloc}{context}")


def actor(person: object, *, identity: Identity) -> Actor:
    """A user object as an actor; without any identifier the actor is unknown.

    Cloud sends `accountId` and `accountType`; Data Center sends `name` and `key`. A Cloud user without
    `accountType` proves nothing and stays `unknown`.
    """
    account, key, name = id_at(person, "accountId"), id_at(person, "key"), id_at(person, "name")
    identifier = account or key or name
    if identifier is None:
        return Actor()
    trust: Trust = _TRUST.get(text_at(person, "accountType") or "", "unknown")
    if account is None and get(person, "accountType") is None:
        trust = "member"
    names = {value for value in (account, key, name) if value is not None}
    return Actor(
        id=identifier[:MAX_KEY],
        login=name[:MAX_KEY] if name else None,
        name=_clipped(text_at(person, "displayName"), MAX_KEY),
        is_bot=trust == "bot",
        is_self=bool(names & identity.actor_ids) or (name is not None and name.lower() in identity.logins),
        trust=trust,
    )


def subject(issue: object, *, where: Site) -> Subject | None:
    """The issue as a subject, or None when it has neither key nor id."""
    key = text_at(issue, "key") or id_at(issue, "id")
    if key is None:
        return None
    key = key[:MAX_KEY]
    named = ISSUE_KEY.match(key)
    return Subject(
        kind="issue",
        key=key,
        url=where.browse(key) if named else None,
        title=_clipped(text_at(issue, "fields", "summary"), MAX_KEY),
        container=_clipped(text_at(issue, "fields", "project", "key"), MAX_KEY)
        or (named["project"] if named else None),
    )


def is_bare_issue(body: Mapping[str, Any]) -> bool:
    """Automation's own format: the issue itself at top level, its id a number, and no `webhookEvent`."""
    if "webhookEvent" in body or ISSUE_KEY.match(text_at(body, "key") or "") is None:
        return False
    return id_at(body, "id") is not None or isinstance(body.get("fields"), dict)


def labels(issue: object) -> tuple[str, ...]:
    """Names of the labels now on the issue. Comment events carry a stub without them."""
    found = get(issue, "fields", "labels")
    if not isinstance(found, list):
        return ()
    return tuple(label for label in found if isinstance(label, str) and label)[:MAX_LABELS]


def rich_text(value: object) -> str:
    """Description or comment as text: wiki markup as it is, a document (ADF) reduced to its words."""
    if isinstance(value, str):
        return value[:MAX_TEXT]
    if isinstance(value, dict) and value.get("type") == "doc":
        return _document_text(value)[:MAX_TEXT]
    return ""


def restricted(comment: object) -> bool:
    """True where a comment is for a role, a group, or the agents of a service desk only."""
    visibility = get(comment, "visibility")
    return (isinstance(visibility, dict) and bool(visibility)) or get(comment, "jsdPublic") is False


def restriction(comment: object) -> dict[str, str]:
    """What an answer needs so that it is as restricted as the comment it answers."""
    found: dict[str, str] = {}
    for key in ("type", "value", "identifier"):
        part = text_at(comment, "visibility", key)
        if part is not None and len(part) <= MAX_KEY:
            found[f"visibility_{key}"] = part
    if get(comment, "jsdPublic") is False:
        found["internal"] = "true"
    return found


def occurred(body: object, thing: object, *path: str) -> datetime | None:
    """The webhook's `timestamp` (milliseconds since the epoch), else the ISO time at `path` of `thing`."""
    stamp = get(body, "timestamp")
    if isinstance(stamp, int | float) and not isinstance(stamp, bool) and abs(stamp) < MAX_STAMP:
        return epoch(stamp / 1000)
    return time_at(thing, *path)


def moment(value: object, *path: str) -> str | None:
    """An ISO time in one spelling whatever zone it was written in, for semantic keys; the raw text if
    unreadable.
    """
    found = time_at(value, *path)
    return (
        found.astimezone(UTC).isoformat() if found is not None else _clipped(text_at(value, *path), MAX_KEY)
    )


def _clipped(text: str | None, limit: int) -> str | None:
    return text[:limit] if text else None


def _document_text(document: Mapping[str, Any]) -> str:
    """Words of an ADF document, one line per block. Iterative, because documents may be nested deeply."""
    out: list[str] = []
    room = MAX_TEXT
    stack: list[object] = [document]
    while stack and room > 0:
        node = stack.pop()
        if isinstance(node, str):
            out.append(node)
            room -= len(node)
            continue
        kind = text_at(node, "type") or ""
        if kind == "mention":
            out.append(f"[~accountid:{id_at(node, 'attrs', 'id') or ''}]")
        elif kind == "hardBreak":
            out.append("\n")
        elif kind == "text":
            stack.append(text_at(node, "text") or "")
        content = get(node, "content")
        if isinstance(content, list):
            if kind in {"paragraph", "heading", "codeBlock", "listItem", "tableRow"}:
                stack.append("\n")
            stack.extend(reversed([child for child in content if isinstance(child, dict)]))
    return re.sub(r"\n{3,}", "\n\n", "".join(out)).strip()
