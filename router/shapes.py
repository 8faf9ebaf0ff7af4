"""Validating plain values with a pydantic model, and saying what is wrong in the configuration's words."""

from __future__ import annotations

import re
import types
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Final, Literal, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from router.problems import Location, hint, quote

Model = TypeVar("Model", bound=BaseModel)
_QUOTED: Final = re.compile(r"'([^']*)'")
_PATH: Final = re.compile(r"\w+(?:\.[\w-]+|\[\d+\])*")
_STEP: Final = re.compile(r"([\w-]+)|\[(\d+)\]")


@dataclass(frozen=True, slots=True)
class Finding:
    """Something wrong at a place inside the value that was looked at."""

    location: Location
    message: str
    severity: Literal["error", "warning"] = "error"


def validate(
    model: type[Model], value: object, *, show_values: bool = True
) -> tuple[Model | None, list[Finding]]:
    """The instance, or None and every reason why not. Without `show_values` no message repeats a value."""
    try:
        return model.model_validate(value), []
    except ValidationError as error:
        details = error.errors(include_url=False)
    messages: dict[Location, list[str]] = {}
    for detail in details:
        location = _location(detail, value)
        said = messages.setdefault(location, [])
        message = _message(detail, model, location, show_values=show_values)
        if message not in said:
            said.append(message)
    return None, [Finding(location, ", or ".join(said)) for location, said in messages.items()]


def located(message: str, value: object) -> Finding:
    """The finding of a message that may begin with a path into `value`: `tools[0].type: …`."""
    path, colon, rest = message.partition(": ")
    if colon and _PATH.fullmatch(path):
        steps = tuple(int(index) if index else name for name, index in _STEP.findall(path))
        if _inside(value, steps[0]) is not None:
            return Finding(steps, rest)
    return Finding((), message)


def _location(detail: ErrorDetails, value: object) -> Location:
    """Where in the written value: pydantic's own steps into unions and validators are left out."""
    steps: list[str | int] = []
    last = len(detail["loc"]) - 1
    for index, step in enumerate(detail["loc"]):
        inner = _inside(value, step)
        if inner is not None:
            (value,) = inner
        elif not (index == last and detail["type"] == "missing"):
            continue
        steps.append(step)
    return tuple(steps)


def _inside(value: object, step: str | int) -> tuple[object] | None:
    """What stands at `step`, wrapped, so that a null can be told from nothing."""
    if isinstance(value, dict) and step in value:
        return (value[step],)
    if isinstance(value, list | tuple) and isinstance(step, int) and step < len(value):
        return (value[step],)
    return None


def _message(detail: ErrorDetails, model: type[BaseModel], location: Location, *, show_values: bool) -> str:
    kind, given = detail["type"], detail["input"]
    context = detail.get("ctx", {})
    shown = f", not {quote(given)}" if show_values else ""
    if kind == "extra_forbidden":
        known = set(_fields(model, location[:-1]))
        return f"unknown field {str(location[-1])!r}; {hint(str(location[-1]), known)}"
    if kind == "missing":
        return "required, but missing"
    if kind in {"value_error", "assertion_error"}:
        return str(context.get("error", detail["msg"]))
    if kind == "literal_error" and show_values:
        known = set(_QUOTED.findall(str(context.get("expected", ""))))
        if isinstance(given, str) and known:
            return f"unknown value {quote(given)}; {hint(given, known)}"
    fixed: dict[str, str] = {
        "string_type": "must be text",
        "tuple_type": "must be a list",
        "list_type": "must be a list",
        "dict_type": "must be a mapping of names to values",
        "model_type": "must be a mapping of names to values",
        "model_attributes_type": "must be a mapping of names to values",
        "string_pattern_mismatch": f"must fit the pattern {context.get('pattern')}",
        "string_too_short": "must not be empty",
        "too_short": "must not be empty",
    }
    text = fixed.get(kind, detail["msg"][:1].lower() + detail["msg"][1:]) + shown
    if kind == "string_type" and isinstance(given, bool | int | float):
        text += "; put it in quotes"
    return text


def _fields(annotation: object, location: Location) -> Iterator[str]:
    """Names of the fields that may stand at `location` below a model or type."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        names = {field.alias or name: field.annotation for name, field in annotation.model_fields.items()}
        if not location:
            yield from names
        elif location[0] in names:
            yield from _fields(names[str(location[0])], location[1:])
        return
    origin = get_origin(annotation)
    if origin is Annotated:
        yield from _fields(get_args(annotation)[0], location)
    elif origin in {Union, types.UnionType}:
        for part in get_args(annotation):
            yield from _fields(part, location)
    elif origin in {tuple, list} and location and isinstance(location[0], int):
        yield from _fields(get_args(annotation)[0], location[1:])
    elif origin is dict and location:
        yield from _fields(get_args(annotation)[1], location[1:])
