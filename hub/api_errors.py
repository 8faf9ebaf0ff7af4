"""What the JSON API answers when it does not do what was asked: `{"error": …}`, with the status that says why.

A parameter's value is not said again.
"""

from __future__ import annotations

from typing import Any, Final

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from hub.api_models import (
    Problem,
)
from hub.api_values import UnknownIdError
from hub.approval_views import VoteError
from hub.run_views import AlreadyEndedError
from hub.spend_views import NotPausedError
from storage.budgets import BudgetError
from storage.database import StorageUnavailableError
from storage.dead_letters import LetterResolvedError
from storage.queries import CursorError
from storage.replays import NotReplayableError

BASE: Final = "/api/v1"
RETRY_AFTER_SECONDS: Final = "5"
MAX_PATH: Final = 200
_ERRORS: Final[dict[int | str, dict[str, Any]]] = {
    400: {"model": Problem, "description": "A cursor that this API did not give, or a body that is no JSON."},
    401: {"model": Problem, "description": "No token, or a wrong one."},
    404: {"model": Problem, "description": "There is none of that id."},
    409: {"model": Problem, "description": "It is too late for that."},
    422: {"model": Problem, "description": "A parameter is not acceptable."},
    503: {"model": Problem, "description": "The database does not answer."},
}


def may(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """For the OpenAPI document: what else a path may answer, besides what all may."""
    return {status: _ERRORS[status] for status in (401, 503, *statuses)}


def handlers() -> dict[Any, Any]:
    """Which error is which answer."""

    async def unknown(_request: Request, error: UnknownIdError) -> JSONResponse:
        return problem(404, str(error), near=error.near)

    async def late(_request: Request, error: Exception) -> JSONResponse:
        return problem(409, str(error))

    async def cursor(_request: Request, error: CursorError) -> JSONResponse:
        return problem(400, str(error))

    async def unavailable(_request: Request, _error: StorageUnavailableError) -> JSONResponse:
        text = "the database does not answer; try again"
        return problem(503, text, headers={"Retry-After": RETRY_AFTER_SECONDS})

    async def parameters(_request: Request, error: RequestValidationError) -> JSONResponse:
        return problem(422, "; ".join(_where(item) for item in error.errors()[:5]))

    async def http(request: Request, error: HTTPException) -> JSONResponse:
        text = str(error.detail)
        if error.status_code == 404:  # noqa: PLR2004 - the status of HTTP
            text = f"nothing is served at {request.url.path[:MAX_PATH]}; {BASE}/openapi.json says what is"
        if error.status_code == 405:  # noqa: PLR2004 - the status of HTTP
            text = f"{request.method} is not allowed at {request.url.path[:MAX_PATH]}; Allow says what is"
        return problem(error.status_code, text, headers=dict(error.headers or {}))

    return {
        UnknownIdError: unknown,
        AlreadyEndedError: late,
        BudgetError: late,
        NotPausedError: late,
        VoteError: late,
        LetterResolvedError: late,
        NotReplayableError: late,
        CursorError: cursor,
        StorageUnavailableError: unavailable,
        RequestValidationError: parameters,
        HTTPException: http,
    }


def _where(item: dict[str, Any]) -> str:
    """A parameter and what is wrong with it, without its value."""
    return f"{'.'.join(str(step) for step in item['loc'])}: {item['msg']}"


def problem(
    status: int, text: str, *, near: tuple[str, ...] = (), headers: dict[str, str] | None = None
) -> JSONResponse:
    return JSONResponse(Problem(error=text, near=near).model_dump(), status_code=status, headers=headers)
