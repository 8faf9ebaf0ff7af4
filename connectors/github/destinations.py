"""Where a post goes: repository, number, commit, from the rule's target or from the event. Makes no call."""

from __future__ import annotations

import re
from typing import Final

from connectors.github.outputs import (
    CommentTarget,
    CommitTarget,
    PullRequestArguments,
    PullRequestTarget,
    RepositoryTarget,
)
from connectors.poster import Post, PostPolicyError, PostRefusedError
from schemas.policy.places import judge_places
from schemas.policy.shapes import Refusal

_REPOSITORY: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]*/(?!\.{1,2}$)[A-Za-z0-9._-]+")
_SHA: Final = re.compile(r"[0-9a-fA-F]{7,64}")
_DIGITS: Final = re.compile(r"[1-9][0-9]{0,18}")


def check_repository(name: str) -> str:
    """`name` if it is a repository's full name, which is safe in a path. Raises PostRefusedError."""
    if not _REPOSITORY.fullmatch(name):
        msg = f"{name[:200]!r} is not a repository; write owner/repo"
        raise PostRefusedError(msg)
    return name


def repository_of(post: Post) -> str:
    """`owner/repo` of the post."""
    chosen = _chosen(post)
    if chosen is not None:
        return check_repository(chosen)
    if post.to_origin:
        name = post.origin.subject.container or post.origin.address.get("repository")
        if name is None or "/" not in name:
            msg = f"the event ({post.origin.subject.key!r}) is of no repository; name one in the rule"
            raise PostRefusedError(msg)
        return check_repository(name)
    target = post.target
    if not isinstance(target, RepositoryTarget) or target.repository is None:
        msg = f"the output {post.output} names no repository; add repository, or to: origin"
        raise PostRefusedError(msg)
    return check_repository(target.repository)


def _chosen(post: Post) -> str | None:
    """The repository that the agent chose among several, or the only one."""
    target, arguments = post.target, post.arguments
    if not isinstance(target, PullRequestTarget) or not isinstance(arguments, PullRequestArguments):
        return None
    if target.repositories:
        chosen = arguments.repository
        if chosen is None and post.to_origin:
            chosen = post.origin.subject.container
        if chosen is None and len(target.repositories) == 1:
            chosen = target.repositories[0]
        if chosen is None:
            msg = f"name the repository, one that fits {', '.join(target.repositories)}"
            raise PostPolicyError(Refusal("repositories", msg))
        refusal = judge_places({"repositories": target.repositories}, {"repository": chosen})
        if refusal is not None:
            raise PostPolicyError(refusal)
        return chosen
    fixed = post.origin.subject.container if post.to_origin else target.repository
    if arguments.repository is not None and (fixed or "").lower() != arguments.repository.lower():
        msg = f"the repository is {fixed or 'not known'}; leave it out"
        raise PostPolicyError(Refusal("repository", msg))
    return None


def number_of(post: Post) -> int:
    """Number of the issue or pull request of the post."""
    if post.to_origin:
        subject = post.origin.subject
        given = subject.key.rpartition("#")[2] if subject.kind in {"issue", "pr"} else ""
        if not _DIGITS.fullmatch(given):
            msg = f"{post.output} needs an issue or pull request; the event is of a {subject.kind}"
            raise PostRefusedError(msg)
        return int(given)
    target = post.target
    if not isinstance(target, CommentTarget) or target.number is None:
        msg = f"the output {post.output} names no issue or pull request; add number, or to: origin"
        raise PostRefusedError(msg)
    return target.number


def origin_id(post: Post, *names: str) -> str | None:
    """The first of these identifiers in the event's address."""
    if not post.to_origin:
        return None
    return next(
        (given for name in names if _DIGITS.fullmatch(given := post.origin.address.get(name, ""))), None
    )


def sha_of(post: Post) -> str | None:
    """The commit of the post, where target or event name one."""
    if post.to_origin:
        subject = post.origin.subject
        given = post.origin.address.get("head_sha") or (
            subject.key.rpartition("@")[2] if subject.kind == "commit" else ""
        )
        return given if _SHA.fullmatch(given) else None
    target = post.target
    return target.sha if isinstance(target, CommitTarget) else None
