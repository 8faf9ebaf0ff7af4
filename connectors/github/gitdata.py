"""GitHub's Git data API: references, trees, blobs and commits, one call each. Must not decide what is written."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

import httpx

from connectors.body import get, text_at
from connectors.calls import decoded
from connectors.github.client import Client
from connectors.github.rest import check, explain, objects
from connectors.poster import PostPolicyError, PostRefusedError
from schemas.policy.shapes import Refusal

MAX_BLOB: Final = 1_000_000
"""Bytes of a file that is read to be judged or changed."""
MAX_FOLDERS: Final = 300
"""Folders that are read for one pull request."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What stands at a path: `mode` is Git's (`100644`, `040000` for a folder …)."""

    mode: str
    sha: str
    size: int | None

    @property
    def is_folder(self) -> bool:
        return self.mode == "040000"


class GitData:
    """The objects of one repository."""

    def __init__(self, client: Client, repository: str) -> None:
        self._client = client
        self._repository = repository
        self._base = f"/repos/{repository}/git"

    async def head(self, branch: str) -> str | None:
        """Sha of a branch's last commit; None where there is no such branch."""
        path = f"{self._base}/ref/heads/{quote(branch)}"
        response = await self._client.attempt("GET", path, repository=self._repository)
        if response.status_code == httpx.codes.NOT_FOUND:
            return None
        check(response, what=f"GET {path}")
        return _sha(decoded(response), "object", "sha", what=path)

    async def commit(self, sha: str) -> Mapping[str, Any]:
        """A commit: message, tree and parents."""
        return _mapping(await self._get(f"/commits/{sha}"))

    async def folder(self, sha: str) -> dict[str, Entry]:
        """Entries of a tree (or of a commit's top folder), by name. Raises PostPolicyError where GitHub cuts it short."""
        response = await self._get(f"/trees/{sha}")
        if get(decoded(response), "truncated") is not False:
            msg = "a folder of the repository is larger than GitHub shows, so the change cannot be judged"
            raise PostPolicyError(Refusal("files", msg))
        found: dict[str, Entry] = {}
        for row in objects(response, "tree"):
            name, mode, ident, size = (get(row, key) for key in ("path", "mode", "sha", "size"))
            if isinstance(name, str) and isinstance(mode, str) and isinstance(ident, str):
                found[name] = Entry(mode, ident, size if isinstance(size, int) else None)
        return found

    async def blob(self, entry: Entry) -> bytes | None:
        """A file's content; None where it is larger than MAX_BLOB."""
        if entry.size is not None and entry.size > MAX_BLOB:
            return None
        found = decoded(await self._get(f"/blobs/{entry.sha}"))
        size = get(found, "size")
        if not isinstance(size, int) or size > MAX_BLOB:
            return None
        try:
            content = base64.b64decode(text_at(found, "content") or "")
        except (binascii.Error, ValueError):
            content = b""
        return content if len(content) == size else None

    async def new_blob(self, content: bytes) -> str:
        """Make a file; the same content is the same object."""
        body = {"content": base64.b64encode(content).decode(), "encoding": "base64"}
        return await self._made("/blobs", body)

    async def new_tree(self, base_tree: str, items: Sequence[Mapping[str, Any]]) -> str:
        """Make a tree out of another; the same entries are the same object."""
        return await self._made("/trees", {"base_tree": base_tree, "tree": list(items)})

    async def new_commit(self, message: str, *, tree: str, parent: str) -> str:
        """Make a commit that no branch has yet. Without an author, so that GitHub signs it where it does."""
        return await self._made("/commits", {"message": message, "tree": tree, "parents": [parent]})

    async def new_branch(self, branch: str, sha: str) -> bool:
        """Make a branch. False: there is one of that name."""
        path = f"{self._base}/refs"
        body = {"ref": f"refs/heads/{branch}", "sha": sha}
        response = await self._client.attempt("POST", path, repository=self._repository, json=body)
        is_refusal = response.status_code == httpx.codes.UNPROCESSABLE_ENTITY
        if is_refusal and "already exists" in explain(response).lower():
            return False
        check(response, what=f"POST {path}")
        return True

    async def _get(self, path: str) -> httpx.Response:
        return await self._client.get(f"{self._base}{path}", repository=self._repository)

    async def _made(self, path: str, body: Mapping[str, Any]) -> str:
        response = await self._client.post(f"{self._base}{path}", repository=self._repository, json=body)
        return _sha(decoded(response), "sha", what=f"POST {self._base}{path}")


class Tree:
    """The files of one commit, read folder by folder as they are asked for."""

    def __init__(self, data: GitData, sha: str) -> None:
        self._data = data
        self._sha = sha
        self._folders: dict[str, dict[str, Entry]] = {}

    async def entry(self, path: str) -> Entry | None:
        """What stands at `path`; None where nothing does."""
        folder, _, name = path.rpartition("/")
        return (await self.folder(folder)).get(name)

    async def folder(self, path: str) -> dict[str, Entry]:
        """Entries of a folder (empty: the top), by name; none where there is no such folder."""
        known = self._folders.get(path)
        if known is not None:
            return known
        if path:
            above = await self.entry(path)
            sha = above.sha if above is not None and above.is_folder else None
        else:
            sha = self._sha
        if len(self._folders) >= MAX_FOLDERS:
            msg = f"the change touches files in more than {MAX_FOLDERS} folders; split the work"
            raise PostPolicyError(Refusal("files", msg))
        self._folders[path] = await self._data.folder(sha) if sha is not None else {}
        return self._folders[path]


def _mapping(response: httpx.Response) -> Mapping[str, Any]:
    found = decoded(response)
    return found if isinstance(found, Mapping) else {}


def _sha(body: object, *path: str, what: str) -> str:
    found = text_at(body, *path)
    if found is None:
        msg = f"{what}: the answer names no sha"
        raise PostRefusedError(msg)
    return found
