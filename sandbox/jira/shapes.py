"""How the emulated Jira shows what it remembers: the objects of its REST answers."""

from __future__ import annotations

from typing import Any, Final

from sandbox.jira.adf import plain
from sandbox.jira.state import ACCOUNT_ID, WORKFLOW, JiraComment, JiraHistory, JiraIssue, RemoteLink
from sandbox.moments import iso_millis

WITH_DOCUMENTS: Final = 3
"""The version of the interface whose texts are documents."""
SITE: Final = "https://acme.atlassian.example.com"


def account(account_id: str) -> dict[str, Any]:
    """A user of the site; our own account is an app's."""
    own = account_id == ACCOUNT_ID
    return {
        "self": f"{SITE}/rest/api/3/user?accountId={account_id}",
        "accountId": account_id,
        "accountType": "atlassian",
        "displayName": "triggerhub" if own else account_id,
        "active": True,
        "timeZone": "Etc/UTC",
    }


def status(name: str) -> dict[str, Any]:
    """A status with its category, which is the language-proof part."""
    for _, known, number, category in WORKFLOW:
        if known == name:
            return {
                "self": f"{SITE}/rest/api/3/status/{number}",
                "id": number,
                "name": known,
                "statusCategory": {
                    "key": category,
                    "name": {"new": "To Do", "done": "Done"}.get(category, "In Progress"),
                },
            }
    return {"id": "10099", "name": name, "statusCategory": {"key": "indeterminate", "name": "In Progress"}}


def issue(item: JiraIssue, *, only: list[str] | None = None) -> dict[str, Any]:
    """An issue; `only` limits the fields (`*all` and an empty list do not)."""
    fields: dict[str, Any] = {
        "issuetype": {"id": "10001", "name": "Bug", "subtask": False},
        "project": {"id": "10000", "key": item.project, "name": item.project.title()},
        "priority": {"id": "3", "name": "Medium"},
        "assignee": None,
        **item.fields,
        "creator": account(item.creator),
        "status": status(item.status),
        "created": iso_millis(item.at),
        "updated": iso_millis(item.edited_at),
    }
    if only and "*all" not in only:
        fields = {name: value for name, value in fields.items() if name in only}
    return {"id": item.id, "key": item.key, "self": f"{SITE}/rest/api/3/issue/{item.id}", "fields": fields}


def history(entry: JiraHistory) -> dict[str, Any]:
    """An entry of the changelog."""
    return {
        "id": entry.id,
        "author": account(entry.account),
        "created": iso_millis(entry.at),
        "items": entry.items,
    }


def comment(item: JiraIssue, note: JiraComment, *, properties: bool, version: int = 3) -> dict[str, Any]:
    """A comment; properties only where `expand=properties` asked for them. Version 2 shows text, not a document."""
    shape: dict[str, Any] = {
        "self": f"{SITE}/rest/api/3/issue/{item.id}/comment/{note.id}",
        "id": note.id,
        "author": account(note.account),
        "updateAuthor": account(note.account),
        "body": note.body if version == WITH_DOCUMENTS or isinstance(note.body, str) else plain(note.body),
        "created": iso_millis(note.at),
        "updated": iso_millis(note.edited_at),
        "jsdPublic": True,
    }
    if note.visibility is not None:
        shape["visibility"] = note.visibility
    if properties:
        shape["properties"] = [{"key": key, "value": value} for key, value in note.properties.items()]
    return shape


def transition(number: str, name: str) -> dict[str, Any]:
    """A transition that can be made now."""
    return {
        "id": number,
        "name": name,
        "to": status(name),
        "hasScreen": False,
        "isGlobal": True,
        "isInitial": False,
        "isAvailable": True,
        "isConditional": False,
    }


def remote_link(item: JiraIssue, link: RemoteLink) -> dict[str, Any]:
    """A link to something outside."""
    return {
        "id": link.id,
        "self": f"{SITE}/rest/api/3/issue/{item.key}/remotelink/{link.id}",
        "globalId": link.global_id,
        "application": link.application,
        "relationship": link.relationship,
        "object": link.object,
    }
