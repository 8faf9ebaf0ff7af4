"""How GitHub answers: who is calling, error bodies, pages. Knows nothing of repositories' contents."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Awaitable, Callable
from typing import Any, Final, Literal

import orjson
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from sandbox.github.state import APP_SLUG, BOT_ID, USER_ID, USER_LOGIN, GitHub
from sandbox.moments import now
from sandbox.requests import NotJsonError, UnacceptableBodyError

DOCS: Final = "https://docs.github.com/rest"
PER_PAGE: Final = 30
MAX_PER_PAGE: Final = 100
MAX_BODY: Final = 65_536
"""Characters of an issue, pull request or comment."""
JWT_PARTS: Final = 3
JWT_SPAN: Final = 660
"""Seconds that `exp` may lie ahead: 10 minutes, and one of drift."""

Endpoint = Callable[[Request], Awaitable[Response]]
Credential = Literal["app", "installation", "user"]


class RefusedError(Exception):
    """An error answer in GitHub's form."""

    def __init__(self, status: int, message: str, errors: list[dict[str, str]] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.errors = errors

    def response(self) -> Response:
        """The answer."""
        body: dict[str, Any] = {"message": self.message}
        if self.errors is not None:
            body["errors"] = self.errors
        body |= {"documentation_url": DOCS, "status": str(self.status)}
        return JSONResponse(body, status_code=self.status)


def not_found() -> RefusedError:
    """404, which also stands for "no permission"."""
    return RefusedError(404, "Not Found")


def invalid(resource: str, field: str | None, code: str, message: str | None = None) -> RefusedError:
    """422 `Validation Failed` with one error."""
    error = {"resource": resource, "code": code}
    if field is not None:
        error["field"] = field
    if message is not None:
        error["message"] = message
    return RefusedError(422, "Validation Failed", [error])


def check_length(text: str | None, resource: str) -> None:
    """Refuse a body that is too long, as GitHub words it."""
    if text is not None and len(text) > MAX_BODY:
        raise invalid(
            resource, "body", "unprocessable", f"body is too long (maximum is {MAX_BODY} characters)"
        )


def credential(request: Request, github: GitHub) -> Credential:
    """What kind of credential came with the request. Raises 401 where there is none, or one past its end."""
    scheme, _, value = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() not in {"bearer", "token", "basic"} or not value.strip():
        raise RefusedError(401, "Requires authentication")
    if value.count(".") == JWT_PARTS - 1 and scheme.lower() == "bearer":
        _check_jwt(value)
        return "app"
    if value.startswith("ghs_"):
        if github.tokens.get(value, now() + 1) < now():
            raise RefusedError(401, "Bad credentials")
        return "installation"
    return "user"


def caller(request: Request, github: GitHub) -> str:
    """The login in whose name the request acts. Raises 403 for the app itself, which has no repositories."""
    kind = credential(request, github)
    if kind == "app":
        raise RefusedError(403, "Resource not accessible by integration")
    return f"{APP_SLUG}[bot]" if kind == "installation" else USER_LOGIN


def user(login: str) -> dict[str, Any]:
    """A user as it is embedded everywhere."""
    bot = login.endswith("[bot]")
    number = {USER_LOGIN: USER_ID, f"{APP_SLUG}[bot]": BOT_ID}.get(login, 1000 + sum(login.encode()))
    return {
        "login": login,
        "id": number,
        "node_id": base64.b64encode(f"04:User{number}".encode()).decode(),
        "html_url": f"https://github.com/{'apps/' + login[:-5] if bot else login}",
        "type": "Bot" if bot else "User",
        "site_admin": False,
    }


def guard(endpoint: Endpoint) -> Endpoint:
    """Turn refusals and unacceptable bodies into GitHub's answers."""

    async def guarded(request: Request) -> Response:
        if not request.headers.get("user-agent"):
            return Response("Request forbidden by administrative rules.", status_code=403)
        try:
            response = await endpoint(request)
        except RefusedError as error:
            response = error.response()
        except NotJsonError:
            response = RefusedError(400, "Problems parsing JSON").response()
        except UnacceptableBodyError as error:
            response = RefusedError(422, f"Invalid request.\n\n{_words(*error.problems[0])}").response()
        response.headers.setdefault("x-github-media-type", "github.v3; format=json")
        response.headers.setdefault("x-ratelimit-limit", "5000")
        response.headers.setdefault("x-ratelimit-remaining", "4999")
        response.headers.setdefault("x-ratelimit-resource", "core")
        return response

    return guarded


def page(request: Request, rows: list[Any], *, key: str | None = None) -> Response:
    """One page of `rows` with GitHub's Link header. `key`: rows go below it, with `total_count`."""
    size = min(_positive(request, "per_page", PER_PAGE), MAX_PER_PAGE)
    number = _positive(request, "page", 1)
    last = max(1, -(-len(rows) // size))
    shown = rows[(number - 1) * size : number * size]
    links = []
    if number < last:
        links += [_link(request, number + 1, "next"), _link(request, last, "last")]
    if number > 1:
        links += [_link(request, number - 1, "prev"), _link(request, 1, "first")]
    body: Any = shown if key is None else {"total_count": len(rows), key: shown}
    return JSONResponse(body, headers={"link": ", ".join(links)} if links else None)


def _link(request: Request, number: int, relation: str) -> str:
    return f'<{request.url.include_query_params(page=number)}>; rel="{relation}"'


def _positive(request: Request, name: str, default: int) -> int:
    given = request.query_params.get(name, "")
    return int(given) if given.isdigit() and int(given) > 0 else default


def _words(path: str, kind: str, message: str) -> str:
    if kind == "missing":
        return f'"{path}" wasn\'t supplied.'
    if kind == "extra_forbidden":
        return f'"{path}" is not a permitted key.'
    return f"For 'properties/{path.replace('.', '/')}', {message}."


def _check_jwt(token: str) -> None:
    """Read the claims of an app's JWT; its signature is not checked, since the sandbox has no key of the
    app."""
    try:
        part = token.split(".")[1]
        claims = orjson.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
        begin, end, issuer = int(claims["iat"]), int(claims["exp"]), str(claims["iss"])
    except (binascii.Error, orjson.JSONDecodeError, KeyError, TypeError, ValueError):
        raise RefusedError(401, "A JSON web token could not be decoded") from None
    moment = now()
    if not issuer or end < moment or begin > moment + 60:
        raise RefusedError(401, "'Expiration time' claim ('exp') must be a numeric value in the future")
    if end > moment + JWT_SPAN:
        raise RefusedError(401, "'Expiration time' claim ('exp') is too far in the future")
