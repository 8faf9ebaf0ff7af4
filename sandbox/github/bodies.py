"""Request bodies of the emulated GitHub, as its REST reference documents them."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from sandbox.requests import Body

ReactionContent = Literal["+1", "-1", "laugh", "confused", "heart", "hooray", "rocket", "eyes"]


class NewIssue(Body):
    title: str
    body: str | None = None
    assignee: str | None = None
    assignees: list[str] = Field(default_factory=list)
    labels: list[str] = Field(default_factory=list)
    milestone: int | None = None
    type: str | None = None


class IssueUpdate(Body):
    title: str | None = None
    body: str | None = None
    state: Literal["open", "closed"] | None = None
    state_reason: Literal["completed", "not_planned", "duplicate", "reopened"] | None = None
    labels: list[str] | None = None
    assignees: list[str] | None = None
    milestone: int | None = None


class NewComment(Body):
    body: str


class NewCommitComment(Body):
    body: str
    path: str | None = None
    position: int | None = None
    line: int | None = None


class Labels(Body):
    labels: list[str]


class Assignees(Body):
    assignees: list[str]


class NewReaction(Body):
    content: ReactionContent


class NewPull(Body):
    title: str | None = None
    head: str
    base: str
    head_repo: str | None = None
    body: str | None = None
    draft: bool = False
    maintainer_can_modify: bool = True
    issue: int | None = None


class PullUpdate(Body):
    title: str | None = None
    body: str | None = None
    state: Literal["open", "closed"] | None = None
    base: str | None = None
    maintainer_can_modify: bool | None = None


class ReviewComment(Body):
    path: str
    body: str
    position: int | None = None
    line: int | None = None
    side: Literal["LEFT", "RIGHT"] | None = None
    start_line: int | None = None
    start_side: Literal["LEFT", "RIGHT"] | None = None


class NewReview(Body):
    commit_id: str | None = None
    body: str | None = None
    event: Literal["APPROVE", "REQUEST_CHANGES", "COMMENT"] | None = None
    comments: list[ReviewComment] = Field(default_factory=list)


class NewReviewComment(Body):
    body: str
    commit_id: str
    path: str
    line: int | None = None
    side: Literal["LEFT", "RIGHT"] = "RIGHT"
    start_line: int | None = None
    start_side: Literal["LEFT", "RIGHT"] | None = None
    in_reply_to: int | None = None
    subject_type: Literal["line", "file"] | None = None


class Reviewers(Body):
    reviewers: list[str] = Field(default_factory=list)
    team_reviewers: list[str] = Field(default_factory=list)


class NewStatus(Body):
    state: Literal["error", "failure", "pending", "success"]
    target_url: str | None = None
    description: str | None = None
    context: str = "default"


class Annotation(Body):
    path: str
    start_line: int
    end_line: int
    start_column: int | None = None
    end_column: int | None = None
    annotation_level: Literal["notice", "warning", "failure"]
    message: str
    title: str | None = None
    raw_details: str | None = None


class Output(Body):
    title: str | None = None
    summary: str
    text: str | None = None
    annotations: list[Annotation] = Field(default_factory=list, max_length=50)
    images: list[dict[str, Any]] = Field(default_factory=list)


class Action(Body):
    label: str = Field(max_length=20)
    description: str = Field(max_length=40)
    identifier: str = Field(max_length=20)


Conclusion = Literal[
    "action_required", "cancelled", "failure", "neutral", "success", "skipped", "stale", "timed_out"
]
Progress = Literal["queued", "in_progress", "completed", "waiting", "requested", "pending"]


class CheckRunUpdate(Body):
    name: str | None = None
    details_url: str | None = None
    external_id: str | None = None
    status: Progress | None = None
    started_at: str | None = None
    completed_at: str | None = None
    conclusion: Conclusion | None = None
    output: Output | None = None
    actions: list[Action] | None = Field(default=None, max_length=3)


class NewCheckRun(CheckRunUpdate):
    name: str
    head_sha: str


class NewBlob(Body):
    content: str
    encoding: Literal["utf-8", "base64"] = "utf-8"


class TreeItem(Body):
    path: str
    mode: Literal["100644", "100755", "040000", "160000", "120000"] | None = None
    type: Literal["blob", "tree", "commit"] | None = None
    sha: str | None = None
    content: str | None = None


class NewTree(Body):
    tree: list[TreeItem]
    base_tree: str | None = None


class Person(Body):
    name: str
    email: str
    date: str | None = None


class NewCommit(Body):
    message: str
    tree: str
    parents: list[str] = Field(default_factory=list)
    author: Person | None = None
    committer: Person | None = None
    signature: str | None = None


class NewRef(Body):
    ref: str
    sha: str


class NewInstallationToken(Body):
    repositories: list[str] | None = None
    repository_ids: list[int] | None = None
    permissions: dict[str, str] | None = None
