"""Request bodies of the emulated Jira, as its REST reference documents them."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from sandbox.requests import Body


class Property(Body):
    key: str = Field(min_length=1, max_length=255)
    value: Any


class Visibility(Body):
    type: str = Field(pattern="^(group|role)$")
    value: str | None = None
    identifier: str | None = None


class NewComment(Body):
    body: Any
    visibility: Visibility | None = None
    properties: list[Property] = Field(default_factory=list)
    public: bool | None = None


class TransitionId(Body):
    id: str


class DoTransition(Body):
    transition: TransitionId
    fields: dict[str, Any] | None = None
    update: dict[str, Any] | None = None


class Application(Body):
    name: str | None = None
    type: str | None = None


class Icon(Body):
    url16x16: str | None = None
    title: str | None = None
    link: str | None = None


class LinkStatus(Body):
    resolved: bool | None = None
    icon: Icon | None = None


class LinkObject(Body):
    url: str = Field(min_length=1)
    title: str = Field(min_length=1, max_length=255)
    summary: str | None = None
    icon: Icon | None = None
    status: LinkStatus | None = None


class NewRemoteLink(Body):
    globalId: str | None = Field(default=None, max_length=255)  # noqa: N815 - Jira's name
    application: Application | None = None
    relationship: str | None = None
    object: LinkObject


class IssueUpdate(Body):
    fields: dict[str, Any] | None = None
    update: dict[str, list[dict[str, Any]]] | None = None
    properties: list[Property] | None = None
    historyMetadata: dict[str, Any] | None = None  # noqa: N815 - Jira's name


class NewIssue(Body):
    fields: dict[str, Any]
    update: dict[str, Any] | None = None
    properties: list[Property] = Field(default_factory=list)


class Search(Body):
    jql: str
    fields: list[str] = Field(default_factory=list)
    maxResults: int = Field(default=50, ge=1, le=5000)  # noqa: N815 - Jira's name
    nextPageToken: str | None = None  # noqa: N815 - Jira's name
    expand: str | None = None


class Assignee(Body):
    accountId: str | None  # noqa: N815 - Jira's name
