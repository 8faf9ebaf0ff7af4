"""What the emulated Jira remembers: issues with fields, comments, a workflow, remote links and properties.

State and its rules only; the REST shapes are in `sandbox.jira.shapes`.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from itertools import count
from typing import Any, Final

from sandbox.moments import now

ACCOUNT_ID: Final = "712020:5f0e2c1a-7a54-4f0b-9d0e-3b1d5a6c7e88"
"""The account behind the sandbox's credential (`GET /myself`)."""

WORKFLOW: Final[tuple[tuple[str, str, str, str], ...]] = (
    ("11", "To Do", "10000", "new"),
    ("21", "In Progress", "10001", "indeterminate"),
    ("31", "In Review", "10002", "indeterminate"),
    ("41", "Done", "10003", "done"),
)
"""(transition id, status, status id, status category). Every status can be reached from every other one."""


@dataclass(slots=True)
class JiraComment:
    """A comment. `body` is ADF (API v3) or wiki markup (API v2), as it was written."""

    id: str
    body: Any
    account: str
    at: float
    edited_at: float
    visibility: dict[str, Any] | None = None
    properties: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class RemoteLink:
    """A link to something outside, upserted by its global id."""

    id: int
    global_id: str | None
    relationship: str | None
    object: dict[str, Any]
    application: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class JiraHistory:
    """An entry of an issue's changelog: what one person changed at once."""

    id: str
    account: str
    at: float
    items: list[dict[str, Any]]


@dataclass(slots=True)
class JiraIssue:
    """An issue."""

    id: str
    key: str
    fields: dict[str, Any]
    """summary, description (ADF), labels, issuetype, priority, assignee …; status is kept apart."""
    status: str
    at: float
    edited_at: float
    comments: list[JiraComment] = field(default_factory=list)
    remote_links: list[RemoteLink] = field(default_factory=list)
    properties: dict[str, Any] = field(default_factory=dict)
    histories: list[JiraHistory] = field(default_factory=list)
    """Oldest first."""
    creator: str = ACCOUNT_ID
    assumed: bool = False
    """It came into being because somebody named it: no search finds it."""

    @property
    def project(self) -> str:
        return self.key.rpartition("-")[0]


class Jira:
    """All issues of one site."""

    def __init__(self, *, create_missing: bool = False) -> None:
        self.create_missing = create_missing
        self.issues: dict[str, JiraIssue] = {}
        """By key."""
        self.projects: set[str] = set()
        self.webhook_ends: dict[int, float] = {}
        """When an app's webhooks end, by the hook's id."""
        self._ids = count(10_214, 3)

    def new_id(self) -> str:
        """An identifier that nothing else has."""
        return str(next(self._ids))

    def ensure_project(self, key: str) -> None:
        """Make a project, so that issues can be created in it."""
        self.projects.add(key)

    def ensure_issue(
        self, key: str, *, summary: str | None = None, status: str = "To Do", labels: tuple[str, ...] = ()
    ) -> JiraIssue:
        """The issue of that key, made (with its project) if it is not there."""
        found = self.issues.get(key)
        if found is None:
            moment = now()
            fields = {"summary": summary or f"Issue {key}", "labels": list(labels), "description": None}
            found = JiraIssue(
                id=self.new_id(), key=key, fields=fields, status=status, at=moment, edited_at=moment
            )
            self.issues[key] = found
            self.ensure_project(found.project)
        return found

    def issue(self, key_or_id: str) -> JiraIssue | None:
        """The issue by key (any case) or id, made on the spot where the world creates what is missing."""
        key = key_or_id.upper()
        if key in self.issues:
            return self.issues[key]
        for issue in self.issues.values():
            if issue.id == key_or_id:
                return issue
        project, dash, number = key.rpartition("-")
        if self.create_missing and project and dash and number.isdigit():
            made = self.ensure_issue(key)
            made.assumed = True
            return made
        return None

    def change(
        self, issue: JiraIssue, items: list[dict[str, Any]], *, account: str = ACCOUNT_ID
    ) -> JiraHistory | None:
        """Note in the changelog what was changed; nothing where nothing was."""
        if not items:
            return None
        entry = JiraHistory(id=self.new_id(), account=account, at=now(), items=items)
        issue.histories.append(entry)
        issue.edited_at = entry.at
        return entry

    def move(self, issue: JiraIssue, status: str, *, account: str = ACCOUNT_ID) -> JiraHistory | None:
        """A transition."""
        numbers = {name: number for _, name, number, _ in WORKFLOW}
        before, issue.status = issue.status, status
        item = {
            "field": "status",
            "fieldId": "status",
            "fieldtype": "jira",
            "from": numbers.get(before, "10099"),
            "fromString": before,
            "to": numbers.get(status, "10099"),
            "toString": status,
        }
        return self.change(issue, [item] if before != status else [], account=account)

    def relabel(
        self, issue: JiraIssue, labels: list[str], *, account: str = ACCOUNT_ID
    ) -> JiraHistory | None:
        """Other labels; Jira writes both lists as words."""
        before = list(issue.fields.get("labels", []))
        issue.fields["labels"] = labels
        item = {
            "field": "labels",
            "fieldId": "labels",
            "fieldtype": "jira",
            "from": None,
            "fromString": " ".join(before),
            "to": None,
            "toString": " ".join(labels),
        }
        return self.change(issue, [item] if before != labels else [], account=account)

    def assign(self, issue: JiraIssue, whom: str | None, *, account: str = ACCOUNT_ID) -> JiraHistory | None:
        """Another assignee, by account id."""
        before = (issue.fields.get("assignee") or {}).get("accountId")
        issue.fields["assignee"] = {"accountId": whom, "displayName": whom} if whom is not None else None
        item = {
            "field": "assignee",
            "fieldId": "assignee",
            "fieldtype": "jira",
            "from": before,
            "fromString": before,
            "to": whom,
            "toString": whom,
        }
        return self.change(issue, [item] if before != whom else [], account=account)

    def next_key(self, project: str) -> str:
        """The key of the next issue of a project."""
        taken = [int(key.rpartition("-")[2]) for key in self.issues if key.rpartition("-")[0] == project]
        return f"{project}-{max(taken, default=0) + 1}"

    def snapshot(self) -> dict[str, Any]:
        """JSON-ready data of all issues."""
        return {"issues": {key: asdict(issue) for key, issue in self.issues.items()}}

    def reset(self) -> None:
        """Forget every issue and project."""
        self.issues.clear()
        self.projects.clear()
