"""The service's error envelope and the exceptions that become one. Must not know a route."""

from __future__ import annotations

from typing import Any

import orjson
from starlette.responses import Response


class ApiError(Exception):
    """A refusal that the client sees: status, error type, message, and `details.error_code` where there is
    one."""

    def __init__(
        self,
        status: int,
        kind: str,
        message: str,
        *,
        code: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.kind = kind
        self.message = message
        self.code = code
        self.headers = headers or {}


def invalid(message: str, *, code: str | None = None) -> ApiError:
    """400: the request is wrong in itself or in the present state."""
    return ApiError(400, "invalid_request_error", message, code=code)


def not_found(what: str, identifier: str) -> ApiError:
    """404: no such thing, or not any more."""
    return ApiError(404, "not_found_error", f"{what} `{identifier}` was not found.")


def conflict(message: str) -> ApiError:
    """409: a name that is taken, or a version that has moved on."""
    return ApiError(409, "conflict_error", message)


def answer(error: ApiError, *, request_id: str) -> Response:
    """The response that says it, in the envelope of the API."""
    inner: dict[str, Any] = {"type": error.kind, "message": error.message}
    if error.code is not None:
        inner["details"] = {"error_code": error.code}
    body = {"type": "error", "error": inner, "request_id": request_id}
    return Response(
        orjson.dumps(body), status_code=error.status, media_type="application/json", headers=error.headers
    )
