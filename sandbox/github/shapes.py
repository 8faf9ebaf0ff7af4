"""How the emulated GitHub shows what it remembers: the objects of its REST answers."""

from __future__ import annotations

import base64
from typing import Any

from sandbox.github.answers import user
from sandbox.github.records import (
    CheckRun,
    Comment,
    Commit,
    Issue,
    Pull,
    Reaction,
    Repository,
    Review,
    Status,
)
from sandbox.github.state import APP_ID, APP_SLUG
from sandbox.moments import iso_seconds

API = "https://api.github.com"
WEB = "https://github.com"


def node_id(kind: str, number: int) -> str:
    """An opaque global id."""
    return f"{kind}_{base64.urlsafe_b64encode(str(number).encode()).decode().rstrip('=')}"


def repository(repo: Repository) -> dict[str, Any]:
    return {
        "id": repo.id,
        "node_id": node_id("R", repo.id),
        "name": repo.name.partition("/")[2],
        "full_name": repo.name,
        "private": repo.private,
        "visibility": "private" if repo.private else "public",
        "owner": user(repo.owner),
        "html_url": f"{WEB}/{repo.name}",
        "url": f"{API}/repos/{repo.name}",
        "clone_url": f"{WEB}/{repo.name}.git",
        "default_branch": repo.default_branch,
        "fork": False,
        "archived": False,
        "permissions": {"admin": False, "maintain": False, "push": True, "triage": True, "pull": True},
    }


def label(repo: Repository, name: str) -> dict[str, Any]:
    return {
        "id": 5_000_000 + sum(name.encode()),
        "name": name,
        "color": "ededed",
        "default": False,
        "description": None,
        "url": f"{API}/repos/{repo.name}/labels/{name}",
    }


def issue(repo: Repository, item: Issue) -> dict[str, Any]:
    place = "pull" if item.pull is not None else "issues"
    shape: dict[str, Any] = {
        "id": item.id,
        "node_id": node_id("I", item.id),
        "number": item.number,
        "title": item.title,
        "body": item.body,
        "state": item.state,
        "state_reason": item.state_reason,
        "user": user(item.login),
        "labels": [label(repo, name) for name in item.labels],
        "assignees": [user(login) for login in item.assignees],
        "assignee": user(item.assignees[0]) if item.assignees else None,
        "comments": len(item.comments),
        "locked": False,
        "author_association": "MEMBER",
        "created_at": iso_seconds(item.at),
        "updated_at": iso_seconds(item.at),
        "html_url": f"{WEB}/{repo.name}/{place}/{item.number}",
        "url": f"{API}/repos/{repo.name}/issues/{item.number}",
        "repository_url": f"{API}/repos/{repo.name}",
        "performed_via_github_app": None,
    }
    if item.pull is not None:
        shape["pull_request"] = {
            "url": f"{API}/repos/{repo.name}/pulls/{item.number}",
            "html_url": shape["html_url"],
            "merged_at": None,
        }
    return shape


def pull_request(repo: Repository, item: Issue, pull: Pull) -> dict[str, Any]:
    def end(branch: str, sha: str) -> dict[str, Any]:
        return {
            "label": f"{repo.owner}:{branch}",
            "ref": branch,
            "sha": sha,
            "user": user(repo.owner),
            "repo": repository(repo),
        }

    shape = issue(repo, item)
    del shape["pull_request"], shape["state_reason"], shape["repository_url"]
    ahead = repo.ahead(repo.branches.get(pull.base, ""), pull.head_sha)
    shape |= {
        "node_id": node_id("PR", item.id),
        "url": f"{API}/repos/{repo.name}/pulls/{item.number}",
        "issue_url": f"{API}/repos/{repo.name}/issues/{item.number}",
        "head": end(pull.head, pull.head_sha),
        "base": end(pull.base, repo.branches.get(pull.base, "0" * 40)),
        "draft": pull.draft,
        "merged": pull.merged,
        "merged_at": None,
        "merge_commit_sha": None,
        "mergeable": True,
        "maintainer_can_modify": pull.maintainer_can_modify,
        "requested_reviewers": [user(login) for login in pull.requested_reviewers],
        "requested_teams": [],
        "commits": len(ahead),
        "changed_files": len({path for commit in ahead for path in commit.files}),
        "review_comments": len(pull.review_comments),
    }
    return shape


def comment(repo: Repository, item: Issue | None, note: Comment) -> dict[str, Any]:
    number = item.number if item is not None else 0
    place = "pull" if item is not None and item.pull is not None else "issues"
    return _comment(note) | {
        "node_id": node_id("IC", note.id),
        "html_url": f"{WEB}/{repo.name}/{place}/{number}#issuecomment-{note.id}",
        "url": f"{API}/repos/{repo.name}/issues/comments/{note.id}",
        "issue_url": f"{API}/repos/{repo.name}/issues/{number}",
        "performed_via_github_app": app() if note.login == f"{APP_SLUG}[bot]" else None,
    }


