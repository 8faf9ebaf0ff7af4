"""Conditions in CEL: compiled once, run on an event that is converted once, explained when they do not hold.

Nothing that an event contains may raise out of here, stop another rule, or count as a match (decision 0003).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from typing import Any, Final

import cel

from router.problems import hint
from router.syntax import ROOT, Path, SyntaxProblemError, scan
from schemas.event import Actor, Event, EventData, Subject

MAX_LENGTH: Final = 2_000
MAX_DEPTH: Final = 250
"""Levels; webhooks are read up to 200. The library recurses, and far beyond this would exhaust the stack."""
MAX_VALUES: Final = 50_000
MAX_ENTRIES: Final = (MAX_VALUES, 1_000, 100)
"""Entries of one list or map, by how deep an expression nests macros: their cost is its power."""
MAX_SEEN: Final = 300
MAX_FIELD: Final = 100
MAX_OUTLINE: Final = 2
_encode: Final = json.JSONEncoder(ensure_ascii=False).encode
_INT64: Final = 2**63
_UINT64: Final = 2**64

Selection = dict[str, "Selection | None"]
"""Which parts of the event are read; None takes everything below."""

FIELDS: Final[frozenset[str]] = frozenset(EventData.model_fields) | {"source", "connection", "type", "id"}
_INNER: Final[Mapping[str, frozenset[str]]] = {
    "actor": frozenset(Actor.model_fields),
    "subject": frozenset(Subject.model_fields),
}


class ExpressionError(ValueError):
    """The expression cannot be used. The text says why, with the library's message and position."""


class _UnusableError(Exception):
    """A value of the event cannot be given to CEL."""


