"""Security alerts: Dependabot, code scanning, secret scanning. Only those who look after the repository may
see them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from connectors.base import Fact
from connectors.body import id_at, text_at, time_at
from connectors.github.actors import read_actor
from connectors.github.changes import value
from connectors.github.payloads import Delivery, Ignored, Reading, Unsupported
from connectors.github.subjects import (
    account_of,
    address,
    fact_key,
    number_of,
    repository_name,
    safe_key,
    title,
    words,
)
from schemas.event import Kind, Subject

_ACTIONS: Final[Mapping[str, Kind]] = {
    "created": "alert.fired",
    "reopened": "alert.fired",
    "reopened_by_user": "alert.fired",
    "auto_reopened": "alert.fired",
    "reintroduced": "alert.fired",
    "appeared_in_branch": "alert.fired",
    "publicly_leaked": "alert.fired",
    "fixed": "alert.resolved",
    "resolved": "alert.resolved",
    "revoked": "alert.resolved",
    "dismissed": "alert.resolved",
    "auto_dismissed": "alert.resolved",
    "closed_by_user": "alert.resolved",
}
_QUIET: Final = frozenset({"validated", "assigned", "unassigned", "assignees_changed", "updated_assignment"})


@dataclass(frozen=True, slots=True)
class _Form:
    """Where one sort of alert keeps its words. `slug` is the part of GitHub's own address."""

    slug: str
    title: tuple[tuple[str, ...], ...]
    text: tuple[tuple[str, ...], ...]
    labels: tuple[tuple[str, ...], ...]


_FORMS: Final[Mapping[str, _Form]] = {
    "dependabot_alert": _Form(
        "dependabot",
        title=(("security_advisory", "summary"),),
        text=(("security_advisory", "description"),),
        labels=(
            ("security_vulnerability", "severity"),
            ("dependency", "package", "ecosystem"),
            ("dependency", "package", "name"),
        ),
    ),
    "code_scanning_alert": _Form(
        "code-scanning",
        title=(("rule", "description"), ("rule", "name"), ("rule", "id")),
        text=(
            ("most_recent_instance", "message", "text"),
            ("rule", "full_description"),
            ("rule", "description"),
        ),
        labels=(("rule", "security_severity_level"), ("rule", "severity"), ("rule", "id")),
    ),
    "secret_scanning_alert": _Form(
        "secret-scanning",
        title=(("secret_type_display_name",), ("secret_type",)),
        text=(),
        labels=(("secret_type",), ("validity",)),
    ),
}


def read_alert(delivery: Delivery) -> Reading:
    """One of the three alert events. GitHub raises them under its own account; dismissing one needs write
    access.
    """
    if delivery.action in _QUIET:
        return Ignored(f"{delivery.action} neither fires nor resolves the alert")
    kind, form = _ACTIONS.get(delivery.action), _FORMS.get(delivery.event)
    if kind is None or form is None:
        return Unsupported(f"no reader for {delivery.name}")
    alert = delivery.part("alert")
    name, number = repository_name(delivery.body), number_of(alert)
    if name is None or number is None:
        return Unsupported(f"{delivery.name} without repository.full_name or alert.number")
    heading = _first(alert, form.title)
    home = text_at(delivery.body, "repository", "html_url")
    url = text_at(alert, "html_url") or (f"{home}/security/{form.slug}/{number}" if home else None)
    moment = _moment(alert)
    state = text_at(alert, "state") or ("open" if kind == "alert.fired" else "resolved")
    return Fact(
        kind=kind,
        actor=read_actor(delivery, otherwise="collaborator"),
        subject=Subject(
            kind="alert",
            key=safe_key(f"{name}/security/{form.slug}/{number}"),
            url=url,
            title=title(heading),
            container=safe_key(name),
        ),
        key=fact_key(
            delivery.name,
            id_at(delivery.body, "repository", "id") or name,
            number,
            moment or delivery.key,
            text_at(delivery.body, "ref"),
        ),
        account=account_of(delivery.body),
        occurred_at=time_at(alert, "updated_at") or time_at(alert, "created_at"),
        text=words(_first(alert, form.text)),
        labels=tuple(dict.fromkeys(label[:100] for path in form.labels if (label := text_at(alert, *path)))),
        changed={"state": value(None, state)},
        visibility="restricted",
        address=address(delivery, alert=number),
    )


def _moment(alert: Mapping[str, Any]) -> str | None:
    """The time that tells one firing or resolving from the next."""
    for name in ("updated_at", "resolved_at", "fixed_at", "dismissed_at", "created_at"):
        found = text_at(alert, name)
        if found:
            return found
    return None


def _first(alert: Mapping[str, Any], paths: tuple[tuple[str, ...], ...]) -> str | None:
    return next((found for path in paths if (found := text_at(alert, *path))), None)
