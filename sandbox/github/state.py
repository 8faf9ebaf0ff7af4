"""What the emulated GitHub remembers: repositories with branches, issues and pull requests in one number
space.

State and its rules only; the REST shapes are in `sandbox.github.shapes`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from itertools import count
from typing import Any, Final

from sandbox.moments import now

APP_ID: Final = 1040001
APP_SLUG: Final = "triggerhub-sandbox"
INSTALLATION_ID: Final = 58120001
BOT_ID: Final = 198200001
"""User id of `<app slug>[bot]`; differs from the app's id, as on GitHub."""
USER_ID: Final = 9500001
USER_LOGIN: Final = "triggerhub-machine"
SHA_LENGTH: Final = 40
SHORT_SHA: Final = 7


@dataclass(slots=True)
class Commit:
    """A commit: its parent and the files that it wrote (path to whole content)."""

    sha: str
    parent: str | None
    message: str
    files: dict[str, str]
    at: float


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
        return tree

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


class GitHub:
    """All repositories, and who the callers are."""

    def __init__(self, *, create_missing: bool = False) -> None:
        self.create_missing = create_missing
        self.repos: dict[str, Repository] = {}
        """By lower-case `owner/repo`: GitHub's names do not tell case apart."""
        self.tokens: dict[str, float] = {}
        """Installation tokens handed out, with their end in epoch seconds."""
        self.installations: set[int] = {INSTALLATION_ID}
        self._ids = count(2_310_450_117, 13)

    def new_id(self) -> int:
        """An identifier that nothing else has."""
        return next(self._ids)

    def ensure_repo(self, name: str, *, private: bool = True, default_branch: str = "main") -> Repository:
        """The repository `owner/repo`, made with one commit on its default branch if it is not there."""
        owner, slash, short = name.partition("/")
        if not (owner and slash and short) or "/" in short:
            msg = f"a repository is named 'owner/repo', not {name!r}"
            raise ValueError(msg)
        found = self.repos.get(name.lower())
        if found is None:
            found = Repository(
                id=self.new_id(), name=name, private=private, default_branch=default_branch, at=now()
            )
            self.repos[name.lower()] = found
            self._commit(found, default_branch, None, "Initial commit", {"README.md": f"# {short}\n"})
        return found

    def repo(self, name: str) -> Repository | None:
        """The repository, made on the spot where the world creates what is missing."""
        if self.create_missing:
            return self.ensure_repo(name)
        return self.repos.get(name.lower())

    def ensure_issue(
        self,
        repo: str,
        number: int,
        *,
        title: str | None = None,
        body: str | None = None,
        login: str = "octo-dev",
        labels: tuple[str, ...] = (),
    ) -> Issue:
        """The issue of that number, made if it is not there."""
        place = self.ensure_repo(repo)
        found = place.issues.get(number)
        if found is None:
            found = Issue(
                id=self.new_id(),
                number=number,
                title=title or f"Issue {number}",
                body=body,
                login=login,
                at=now(),
                labels=list(labels),
            )
            place.issues[number] = found
        return found

    def ensure_pull(
        self,
        repo: str,
        number: int,
        *,
        head: str,
        base: str | None = None,
        title: str | None = None,
        login: str = "octo-dev",
    ) -> Issue:
        """The pull request of that number, made (with its head branch) if it is not there."""
        place = self.ensure_repo(repo)
        issue = self.ensure_issue(repo, number, title=title or f"Pull request {number}", login=login)
        if issue.pull is None:
            onto = base or place.default_branch
            if head not in place.branches:
                self.push(repo, head, base=onto, message=f"Work on {head}", files={f"{head}.txt": "work\n"})
            issue.pull = Pull(
                head=head, base=onto, head_sha=place.branches[head], draft=False, maintainer_can_modify=True
            )
        return issue

    def issue(self, repo: Repository, number: int) -> Issue | None:
        """The issue or pull request, made on the spot where the world creates what is missing."""
        if self.create_missing and number > 0:
            return self.ensure_issue(repo.name, number)
        return repo.issues.get(number)

    def pull(self, repo: Repository, number: int) -> Issue | None:
        """The pull request, made on the spot where the world creates what is missing."""
        if self.create_missing and number > 0:
            return self.ensure_pull(repo.name, number, head=f"feature-{number}")
        found = repo.issues.get(number)
        return found if found is not None and found.pull is not None else None

    def comment(self, repo: Repository, comment_id: int) -> Comment | None:
        """Any comment by id, made on the spot where the world creates what is missing."""
        for comment in (*repo.all_comments(), *repo.all_review_comments(), *repo.commit_comments):
            if comment.id == comment_id:
                return comment
        if self.create_missing and comment_id not in repo.loose_comments:
            moment = now()
            repo.loose_comments[comment_id] = Comment(
                id=comment_id, body="", login="octo-dev", at=moment, edited_at=moment
            )
        return repo.loose_comments.get(comment_id)

    def commit(self, repo: Repository, ref: str) -> str | None:
        """The sha of a ref; an unknown full sha is taken as a commit where the world creates what is
        missing."""
        found = repo.resolve(ref)
        if found is None and self.create_missing and len(ref) == SHA_LENGTH:
            repo.commits[ref] = Commit(
                sha=ref, parent=None, message="Commit from outside", files={}, at=now()
            )
            return ref
        return found

    def push(
        self, repo: str, branch: str, *, base: str | None = None, message: str, files: dict[str, str]
    ) -> str:
        """Commit `files` (path to whole content) onto `branch` and return the sha, as `git push` from a
        session does.

        A branch that is not there starts at `base` (a branch or sha; default: the repository's default
        branch). Open pull requests of the branch follow it. Raises LookupError for an unknown base.
        """
        place = self.ensure_repo(repo)
        start = place.branches.get(branch) or place.resolve(base or place.default_branch)
        if start is None:
            msg = f"{repo} has no branch or commit {base!r}"
            raise LookupError(msg)
        sha = self._commit(place, branch, start, message, files)
        for issue in place.issues.values():
            if issue.pull is not None and issue.pull.head == branch and issue.state == "open":
                issue.pull.head_sha = sha
        return sha

    def _commit(
        self, repo: Repository, branch: str, parent: str | None, message: str, files: dict[str, str]
    ) -> str:
        words = f"{repo.name}\n{parent}\n{message}\n{sorted(files.items())}\n{len(repo.commits)}"
        sha = hashlib.sha1(words.encode(), usedforsecurity=False).hexdigest()
        repo.commits[sha] = Commit(sha=sha, parent=parent, message=message, files=dict(files), at=now())
        repo.branches[branch] = sha
        return sha

    def snapshot(self) -> dict[str, Any]:
        """JSON-ready data of all repositories."""
        return {"repos": {repo.name: _plain(repo) for repo in self.repos.values()}}

    def reset(self) -> None:
        """Forget every repository."""
        self.repos.clear()
        self.tokens.clear()


def _plain(repo: Repository) -> dict[str, Any]:
    plain = asdict(repo)
    plain["issues"] = {str(number): issue for number, issue in plain["issues"].items()}
    return plain
