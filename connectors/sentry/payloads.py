"""Finding one's way in Sentry's payloads: organization, project, issue and addresses, wherever they stand.

Every field may be missing or of another type (payloads from 2020 to 2026 differ); nothing here raises.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from connectors.body import get, id_at, text_at

MAX_KEY: Final = 500
"""Characters of a subject key."""
MAX_TITLE: Final = 500
REGIONS: Final = frozenset({"sentry", "www", "us", "de", "eu", "app", "docs"})
"""First labels of sentry.io hosts that are not an organization."""

_ORGANIZATION: Final = re.compile(r"https?://[^/\s]+/(?:api/0/)?organizations/([A-Za-z0-9_-]+)/")
_PROJECT: Final = re.compile(r"https?://[^/\s]+/api/0/projects/([A-Za-z0-9_-]+)/([A-Za-z0-9_.-]+)/")
_SUBDOMAIN: Final = re.compile(r"https?://([A-Za-z0-9-]+)\.(?:(?:us|de)\.)?sentry\.io/")
_ISSUE: Final = re.compile(r"/(?:issues|groups)/([0-9]+)(?:/|$|\?)")

INFERRED: Final[tuple[tuple[str, tuple[str, ...]], ...]] = (
    ("activity_alert", ("issue", "activity")),
    ("issue", ("issue",)),
    ("event_alert", ("event",)),
    ("metric_alert", ("metric_alert",)),
    ("error", ("error",)),
    ("comment", ("comment_id", "issue_id")),
    ("installation", ("installation",)),
    ("seer", ("run_id", "group_id")),
)
"""(resource, keys of `data` that prove it), tried in this order when the header Sentry-Hook-Resource is
missing."""

PLUGIN_KEYS: Final = frozenset({"project_slug", "event", "triggering_rules"})
"""Top-level keys by which a body of the old, unsigned WebHooks plugin is known."""


def infer_resource(body: Mapping[str, Any]) -> str | None:
    """The resource that the keys of `data` prove, else None."""
    data = get(body, "data")
    if not isinstance(data, Mapping):
        return None
    return next((resource for resource, keys in INFERRED if all(key in data for key in keys)), None)


def clean(text: str | None, limit: int) -> str | None:
    """`text` without NUL (no database takes it) and within `limit` characters; None for nothing."""
    if text is None:
        return None
    return text.replace("\x00", "").strip()[:limit] or None


def organization(body: Mapping[str, Any]) -> str | None:
    """Slug of the organization: as the installation says, else from any address in the payload."""
    slug = clean(text_at(body, "installation", "organization", "slug"), MAX_KEY)
    if slug is not None:
        return slug
    for address in _addresses(body):
        found = _ORGANIZATION.match(address) or _PROJECT.match(address)
        if found:
            return found[1]
        host = _SUBDOMAIN.match(address)
        if host and host[1].lower() not in REGIONS:
            return host[1].lower()
    return None


def installation(body: Mapping[str, Any]) -> str | None:
    """Identifier of the installation that the webhook was sent to."""
    return clean(text_at(body, "installation", "uuid"), MAX_KEY)


def project_of_event(event: object) -> str | None:
    """Slug of an event's project. `event.project` is a number, so it is read from the address of the event
    in the API (`…/api/0/projects/<organization>/<slug>/events/…`) where no field names it."""
    for field in ("project_slug", "projectSlug"):
        named = clean(text_at(event, field), MAX_KEY)
        if named is not None:
            return named
    named = clean(text_at(event, "project", "slug"), MAX_KEY)
    if named is not None:
        return named
    for field in ("url", "issue_url", "web_url"):
        found = _PROJECT.match(text_at(event, field) or "")
        if found:
            return found[2]
    given = clean(text_at(event, "project"), MAX_KEY)
    return given if given is not None and not given.isdigit() else None


def issue_of_event(event: object) -> str | None:
    """The issue that an event belongs to. Payloads of 2020 have it only in `issue_url`."""
    for field in ("issue_id", "groupID", "group_id"):
        number = clean(id_at(event, field), MAX_KEY)
        if number is not None:
            return number
    for field in ("issue_url", "web_url"):
        found = _ISSUE.search(text_at(event, field) or "")
        if found:
            return found[1]
    return None


def issue_url(slug: str | None, issue: str) -> str | None:
    """The page of an issue for payloads that do not name it."""
    return f"https://{slug}.sentry.io/issues/{issue}/" if slug and issue.isdigit() else None


def _addresses(body: Mapping[str, Any]) -> Iterator[str]:
    """Every address in a payload that can name the organization, surest first."""
    data = get(body, "data")
    for holder in ("issue", "event", "error", "metric_alert", "alert"):
        for field in ("url", "web_url", "project_url", "permalink", "issue_url"):
            address = text_at(data, holder, field)
            if address is not None:
                yield address
    for field in ("web_url", "url"):
        address = text_at(data, field)
        if address is not None:
            yield address
