"""A pull request's branch out of files or a patch that an agent hands over, so that the agent needs no access itself.

The branch's name follows from run and slot, and a branch is made only as the last step, with its one commit: whoever
tries again finds it, sees that it holds just this, and makes no second one.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import difflib
import hashlib
import re
from dataclasses import dataclass, replace
from typing import Any, Final, NoReturn

from connectors.body import get, text_at
from connectors.github.client import Client
from connectors.github.comparisons import judge_branch
from connectors.github.gitdata import Entry, GitData, Tree
from connectors.github.outputs import FileArgument, PullRequestArguments
from connectors.poster import Post, PostPolicyError, PostRefusedError
from schemas.policy.changes import EXECUTABLE, FILE, SUBMODULE, SYMLINK, FileChange, judge_changes
from schemas.policy.patches import FilePatch, PatchError, apply, read_patch
from schemas.policy.paths import collisions, judge_path, shown
from schemas.policy.shapes import ChangePolicy, Refusal

PREFIX: Final = "triggerhub/"
_UNSAFE: Final = re.compile(r"[^A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True)
class Planned:
    """One path as it shall be: `content` None removes it."""

    path: str
    mode: str
    content: bytes | None
    change: FileChange | None
    """None for the old path of a renamed file, which the change of the new one tells of."""

    @property
    def sha(self) -> str | None:
        """Git's own name of the content."""
        if self.content is None:
            return None
        whole = f"blob {len(self.content)}\0".encode() + self.content
        return hashlib.sha1(whole, usedforsecurity=False).hexdigest()


def branch_of(post: Post) -> str:
    """The branch of this very run and slot. Changing this makes a second branch for results on their way."""
    digest = hashlib.sha256(f"{post.run}\n{post.slot}".encode()).hexdigest()
    return f"{PREFIX}{_UNSAFE.sub('-', post.run)[:60]}-{digest[:10]}"