@dataclass(frozen=True, slots=True, eq=False)
class Expression:
    """A compiled condition. Equal only to itself, which makes it cheap as a key."""

    text: str
    program: cel.Program
    nesting: int
    paths: tuple[Path, ...]
    """Every field that the text names, for explanations."""
    names: tuple[str, ...]
    """The same as text."""
    selection: Selection | None
    """What of the event has to be converted; None is all of it."""

    def unknown_fields(self) -> Iterable[tuple[str, str]]:
        """(path, hint) of every field that no event has: the condition can never hold through it."""
        for path in self.paths:
            if path.root != ROOT or not path.steps:
                continue
            first, *rest = (str(step) for step in path.steps)
            if first not in FIELDS:
                yield f"{ROOT}.{first}", hint(first, FIELDS)
            elif rest and first in _INNER and rest[0] not in _INNER[first]:
                yield f"{ROOT}.{first}.{rest[0]}", hint(rest[0], _INNER[first])


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a condition did not hold, and what it saw."""

    reason: str
    seen: str


@lru_cache(maxsize=20_000)
def compile_expression(text: str) -> Expression:
    """Compile and check a condition. Raises ExpressionError.

    Many rules share a text, and a configuration is loaded more than once; hence the cache.
    """
    if len(text) > MAX_LENGTH:
        msg = f"the expression has {len(text)} characters, at most {MAX_LENGTH} are allowed"
        raise ExpressionError(msg)
    try:
        program = cel.compile(text)
        reading = scan(text)
        for pattern in reading.patterns:
            cel.compile(f'"".matches({pattern})').execute({})
    except SyntaxProblemError as error:
        raise ExpressionError(str(error)) from None
    except RuntimeError as error:
        msg = f"the pattern of matches() is not a regular expression: {_one_line(str(error))}"
        raise ExpressionError(msg) from None
    except ValueError as error:
        msg = f"CEL does not accept the expression: {_cel_message(str(error), text)}"
        raise ExpressionError(msg) from None
    selection = _select(path for path in reading.paths if path.root == ROOT)
    return Expression(
        text, program, reading.nesting, reading.paths, tuple(map(str, reading.paths)), selection
    )


class EventView:
    """One event as expressions see it: `data`, plus `source`, `connection`, `type` and `id`.

    Conversion to CEL costs more than everything else in matching, so only the fields that the expressions
    for one event name are converted, together and once.
    """

    def __init__(self, event: Event) -> None:
        data = event.data
        self._shown: dict[str, str] = {}
        self.root: dict[str, Any] = {
            **data.__dict__,
            "actor": data.actor.__dict__,
            "subject": data.subject.__dict__,
            "labels": list(data.labels),
            "mentions": list(data.mentions),
            "links": list(data.links),
            "source": event.source,
            "connection": event.connection,
            "type": event.type,
            "id": event.id,
        }

    def evaluate(self, expressions: Mapping[int, Expression]) -> dict[int, Failure | None]:
        """Run every expression. None means that it holds; the keys are the caller's."""
        results: dict[int, Failure | None] = {}
        for nesting in range(len(MAX_ENTRIES)):
            group = {
                key: expression for key, expression in expressions.items() if expression.nesting == nesting
            }
            if not group:
                continue
            shared = self._shared(group.values(), nesting)
            for key, expression in group.items():
                results[key] = self._run(expression, shared)
        return results

    def _shared(self, expressions: Iterable[Expression], nesting: int) -> cel.Context | None:
        """One context for all; None where a value cannot be converted, so that each is tried by itself."""
        try:
            return self._context(_merged(tuple(expressions)), nesting)
        except _UnusableError:
            return None

    def _context(self, selection: Selection | None, nesting: int) -> cel.Context:
        context = cel.Context()
        try:
            context.add_variable(ROOT, _Converter(MAX_ENTRIES[nesting]).pick(self.root, selection, 0))
        except ValueError:  # text that is not Unicode, which no vendor's JSON can hold
            msg = "a value is not one that CEL can take"
            raise _UnusableError(msg) from None
        return context

    def _run(self, expression: Expression, context: cel.Context | None) -> Failure | None:
        try:
            if context is None:
                context = self._context(expression.selection, expression.nesting)
            result = expression.program.execute(context)
        except _UnusableError as error:
            reason = f"expression failed: {error}"
        except Exception as error:  # noqa: BLE001 - whatever the library raises concerns this rule alone
            reason = self._explain(expression, error)
        except BaseException as error:
            if type(error).__name__ != "PanicException":  # a bug of the Rust library, raised past Exception
                raise
            reason = "expression failed: the CEL library gave up on these values"
        else:
            if result is True:
                return None
            reason = (
                "the condition is false" if result is False else f"gave {show(result)}, not true or false"
            )
        return Failure(reason, self.seen(expression))

    def _explain(self, expression: Expression, error: Exception) -> str:
        absent = self._absent(expression, error)
        if absent is not None:
            return f"field absent: {absent}"
        text = _one_line(str(error))
        if text.startswith("Undefined variable or function"):
            name = text.split("'")[1]
            text = f"{name}() does not take such a value"
        elif text.startswith("No such overload"):
            text = "an operator or function does not take values of these types (CEL converts none by itself)"
        return f"expression failed: {text[:MAX_SEEN]}"

    def _absent(self, expression: Expression, error: Exception) -> str | None:
        """The field whose absence is the reason for `error`, or None when it is another reason."""
        missing = isinstance(error, KeyError | IndexError)
        for path in expression.paths:
            if path.root != ROOT:
                continue
            depth, reached = self._walk(path)
            if depth == len(path.steps):
                continue
            place = Path(ROOT, path.steps[: depth + 1])
            holder = Path(ROOT, path.steps[:depth])
            step = path.steps[depth]
            if isinstance(error, KeyError):
                if isinstance(reached, dict) and str(step) == str(error.args[0]):
                    return str(place)
            elif isinstance(error, IndexError):
                if isinstance(reached, list) and isinstance(step, int):
                    return f"{place} ({holder} has {len(reached)} entries)"
            elif isinstance(error, TypeError) and not isinstance(reached, dict | list):
                return f"{place} ({holder} is {show(reached)})"
        if not missing:
            return None
        if isinstance(error, IndexError):
            return _one_line(str(error))
        name = str(error.args[0])
        inner = (path for path in expression.paths if path.root != ROOT and name in path.steps)
        return str(next(inner, name))

    def _walk(self, path: Path) -> tuple[int, Any]:
        """How many steps of `path` exist, and the value reached."""
        value: Any = self.root
        for depth, step in enumerate(path.steps):
            if isinstance(value, list):
                found = isinstance(step, int) and step < len(value)
            else:
                found = isinstance(value, dict) and step in value
            if not found:
                return depth, value
            value = value[step]
        return len(path.steps), value

    def seen(self, expression: Expression) -> str:
        """The values of the fields that the expression names, bounded."""
        parts = []
        for path, name in zip(expression.paths, expression.names, strict=True):
            if path.root != ROOT or not path.steps:
                continue
            text = self._shown.get(name)
            if text is None:
                depth, value = self._walk(path)
                text = f"{name} = {show(value)}" if depth == len(path.steps) else f"{name} is absent"
                self._shown[name] = text
            parts.append(text)
        text = ", ".join(parts)
        return text if len(text) <= MAX_SEEN else text[: MAX_SEEN - 1] + "…"


