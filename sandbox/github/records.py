"""The things in the emulated GitHub: repositories with their commits, issues, pull requests and what hangs on them.

Data and what follows from it; the rules of making them are in `sandbox.github.state`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from sandbox.github.objects import FILE, Entry, blob_sha, folders, tree_sha

SHORT_SHA: Final = 7


@dataclass(slots=True)
class Commit:
    """A commit: its parent and the files that it wrote (path to whole content)."""

    sha: str
    parent: str | None
    message: str
    files: dict[str, str]
    at: float
    removed: tuple[str, ...] = ()
    modes: dict[str, str] = field(default_factory=dict)
    """Git's mode of the files that are no plain ones (100644)."""
    author: str = "agent"


@dataclass(slots=True)
class Reaction:
    """One person's one emoji."""

    id: int
    content: str
    login: str
    at: float


@dataclass(slots=True)
class Comment:
    """A comment on an issue or pull request, a commit, or (with `path`) in a review."""

    id: int
    body: str
    login: str
    at: float
    edited_at: float
    reactions: list[Reaction] = field(default_factory=list)
    path: str | None = None
    line: int | None = None
    side: str = "RIGHT"
    commit_id: str | None = None
    in_reply_to_id: int | None = None
    review_id: int | None = None


@dataclass(slots=True)
class Review:
    """A submitted review of a pull request."""

    id: int
    body: str
    state: str
    """APPROVED, CHANGES_REQUESTED or COMMENTED (REST writes capitals)."""
    login: str
    commit_id: str
    at: float


@dataclass(slots=True)
class Pull:
    """What makes an issue a pull request."""

    head: str
    base: str
    head_sha: str
    draft: bool
    maintainer_can_modify: bool
    merged: bool = False
    review_comments: list[Comment] = field(default_factory=list)
    reviews: list[Review] = field(default_factory=list)
    requested_reviewers: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Issue:
    """An issue; a pull request where `pull` is set."""

    id: int
    number: int
    title: str
    body: str | None
    login: str
    at: float
    state: str = "open"
    state_reason: str | None = None
    labels: list[str] = field(default_factory=list)
    assignees: list[str] = field(default_factory=list)
    comments: list[Comment] = field(default_factory=list)
    reactions: list[Reaction] = field(default_factory=list)
    pull: Pull | None = None


@dataclass(slots=True)
class Status:
    """A commit status. The last one per context counts."""

    id: int
    sha: str
    state: str
    context: str
    description: str | None
    target_url: str | None
    at: float


@dataclass(slots=True)
class CheckRun:
    """A check run. `fields` are as the caller wrote them (name, status, conclusion, output, external_id
    …)."""

    id: int
    head_sha: str
    fields: dict[str, Any]
    at: float


@dataclass(slots=True)
class Repository:
    """A repository with everything in it."""

    id: int
    name: str
    """`owner/repo`."""
    private: bool
    default_branch: str
    at: float
    branches: dict[str, str] = field(default_factory=dict)
    """Name to sha of the head."""
    commits: dict[str, Commit] = field(default_factory=dict)
    issues: dict[int, Issue] = field(default_factory=dict)
    statuses: list[Status] = field(default_factory=list)
    check_runs: list[CheckRun] = field(default_factory=list)
    commit_comments: list[Comment] = field(default_factory=list)
    loose_comments: dict[int, Comment] = field(default_factory=dict)
    """Comments that were named by id before anything else told of them (only where missing things are
    created)."""

    blobs: dict[str, bytes] = field(default_factory=dict)
    trees: dict[str, dict[str, Entry]] = field(default_factory=dict)
    """Objects made one by one, by sha."""

    @property
    def owner(self) -> str:
        return self.name.partition("/")[0]

    def next_number(self) -> int:
        """Issues and pull requests share their numbers."""
        return max(self.issues, default=0) + 1

    def history(self, sha: str) -> Iterator[Commit]:
        """The commit and its ancestors, newest first."""
        commit = self.commits.get(sha)
        while commit is not None:
            yield commit
            commit = self.commits.get(commit.parent) if commit.parent else None

    def files(self, sha: str) -> dict[str, str]:
        """The whole tree at a commit."""
        tree: dict[str, str] = {}
        for commit in reversed(list(self.history(sha))):
            tree.update(commit.files)
            for path in commit.removed:
                tree.pop(path, None)
        return tree

    def entries(self, sha: str) -> dict[str, Entry]:
        """The same with modes and bytes."""
        modes: dict[str, str] = {}
        for commit in reversed(list(self.history(sha))):
            modes.update({path: commit.modes.get(path, FILE) for path in commit.files})
        return {
            path: Entry(modes.get(path, FILE), content.encode("utf-8", "surrogateescape"))
            for path, content in self.files(sha).items()
        }

    def keep_tree(self, files: Mapping[str, Entry]) -> str:
        """Remember a tree and every folder in it; return its sha."""
        for sha, part in folders(files):
            self.trees[sha] = part
        return tree_sha(files)

    def tree(self, sha: str) -> dict[str, Entry] | None:
        """A tree by sha: one that was made or shown."""
        if sha not in self.trees:
            for head in self.branches.values():
                self.keep_tree(self.entries(head))
        return self.trees.get(sha)

    def blob(self, sha: str) -> bytes | None:
        """A file by sha: one that was made, or is in any commit."""
        if sha not in self.blobs:
            for commit in self.commits.values():
                for content in commit.files.values():
                    raw = content.encode("utf-8", "surrogateescape")
                    self.blobs[blob_sha(raw)] = raw
        return self.blobs.get(sha)

    def ahead(self, base: str, head: str) -> list[Commit]:
        """Commits of `head` that `base` does not have (both shas), oldest first."""
        known = {commit.sha for commit in self.history(base)}
        return [commit for commit in self.history(head) if commit.sha not in known][::-1]

    def resolve(self, ref: str) -> str | None:
        """The sha of a branch name, `refs/heads/NAME`, a full sha or an unambiguous beginning of one."""
        short = ref.removeprefix("refs/").removeprefix("heads/")
        if short in self.branches:
            return self.branches[short]
        found = [sha for sha in self.commits if len(ref) >= SHORT_SHA and sha.startswith(ref)]
        return found[0] if len(found) == 1 else None

    def all_comments(self) -> Iterator[Comment]:
        """Comments on issues and pull requests, oldest first. Review comments are not among them."""
        for issue in self.issues.values():
            yield from issue.comments

    def all_review_comments(self) -> Iterator[Comment]:
        """Comments in reviews of all pull requests."""
        for issue in self.issues.values():
            if issue.pull is not None:
                yield from issue.pull.review_comments
