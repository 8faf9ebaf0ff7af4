"""What an action on an issue or pull request changed, in the event's form. Must not interpret the change.

Per field `{"added": [...], "removed": [...]}` for lists and `{"from": x, "to": y}` for values.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from connectors.body import get, text_at
from connectors.github.payloads import Delivery
from connectors.github.subjects import repository_name, words

Changed = dict[str, Any]

_VALUES: Final[Mapping[str, tuple[str, object, object]]] = {
    "reopened": ("state", "closed", "open"),
    "locked": ("locked", False, True),
    "unlocked": ("locked", True, False),
    "ready_for_review": ("draft", True, False),
    "converted_to_draft": ("draft", False, True),
    "auto_merge_enabled": ("auto_merge", False, True),
    "auto_merge_disabled": ("auto_merge", True, False),
    "enqueued": ("merge_queue", False, True),
    "dequeued": ("merge_queue", True, False),
}
_Paths = tuple[tuple[str, str], ...]
_LABEL: Final[_Paths] = (("label", "name"),)
_ASSIGNEE: Final[_Paths] = (("assignee", "login"),)
_REVIEWER: Final[_Paths] = (("requested_reviewer", "login"), ("requested_team", "slug"))
_LISTS: Final[Mapping[str, tuple[str, _Paths, bool]]] = {
    "labeled": ("labels", _LABEL, True),
    "unlabeled": ("labels", _LABEL, False),
    "assigned": ("assignees", _ASSIGNEE, True),
    "unassigned": ("assignees", _ASSIGNEE, False),
    "review_requested": ("reviewers", _REVIEWER, True),
    "review_request_removed": ("reviewers", _REVIEWER, False),
}
_NAMED: Final[Mapping[str, tuple[str, tuple[str, ...], bool]]] = {
    "milestoned": ("milestone", ("milestone", "title"), True),
    "demilestoned": ("milestone", ("milestone", "title"), False),
    "typed": ("type", ("type", "name"), True),
    "untyped": ("type", ("type", "name"), False),
}


def read_changes(delivery: Delivery, thing: Mapping[str, Any]) -> Changed:
    """The change that `delivery.action` stands for; empty where it changes no field that is shown."""
    action = delivery.action
    if action in _VALUES:
        name, before, after = _VALUES[action]
        return {name: value(before, after)}
    if action in _LISTS:
        name, paths, is_added = _LISTS[action]
        names = _named(delivery, paths)
        return {name: {"added": names if is_added else [], "removed": [] if is_added else names}}
    if action in _NAMED:
        field, path, is_added = _NAMED[action]
        given = text_at(delivery.body, *path)
        return {field: value(None, given) if is_added else value(given, None)}
    match action:
        case "edited":
            return read_edits(delivery, thing)
        case "closed":
            return _closing(thing)
        case "synchronize":
            return {"head": value(text_at(delivery.body, "before"), text_at(delivery.body, "after"))}
        case "transferred":
            target = text_at(delivery.body, "changes", "new_repository", "full_name")
            return {"repository": value(repository_name(delivery.body), target)}
        case _:
            return {}


def read_edits(delivery: Delivery, thing: Mapping[str, Any]) -> Changed:
    """Title, body and base before and after an edit."""
    changes = delivery.part("changes")
    changed: Changed = {}
    for name in ("title", "body"):
        if name in changes:
            before, after = text_at(changes, name, "from"), text_at(thing, name)
            changed[name] = value(words(before) if before else None, words(after) if after else None)
    if "base" in changes:
        changed["base"] = value(text_at(changes, "base", "ref", "from"), text_at(thing, "base", "ref"))
    return changed


def value(before: object, after: object) -> dict[str, object]:
    """A changed value."""
    return {"from": before, "to": after}


def _closing(thing: Mapping[str, Any]) -> Changed:
    changed: Changed = {"state": value("open", "closed")}
    if get(thing, "merged") is True:
        changed["merged"] = value(before=False, after=True)
    reason = text_at(thing, "state_reason")
    if reason:
        changed["state_reason"] = value(None, reason)
    return changed


def _named(delivery: Delivery, paths: _Paths) -> list[str]:
    return [name for path in paths if (name := text_at(delivery.body, *path))]
