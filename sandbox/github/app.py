"""The emulated GitHub as one application: identity, installation tokens and search, and all repositories'
endpoints."""

from __future__ import annotations

import secrets
from typing import Any, Final

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from sandbox.github import shapes
from sandbox.github.answers import Endpoint, RefusedError, caller, credential, guard, not_found, page, user
from sandbox.github.bodies import NewInstallationToken
from sandbox.github.commits import Commits
from sandbox.github.data import Data
from sandbox.github.hooks import Hooks
from sandbox.github.issues import Issues
from sandbox.github.place import Place
from sandbox.github.pulls import Pulls
from sandbox.github.records import Issue, Repository
from sandbox.github.state import APP_ID, APP_SLUG, INSTALLATION_ID
from sandbox.moments import iso_seconds, now
from sandbox.requests import read_body
from sandbox.world import World

TOKEN_SECONDS: Final = 3600
UNREACHABLE: Final = (
    "There is at least one repository that does not exist or is not accessible to the parent installation."
)


def build(world: World) -> Starlette:
    """`https://api.github.com` as triggerhub sees it."""
    return Starlette(
        routes=[
            *_Identity(world).routes(),
            *Issues(world).routes(),
            *Pulls(world).routes(),
            *Commits(world).routes(),
            *Data(world).routes(),
            *Hooks(world).routes(),
            Route("/{rest:path}", guard(_nothing), methods=["GET", "POST", "PUT", "PATCH", "DELETE"]),
        ]
    )


async def _nothing(_: Request) -> Response:
    raise not_found()


class _Identity(Place):
    """Who is calling, and what it may mint."""

    def routes(self) -> list[Route]:
        table: list[tuple[str, Endpoint, list[str]]] = [
            ("/user", self.user, ["GET"]),
            ("/users/{login}", self.other_user, ["GET"]),
            ("/rate_limit", self.rate_limit, ["GET"]),
            ("/app", self.app, ["GET"]),
            ("/app/installations", self.installations, ["GET"]),
            ("/app/installations/{installation:int}/access_tokens", self.token, ["POST"]),
            ("/installation/repositories", self.repositories, ["GET"]),
            ("/search/issues", self.search, ["GET"]),
            ("/repos/{owner}/{repo}/installation", self.installation, ["GET"]),
        ]
        return [Route(path, guard(endpoint), methods=methods) for path, endpoint, methods in table]

    async def user(self, request: Request) -> Response:
        login = self.login(request)
        if login.endswith("[bot]"):
            raise RefusedError(403, "Resource not accessible by integration")
        return JSONResponse(user(login) | {"name": "triggerhub", "email": None})

    async def other_user(self, request: Request) -> Response:
        caller(request, self.github)
        return JSONResponse(user(request.path_params["login"]))

    async def rate_limit(self, request: Request) -> Response:
        credential(request, self.github)
        core = {"limit": 5000, "remaining": 4999, "used": 1, "reset": int(now()) + TOKEN_SECONDS}
        return JSONResponse({"resources": {"core": core}, "rate": core})

    async def app(self, request: Request) -> Response:
        self._need_jwt(request)
        return JSONResponse(shapes.app())

    async def installations(self, request: Request) -> Response:
        self._need_jwt(request)
        return page(request, [_installation(number, "acme") for number in sorted(self.github.installations)])

    async def installation(self, request: Request) -> Response:
        self._need_jwt(request)
        repo = self.github.repo(f"{request.path_params['owner']}/{request.path_params['repo']}")
        if repo is None:
            raise not_found()
        return JSONResponse(_installation(INSTALLATION_ID, repo.owner))

    async def token(self, request: Request) -> Response:
        self._need_jwt(request)
        number = int(request.path_params["installation"])
        if self.github.create_missing:
            self.github.installations.add(number)
        if number not in self.github.installations:
            raise not_found()
        body = await read_body(request, NewInstallationToken)
        repos = self._repositories(body)
        token = f"ghs_{secrets.token_urlsafe(27)[:36]}"
        self.github.tokens[token] = now() + TOKEN_SECONDS
        answer: dict[str, Any] = {
            "token": token,
            "expires_at": iso_seconds(now() + TOKEN_SECONDS),
            "permissions": body.permissions or shapes.app()["permissions"],
            "repository_selection": "all" if repos is None else "selected",
        }
        if repos is not None:
            answer["repositories"] = [shapes.repository(repo) for repo in repos]
        return JSONResponse(answer, status_code=201)

    def _repositories(self, body: NewInstallationToken) -> list[Repository] | None:
        if body.repositories is None and body.repository_ids is None:
            return None
        wanted = {name.lower() for name in body.repositories or ()}
        ids = set(body.repository_ids or ())
        found = [
            repo
            for repo in self.github.repos.values()
            if repo.id in ids or repo.name.partition("/")[2].lower() in wanted
        ]
        names = {repo.name.partition("/")[2].lower() for repo in found}
        if not wanted <= names and not self.github.create_missing:
            raise RefusedError(422, UNREACHABLE)
        return found

    async def repositories(self, request: Request) -> Response:
        caller(request, self.github)
        rows = [shapes.repository(repo) for repo in self.github.repos.values()]
        return page(request, rows, key="repositories")

    async def search(self, request: Request) -> Response:
        """`q` with the qualifiers repo:, is:, state:, author: and head:; the other words must all occur."""
        caller(request, self.github)
        words, rules = _query(request.query_params.get("q", ""))
        rows = [
            shapes.issue(repo, issue) | {"score": 1.0}
            for repo in self.github.repos.values()
            for issue in repo.issues.values()
            if rules.get("repo", repo.name).lower() == repo.name.lower() and _hit(issue, words, rules)
        ]
        return page(request, rows, key="items")

    def _need_jwt(self, request: Request) -> None:
        if credential(request, self.github) != "app":
            raise RefusedError(401, "A JSON web token could not be decoded")


def _installation(number: int, owner: str) -> dict[str, Any]:
    return {
        "id": number,
        "app_id": APP_ID,
        "app_slug": APP_SLUG,
        "account": user(owner),
        "target_type": "Organization",
        "repository_selection": "all",
        "permissions": shapes.app()["permissions"],
        "events": shapes.app()["events"],
        "suspended_at": None,
    }


def _query(text: str) -> tuple[list[str], dict[str, str]]:
    words: list[str] = []
    rules: dict[str, str] = {}
    for part in text.split():
        name, colon, value = part.partition(":")
        if colon and name in {"repo", "is", "type", "state", "author", "head"}:
            rules["kind" if value in {"pr", "issue"} else "state" if name == "is" else name] = value
        elif not (colon and name == "in"):
            words.append(part.strip('"').lower())
    return words, rules


def _hit(issue: Issue, words: list[str], rules: dict[str, str]) -> bool:
    kind = "pr" if issue.pull is not None else "issue"
    head = issue.pull.head if issue.pull is not None else ""
    text = "\n".join([issue.title, issue.body or "", *(note.body for note in issue.comments)]).lower()
    return (
        rules.get("kind", kind) == kind
        and rules.get("state", issue.state) == issue.state
        and rules.get("author", issue.login) == issue.login
        and rules.get("head", head) == head
        and all(word in text for word in words)
    )
