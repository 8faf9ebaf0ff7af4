"""Branches, commits and files, and what hangs on a commit: statuses, check runs and comments."""

from __future__ import annotations

import base64
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from sandbox.github import objects, shapes
from sandbox.github.answers import (
    Endpoint,
    RefusedError,
    check_length,
    credential,
    guard,
    invalid,
    not_found,
    page,
)
from sandbox.github.bodies import CheckRunUpdate, NewCheckRun, NewCommitComment, NewStatus
from sandbox.github.place import Place
from sandbox.github.records import CheckRun, Repository, Status
from sandbox.moments import iso_seconds, now
from sandbox.requests import read_body

REPO: Final = "/repos/{owner}/{repo}"
MAX_DESCRIPTION: Final = 140
MAX_COMPARED: Final = 300
"""Files of a comparison that are shown; the answer does not say that there are more."""
MAX_OUTPUT_BYTES: Final = 65_535
RANK: Final = {"error": 0, "failure": 0, "pending": 1, "success": 2}


class Commits(Place):
    """Endpoints that name a branch, a commit or a file."""

    def routes(self) -> list[Route]:
        table: list[tuple[str, Endpoint, list[str]]] = [
            (REPO, self.one, ["GET"]),
            (f"{REPO}/branches", self.branches, ["GET"]),
            (f"{REPO}/branches/{{branch:path}}", self.branch, ["GET"]),
            (f"{REPO}/git/ref/heads/{{branch:path}}", self.ref, ["GET"]),
            (f"{REPO}/git/refs/heads/{{branch:path}}", self.ref, ["GET", "DELETE"]),
            (f"{REPO}/compare/{{span:path}}", self.compare, ["GET"]),
            (f"{REPO}/contents/{{path:path}}", self.contents, ["GET"]),
            (f"{REPO}/statuses/{{sha}}", self.set_status, ["POST"]),
            (f"{REPO}/commits/{{ref:path}}/statuses", self.statuses, ["GET"]),
            (f"{REPO}/commits/{{ref:path}}/status", self.status, ["GET"]),
            (f"{REPO}/commits/{{ref:path}}/check-runs", self.check_runs, ["GET"]),
            (f"{REPO}/commits/{{ref:path}}/comments", self.comments, ["GET", "POST"]),
            (f"{REPO}/commits/{{ref:path}}", self.commit, ["GET"]),
            (f"{REPO}/check-runs", self.new_check_run, ["POST"]),
            (f"{REPO}/check-runs/{{run:int}}", self.check_run, ["GET", "PATCH"]),
        ]
        return [Route(path, guard(endpoint), methods=methods) for path, endpoint, methods in table]

    async def one(self, request: Request) -> Response:
        return JSONResponse(shapes.repository(self.repo(request)))

    async def branches(self, request: Request) -> Response:
        repo = self.repo(request)
        rows = [{"name": name, "commit": {"sha": sha}} for name, sha in sorted(repo.branches.items())]
        return page(request, rows)

    async def branch(self, request: Request) -> Response:
        repo = self.repo(request)
        name = request.path_params["branch"]
        if name not in repo.branches:
            raise RefusedError(404, "Branch not found")
        commit = repo.commits[repo.branches[name]]
        return JSONResponse({"name": name, "commit": shapes.commit(repo, commit), "protected": False})

    async def ref(self, request: Request) -> Response:
        repo = self.repo(request)
        name = request.path_params["branch"]
        if name not in repo.branches:
            raise not_found()
        if request.method == "DELETE":
            del repo.branches[name]
            return Response(status_code=204)
        sha = repo.branches[name]
        return JSONResponse({"ref": f"refs/heads/{name}", "object": {"type": "commit", "sha": sha}})

    async def compare(self, request: Request) -> Response:
        repo = self.repo(request)
        base, dots, head = request.path_params["span"].partition("...")
        first, last = repo.resolve(base), repo.resolve(head.rpartition(":")[2])
        if not dots or first is None or last is None:
            raise not_found()
        ahead, behind = repo.ahead(first, last), repo.ahead(last, first)
        known = {commit.sha for commit in repo.history(first)}
        fork = next((commit.sha for commit in repo.history(last) if commit.sha in known), first)
        files = objects.changes(repo.entries(fork), repo.entries(last))
        status = {(False, False): "identical", (True, False): "ahead", (False, True): "behind"}
        return JSONResponse(
            {
                "status": status.get((bool(ahead), bool(behind)), "diverged"),
                "ahead_by": len(ahead),
                "behind_by": len(behind),
                "total_commits": len(ahead),
                "merge_base_commit": shapes.commit(repo, repo.commits[fork]),
                "commits": [shapes.commit(repo, commit) for commit in ahead],
                "files": files[:MAX_COMPARED],
                "html_url": f"{shapes.WEB}/{repo.name}/compare/{base}...{head}",
            }
        )

    async def contents(self, request: Request) -> Response:
        repo = self.repo(request)
        sha = repo.resolve(request.query_params.get("ref") or repo.default_branch)
        path = request.path_params["path"]
        content = repo.files(sha).get(path) if sha is not None else None
        if content is None:
            raise not_found()
        encoded = base64.encodebytes(content.encode()).decode()
        name = path.rpartition("/")[2]
        shape = {"type": "file", "encoding": "base64", "name": name, "path": path, "content": encoded}
        return JSONResponse(shape)

    async def commit(self, request: Request) -> Response:
        repo = self.repo(request)
        sha = self.sha(repo, request.path_params["ref"])
        return JSONResponse(shapes.commit(repo, repo.commits[sha]))

    async def comments(self, request: Request) -> Response:
        repo = self.repo(request)
        sha = self.sha(repo, request.path_params["ref"])
        if request.method == "GET":
            rows = [
                shapes.commit_comment(repo, note) for note in repo.commit_comments if note.commit_id == sha
            ]
            return page(request, rows)
        body = await read_body(request, NewCommitComment)
        if not body.body.strip():
            raise invalid("CommitComment", "body", "missing_field")
        check_length(body.body, "CommitComment")
        note = self.new_comment(request, body.body)
        note.commit_id, note.path, note.line = sha, body.path, body.line
        repo.commit_comments.append(note)
        return JSONResponse(shapes.commit_comment(repo, note), status_code=201)

    async def set_status(self, request: Request) -> Response:
        repo = self.repo(request)
        login = self.login(request)
        body = await read_body(request, NewStatus)
        sha = self.sha(repo, request.path_params["sha"])
        if body.description is not None and len(body.description) > MAX_DESCRIPTION:
            words = f"description is too long (maximum is {MAX_DESCRIPTION} characters)"
            raise invalid("Status", "description", "custom", words)
        given = Status(
            id=self.github.new_id(),
            sha=sha,
            state=body.state,
            context=body.context,
            description=body.description,
            target_url=body.target_url,
            at=now(),
        )
        repo.statuses.append(given)
        return JSONResponse(shapes.status(repo, given, login), status_code=201)

    async def statuses(self, request: Request) -> Response:
        repo = self.repo(request)
        login = self.login(request)
        return page(request, [shapes.status(repo, given, login) for given in self._statuses(request, repo)])

    async def status(self, request: Request) -> Response:
        repo = self.repo(request)
        login = self.login(request)
        last: dict[str, Status] = {}
        for given in self._statuses(request, repo):
            last.setdefault(given.context, given)
        worst = min((given.state for given in last.values()), key=RANK.__getitem__, default="pending")
        return JSONResponse(
            {
                "state": "failure" if worst == "error" else worst,
                "sha": self.sha(repo, request.path_params["ref"]),
                "total_count": len(last),
                "statuses": [shapes.status(repo, given, login) for given in last.values()],
            }
        )

    def _statuses(self, request: Request, repo: Repository) -> list[Status]:
        """Newest first."""
        sha = self.sha(repo, request.path_params["ref"])
        return [given for given in reversed(repo.statuses) if given.sha == sha]

    async def check_runs(self, request: Request) -> Response:
        repo = self.repo(request)
        sha = self.sha(repo, request.path_params["ref"])
        name = request.query_params.get("check_name")
        rows = [
            shapes.check_run(repo, run)
            for run in reversed(repo.check_runs)
            if run.head_sha == sha and name in {None, "", run.fields["name"]}
        ]
        return page(request, rows, key="check_runs")

    async def new_check_run(self, request: Request) -> Response:
        repo = self.repo(request)
        self._need_app(request)
        body = await read_body(request, NewCheckRun)
        fields = _fields(body)
        sha = self.sha(repo, fields.pop("head_sha"))
        run = CheckRun(id=self.github.new_id(), head_sha=sha, fields=fields, at=now())
        repo.check_runs.append(run)
        return JSONResponse(shapes.check_run(repo, run), status_code=201)

    async def check_run(self, request: Request) -> Response:
        repo = self.repo(request)
        run = next((run for run in repo.check_runs if run.id == request.path_params["run"]), None)
        if run is None:
            raise not_found()
        if request.method == "PATCH":
            self._need_app(request)
            run.fields |= _fields(await read_body(request, CheckRunUpdate))
        return JSONResponse(shapes.check_run(repo, run))

    def _need_app(self, request: Request) -> None:
        if credential(request, self.github) != "installation":
            raise RefusedError(403, "You must authenticate via a GitHub App.")


def _fields(body: CheckRunUpdate) -> dict[str, Any]:
    """What was given, checked as GitHub checks it: sizes in bytes, and a conclusion completes the run."""
    output = body.output
    for name, text in (("summary", output.summary), ("text", output.text)) if output is not None else ():
        if text is not None and len(text.encode()) > MAX_OUTPUT_BYTES:
            words = f"Only {MAX_OUTPUT_BYTES} characters are allowed; {len(text.encode())} were supplied."
            raise RefusedError(422, f"Invalid request.\n\n{words} (output.{name})")
    if body.status == "completed" and body.conclusion is None:
        raise RefusedError(
            422, 'Invalid request.\n\nNo subschema in "anyOf" matched.\n"conclusion" wasn\'t supplied.'
        )
    fields = body.model_dump(exclude_unset=True)
    if body.conclusion is not None:
        fields["status"] = "completed"
        fields.setdefault("completed_at", iso_seconds(now()))
    return fields
