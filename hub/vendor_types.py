"""Agents and environments of the configuration, checked against the Anthropic SDK's own parameter types.

The SDK does not check what it sends, so a slip of the pen would show only when the first session starts.
Walks the types, calls nothing. Importing the SDK takes about a second: import this module only where needed.
"""

from __future__ import annotations

import types
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Annotated, Any, Final, Literal, NotRequired, Required, Union, get_args, get_origin

from anthropic.types.beta import BetaManagedAgentsAgentWithOverridesParams
from anthropic.types.beta.agent_create_params import AgentCreateParams
from anthropic.types.beta.environment_create_params import EnvironmentCreateParams
from anthropic.types.beta.vaults.credential_create_params import Auth
from pydantic import TypeAdapter, ValidationError
from typing_extensions import get_type_hints, is_typeddict

from router.problems import hint, quote

HEADERS: Final = frozenset({"betas", "workspace_id"})
"""Parameters of the SDK that are headers of the request, not part of the definition."""
MAX_SHOWN: Final = 12
_NAMES: Final[dict[type, str]] = {
    str: "text",
    bool: "true or false",
    int: "a whole number",
    float: "a number",
}


def check_agent(name: str, mapping: Mapping[str, Any]) -> list[str]:
    """What the Managed Agents API would not take of `agents.<name>`, one sentence each. Empty: well.

    An agent that was made elsewhere has no definition to check.
    """
    if mapping.get("id") is not None:
        return []
    definition = {key: value for key, value in mapping.items() if key != "version"}
    if mapping.get("version") is not None:
        definition.setdefault("model", "")
    return _object({"name": name, **definition}, AgentCreateParams, "", refused=HEADERS)


def check_environment(name: str, mapping: Mapping[str, Any]) -> list[str]:
    """The same for `environments.<name>`."""
    return _object({"name": name, **mapping}, EnvironmentCreateParams, "", refused=HEADERS)


def check_part(part: str, value: Any) -> list[str]:
    """The same for another part of the configuration, by the name of its field."""
    if part == "agent_overrides":
        return _part(value, BetaManagedAgentsAgentWithOverridesParams, given={"id", "type", "version"})
    if part == "credential":
        return _check(value, Auth, "")
    msg = f"nothing is known of a part {part!r}"
    raise ValueError(msg)


def _part(value: Any, wanted: Any, *, given: Iterable[str]) -> list[str]:
    """A mapping of the SDK's of which `given` is added by triggerhub, and must not be written."""
    if not isinstance(value, Mapping):
        return [_mismatch("", "a mapping", value)]
    fields, required = _shape(wanted)
    known = sorted(fields.keys() - HEADERS - set(given))
    found = [f"unknown field {quote(key)}; {hint(str(key), known)}" for key in value if key not in known]
    found += [f"the field {key!r} is missing" for key in sorted(required - set(given)) if key not in value]
    for key in known:
        if key in value:
            found += _check(value[key], fields[key], key)
    return found


def _check(value: Any, wanted: Any, path: str) -> list[str]:
    wanted = _bare(wanted)
    origin = get_origin(wanted)
    if wanted in (Any, object):
        return []
    if is_typeddict(wanted):
        return _object(value, wanted, path)
    if origin in {Union, types.UnionType}:
        return _union(value, [_bare(option) for option in get_args(wanted)], path)
    if origin is Literal:
        return _literal(value, get_args(wanted), path)
    if _is_mapping(origin):
        return _mapping(value, get_args(wanted), path)
    if _is_sequence(wanted, origin):
        return _items(value, get_args(wanted)[0], path)
    return _plain(value, wanted, path)


def _object(value: Any, wanted: Any, path: str, *, refused: frozenset[str] = frozenset()) -> list[str]:
    if not isinstance(value, Mapping):
        return [_mismatch(path, "a mapping", value)]
    fields, required = _shape(wanted)
    known = sorted(fields.keys() - refused)
    found = [
        _at(path, f"unknown field {quote(key)}; {hint(str(key), known)}") for key in value if key not in known
    ]
    found += [_at(path, f"the field {key!r} is missing") for key in sorted(required) if key not in value]
    for key in known:
        if key in value:
            found += _check(value[key], fields[key], f"{path}.{key}" if path else key)
    return found


def _union(value: Any, options: Sequence[Any], path: str) -> list[str]:
    """No problem where one option fits; else the problems of the option that was meant."""
    tried = [(option, _check(value, option, path)) for option in options]
    if not all(problems for _, problems in tried):
        return []
    if isinstance(value, Mapping):
        objects = [option for option in options if is_typeddict(option)]
        if objects:
            return _tagged(value, objects, path)
    fitting = [problems for option, problems in tried if _same_form(value, option)]
    if fitting:
        return fitting[0]
    named = [option for option in options if not (get_origin(option) is Literal and str in options)]
    return [_mismatch(path, " or ".join(dict.fromkeys(_say(option) for option in named)), value)]


