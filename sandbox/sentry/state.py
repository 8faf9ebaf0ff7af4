"""What the emulated Sentry remembers: issues with comments, status, assignee and links to other trackers.

State and its rules only; the REST shapes are in `sandbox.sentry.app`.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass, field
from itertools import count
from typing import Any, Final

from sandbox.moments import now

REPEAT_WINDOW: Final = 3600.0
"""Seconds in which the same user may not post the same text again (Sentry source: the comment serializer)."""
APP_UUID: Final = "6f3c2f0e-5f1b-4f6a-9b51-0d5e9d1c7a20"
"""The internal integration whose token the sandbox accepts."""
INSTALLATION_UUID: Final = "b0a9d3f6-6f0d-4a7e-8a65-2f9f51a0c7d4"
USER_ID: Final = "3104417"
"""The proxy user of the integration: author of its comments."""


@dataclass(slots=True)
class Note:
    """A comment on an issue (an activity of type `note`)."""

    id: str
    text: str
    user: str
    at: float


@dataclass(slots=True)
class ExternalIssue:
    """A link from an issue to a pull request or ticket, shown beside the issue."""

    id: str
    issue: str
    web_url: str
    project: str
    identifier: str

    @property
    def display_name(self) -> str:
        return f"{self.project}#{self.identifier}"


@dataclass(slots=True)
class SentryIssue:
    """An issue (group)."""

    id: str
    title: str
    project: str
    at: float
    status: str = "unresolved"
    status_details: dict[str, Any] = field(default_factory=dict)
    substatus: str | None = "new"
    assigned_to: str | None = None
    level: str = "error"
    notes: list[Note] = field(default_factory=list)
    links: list[ExternalIssue] = field(default_factory=list)
    assumed: bool = False
    """It came into being because somebody named it: no search finds it."""

    @property
    def short_id(self) -> str:
        tail = hashlib.sha1(self.id.encode(), usedforsecurity=False).hexdigest()[:2].upper()
        return f"{self.project.upper()}-{tail}"


@dataclass(slots=True)
class AlertRule:
    """An issue alert that notifies our integration."""

    id: str
    name: str
    project: str


@dataclass(slots=True)
class Firing:
    """One time that an alert rule fired."""

    rule: str
    issue: str
    event: str
    at: float


class Sentry:
    """All issues of all organizations. One installation exists per organization, with the same uuid."""

    def __init__(self, *, create_missing: bool = False) -> None:
        self.create_missing = create_missing
        self.organizations: set[str] = {"acme"}
        self.issues: dict[str, SentryIssue] = {}
        """By id."""
        self.installations: set[str] = {INSTALLATION_UUID}
        self.rules: dict[str, AlertRule] = {}
        """By id."""
        self.firings: list[Firing] = []
        """Oldest first."""
        self._ids = count(4_509_881, 7)

    def new_id(self) -> str:
        """An identifier that nothing else has."""
        return str(next(self._ids))

    def ensure_issue(
        self,
        issue_id: str,
        *,
        title: str | None = None,
        project: str = "checkout",
        organization: str = "acme",
    ) -> SentryIssue:
        """The issue of that id, made (with its organization) if it is not there."""
        self.organizations.add(organization)
        found = self.issues.get(issue_id)
        if found is None:
            found = SentryIssue(id=issue_id, title=title or f"Error {issue_id}", project=project, at=now())
            self.issues[issue_id] = found
        return found

    def organization(self, slug: str) -> bool:
        """Whether it exists, made on the spot where the world creates what is missing."""
        if self.create_missing:
            self.organizations.add(slug)
        return slug in self.organizations

    def issue(self, issue_id: str) -> SentryIssue | None:
        """The issue, made on the spot where the world creates what is missing."""
        if self.create_missing and issue_id.isdigit():
            fresh = issue_id not in self.issues
            found = self.ensure_issue(issue_id)
            found.assumed = found.assumed or fresh
            return found
        return self.issues.get(issue_id)

    def ensure_rule(self, name: str, project: str) -> AlertRule:
        """The alert rule of that name, made if it is not there."""
        for rule in self.rules.values():
            if (rule.name, rule.project) == (name, project):
                return rule
        rule = AlertRule(id=self.new_id(), name=name, project=project)
        self.rules[rule.id] = rule
        return rule

    def comment(self, issue: SentryIssue, text: str, *, user: str = USER_ID) -> Note | None:
        """Add a comment; None where the same user posted the same text within the last hour."""
        moment = now()
        if any(
            note.user == user and note.text == text and moment - note.at < REPEAT_WINDOW
            for note in issue.notes
        ):
            return None
        note = Note(id=self.new_id(), text=text, user=user, at=moment)
        issue.notes.append(note)
        return note

    def snapshot(self) -> dict[str, Any]:
        """JSON-ready data of all issues."""
        return {"issues": {issue_id: asdict(issue) for issue_id, issue in self.issues.items()}}

    def reset(self) -> None:
        """Forget every issue."""
        self.issues.clear()
        self.rules.clear()
        self.firings.clear()
        self.organizations = {"acme"}
