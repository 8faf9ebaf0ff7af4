"""The Git data API of the emulated GitHub: blobs, trees, commits and references, made and read one by one."""

from __future__ import annotations

import base64
import binascii
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from sandbox.github import objects, shapes
from sandbox.github.answers import Endpoint, RefusedError, guard, invalid, not_found
from sandbox.github.bodies import NewBlob, NewCommit, NewRef, NewTree, TreeItem
from sandbox.github.objects import Entry
from sandbox.github.place import Place
from sandbox.github.records import Repository
from sandbox.github.state import SHA_LENGTH
from sandbox.moments import iso_seconds
from sandbox.requests import read_body

GIT: Final = "/repos/{owner}/{repo}/git"
MAX_BLOB: Final = 40 * 1024 * 1024
MAX_ROWS: Final = 100_000


class Data(Place):
    """Endpoints below `/repos/{owner}/{repo}/git`, but for reading references."""

    def routes(self) -> list[Route]:
        table: list[tuple[str, Endpoint, list[str]]] = [
            (f"{GIT}/blobs", self.new_blob, ["POST"]),
            (f"{GIT}/blobs/{{sha}}", self.blob, ["GET"]),
            (f"{GIT}/trees", self.new_tree, ["POST"]),
            (f"{GIT}/trees/{{sha:path}}", self.tree, ["GET"]),
            (f"{GIT}/commits", self.new_commit, ["POST"]),
            (f"{GIT}/commits/{{sha}}", self.commit, ["GET"]),
            (f"{GIT}/refs", self.new_ref, ["POST"]),
        ]
        return [Route(path, guard(endpoint), methods=methods) for path, endpoint, methods in table]

    async def new_blob(self, request: Request) -> Response:
        repo = self.repo(request)
        body = await read_body(request, NewBlob)
        content = _content(body.content, body.encoding)
        sha = objects.blob_sha(content)
        repo.blobs[sha] = content
        return JSONResponse(
            {"sha": sha, "url": f"{shapes.API}/repos/{repo.name}/git/blobs/{sha}"}, status_code=201
        )

    async def blob(self, request: Request) -> Response:
        repo = self.repo(request)
        sha = request.path_params["sha"]
        content = repo.blob(sha)
        if content is None:
            raise not_found()
        encoded = base64.encodebytes(content).decode()
        return JSONResponse({"sha": sha, "size": len(content), "encoding": "base64", "content": encoded})

    async def new_tree(self, request: Request) -> Response:
        repo = self.repo(request)
        body = await read_body(request, NewTree)
        files: dict[str, Entry] = {}
        if body.base_tree is not None:
            base = repo.tree(body.base_tree)
            if base is None:
                raise RefusedError(404, "Not Found")
            files = dict(base)
        for item in body.tree:
            _place(repo, files, item)
        if not files:
            raise RefusedError(422, "Invalid tree info")
        sha = repo.keep_tree(files)
        return JSONResponse({"sha": sha, "tree": objects.rows(files), "truncated": False}, status_code=201)

    async def tree(self, request: Request) -> Response:
        repo = self.repo(request)
        name = request.path_params["sha"]
        commit = repo.resolve(name)
        files = repo.tree(name) if commit is None else repo.entries(commit)
        if files is None:
            raise not_found()
        rows = objects.rows(files)
        if request.query_params.get("recursive"):
            rows = [
                {"path": path, "mode": entry.mode, "type": "blob", "sha": entry.sha}
                for path, entry in sorted(files.items())
            ]
        shape = {"sha": objects.tree_sha(files), "tree": rows[:MAX_ROWS], "truncated": len(rows) > MAX_ROWS}
        return JSONResponse(shape)

    async def new_commit(self, request: Request) -> Response:
        repo = self.repo(request)
        login = self.login(request)
        body = await read_body(request, NewCommit)
        files = repo.tree(body.tree)
        if files is None:
            raise RefusedError(422, "Tree SHA does not exist")
        if any(parent not in repo.commits for parent in body.parents) or len(body.parents) > 1:
            raise RefusedError(422, "Parent SHA does not exist or is not a commit object")
        made = self.github.commit_tree(
            repo, next(iter(body.parents), None), body.message, files, author=login
        )
        return JSONResponse(self._commit_shape(repo, made), status_code=201)

    async def commit(self, request: Request) -> Response:
        repo = self.repo(request)
        sha = request.path_params["sha"]
        if sha not in repo.commits:
            raise not_found()
        return JSONResponse(self._commit_shape(repo, sha))

    async def new_ref(self, request: Request) -> Response:
        repo = self.repo(request)
        body = await read_body(request, NewRef)
        name = body.ref.removeprefix("refs/heads/")
        if name == body.ref or not name or ".." in name or name.endswith("/"):
            raise RefusedError(422, "Reference name must start with 'refs/heads/'")
        if name in repo.branches:
            raise RefusedError(422, "Reference already exists")
        if body.sha not in repo.commits:
            raise RefusedError(422, "Object does not exist")
        repo.branches[name] = body.sha
        return JSONResponse({"ref": body.ref, "object": {"type": "commit", "sha": body.sha}}, status_code=201)

    def _commit_shape(self, repo: Repository, sha: str) -> dict[str, Any]:
        made = repo.commits[sha]
        tree = repo.keep_tree(repo.entries(sha))
        return {
            "sha": sha,
            "message": made.message,
            "author": {"name": made.author, "date": iso_seconds(made.at)},
            "tree": {"sha": tree},
            "parents": [{"sha": made.parent}] if made.parent else [],
        }


def _content(text: str, encoding: str) -> bytes:
    try:
        content = base64.b64decode(text) if encoding == "base64" else text.encode()
    except (binascii.Error, ValueError, UnicodeEncodeError):
        raise RefusedError(422, "Invalid base64 content") from None
    if len(content) > MAX_BLOB:
        raise RefusedError(422, "Sorry, your input was too large to process")
    return content


def _place(repo: Repository, files: dict[str, Entry], item: TreeItem) -> None:
    """One item of a new tree, checked as Git checks it."""
    parts = item.path.split("/")
    if not item.path or any(part in {"", ".", ".."} or part.lower() == ".git" for part in parts):
        raise invalid("Tree", "path", "invalid", "tree.path contains a malformed path component")
    if "sha" in item.model_fields_set and item.sha is None:
        if item.path not in files:
            raise RefusedError(422, "GitRPC::BadObjectState")
        del files[item.path]
        return
    if item.mode == objects.SUBMODULE and item.sha and len(item.sha) == SHA_LENGTH:
        files[item.path] = Entry(item.mode, item.sha.encode())
        return
    content = item.content.encode() if item.content is not None else repo.blob(item.sha or "")
    if content is None or item.mode is None or item.mode not in objects.MODES - {objects.FOLDER}:
        raise RefusedError(422, "tree.sha is not a valid object, or tree.mode is none")
    for path in [path for path in files if path.startswith(f"{item.path}/")]:
        del files[path]
    files[item.path] = Entry(item.mode, content)
