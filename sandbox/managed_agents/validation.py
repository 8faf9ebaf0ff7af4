"""Request bodies checked against the SDK's own parameter types, strictly: unknown fields and wrong types are
refused.

The SDK's TypedDicts are open and lazy (`Iterable`, unions without a discriminator); here each is rebuilt
closed, with lists and with tagged unions, once per type. Must not know what a field means.
"""

from __future__ import annotations

import types
from collections.abc import Iterable, Sequence
from functools import cache
from typing import (
    Annotated,
    Any,
    Final,
    Literal,
    NotRequired,
    Optional,
    Required,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

from anthropic.types.beta import BetaManagedAgentsAgentWithOverridesParams
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from typing_extensions import TypedDict, is_typeddict

from sandbox.managed_agents.errors import invalid

CLOSED: Final = ConfigDict(extra="forbid", strict=True)
NOT_IN_BODY: Final = frozenset({"betas", "workspace_id", "session_id", "vault_id"})
"""Fields of the parameter types that travel in a header or in the path."""
NULLABLE: Final[dict[Any, frozenset[str]]] = {
    BetaManagedAgentsAgentWithOverridesParams: frozenset({"mcp_servers", "model", "skills", "tools"}),
}
"""Fields that the service takes null for although the SDK's type does not say so (null clears an
override)."""


@cache
def adapter(params: Any) -> TypeAdapter[dict[str, Any]]:
    """The strict validator of one of the SDK's `...Params` types. Built once; validation itself is
    compiled."""
    return TypeAdapter(_closed(params))


def read(params: Any, body: bytes) -> dict[str, Any]:
    """Decode and check a JSON body. Raises ApiError 400 that names the offending field."""
    try:
        return adapter(params).validate_json(body)
    except ValidationError as error:
        raise invalid(explain(error)) from None


def explain(error: ValidationError) -> str:
    """`events.0.user.message.content: Field required` for the deepest of the errors found."""
    found = error.errors(include_url=False, include_context=False, include_input=False)
    deepest = max(found, key=lambda item: len(_named(item["loc"])))
    place = ".".join(_named(deepest["loc"]))
    return f"{place}: {deepest['msg']}" if place else deepest["msg"]


def _named(loc: tuple[int | str, ...]) -> list[str]:
    """The path without pydantic's own names for members of a union."""
    return [str(part) for part in loc if part != "str" and "[" not in str(part)]


@cache
def _closed(params: Any) -> Any:
    hints = get_type_hints(params, include_extras=True)
    fields: dict[str, Any] = {}
    for name, hint in hints.items():
        if name in NOT_IN_BODY:
            continue
        inner = _convert(get_args(hint)[0] if get_origin(hint) in {Required, NotRequired} else hint)
        if name in NULLABLE.get(params, ()):
            inner = Optional[inner]  # noqa: UP045 - `inner` is a value here; `|` is not defined on all of them
        required = name in params.__required_keys__ or get_origin(hint) is Required
        fields[name] = Required[inner] if required else NotRequired[inner]
    make: Any = TypedDict  # called as a function: the fields are data here
    rebuilt = make(params.__name__, fields)
    rebuilt.__pydantic_config__ = CLOSED
    return rebuilt


def _convert(hint: Any) -> Any:
    if is_typeddict(hint):
        return _closed(hint)
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return _convert(arguments[0])
    if origin in {Union, types.UnionType}:
        return _union(arguments)
    if origin in {list, Iterable, Sequence}:
        return list[_convert(arguments[0])]  # type: ignore[misc]  # a type computed at run time
    if origin is dict:
        return dict[str, _convert(arguments[1])]  # type: ignore[misc]  # a type computed at run time
    return Any if hint is object else hint


def _union(members: tuple[Any, ...]) -> Any:
    shapes = tuple(member for member in members if is_typeddict(member))
    others = tuple(_convert(member) for member in members if not is_typeddict(member))
    closed = tuple(_closed(shape) for shape in shapes)
    make: Any = Union
    if len(closed) > 1:
        closed = (Annotated[make[closed], Field(discriminator=_tag(shapes))],)
    return make[(*others, *closed)]


def _tag(shapes: tuple[Any, ...]) -> Literal["type", "name"]:
    """Tool configurations are told apart by `name`, all else by `type`."""
    required = (
        get_origin(get_type_hints(shape, include_extras=True).get("type")) is Required for shape in shapes
    )
    return "type" if all(required) else "name"
