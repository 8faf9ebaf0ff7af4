"""Reading REST requests strictly: JSON bodies into models, unknown and mistyped fields refused.

How a refusal is worded is each vendor's business: it gets the reasons from here.
"""

from __future__ import annotations

from typing import Any, TypeVar

import orjson
from pydantic import BaseModel, ConfigDict, ValidationError
from starlette.requests import Request


class Body(BaseModel):
    """Base of every request body: no field that the vendor does not document, no type coerced."""

    model_config = ConfigDict(extra="forbid", strict=True)


B = TypeVar("B", bound=Body)


class UnacceptableBodyError(Exception):
    """The body is not what the endpoint documents."""

    def __init__(self, problems: list[tuple[str, str, str]]) -> None:
        super().__init__(f"{len(problems)} problems")
        self.problems = problems
        """(path such as `output.title`, pydantic's kind such as `missing`, message) of each."""


class NotJsonError(Exception):
    """The body is not JSON at all."""


async def read_json(request: Request) -> Any:
    """The decoded body; an empty one is an empty object. Raises NotJsonError."""
    raw = await request.body()
    if not raw:
        return {}
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError:
        raise NotJsonError from None


async def read_body(request: Request, model: type[B]) -> B:
    """The body as `model`. Raises NotJsonError or UnacceptableBodyError."""
    return check(await read_json(request), model)


def check(value: Any, model: type[B]) -> B:
    """Decoded JSON as `model`. Raises UnacceptableBodyError."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        problems = [
            (".".join(str(step) for step in item["loc"]), item["type"], item["msg"])
            for item in error.errors(include_url=False, include_input=False)
        ]
        raise UnacceptableBodyError(problems) from None