def _tagged(value: Mapping[str, Any], options: Sequence[Any], path: str) -> list[str]:
    """Objects of a union are told apart by a field with one constant in each (`type`, or a tool's `name`)."""
    if len(options) == 1:
        return _object(value, options[0], path)
    missing: list[str] = []
    for tag in ("type", "name"):
        by_constant = {
            constant: option for option in options for constant in get_args(_bare(_shape(option)[0].get(tag)))
        }
        if not by_constant:
            continue
        if tag in value:
            chosen = by_constant.get(value[tag]) if isinstance(value[tag], str) else None
            if chosen is not None:
                return _object(value, chosen, path)
            return _literal(value[tag], tuple(by_constant), f"{path}.{tag}" if path else tag)
        if all(tag in _shape(option)[1] for option in options):
            missing = [_at(path, f"the field {tag!r} is missing; {hint('', map(str, by_constant))}")]
    return missing or min((_object(value, option, path) for option in options), key=len)


def _literal(value: Any, known: tuple[Any, ...], path: str) -> list[str]:
    if any(value == one and type(value) is type(one) for one in known):
        return []
    return [_at(path, f"{quote(value)} is not a known value; {hint(str(value), map(str, known))}")]


def _mapping(value: Any, arguments: tuple[Any, ...], path: str) -> list[str]:
    if not isinstance(value, Mapping):
        return [_mismatch(path, "a mapping", value)]
    inner = arguments[1] if len(arguments) > 1 else Any
    found = [_check(one, inner, f"{path}.{key}" if path else str(key)) for key, one in value.items()]
    return [problem for problems in found for problem in problems]


def _items(value: Any, inner: Any, path: str) -> list[str]:
    if not isinstance(value, list | tuple):
        return [_mismatch(path, "a list", value)]
    return [problem for index, one in enumerate(value) for problem in _check(one, inner, f"{path}[{index}]")]


def _plain(value: Any, wanted: Any, path: str) -> list[str]:
    if wanted is type(None):
        return [] if value is None else [_mismatch(path, "null", value)]
    if wanted in _NAMES:
        return [] if _is_plain(value, wanted) else [_mismatch(path, _NAMES[wanted], value)]
    try:  # a type of a later SDK that this module does not know by itself
        TypeAdapter(wanted).validate_python(value)
    except ValidationError as error:
        details = error.errors(include_input=False, include_url=False)
        return [_at(path, detail["msg"]) for detail in details[:1]]
    return []


@cache
def _shape(wanted: Any) -> tuple[dict[str, Any], frozenset[str]]:
    """Fields of a TypedDict, and which of them are required.

    Read from the resolved hints: `__required_keys__` is wrong where annotations are strings, as in the SDK.
    """
    hints: dict[str, Any] = get_type_hints(wanted, include_extras=True)
    origins: dict[str, Any] = {name: get_origin(one) for name, one in hints.items()}
    total = getattr(wanted, "__total__", True)
    required = {
        name for name, one in origins.items() if one is Required or (total and one is not NotRequired)
    }
    return hints, frozenset(required)


def _bare(wanted: Any) -> Any:
    while get_origin(wanted) in {Required, NotRequired, Annotated}:
        wanted = get_args(wanted)[0]
    return wanted


def _is_plain(value: Any, wanted: type) -> bool:
    if wanted is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    return isinstance(value, wanted) and (wanted is bool or not isinstance(value, bool))


def _is_mapping(origin: object) -> bool:
    return isinstance(origin, type) and issubclass(origin, Mapping)


def _is_sequence(wanted: Any, origin: object) -> bool:
    """Lists, and the SDK's own protocol for a sequence that is no text."""
    if not get_args(wanted) or _is_mapping(origin):
        return False
    if isinstance(origin, type) and issubclass(origin, Iterable):
        return True
    return "Sequence" in getattr(origin, "__name__", "")


def _same_form(value: Any, option: Any) -> bool:
    """Whether the option was meant: a list for a list, a text for a set of texts."""
    if isinstance(value, list):
        return _is_sequence(option, get_origin(option))
    return isinstance(value, str) and get_origin(option) is Literal


def _say(option: Any) -> str:
    if is_typeddict(option) or _is_mapping(get_origin(option)):
        return "a mapping"
    if get_origin(option) is Literal:
        return "one of " + ", ".join(repr(one) for one in get_args(option)[:MAX_SHOWN])
    if _is_sequence(option, get_origin(option)):
        return "a list"
    return "null" if option is type(None) else _NAMES.get(option, str(option))


def _mismatch(path: str, wanted: str, value: Any) -> str:
    return _at(path, f"must be {wanted}, not {quote(value)}")


def _at(path: str, message: str) -> str:
    return f"{path}: {message}" if path else message
