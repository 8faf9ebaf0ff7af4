"""What a change of a repository may touch: paths, kinds of files, size, secrets in what it adds. Pure.

The same functions judge a branch that an agent pushed and files that the hub is to commit. Whatever cannot be judged
is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from schemas.policy.gate import SECRETS, judge_secrets
from schemas.policy.paths import judge_path, shown
from schemas.policy.secrets import KnownSecrets
from schemas.policy.shapes import ChangePolicy, PathPolicy, Refusal
from schemas.policy.unseen import BIDIRECTIONAL

Status = Literal["added", "modified", "removed", "renamed"]

FILE: Final = "100644"
EXECUTABLE: Final = "100755"
SYMLINK: Final = "120000"
SUBMODULE: Final = "160000"


@dataclass(frozen=True, slots=True)
class FileChange:
    """One file of a change."""

    path: str
    status: Status
    additions: int = 0
    deletions: int = 0
    previous: str | None = None
    """The old path of a renamed file."""
    mode: str | None = FILE
    """Git's mode afterwards; None where it is not known, or the file is gone."""
    old_mode: str | None = None
    """Git's mode before; None where there was no file, or it is not known."""
    added: str | None = ""
    """The added lines; None where they cannot be looked through."""


def judge_changes(changes: Sequence[FileChange], policy: ChangePolicy, known: KnownSecrets) -> Refusal | None:
    """Judge a whole change. Blocks while scanning."""
    if not changes:
        return Refusal("files", "nothing is changed against the base branch; make a change first")
    refusal = _judge_size(changes, policy)
    if refusal is not None:
        return refusal
    for change in changes:
        for path in (change.path, change.previous):
            refusal = judge_path(path, policy.paths) if path is not None else None
            if refusal is not None:
                return refusal
        refusal = _judge_kind(change, policy.paths) or _judge_added(change, known)
        if refusal is not None:
            return refusal
    return None


def _judge_size(changes: Sequence[FileChange], policy: ChangePolicy) -> Refusal | None:
    files = len({path for change in changes for path in (change.path, change.previous) if path is not None})
    if files > policy.max_files:
        msg = f"{files} files are changed, at most {policy.max_files} are allowed; change fewer, or split the work"
        return Refusal("max_files", msg)
    lines = sum(change.additions + change.deletions for change in changes)
    if lines > policy.max_diff_lines:
        msg = (
            f"{lines} lines are added and removed, at most {policy.max_diff_lines} are allowed; leave out what is not "
            "needed (generated files, formatting), or split the work"
        )
        return Refusal("max_diff_lines", msg)
    return None


def _judge_kind(change: FileChange, policy: PathPolicy) -> Refusal | None:
    if change.status == "removed":
        return None
    where = shown(change.path)
    match change.mode:
        case "100644":
            return None
        case "100755":
            if policy.executables or change.old_mode == EXECUTABLE:
                return None
            msg = f"{where} would become executable, which the rule does not allow; leave the mode as it is (100644)"
        case "120000":
            if policy.symlinks:
                return None
            msg = f"{where} is a symbolic link, which the rule does not allow; write a file"
        case "160000":
            if policy.submodules:
                return None
            msg = f"{where} is a submodule, which the rule does not allow"
        case _:
            msg = f"{where} is no file that can be judged (its mode is not known)"
    return Refusal("paths", msg)


def _judge_added(change: FileChange, known: KnownSecrets) -> Refusal | None:
    if change.status == "removed":
        return None
    where = shown(change.path)
    if change.added is None:
        msg = f"{where} is too large, or no text, and cannot be looked through for secrets; leave it out"
        return Refusal("files", msg)
    if BIDIRECTIONAL.search(change.added):
        msg = f"{where} gets characters that reorder the text around them: it reads other than it runs; remove them"
        return Refusal("hidden", msg)
    refusal = judge_secrets(change.added, known, where=f"what is added to {where}")
    if refusal is None or refusal.clause != SECRETS:
        return refusal
    return Refusal(SECRETS, f"{refusal.reason} (the line is counted among the added ones)")
