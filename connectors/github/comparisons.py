"""Judging what a branch would bring: GitHub's comparison with the base, read into file changes. Fails closed.

Whatever the comparison does not show in full (too many files, a large or binary file, an unknown kind) is looked at
one by one, or refused.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote

from connectors.body import get, text_at
from connectors.calls import decoded
from connectors.github.client import Client
from connectors.github.gitdata import Entry, GitData, Tree
from connectors.poster import PostPolicyError, PostRefusedError
from schemas.policy.changes import EXECUTABLE, SUBMODULE, FileChange, Status, judge_changes
from schemas.policy.paths import judge_path, shown
from schemas.policy.secrets import KnownSecrets
from schemas.policy.shapes import ChangePolicy, Refusal

MAX_COMPARED: Final = 300
"""Files that GitHub shows of a comparison; it does not say whether there are more (docs, "Compare two commits")."""
STATUSES: Final[Mapping[str, Status]] = {
    "added": "added",
    "copied": "added",
    "modified": "modified",
    "changed": "modified",
    "removed": "removed",
    "renamed": "renamed",
}


async def judge_branch(
    client: Client, repository: str, *, base: str, head: str, policy: ChangePolicy, known: KnownSecrets
) -> frozenset[str]:
    """Judge what `head` (a sha) brings to the branch `base`; return the paths. Raises PostPolicyError, PostError."""
    path = f"/repos/{repository}/compare/{quote(base)}...{head}"
    answer = decoded(await client.get(path, repository=repository))
    rows = get(answer, "files")
    fork = text_at(answer, "merge_base_commit", "sha")
    if not isinstance(rows, list) or fork is None:
        msg = f"GET {path}: the answer shows no files, so the change cannot be judged"
        raise PostRefusedError(msg)
    if len(rows) >= MAX_COMPARED:
        msg = f"{MAX_COMPARED} or more files are changed, which is more than can be judged; change fewer"
        raise PostPolicyError(Refusal("max_files", msg))
    reader = _Reader(GitData(client, repository), head=head, fork=fork)
    changes: list[FileChange] = []
    for row in rows:
        change = reader.plain(row)
        if change is None:
            continue
        for name in (change.path, change.previous):  # before anything is asked for by it
            refusal = judge_path(name, policy.paths) if name is not None else None
            if refusal is not None:
                raise PostPolicyError(refusal)
        changes.append(change)
    rough = await asyncio.to_thread(judge_changes, changes, policy, known)
    if rough is not None and rough.clause in {"max_files", "max_diff_lines"}:
        raise PostPolicyError(rough)  # size first: it spares the calls
    full = [
        await reader.full(change, row)
        for change, row in zip(changes, [row for row in rows if reader.plain(row)], strict=True)
    ]
    refusal = await asyncio.to_thread(judge_changes, full, policy, known)
    if refusal is not None:
        raise PostPolicyError(refusal)
    return frozenset(name for change in full for name in (change.path, change.previous) if name is not None)


class _Reader:
    def __init__(self, data: GitData, *, head: str, fork: str) -> None:
        self._data = data
        self._head = Tree(data, head)
        self._fork = Tree(data, fork)

    def plain(self, row: object) -> FileChange | None:
        """What the row itself says; None for a file that is not changed."""
        path, status = text_at(row, "filename"), text_at(row, "status")
        if status == "unchanged":
            return None
        known = STATUSES.get(status or "")
        counts = [get(row, name) for name in ("additions", "deletions")]
        if path is None or known is None or not all(isinstance(count, int) for count in counts):
            msg = f"GitHub shows a change of a kind that cannot be judged ({(status or 'none')[:40]!r})"
            raise PostPolicyError(Refusal("files", msg))
        previous = text_at(row, "previous_filename") if known == "renamed" else None
        if known == "renamed" and previous is None:
            msg = f"GitHub does not say where {shown(path)} was moved from, so it cannot be judged"
            raise PostPolicyError(Refusal("files", msg))
        return FileChange(
            path=path,
            status=known,
            additions=int(counts[0]),
            deletions=int(counts[1]),
            previous=previous,
        )

    async def full(self, change: FileChange, row: Mapping[str, Any]) -> FileChange:
        """The same with modes and added lines."""
        if change.status == "removed":
            return FileChange(**{**_fields(change), "mode": None})
        entry = await self._head.entry(change.path)
        old: Entry | None = None
        lines = [line[1:] for line in (text_at(row, "patch") or "").split("\n") if line.startswith("+")]
        whole = change.additions > 0 and len(lines) == change.additions
        mode = entry.mode if entry is not None else None
        if change.status != "added" and (mode == EXECUTABLE or not whole):
            old = await self._fork.entry(change.previous or change.path)
        added: str | None = "\n".join(lines)
        if not whole and entry is not None and mode != SUBMODULE:
            added = await self._unshown(change, entry, old)
        return FileChange(
            **{**_fields(change), "mode": mode, "old_mode": old.mode if old else None, "added": added}
        )

    async def _unshown(self, change: FileChange, entry: Entry, old: Entry | None) -> str | None:
        """What is added, where the comparison does not show it: nothing, or the whole file."""
        if old is not None and old.sha == entry.sha:
            return ""  # moved, or another mode
        if old is not None and change.additions == 0 and change.deletions > 0:
            return ""  # lines were only taken away
        content = await self._data.blob(entry)
        return None if content is None else content.decode("utf-8", "replace")


def _fields(change: FileChange) -> dict[str, Any]:
    return {name: getattr(change, name) for name in ("path", "status", "additions", "deletions", "previous")}