def review_comment(repo: Repository, item: Issue | None, note: Comment) -> dict[str, Any]:
    number = item.number if item is not None else 0
    return _comment(note) | {
        "node_id": node_id("PRRC", note.id),
        "html_url": f"{WEB}/{repo.name}/pull/{number}#discussion_r{note.id}",
        "url": f"{API}/repos/{repo.name}/pulls/comments/{note.id}",
        "pull_request_url": f"{API}/repos/{repo.name}/pulls/{number}",
        "path": note.path,
        "line": note.line,
        "side": note.side,
        "commit_id": note.commit_id,
        "original_commit_id": note.commit_id,
        "diff_hunk": "@@ -1 +1 @@",
        "pull_request_review_id": note.review_id,
        **({"in_reply_to_id": note.in_reply_to_id} if note.in_reply_to_id is not None else {}),
    }


def commit_comment(repo: Repository, note: Comment) -> dict[str, Any]:
    return _comment(note) | {
        "node_id": node_id("CC", note.id),
        "html_url": f"{WEB}/{repo.name}/commit/{note.commit_id}#commitcomment-{note.id}",
        "url": f"{API}/repos/{repo.name}/comments/{note.id}",
        "path": note.path,
        "line": note.line,
        "position": None,
        "commit_id": note.commit_id,
    }


def _comment(note: Comment) -> dict[str, Any]:
    counts = {"+1": 0, "-1": 0, "laugh": 0, "confused": 0, "heart": 0, "hooray": 0, "rocket": 0, "eyes": 0}
    for given in note.reactions:
        counts[given.content] += 1
    return {
        "id": note.id,
        "body": note.body,
        "user": user(note.login),
        "author_association": "MEMBER",
        "created_at": iso_seconds(note.at),
        "updated_at": iso_seconds(note.edited_at),
        "reactions": {"total_count": len(note.reactions), **counts},
    }


def review(repo: Repository, item: Issue, given: Review) -> dict[str, Any]:
    return {
        "id": given.id,
        "node_id": node_id("PRR", given.id),
        "user": user(given.login),
        "body": given.body,
        "state": given.state,
        "commit_id": given.commit_id,
        "submitted_at": iso_seconds(given.at),
        "author_association": "MEMBER",
        "html_url": f"{WEB}/{repo.name}/pull/{item.number}#pullrequestreview-{given.id}",
        "pull_request_url": f"{API}/repos/{repo.name}/pulls/{item.number}",
    }


def reaction(given: Reaction) -> dict[str, Any]:
    return {
        "id": given.id,
        "node_id": node_id("REA", given.id),
        "user": user(given.login),
        "content": given.content,
        "created_at": iso_seconds(given.at),
    }


def status(repo: Repository, given: Status, login: str) -> dict[str, Any]:
    return {
        "id": given.id,
        "node_id": node_id("SC", given.id),
        "url": f"{API}/repos/{repo.name}/statuses/{given.sha}",
        "state": given.state,
        "context": given.context,
        "description": given.description,
        "target_url": given.target_url,
        "creator": user(login),
        "created_at": iso_seconds(given.at),
        "updated_at": iso_seconds(given.at),
    }


def check_run(repo: Repository, run: CheckRun) -> dict[str, Any]:
    output = run.fields.get("output") or {}
    return {
        "id": run.id,
        "node_id": node_id("CR", run.id),
        "head_sha": run.head_sha,
        "name": run.fields.get("name"),
        "external_id": run.fields.get("external_id") or "",
        "status": run.fields.get("status") or "queued",
        "conclusion": run.fields.get("conclusion"),
        "details_url": run.fields.get("details_url"),
        "html_url": f"{WEB}/{repo.name}/runs/{run.id}",
        "url": f"{API}/repos/{repo.name}/check-runs/{run.id}",
        "started_at": run.fields.get("started_at") or iso_seconds(run.at),
        "completed_at": run.fields.get("completed_at"),
        "output": {
            "title": output.get("title"),
            "summary": output.get("summary"),
            "text": output.get("text"),
            "annotations_count": len(output.get("annotations") or ()),
        },
        "app": app(),
        "pull_requests": [],
    }


def commit(repo: Repository, made: Commit) -> dict[str, Any]:
    return {
        "sha": made.sha,
        "node_id": node_id("C", int(made.sha[:8], 16)),
        "html_url": f"{WEB}/{repo.name}/commit/{made.sha}",
        "url": f"{API}/repos/{repo.name}/commits/{made.sha}",
        "commit": {"message": made.message, "author": {"name": "agent", "date": iso_seconds(made.at)}},
        "parents": [{"sha": made.parent}] if made.parent else [],
        "files": [file(path, content) for path, content in sorted(made.files.items())],
    }


def file(path: str, content: str) -> dict[str, Any]:
    lines = content.count("\n") or 1
    return {"filename": path, "status": "modified", "additions": lines, "deletions": 0, "changes": lines}


def app() -> dict[str, Any]:
    return {
        "id": APP_ID,
        "slug": APP_SLUG,
        "name": "triggerhub sandbox",
        "client_id": "Iv23sandbox0000000000",
        "node_id": node_id("A", APP_ID),
        "owner": user("acme"),
        "html_url": f"{WEB}/apps/{APP_SLUG}",
        "permissions": {"issues": "write", "pull_requests": "write", "contents": "write", "checks": "write"},
        "events": ["issues", "issue_comment", "pull_request"],
    }
