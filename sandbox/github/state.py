"""What the emulated GitHub remembers: repositories with branches, issues and pull requests in one number
space.

State and its rules only; the REST shapes are in `sandbox.github.shapes`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, replace
from itertools import count
from typing import Any, Final

from sandbox.github.objects import FILE, Entry, tree_sha
from sandbox.github.records import Comment, Commit, Issue, Pull, Repository
from sandbox.moments import now

APP_ID: Final = 1040001
APP_SLUG: Final = "triggerhub-sandbox"
INSTALLATION_ID: Final = 58120001
BOT_ID: Final = 198200001
"""User id of `<app slug>[bot]`; differs from the app's id, as on GitHub."""
USER_ID: Final = 9500001
USER_LOGIN: Final = "triggerhub-machine"
SHA_LENGTH: Final = 40


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

    def commit_tree(
        self,
        repo: Repository,
        parent: str | None,
        message: str,
        files: Mapping[str, Entry],
        *,
        author: str,
    ) -> str:
        """A commit on no branch yet: what differs from its parent. The same words at the same second are the same."""
        before = repo.entries(parent) if parent is not None else {}
        written = {path: entry for path, entry in files.items() if before.get(path) != entry}
        moment = now()
        words = f"{repo.name}\n{parent}\n{message}\n{tree_sha(files)}\n{author}\n{int(moment)}"
        sha = hashlib.sha1(words.encode(), usedforsecurity=False).hexdigest()
        repo.commits[sha] = Commit(
            sha=sha,
            parent=parent,
            message=message,
            files={path: entry.content.decode("utf-8", "surrogateescape") for path, entry in written.items()},
            at=moment,
            removed=tuple(sorted(before.keys() - files.keys())),
            modes={path: entry.mode for path, entry in written.items() if entry.mode != FILE},
            author=author,
        )
        return sha

    def snapshot(self) -> dict[str, Any]:
        """JSON-ready data of all repositories."""
        return {"repos": {repo.name: _plain(repo) for repo in self.repos.values()}}

    def reset(self) -> None:
        """Forget every repository."""
        self.repos.clear()
        self.tokens.clear()


def _plain(repo: Repository) -> dict[str, Any]:
    plain = asdict(replace(repo, blobs={}, trees={}))
    del plain["blobs"], plain["trees"]
    for commit in plain["commits"].values():
        commit["files"] = {
            path: content.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
            for path, content in commit["files"].items()
        }
    plain["issues"] = {str(number): issue for number, issue in plain["issues"].items()}
    return plain
