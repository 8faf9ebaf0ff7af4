"""What a changelog says: the changed fields in the event's form, and which kinds of event they amount to.

Workflows are the administrators' own, in their own language: statuses are judged by category and identifier
before anything with a name is looked at. Must not read comments or people.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from connectors.body import get, id_at, text_at
from schemas.event import Kind

MAX_ITEMS: Final = 100
MAX_VALUE: Final = 1_000
"""Characters. Long texts (a description before and after) are in the payload, whole."""

PEOPLE: Final = frozenset({"assignee", "reporter"})
LISTS: Final = frozenset({"fix version", "version", "component", "link", "attachment"})
"""Fields (lower case) for which Jira writes one item per value added or removed."""
COMPANIONS: Final = frozenset({"resolution", "Rank"})
"""Change along with a transition or a drag on a board; beside another change they are no news."""

CLOSING_NAMES: Final = frozenset({"issue_closed", "issue_resolved"})
REOPENING_NAMES: Final = frozenset({"issue_reopened"})
DONE_IDS: Final = frozenset({"5", "6"})
"""`Resolved` and `Closed` of every installation; their names can be translated, their ids cannot change."""
DONE_NAMES: Final = frozenset({"done", "closed", "resolved"})
"""Jira's own English names: the last resort, where neither category nor id tells."""


def items(body: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The changelog's items. A workflow's post function sends `transition` instead: a change of status."""
    found = get(body, "changelog", "items")
    if isinstance(found, list):
        return [item for item in found[:MAX_ITEMS] if isinstance(item, dict) and text_at(item, "field")]
    before, after = text_at(body, "transition", "from_status"), text_at(body, "transition", "to_status")
    if before is not None and after is not None:
        return [{"field": "status", "fromString": before, "toString": after}]
    return []


def changed(entries: list[Mapping[str, Any]]) -> dict[str, Any]:
    """Per field: `{"added", "removed"}` for lists; `{"from", "to"}` for values, with `from_id`, `to_id` where
    Jira names identifiers. For people `from` and `to` are the identifiers, and `from_name`, `to_name` the
    names.
    """
    result: dict[str, Any] = {}
    for item in entries:
        field = str(item["field"])[:MAX_VALUE]
        before, after = _value(item, "fromString"), _value(item, "toString")
        if field == "labels":
            old, new = (before or "").split(), (after or "").split()
            result[field] = {
                "added": [name for name in dict.fromkeys(new) if name not in set(old)],
                "removed": [name for name in dict.fromkeys(old) if name not in set(new)],
            }
        elif field.lower() in LISTS:
            both = result.setdefault(field, {"added": [], "removed": []})
            both["added"] += [after] if after else []
            both["removed"] += [before] if before else []
        elif field in PEOPLE:
            people = {"from": _identifier(item, "from"), "to": _identifier(item, "to")}
            result[field] = {**people, "from_name": before, "to_name": after}
        else:
            ids = {"from_id": _identifier(item, "from"), "to_id": _identifier(item, "to")}
            result[field] = {
                "from": before,
                "to": after,
                **{key: value for key, value in ids.items() if value},
            }
    return result


def kinds(body: Mapping[str, Any], issue: object, entries: list[Mapping[str, Any]]) -> tuple[Kind, ...]:
    """The kinds that the changed fields amount to, each once; what no special kind covers makes
    `issue.updated`.
    """
    found: list[Kind] = []
    rest = False
    summary = changed(entries)
    for field, change in summary.items():
        if field == "labels" and change["added"]:
            found.append("issue.labeled")
        elif field == "assignee" and change["to"]:
            found.append("issue.assigned")
        elif field == "status" and (kind := _transition(body, issue, entries)) is not None:
            found.append(kind)
        elif field not in COMPANIONS:
            rest = True
    if rest or (summary and not found):
        found.append("issue.updated")
    return tuple(found)


def named_kind(name: str) -> Kind:
    """The kind that `issue_event_type_name` alone tells, for updates without a changelog."""
    if name in CLOSING_NAMES:
        return "issue.closed"
    if name in REOPENING_NAMES:
        return "issue.reopened"
    return "issue.assigned" if name == "issue_assigned" else "issue.updated"


def _transition(body: Mapping[str, Any], issue: object, entries: list[Mapping[str, Any]]) -> Kind | None:
    """`issue.closed` or `issue.reopened` where the change of status crosses the line of done, else None."""
    status = next(item for item in reversed(entries) if item["field"] == "status")
    resolution = next((item for item in entries if item["field"] == "resolution"), {})
    name = text_at(body, "issue_event_type_name") or ""
    done = _is_done(issue, status)
    if done is None:
        done = name in CLOSING_NAMES or bool(_value(resolution, "toString"))
    if done:
        return "issue.closed"
    was_done = (
        name in REOPENING_NAMES
        or bool(_value(resolution, "fromString") and not _value(resolution, "toString"))
        or _looks_done(id_at(status, "from"), _value(status, "fromString"))
    )
    return "issue.reopened" if was_done else None


def _is_done(issue: object, status: Mapping[str, Any]) -> bool | None:
    """Whether the status reached is of the category `done`; None where the payload does not tell.

    The category belongs to the issue's status now, which counts only if it still is the status reached.
    """
    category = text_at(issue, "fields", "status", "statusCategory", "key")
    reached, reached_name = id_at(status, "to"), _value(status, "toString")
    same = id_at(issue, "fields", "status", "id") == reached if reached else False
    same = same or (reached_name is not None and text_at(issue, "fields", "status", "name") == reached_name)
    if category is not None and same:
        return category == "done"
    return True if _looks_done(reached, reached_name) else None


def _looks_done(identifier: str | None, name: str | None) -> bool:
    return identifier in DONE_IDS or (name is not None and name.strip().lower() in DONE_NAMES)


def _value(item: Mapping[str, Any], key: str) -> str | None:
    found = text_at(item, key)
    return found[:MAX_VALUE] if found else None


def _identifier(item: Mapping[str, Any], key: str) -> str | None:
    found = id_at(item, key)
    return found[:MAX_VALUE] if found else None