class Committer:
    """Makes the branch of one pull request, once."""

    def __init__(self, client: Client, post: Post, repository: str, policy: ChangePolicy) -> None:
        self._client = client
        self._post = post
        self._repository = repository
        self._policy = policy
        self._data = GitData(client, repository)
        self._branch = branch_of(post)

    async def commit(self, arguments: PullRequestArguments, *, base: str, title: str) -> str:
        """Sha of the branch's commit, made now or before. Raises PostPolicyError, PostError."""
        sha = await self._data.head(self._branch)
        if sha is None:
            start = await self._data.head(base)
            if start is None:
                msg = f"{self._repository} has no branch {base[:100]!r} to start from"
                raise PostRefusedError(msg)
            made = await self._make(arguments, start=start, title=title)
            if made is not None:
                return made
            sha = await self._data.head(self._branch)  # an earlier attempt was still under way
        if sha is None:
            msg = f"{self._repository}: the branch {self._branch} is said to exist, but is not shown"
            raise PostRefusedError(msg)
        await self._check(arguments, sha, base=base)
        return sha

    async def _make(self, arguments: PullRequestArguments, *, start: str, title: str) -> str | None:
        """Commit onto `start`, the very commit that was judged against. None: the branch is there already."""
        planned = await self._plan(arguments, Tree(self._data, start))
        changes = [one.change for one in planned if one.change is not None]
        refusal = await asyncio.to_thread(judge_changes, changes, self._policy, self._post.known)
        if refusal is not None:
            raise PostPolicyError(refusal)
        base_tree = text_at(await self._data.commit(start), "tree", "sha")
        if base_tree is None:
            msg = f"{self._repository}: the commit {start} names no tree"
            raise PostRefusedError(msg)
        items = [await self._item(one) for one in planned]
        tree = await self._data.new_tree(base_tree, items)
        sha = await self._data.new_commit(f"{title}\n\n{self._trailer()}", tree=tree, parent=start)
        return sha if await self._data.new_branch(self._branch, sha) else None

    async def _check(self, arguments: PullRequestArguments, sha: str, *, base: str) -> None:
        """The branch that is there holds what is wanted and nothing else, and the rule allows it."""
        commit = await self._data.commit(sha)
        parents = get(commit, "parents")
        parent = text_at(parents[0], "sha") if isinstance(parents, list) and len(parents) == 1 else None
        is_ours = parent is not None and self._trailer() in (text_at(commit, "message") or "")
        if parent is not None and is_ours:
            head = Tree(self._data, sha)
            for one in await self._plan(arguments, Tree(self._data, parent)):
                entry = await head.entry(one.path)
                there = (entry.mode, entry.sha) if entry is not None else None
                is_ours = is_ours and there == (None if one.content is None else (one.mode, one.sha))
        if not is_ours:
            msg = f"{self._repository}: the branch {self._branch} exists and holds something else; remove it"
            raise PostRefusedError(msg)
        await judge_branch(
            self._client, self._repository, base=base, head=sha, policy=self._policy, known=self._post.known
        )

    def _trailer(self) -> str:
        return f"Triggerhub-Run: {self._post.run}\nTriggerhub-Slot: {self._post.slot}"

    async def _item(self, one: Planned) -> dict[str, Any]:
        """An entry of the new tree. Text travels in it; anything else is made first."""
        item: dict[str, Any] = {"path": one.path, "mode": one.mode, "type": "blob"}
        if one.content is None:
            return {**item, "sha": None}
        text = _text(one.content)
        if text is not None:
            return {**item, "content": text}
        return {**item, "sha": await self._data.new_blob(one.content)}

    # What is wanted -----------------------------------------------------------------------------------------------

    async def _plan(self, arguments: PullRequestArguments, tree: Tree) -> list[Planned]:
        planned: list[Planned] = []
        self._few(len(arguments.files))
        for given in arguments.files:
            planned += await self._of_file(given, tree)
        if arguments.patch is not None:
            try:
                patches = await asyncio.to_thread(read_patch, arguments.patch)
            except PatchError as error:
                raise PostPolicyError(Refusal("patch", str(error))) from None
            self._few(len(patches))
            for patch in patches:
                planned += await self._of_patch(patch, tree)
        paths = [one.path for one in planned]
        twice = next((path for path in paths if paths.count(path) > 1), None)
        if twice is not None:
            self._refuse("files", f"{shown(twice)} is given twice; give each file once")
        for one in planned:
            if one.content is not None:
                await self._fits(one.path, tree, gone={p.path for p in planned if p.content is None})
        clash = collisions([one.path for one in planned if one.content is not None], ())
        if clash is not None:
            self._clash(*clash)
        return planned

    def _few(self, files: int) -> None:
        """Before anything is asked for about each."""
        if files > self._policy.max_files:
            msg = f"{files} files are given, at most {self._policy.max_files} are allowed; split the work"
            self._refuse("max_files", msg)

    async def _of_file(self, given: FileArgument, tree: Tree) -> list[Planned]:
        old = await self._old(given.path, tree)
        if given.delete:
            if old is None:
                self._refuse(
                    "files", f"{shown(given.path)} does not exist on the base branch; nothing to delete"
                )
            return [await self._removed(given.path, old)]
        try:
            content = (
                base64.b64decode(given.content or "", validate=True)
                if given.encoding == "base64"
                else (given.content or "").encode()
            )
        except (binascii.Error, ValueError):
            self._refuse("files", f"the content of {shown(given.path)} is not what its encoding says")
        return await self._written(given.path, content, mode=given.mode, old=old)

    async def _of_patch(self, patch: FilePatch, tree: Tree) -> list[Planned]:
        name = patch.new or patch.old or ""
        for path in {name, patch.old or name}:
            self._allowed(path)
        old = await self._old(patch.old, tree) if patch.old is not None else await self._old(name, tree)
        if old is not None and old.mode not in {FILE, EXECUTABLE}:
            self._refuse("patch", f"{shown(name)} is a link or a submodule; a patch changes files only")
        before = await self._text_of(patch.old or name, old) if old is not None else None
        try:
            after = await asyncio.to_thread(apply, patch, before)
        except PatchError as error:
            raise PostPolicyError(Refusal("patch", str(error))) from None
        if patch.new is None:
            if after:
                self._refuse(
                    "patch", f"{shown(name)} is said to be removed, but the patch leaves lines in it"
                )
            return [await self._removed(name, old)]
        mode = patch.mode or (old.mode if old is not None else FILE)
        if patch.old is None or patch.old == patch.new:
            return await self._written(patch.new, after.encode(), mode=mode, old=old)
        [written] = await self._written(patch.new, after.encode(), mode=mode, old=old, is_move=True)
        if await tree.entry(patch.new) is not None:
            self._refuse("patch", f"{shown(patch.new)} exists already; nothing can be moved there")
        change = written.change
        moved = replace(change, status="renamed", previous=patch.old) if change is not None else None
        gone = Planned(patch.old, old.mode if old is not None else FILE, None, None)
        return [gone, replace(written, change=moved)]

    async def _old(self, path: str, tree: Tree) -> Entry | None:
        """What stands there now. The path is judged before anything is asked for by it."""
        self._allowed(path)
        found = await tree.entry(path)
        if found is not None and found.is_folder:
            self._refuse("files", f"{shown(path)} is a folder")
        return found

    async def _written(
        self, path: str, content: bytes, *, mode: str | None, old: Entry | None, is_move: bool = False
    ) -> list[Planned]:
        kept = old.mode if old is not None and old.mode in {FILE, EXECUTABLE} else FILE
        wanted = mode or kept
        before = b"" if old is None or old.mode == SUBMODULE else await self._content_of(path, old)
        if old is not None and before == content and wanted == old.mode and not is_move:
            return []  # it is so already
        additions, deletions, added = await asyncio.to_thread(_difference, before, content)
        change = FileChange(
            path=path,
            status="added" if old is None else "modified",
            additions=additions,
            deletions=deletions,
            mode=wanted,
            old_mode=old.mode if old is not None else None,
            added=added,
        )
        return [Planned(path, wanted, content, change)]

    async def _removed(self, path: str, old: Entry | None) -> Planned:
        lines = 0
        if old is not None and old.mode not in {SUBMODULE, SYMLINK}:
            lines = len((await self._content_of(path, old)).splitlines())
        mode = old.mode if old is not None else FILE
        return Planned(
            path, mode, None, FileChange(path, "removed", deletions=lines, mode=None, old_mode=mode)
        )

    async def _content_of(self, path: str, entry: Entry) -> bytes:
        content = await self._data.blob(entry)
        if content is None:
            self._refuse("files", f"{shown(path)} is too large to be changed this way")
        return content

    async def _text_of(self, path: str, entry: Entry) -> str:
        text = _text(await self._content_of(path, entry))
        if text is None:
            self._refuse("patch", f"{shown(path)} is no text in UTF-8; give it whole, in files")
        return text

    async def _fits(self, path: str, tree: Tree, *, gone: set[str]) -> None:
        """No file above it, and nothing beside it that is the same on a system that ignores letter case."""
        parts = path.split("/")
        for at, part in enumerate(parts):
            above = "/".join(parts[:at])
            folder = await tree.folder(above)
            beside = {name for name in folder if (f"{above}/{name}" if above else name) not in gone}
            clash = None if part in folder else collisions([part], beside)
            if clash is not None:
                self._clash(*clash)
            entry = folder.get(part)
            here = "/".join(parts[: at + 1])
            if entry is not None and at < len(parts) - 1 and not entry.is_folder and here not in gone:
                self._refuse("files", f"{shown(here)} is a file, so nothing can be below it")
            if entry is None:
                return

    def _allowed(self, path: str) -> None:
        refusal = judge_path(path, self._policy.paths)
        if refusal is not None:
            raise PostPolicyError(refusal)

    def _clash(self, new: str, other: str) -> NoReturn:
        msg = f"{shown(new)} and {shown(other)} are one file on some systems; choose another name"
        self._refuse("paths", msg)

    def _refuse(self, clause: str, reason: str) -> NoReturn:
        raise PostPolicyError(Refusal(clause, reason))


def _text(content: bytes) -> str | None:
    if b"\0" in content:
        return None
    try:
        return content.decode()
    except UnicodeDecodeError:
        return None


def _difference(before: bytes, after: bytes) -> tuple[int, int, str]:
    """Lines added and removed, and the added ones. Of what is no text, everything is added."""
    old, new = (side.decode("utf-8", "replace").split("\n") for side in (before, after))
    start = 0
    while start < min(len(old), len(new)) and old[start] == new[start]:
        start += 1
    end = 0
    while end < min(len(old), len(new)) - start and old[-1 - end] == new[-1 - end]:
        end += 1
    old, new = old[start : len(old) - end], new[start : len(new) - end]
    added: list[str] = []
    removed = 0
    for tag, a, b, c, d in difflib.SequenceMatcher(None, old, new).get_opcodes():
        if tag != "equal":
            removed += b - a
            added += new[c:d]
    return len(added), removed, "\n".join(added)
