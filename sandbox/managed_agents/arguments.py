"""Fills the arguments of a custom tool by its JSON Schema, from what the agent knows. Pure functions.

Known field names get the meaning they have in issue trackers and code hosts; anything else is filled by type,
so that a tool never seen before is still called with arguments that its schema accepts.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

DEPTH: Final = 6
WORDS: Final = re.compile(r"[A-Za-z][a-z0-9]*|[A-Z]+(?![a-z])")
PREFERRED: Final = (
    "success",
    "resolved",
    "in review",
    "in_review",
    "done",
    "relates",
    "relates to",
    "high",
    "bug",
)
"""Choices an agent that has done its work would pick from an enumeration, best first."""


@dataclass(frozen=True, slots=True)
class Knowledge:
    """What may go into arguments."""

    title: str
    body: str
    """Markdown for people."""
    short: str
    """One line."""
    key: str = ""
    branch: str | None = None
    base: str = "main"
    sha: str | None = None
    url: str | None = None
    """Address of what was made, or of the subject."""
    labels: tuple[str, ...] = ()
    path: str = ""
    extra: dict[str, Any] = field(default_factory=dict)
    """Values for exact field names, before anything else."""


MEANINGS: Final[dict[str, str]] = {
    "title": "title",
    "subject": "title",
    "summary": "short",
    "body": "body",
    "text": "body",
    "markdown": "body",
    "message": "body",
    "comment": "body",
    "reply": "body",
    "content": "body",
    "description": "short",
    "reason": "short",
    "note": "short",
    "head": "branch",
    "branch": "branch",
    "base": "base",
    "sha": "sha",
    "commit": "sha",
    "url": "url",
    "link": "url",
    "href": "url",
    "target_url": "url",
    "labels": "labels",
    "label": "label",
    "key": "key",
    "issue": "key",
    "path": "path",
    "file": "path",
}
"""Field name → attribute of `Knowledge`."""
VOLUNTEERED: Final = frozenset({"title", "body", "short", "url", "branch"})
"""What an agent says without being required to. Other optional fields are left to whoever fixed them."""


def fill(schema: dict[str, Any], known: Knowledge, *, also: frozenset[str] = frozenset()) -> dict[str, Any]:
    """Arguments for a tool with this `input_schema`: the required fields, and optional ones of plain meaning.

    `also` names optional fields of the top level that shall be filled too.
    """
    wanted = [
        *(schema.get("required") or ()),
        *(name for name in schema.get("properties") or {} if name in also),
    ]
    return _object({**schema, "required": wanted}, known, root=schema, depth=0)


def needs_address(schema: dict[str, Any]) -> bool:
    """Whether the tool cannot be called without the address of something."""
    return any(MEANINGS.get(str(name).lower()) == "url" for name in schema.get("required") or ())


def _object(schema: dict[str, Any], known: Knowledge, *, root: dict[str, Any], depth: int) -> dict[str, Any]:
    properties = schema.get("properties") or {}
    required = set(schema.get("required") or ())
    filled: dict[str, Any] = {}
    for name, inner in properties.items():
        if not isinstance(inner, dict):
            continue
        given = _known(name, known)
        volunteered = given is not None and (name in known.extra or MEANINGS.get(name.lower()) in VOLUNTEERED)
        if name in required or volunteered:
            filled[name] = _value(inner, given, known, name=name, root=root, depth=depth + 1)
    for name in required - properties.keys():
        given = _known(name, known)
        filled[name] = known.short if given is None else given
    return filled


def _known(name: str, known: Knowledge) -> Any:
    if name in known.extra:
        return known.extra[name]
    attribute = MEANINGS.get(name.lower())
    if attribute == "label":
        return known.labels[0] if known.labels else None
    if attribute == "labels":
        return list(known.labels) or None
    return (getattr(known, attribute) or None) if attribute else None


def _value(
    schema: dict[str, Any], given: Any, known: Knowledge, *, name: str, root: dict[str, Any], depth: int
) -> Any:
    schema = _plain(schema, root)
    choices = schema.get("enum")
    if "const" in schema:
        return schema["const"]
    if isinstance(choices, list) and choices:
        return _choose(choices, given)
    kind = schema.get("type", "string")
    if isinstance(kind, list):
        kind = next((one for one in kind if one != "null"), "null")
    makers: dict[str, Callable[[], Any]] = {
        "object": lambda: _object(schema, known, root=root, depth=depth),
        "array": lambda: _array(schema, given, known, name=name, root=root, depth=depth),
        "string": lambda: _string(schema, given, known, name=name),
        "boolean": lambda: given if isinstance(given, bool) else bool(schema.get("default", False)),
        "integer": lambda: _number(schema, given),
        "number": lambda: _number(schema, given),
    }
    return makers[kind]() if kind in makers and depth <= DEPTH else None


def _plain(schema: dict[str, Any], root: dict[str, Any]) -> dict[str, Any]:
    """Follow a local `$ref` and take the first alternative that is not null."""
    for _ in range(DEPTH):
        reference = schema.get("$ref")
        if isinstance(reference, str) and reference.startswith("#/"):
            target: Any = root
            for part in reference[2:].split("/"):
                target = target.get(part, {}) if isinstance(target, dict) else {}
            schema = target if isinstance(target, dict) else {}
            continue
        options = schema.get("anyOf") or schema.get("oneOf")
        if isinstance(options, list) and options:
            fitting = [one for one in options if isinstance(one, dict) and one.get("type") != "null"]
            schema = fitting[0] if fitting else {"type": "null"}
            continue
        break
    return schema


def _choose(choices: list[Any], given: Any) -> Any:
    if given in choices:
        return given
    by_name = {str(choice).lower(): choice for choice in choices}
    return next((by_name[name] for name in PREFERRED if name in by_name), choices[0])


def _array(
    schema: dict[str, Any], given: Any, known: Knowledge, *, name: str, root: dict[str, Any], depth: int
) -> list[Any]:
    items = schema.get("items")
    items = items if isinstance(items, dict) else {"type": "string"}
    values = list(given) if isinstance(given, list | tuple) else []
    least = max(int(schema.get("minItems", 0)), 1)
    filled = [_value(items, value, known, name=name, root=root, depth=depth + 1) for value in values]
    while len(filled) < least:
        filled.append(
            _value(items, None, known, name=f"{name} {len(filled) + 1}", root=root, depth=depth + 1)
        )
    return filled[: int(schema.get("maxItems", len(filled)))]


def _string(schema: dict[str, Any], given: Any, known: Knowledge, *, name: str) -> str:
    if given is None and "default" in schema and isinstance(schema["default"], str):
        return schema["default"]
    text = str(given) if given is not None else _by_format(schema, known, name=name)
    most = schema.get("maxLength")
    if isinstance(most, int) and len(text) > most:
        text = text[: max(0, most - 1)] + "…" if most else ""
    return text.ljust(int(schema.get("minLength", 0)), ".")


def _by_format(schema: dict[str, Any], known: Knowledge, *, name: str) -> str:
    form = schema.get("format")
    if form in {"uri", "url"}:
        return known.url or "https://example.com/"
    if form == "date-time":
        return "2026-01-01T00:00:00Z"
    if form == "date":
        return "2026-01-01"
    words = {word.lower() for word in WORDS.findall(name.replace("_", " "))}
    if words & {"status", "state", "transition", "to"}:
        return "In Review"
    if words & {"url", "link"}:
        return known.url or "https://example.com/"
    if words & {"id", "key"}:
        return known.key or "1"
    return known.short


def _number(schema: dict[str, Any], given: Any) -> int | float:
    if isinstance(given, int | float) and not isinstance(given, bool):
        return given
    default = schema.get("default")
    if isinstance(default, int | float) and not isinstance(default, bool):
        return default
    whole = schema.get("type") != "number"
    least = schema.get("minimum")
    if least is None and schema.get("exclusiveMinimum") is not None:
        least = schema["exclusiveMinimum"] + 1
    most = schema.get("maximum")
    value = 1 if least is None else max(least, 1) if most is None or most >= 1 else least
    if most is not None:
        value = min(value, most)
    return int(value) if whole else value
