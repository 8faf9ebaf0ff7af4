"""Issues, their comments, labels, assignees and reactions (pull requests take part as issues)."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from sandbox.github import shapes
from sandbox.github.answers import Endpoint, check_length, guard, invalid, not_found, page
from sandbox.github.bodies import Assignees, IssueUpdate, Labels, NewComment, NewIssue, NewReaction
from sandbox.github.place import Place
from sandbox.github.records import Comment, Issue, Reaction, Repository
from sandbox.moments import now
from sandbox.requests import check, read_body, read_json

ISSUES = "/repos/{owner}/{repo}/issues"


class Issues(Place):
    """Endpoints below `/repos/{owner}/{repo}/issues`."""

    def routes(self) -> list[Route]:
        one = f"{ISSUES}/{{number:int}}"
        comment = f"{ISSUES}/comments/{{comment:int}}"
        table: list[tuple[str, Endpoint, list[str]]] = [
            (ISSUES, self.all, ["GET", "POST"]),
            (f"{ISSUES}/comments", self.all_comments, ["GET"]),
            (comment, self.comment, ["GET", "PATCH", "DELETE"]),
            ("/repos/{owner}/{repo}/comments/{comment:int}", self.edit, ["PATCH"]),
            (f"{comment}/reactions", self.comment_reactions, ["GET", "POST"]),
            (f"{comment}/reactions/{{reaction:int}}", self.comment_unreact, ["DELETE"]),
            (
                "/repos/{owner}/{repo}/pulls/comments/{comment:int}/reactions",
                self.comment_reactions,
                ["GET", "POST"],
            ),
            (
                "/repos/{owner}/{repo}/comments/{comment:int}/reactions",
                self.comment_reactions,
                ["GET", "POST"],
            ),
            (one, self.one, ["GET", "PATCH"]),
            (f"{one}/comments", self.comments, ["GET", "POST"]),
            (f"{one}/labels", self.labels, ["GET", "POST", "PUT", "DELETE"]),
            (f"{one}/labels/{{label:path}}", self.unlabel, ["DELETE"]),
            (f"{one}/assignees", self.assignees, ["POST", "DELETE"]),
            (f"{one}/reactions", self.reactions, ["GET", "POST"]),
            (f"{one}/reactions/{{reaction:int}}", self.unreact, ["DELETE"]),
        ]
        return [Route(path, guard(endpoint), methods=methods) for path, endpoint, methods in table]

    async def all(self, request: Request) -> Response:
        repo = self.repo(request)
        if request.method == "POST":
            body = await read_body(request, NewIssue)
            if not body.title.strip():
                raise invalid("Issue", "title", "missing_field")
            check_length(body.body, "Issue")
            number = repo.next_number()
            issue = self.github.ensure_issue(
                repo.name,
                number,
                title=body.title,
                body=body.body,
                login=self.login(request),
                labels=tuple(body.labels),
            )
            issue.assignees = list(body.assignees)
            return JSONResponse(shapes.issue(repo, issue), status_code=201)
        wanted = request.query_params.get("state", "open")
        labels = {name for name in request.query_params.get("labels", "").split(",") if name}
        found = [
            issue
            for issue in sorted(repo.issues.values(), key=lambda item: item.number, reverse=True)
            if wanted in {"all", issue.state} and labels <= set(issue.labels)
        ]
        return page(request, [shapes.issue(repo, issue) for issue in found])

    async def one(self, request: Request) -> Response:
        repo, issue = self.issue(request)
        if request.method == "PATCH":
            body = await read_body(request, IssueUpdate)
            check_length(body.body, "Issue")
            given = body.model_fields_set
            issue.title = body.title if body.title is not None else issue.title
            issue.body = body.body if "body" in given else issue.body
            issue.labels = body.labels if body.labels is not None else issue.labels
            issue.assignees = body.assignees if body.assignees is not None else issue.assignees
            if body.state is not None:
                issue.state = body.state
                done = body.state_reason or "completed"
                issue.state_reason = done if body.state == "closed" else body.state_reason or "reopened"
        return JSONResponse(shapes.issue(repo, issue))

    async def comments(self, request: Request) -> Response:
        repo, issue = self.issue(request)
        if request.method == "GET":
            since = request.query_params.get("since", "")
            shown = [shapes.comment(repo, issue, note) for note in issue.comments]
            return page(request, [note for note in shown if note["updated_at"] >= since])
        note = self.new_comment(request, await _text(request, "IssueComment"))
        issue.comments.append(note)
        return JSONResponse(shapes.comment(repo, issue, note), status_code=201)

    async def all_comments(self, request: Request) -> Response:
        repo = self.repo(request)
        rows = [
            shapes.comment(repo, issue, note) for issue in repo.issues.values() for note in issue.comments
        ]
        rows.sort(key=lambda row: row["id"], reverse=request.query_params.get("direction") == "desc")
        return page(request, rows)

    async def comment(self, request: Request) -> Response:
        repo, note = self._comment(request)
        issue = _home(repo, note)
        if request.method == "DELETE":
            repo.loose_comments.pop(note.id, None)
            if issue is not None:
                issue.comments.remove(note)
            return Response(status_code=204)
        if request.method == "PATCH":
            note.body = await _text(request, "IssueComment")
            note.edited_at = now()
        return JSONResponse(shapes.comment(repo, issue, note))

    async def edit(self, request: Request) -> Response:
        repo, note = self._comment(request)
        note.body, note.edited_at = await _text(request, "CommitComment"), now()
        return JSONResponse(shapes.commit_comment(repo, note))

    async def labels(self, request: Request) -> Response:
        repo, issue = self.issue(request)
        if request.method in {"POST", "PUT"}:
            given = await read_json(request)
            names = check({"labels": given} if isinstance(given, list) else given, Labels).labels
            if request.method == "PUT":
                issue.labels.clear()
            issue.labels += [name for name in dict.fromkeys(names) if name not in issue.labels]
        if request.method == "DELETE":
            issue.labels.clear()
            return Response(status_code=204)
        return JSONResponse([shapes.label(repo, name) for name in issue.labels])

    async def unlabel(self, request: Request) -> Response:
        repo, issue = self.issue(request)
        name = request.path_params["label"]
        if name not in issue.labels:
            error = not_found()
            error.message = "Label does not exist"
            raise error
        issue.labels.remove(name)
        return JSONResponse([shapes.label(repo, left) for left in issue.labels])

    async def assignees(self, request: Request) -> Response:
        repo, issue = self.issue(request)
        given = (await read_body(request, Assignees)).assignees
        if request.method == "POST":
            issue.assignees += [login for login in given if login not in issue.assignees]
            return JSONResponse(shapes.issue(repo, issue), status_code=201)
        issue.assignees = [login for login in issue.assignees if login not in given]
        return JSONResponse(shapes.issue(repo, issue))

    async def reactions(self, request: Request) -> Response:
        _, issue = self.issue(request)
        return await self._react(request, issue.reactions)

    async def unreact(self, request: Request) -> Response:
        _, issue = self.issue(request)
        return _remove(issue.reactions, int(request.path_params["reaction"]))

    async def comment_reactions(self, request: Request) -> Response:
        _, note = self._comment(request)
        return await self._react(request, note.reactions)

    async def comment_unreact(self, request: Request) -> Response:
        _, note = self._comment(request)
        return _remove(note.reactions, int(request.path_params["reaction"]))

    def _comment(self, request: Request) -> tuple[Repository, Comment]:
        repo = self.repo(request)
        note = self.github.comment(repo, int(request.path_params["comment"]))
        if note is None:
            raise not_found()
        return repo, note

    async def _react(self, request: Request, reactions: list[Reaction]) -> Response:
        if request.method == "GET":
            wanted = request.query_params.get("content")
            shown = [shapes.reaction(given) for given in reactions if wanted in {None, given.content}]
            return page(request, shown)
        content = (await read_body(request, NewReaction)).content
        login = self.login(request)
        for given in reactions:
            if given.content == content and given.login == login:
                return JSONResponse(shapes.reaction(given), status_code=200)
        made = Reaction(id=self.github.new_id(), content=content, login=login, at=now())
        reactions.append(made)
        return JSONResponse(shapes.reaction(made), status_code=201)


async def _text(request: Request, resource: str) -> str:
    body = (await read_body(request, NewComment)).body
    if not body.strip():
        raise invalid(resource, "body", "custom", "Body cannot be blank")
    check_length(body, resource)
    return body


def _home(repo: Repository, note: Comment) -> Issue | None:
    return next((issue for issue in repo.issues.values() if note in issue.comments), None)


def _remove(reactions: list[Reaction], reaction_id: int) -> Response:
    for given in reactions:
        if given.id == reaction_id:
            reactions.remove(given)
            return Response(status_code=204)
    raise not_found()
