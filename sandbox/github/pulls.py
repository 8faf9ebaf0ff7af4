"""Pull requests: opening them from a pushed branch, reviews, review comments and replies."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from sandbox.github import shapes
from sandbox.github.answers import Endpoint, RefusedError, check_length, guard, invalid, not_found, page
from sandbox.github.bodies import (
    NewComment,
    NewPull,
    NewReview,
    NewReviewComment,
    PullUpdate,
    ReviewComment,
    Reviewers,
)
from sandbox.github.place import Place
from sandbox.github.records import Comment, Issue, Pull, Repository, Review
from sandbox.moments import now
from sandbox.requests import read_body

PULLS = "/repos/{owner}/{repo}/pulls"
STATES = {
    "APPROVE": "APPROVED",
    "REQUEST_CHANGES": "CHANGES_REQUESTED",
    "COMMENT": "COMMENTED",
    None: "PENDING",
}


class Pulls(Place):
    """Endpoints below `/repos/{owner}/{repo}/pulls`."""

    def routes(self) -> list[Route]:
        one = f"{PULLS}/{{number:int}}"
        table: list[tuple[str, Endpoint, list[str]]] = [
            (PULLS, self.all, ["GET", "POST"]),
            (f"{PULLS}/comments/{{comment:int}}", self.comment, ["GET", "PATCH"]),
            (one, self.one, ["GET", "PATCH"]),
            (f"{one}/files", self.files, ["GET"]),
            (f"{one}/commits", self.commits, ["GET"]),
            (f"{one}/comments", self.comments, ["GET", "POST"]),
            (f"{one}/comments/{{comment:int}}/replies", self.reply, ["POST"]),
            (f"{one}/reviews", self.reviews, ["GET", "POST"]),
            (f"{one}/reviews/{{review:int}}", self.review, ["GET"]),
            (f"{one}/reviews/{{review:int}}/comments", self.comments_of_review, ["GET"]),
            (f"{one}/requested_reviewers", self.reviewers, ["POST"]),
        ]
        return [Route(path, guard(endpoint), methods=methods) for path, endpoint, methods in table]

    async def all(self, request: Request) -> Response:
        repo = self.repo(request)
        if request.method == "POST":
            return self._open(request, repo, await read_body(request, NewPull))
        wanted = request.query_params.get("state", "open")
        head = request.query_params.get("head")
        base = request.query_params.get("base")
        rows = [
            shapes.pull_request(repo, issue, issue.pull)
            for issue in sorted(repo.issues.values(), key=lambda item: item.number, reverse=True)
            if issue.pull is not None
            and wanted in {"all", issue.state}
            and head in {None, "", f"{repo.owner}:{issue.pull.head}"}
            and base in {None, "", issue.pull.base}
        ]
        return page(request, rows)

    def _open(self, request: Request, repo: Repository, body: NewPull) -> Response:
        login = self.login(request)
        if not body.title or not body.title.strip():
            raise invalid("PullRequest", "title", "missing_field")
        check_length(body.body, "PullRequest")
        owner, colon, branch = body.head.rpartition(":")
        if colon and owner.lower() != repo.owner.lower():
            raise invalid("PullRequest", "head", "invalid")
        if branch not in repo.branches:
            raise invalid("PullRequest", "head", "invalid")
        if body.base not in repo.branches:
            raise invalid("PullRequest", "base", "invalid")
        for issue in repo.issues.values():
            if (
                issue.pull is not None
                and issue.state == "open"
                and issue.pull.head == branch
                and issue.pull.base == body.base
            ):
                words = f"A pull request already exists for {repo.owner}:{branch}."
                raise invalid("PullRequest", None, "custom", words)
        if not repo.ahead(repo.branches[body.base], repo.branches[branch]):
            raise invalid("PullRequest", None, "custom", f"No commits between {body.base} and {branch}")
        issue = self.github.ensure_issue(
            repo.name, repo.next_number(), title=body.title, body=body.body, login=login
        )
        issue.pull = Pull(
            head=branch,
            base=body.base,
            head_sha=repo.branches[branch],
            draft=body.draft,
            maintainer_can_modify=body.maintainer_can_modify,
        )
        return JSONResponse(shapes.pull_request(repo, issue, issue.pull), status_code=201)

    async def one(self, request: Request) -> Response:
        repo, issue, pull = self.pull(request)
        if request.method == "PATCH":
            body = await read_body(request, PullUpdate)
            check_length(body.body, "PullRequest")
            if body.base is not None and body.base not in repo.branches:
                raise invalid("PullRequest", "base", "invalid")
            issue.title = body.title if body.title is not None else issue.title
            issue.body = body.body if "body" in body.model_fields_set else issue.body
            issue.state = body.state if body.state is not None else issue.state
            pull.base = body.base if body.base is not None else pull.base
        return JSONResponse(shapes.pull_request(repo, issue, pull))

    async def files(self, request: Request) -> Response:
        repo, _, pull = self.pull(request)
        return page(request, [shapes.file(path, content) for path, content in _changes(repo, pull).items()])

    async def commits(self, request: Request) -> Response:
        repo, _, pull = self.pull(request)
        ahead = repo.ahead(repo.branches.get(pull.base, ""), pull.head_sha)
        return page(request, [shapes.commit(repo, commit) for commit in ahead])

    async def comments(self, request: Request) -> Response:
        repo, issue, pull = self.pull(request)
        if request.method == "GET":
            return page(request, [shapes.review_comment(repo, issue, note) for note in pull.review_comments])
        body = await read_body(request, NewReviewComment)
        check_length(body.body, "PullRequestReviewComment")
        if body.in_reply_to is not None:
            return self._answer(request, repo, issue, pull, parent=body.in_reply_to, text=body.body)
        wanted = ReviewComment(path=body.path, body=body.body, line=body.line, side=body.side)
        self._check_place(repo, pull, wanted)
        note = self._note(request, wanted, commit_id=body.commit_id, review_id=None)
        pull.review_comments.append(note)
        return JSONResponse(shapes.review_comment(repo, issue, note), status_code=201)

    async def comment(self, request: Request) -> Response:
        repo = self.repo(request)
        number = int(request.path_params["comment"])
        for issue in repo.issues.values():
            for note in issue.pull.review_comments if issue.pull is not None else ():
                if note.id == number:
                    if request.method == "PATCH":
                        note.body = (await read_body(request, NewComment)).body
                        note.edited_at = now()
                    return JSONResponse(shapes.review_comment(repo, issue, note))
        raise not_found()

    async def reply(self, request: Request) -> Response:
        repo, issue, pull = self.pull(request)
        body = await read_body(request, NewComment)
        check_length(body.body, "PullRequestReviewComment")
        return self._answer(
            request, repo, issue, pull, parent=int(request.path_params["comment"]), text=body.body
        )

    def _answer(
        self, request: Request, repo: Repository, issue: Issue, pull: Pull, *, parent: int, text: str
    ) -> Response:
        top = next((note for note in pull.review_comments if note.id == parent), None)
        if top is None and self.github.create_missing:
            top = self.github.comment(repo, parent)
        if top is None:
            raise not_found()
        if top.in_reply_to_id is not None:
            raise RefusedError(422, "Replies to replies are not supported.")
        note = self.new_comment(request, text)
        note.path, note.line, note.side = top.path, top.line, top.side
        note.commit_id, note.in_reply_to_id = top.commit_id or pull.head_sha, top.id
        pull.review_comments.append(note)
        return JSONResponse(shapes.review_comment(repo, issue, note), status_code=201)

    async def reviews(self, request: Request) -> Response:
        repo, issue, pull = self.pull(request)
        if request.method == "GET":
            return page(request, [shapes.review(repo, issue, given) for given in pull.reviews])
        body = await read_body(request, NewReview)
        check_length(body.body, "PullRequestReview")
        if (
            body.event in {"REQUEST_CHANGES", "COMMENT"}
            and not (body.body or "").strip()
            and not body.comments
        ):
            raise RefusedError(422, "Unprocessable Entity", [])
        if body.event in {"APPROVE", "REQUEST_CHANGES"} and issue.login == self.login(request):
            act = "approve" if body.event == "APPROVE" else "request changes on"
            raise RefusedError(422, f"Review Can not {act} your own pull request")
        for wanted in body.comments:
            self._check_place(repo, pull, wanted)
        given = Review(
            id=self.github.new_id(),
            body=body.body or "",
            state=STATES[body.event],
            login=self.login(request),
            commit_id=body.commit_id or pull.head_sha,
            at=now(),
        )
        pull.reviews.append(given)
        for wanted in body.comments:
            note = self._note(request, wanted, commit_id=given.commit_id, review_id=given.id)
            pull.review_comments.append(note)
        return JSONResponse(shapes.review(repo, issue, given))

    async def review(self, request: Request) -> Response:
        repo, issue, pull = self.pull(request)
        for given in pull.reviews:
            if given.id == request.path_params["review"]:
                return JSONResponse(shapes.review(repo, issue, given))
        raise not_found()

    async def comments_of_review(self, request: Request) -> Response:
        repo, issue, pull = self.pull(request)
        wanted = request.path_params["review"]
        rows = [
            shapes.review_comment(repo, issue, note)
            for note in pull.review_comments
            if note.review_id == wanted
        ]
        return page(request, rows)

    async def reviewers(self, request: Request) -> Response:
        repo, issue, pull = self.pull(request)
        body = await read_body(request, Reviewers)
        pull.requested_reviewers += [who for who in body.reviewers if who not in pull.requested_reviewers]
        return JSONResponse(shapes.pull_request(repo, issue, pull), status_code=201)

    def _check_place(self, repo: Repository, pull: Pull, wanted: ReviewComment) -> None:
        """A review comment must stand on a line of the diff (where the world creates what is missing:
        anywhere)."""
        if self.github.create_missing:
            return
        content = _changes(repo, pull).get(wanted.path)
        if content is None:
            raise RefusedError(422, "Unprocessable Entity", [_error("Path could not be resolved")])
        if wanted.line is not None and not 1 <= wanted.line <= max(1, content.count("\n")):
            raise RefusedError(422, "Unprocessable Entity", [_error("Line could not be resolved")])

    def _note(
        self, request: Request, wanted: ReviewComment, *, commit_id: str, review_id: int | None
    ) -> Comment:
        note = self.new_comment(request, wanted.body)
        note.path, note.line, note.side = wanted.path, wanted.line, wanted.side or "RIGHT"
        note.commit_id, note.review_id = commit_id, review_id
        return note


def _changes(repo: Repository, pull: Pull) -> dict[str, str]:
    changes: dict[str, str] = {}
    for commit in repo.ahead(repo.branches.get(pull.base, ""), pull.head_sha):
        changes |= commit.files
    return dict(sorted(changes.items()))


def _error(message: str) -> dict[str, Any]:
    return {"resource": "PullRequestReviewComment", "code": "custom", "message": message}
