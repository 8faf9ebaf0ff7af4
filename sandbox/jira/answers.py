"""How Jira answers errors: `{"errorMessages": […], "errors": {field: message}}`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from sandbox.requests import NotJsonError, UnacceptableBodyError

Endpoint = Callable[[Request], Awaitable[Response]]


class RefusedError(Exception):
    """An error answer in Jira's form."""

    def __init__(self, status: int, *messages: str, errors: dict[str, str] | None = None) -> None:
        super().__init__(str(status))
        self.status = status
        self.messages = list(messages)
        self.errors = errors or {}

    def response(self) -> Response:
        """The answer."""
        return JSONResponse({"errorMessages": self.messages, "errors": self.errors}, status_code=self.status)


def no_issue() -> RefusedError:
    """404, which also stands for "no permission"."""
    return RefusedError(404, "Issue does not exist or you do not have permission to see it.")


def guard(endpoint: Endpoint) -> Endpoint:
    """Ask for a credential, and turn refusals into Jira's answers."""

    async def guarded(request: Request) -> Response:
        scheme, _, value = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() not in {"basic", "bearer"} or not value:
            words = "Client must be authenticated to access this resource."
            return RefusedError(401, words).response()
        try:
            return await endpoint(request)
        except RefusedError as error:
            return error.response()
        except NotJsonError:
            return RefusedError(
                400, "There was an error parsing JSON. Check that your request body is valid."
            ).response()
        except UnacceptableBodyError as error:
            fields = {path or "body": message for path, _, message in error.problems}
            if all(kind == "extra_forbidden" for _, kind, _ in error.problems):
                return RefusedError(
                    400, "Invalid request payload. Refer to the REST API documentation and try again."
                ).response()
            return RefusedError(400, errors=fields).response()

    return guarded