class _Converter:
    """Copies the selected part of an event into what CEL takes. Raises _UnusableError."""

    def __init__(self, entries: int) -> None:
        self._entries = entries
        self._values = 0

    def pick(self, value: Any, selection: Selection | None, depth: int) -> Any:
        if selection is None or not isinstance(value, dict):
            return self._whole(value, depth)
        return {
            key: self.pick(value[key], inner, depth + 1) for key, inner in selection.items() if key in value
        }

    def _whole(self, value: Any, depth: int) -> Any:
        self._values += 1
        if isinstance(value, str) or value is None or isinstance(value, bool | float):
            return value
        if isinstance(value, int):
            if -_INT64 <= value < _UINT64:
                return value
            msg = "a number needs more than 64 bits"
            raise _UnusableError(msg)
        if depth > MAX_DEPTH:
            msg = f"more than {MAX_DEPTH} levels are nested"
            raise _UnusableError(msg)
        if not isinstance(value, dict | list | tuple):
            msg = f"a {type(value).__name__} is not a JSON value"
            raise _UnusableError(msg)
        if len(value) > self._entries or self._values > MAX_VALUES:
            msg = f"a list or map of {len(value)} entries is too large to be searched (limit {self._entries})"
            raise _UnusableError(msg)
        if isinstance(value, dict):
            return {str(key): self._whole(inner, depth + 1) for key, inner in value.items()}
        return [self._whole(inner, depth + 1) for inner in value]


def _select(paths: Iterable[Path]) -> Selection | None:
    """The smallest part of the event that holds every path. A list is taken whole."""
    whole: Selection = {}
    for path in paths:
        names = []
        for step in path.steps:
            if not isinstance(step, str):
                break
            names.append(step)
        if not names:
            return None
        _insert(whole, names)
    return whole


def _insert(selection: Selection, names: list[str]) -> None:
    *way, last = names
    for name in way:
        inner = selection.setdefault(name, {})
        if inner is None:
            return
        selection = inner
    selection[last] = None


@lru_cache(maxsize=1_000)
def _merged(expressions: tuple[Expression, ...]) -> Selection | None:
    """What all of them read. Cached: events of one kind bring the same few groups again and again."""
    merged: Selection = {}
    for expression in expressions:
        if expression.selection is None:
            return None
        _union(merged, expression.selection)
    return merged


def _union(into: Selection, other: Selection) -> None:
    for name, inner in other.items():
        if inner is None or (name in into and into[name] is None):
            into[name] = None
        else:
            mine = into.setdefault(name, {})
            if mine is not None:
                _union(mine, inner)


def show(value: Any) -> str:
    """A value as JSON, shortened. Its cost does not depend on the value's size."""
    return as_json(_outline(value, 0), limit=MAX_FIELD)


def as_json(value: Any, *, limit: int) -> str:
    """JSON text of at most `limit` characters, without control characters or lone surrogates."""
    text = _encode(value)
    if not text.isascii():
        text = text.encode("utf-8", "backslashreplace").decode("utf-8")
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _outline(value: Any, depth: int) -> Any:
    if isinstance(value, str):
        return value[:MAX_FIELD]
    if value is None or isinstance(value, bool | float):
        return value
    if isinstance(value, int):
        return value if -_UINT64 < value < _UINT64 else "a number of more than 64 bits"
    if isinstance(value, dict):
        if depth >= MAX_OUTLINE:
            return "{…}"
        return {str(key)[:MAX_FIELD]: _outline(inner, depth + 1) for key, inner in islice(value.items(), 5)}
    if isinstance(value, list | tuple):
        return "[…]" if depth >= MAX_OUTLINE else [_outline(inner, depth + 1) for inner in value[:5]]
    return type(value).__name__


def _cel_message(message: str, text: str) -> str:
    """The library's first complaint: it repeats the whole expression before and after."""
    message = message.replace(text, "").removeprefix("Failed to parse expression '': ERROR: <input>:")
    position, _, rest = message.partition(": ")
    complaint = _one_line(rest.split("\n| ")[0].split(" expecting {")[0])
    line, _, column = position.partition(":")
    if line.isdigit() and column.isdigit():
        return f"{complaint} (line {line}, column {column} of the expression)"
    return _one_line(message)


def _one_line(text: str) -> str:
    return " ".join(text.split())[:MAX_SEEN]
