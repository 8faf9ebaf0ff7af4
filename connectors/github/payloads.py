"""A GitHub delivery as decoded bytes: event name, action, body. Must not decide what the delivery means.

The event's name stands in a header, not in the body. Where the header is absent (a body saved from a log, an
offline `inspect`), the name is taken from the top-level keys, but only from combinations that one event
alone has.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from connectors.base import Fact, Identity, Request, UnreadableError
from connectors.body import body_hash, get, read_form, read_object, text_at

EVENT_HEADER: Final = "x-github-event"
DELIVERY_HEADER: Final = "x-github-delivery"
FORM: Final = "application/x-www-form-urlencoded"
MAX_NAME: Final = 100
"""Characters of an event's or action's name that are kept. GitHub's longest is below 50."""

_SHAPES: Final[tuple[tuple[str, frozenset[str]], ...]] = tuple(
    (event, frozenset(keys.split()))
    for event, keys in (
        ("ping", "zen hook_id"),
        ("push", "ref before after repository"),
        ("status", "sha state context commit"),
        ("issue_comment", "action issue comment"),
        ("pull_request_review_comment", "action pull_request comment"),
        ("pull_request_review_thread", "action pull_request thread"),
        ("pull_request_review", "action pull_request review"),
        ("pull_request", "action pull_request"),
        ("sub_issues", "action sub_issue parent_issue"),
        ("issue_dependencies", "action blocked_issue blocking_issue"),
        ("issues", "action issue"),
        ("check_run", "action check_run"),
        ("check_suite", "action check_suite"),
        ("workflow_job", "action workflow_job"),
        ("workflow_run", "action workflow_run"),
        ("workflow_dispatch", "workflow inputs ref"),
        ("repository_dispatch", "action branch client_payload"),
        ("merge_group", "action merge_group"),
        ("discussion_comment", "action discussion comment"),
        ("discussion", "action discussion"),
        ("commit_comment", "action comment repository"),
        ("release", "action release"),
        ("deployment_status", "deployment_status deployment"),
        ("label", "action label repository"),
        ("milestone", "action milestone repository"),
        ("create", "ref ref_type master_branch"),
        ("delete", "ref ref_type pusher_type"),
        ("installation_repositories", "action installation repositories_added"),
    )
)
"""Most telling first. The keys that must all be there for a body to be read as that event."""

_ALERTS: Final = (
    ("secret_scanning_alert", frozenset({"secret_type"})),
    ("code_scanning_alert", frozenset({"rule", "tool"})),
    ("dependabot_alert", frozenset({"security_advisory", "dependency"})),
)
_INSTALLATION_KEYS: Final = frozenset(
    {"action", "installation", "repositories", "requester", "sender", "organization", "enterprise"}
)


@dataclass(frozen=True, slots=True)
class Delivery:
    """One decoded delivery. `action` is empty for events that have none."""

    event: str
    action: str
    body: Mapping[str, Any]
    key: str
    """`X-GitHub-Delivery`, else a hash of the raw body."""
    identity: Identity

    @property
    def name(self) -> str:
        """`issues.labeled`, or `push`: for reasons and keys."""
        return f"{self.event}.{self.action}" if self.action else self.event

    def part(self, name: str) -> Mapping[str, Any]:
        """The object under a top-level key; empty where it is missing or something else."""
        found = self.body.get(name)
        return found if type(found) is dict or isinstance(found, Mapping) else {}


@dataclass(frozen=True, slots=True)
class Ignored:
    """Known, and deliberately nothing."""

    reason: str


@dataclass(frozen=True, slots=True)
class Unsupported:
    """A type, an action or a shape that no reader here knows: becomes an event of kind `other`."""

    reason: str


Reading = Fact | Ignored | Unsupported


def read_delivery(request: Request, *, identity: Identity) -> Delivery:
    """Decode a verified request. Raises UnreadableError where body or event name cannot be made out."""
    body = _decode(request)
    event = request.headers.get(EVENT_HEADER) or _infer(body)
    if not event:
        msg = f"the header {EVENT_HEADER} is missing and the body is not of one event's shape alone; send it"
        raise UnreadableError(msg)
    return Delivery(
        event=event[:MAX_NAME],
        action=(text_at(body, "action") or "")[:MAX_NAME],
        body=body,
        key=request.headers.get(DELIVERY_HEADER) or body_hash(request.body),
        identity=identity,
    )


def items(value: object, *path: str | int) -> Iterable[Any]:
    """The list at `path`, else nothing."""
    found = get(value, *path)
    return found if isinstance(found, list) else ()


def _decode(request: Request) -> dict[str, Any]:
    """The admin of a hook chooses JSON or a form with one field `payload`; a saved body may have lost its
    header.
    """
    is_form = request.content_type == FORM
    if not is_form and not request.content_type:
        is_form = request.body.startswith(b"payload=")
    if not is_form:
        return read_object(request.body)
    form = read_form(request.body)
    if "payload" not in form:
        msg = "the form has no field 'payload'"
        raise UnreadableError(msg)
    return read_object(form["payload"].encode("utf-8"))


def _infer(body: Mapping[str, Any]) -> str | None:
    keys = {key for key, value in body.items() if value is not None}
    for event, needed in _SHAPES:
        if needed <= keys:
            return event
    alert = body.get("alert")
    if isinstance(alert, Mapping):
        return next((event for event, needed in _ALERTS if needed & alert.keys()), None)
    if {"action", "installation"} <= keys <= _INSTALLATION_KEYS:
        return "installation"
    return None
