"""Reading YAML into nodes that know their line. Must not make anything but plain values, whatever tags say.

Plain scalars are resolved as in YAML 1.2, so that `no`, `on`, `1:30` and `2026-01-02` stay text. Nodes are
built from PyYAML's events without recursion: neither depth nor aliases can exhaust the process.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Final

import yaml

from router.problems import Location, Problem

MAX_BYTES: Final = 5_000_000
MAX_DEPTH: Final = 60
MAX_NODES: Final = 2_000_000
"""After aliases are written out: a few lines of aliases can stand for billions of values."""

_LOADER: Final[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_NULL: Final = frozenset({"", "~", "null", "Null", "NULL"})
_TRUE: Final = frozenset({"true", "True", "TRUE"})
_FALSE: Final = frozenset({"false", "False", "FALSE"})
_INT: Final = re.compile(r"[-+]?(?:0|[1-9][0-9]{0,17})")
"""Longer numbers and those with a leading zero stay text: they are identifiers, and would be changed."""
_FLOAT: Final = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+\.[0-9]*)(?:[eE][-+]?[0-9]+)?|[-+]?[0-9]+[eE][-+]?[0-9]+")
_TEXT_TAGS: Final = frozenset({None, "!", "tag:yaml.org,2002:str"})


class Node:
    """A value with its place. `value` is a scalar, a list of nodes, or a mapping from key to `Entry`."""

    __slots__ = ("column", "height", "line", "size", "value")

    def __init__(self, value: Any, line: int, column: int) -> None:
        self.value = value
        self.line = line
        self.column = column
        self.size = 1
        self.height = 1

    def plain(self) -> Any:
        """The value without places. Depth is bounded by MAX_DEPTH, size by MAX_NODES."""
        if isinstance(self.value, dict):
            return {key: entry.node.plain() for key, entry in self.value.items()}
        if isinstance(self.value, list):
            return [node.plain() for node in self.value]
        return self.value


@dataclass(slots=True)
class Entry:
    """One key of a mapping, with the key's own place."""

    line: int
    column: int
    node: Node


@dataclass(slots=True)
class _Open:
    """A collection that is being built."""

    node: Node
    anchor: str | None
    key: tuple[str, int, int] | None = None
    waiting: bool = True
    """In a mapping: the next node is a key."""


@dataclass
class Document:
    """One file: its tree, or what is wrong with its text."""

    file: str
    root: Node | None = None
    problems: list[Problem] = field(default_factory=list)

    def problem(self, line: int, column: int, message: str) -> None:
        self.problems.append(Problem(self.file, line, column, "", message))

    def place(self, location: Location) -> tuple[int, int]:
        """Line and column of the deepest part of `location` that exists; of its key where it has one."""
        node = self.root
        line, column = (node.line, node.column) if node is not None else (0, 0)
        for step in location:
            if node is None:
                break
            if isinstance(node.value, dict) and isinstance(step, str) and step in node.value:
                entry: Entry = node.value[step]
                line, column, node = entry.line, entry.column, entry.node
            elif isinstance(node.value, list) and isinstance(step, int) and step < len(node.value):
                node = node.value[step]
                line, column = node.line, node.column
            else:
                break
        return line, column


class _StopError(Exception):
    """Reading this file makes no further sense; the problem is noted."""


def read(data: bytes, *, file: str) -> Document:
    """Read one YAML document. Never raises: what is wrong stands in `problems`, and `root` may be None."""
    document = Document(file)
    if len(data) > MAX_BYTES:
        document.problem(
            0, 0, f"the file has {len(data)} bytes, the limit is {MAX_BYTES}; split it into a folder"
        )
        return document
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        document.problem(line, 0, "the file is not UTF-8 text; save it as UTF-8")
        return document
    try:
        _Builder(document).build(text)
    except _StopError:
        document.root = None
    except yaml.MarkedYAMLError as error:
        document.root = None
        _syntax(document, error, text)
    except yaml.reader.ReaderError as error:
        document.root = None
        line = text.count("\n", 0, error.position) + 1
        code = f"U+{_code(error.character):04X}"
        document.problem(line, 0, f"the character {code} is not allowed in YAML; remove it")
    except yaml.YAMLError:
        document.root = None
        document.problem(0, 0, "the file is not YAML")
    return document


def _code(character: object) -> int:
    return ord(character) if isinstance(character, str) else int(str(character))


def _syntax(document: Document, error: yaml.MarkedYAMLError, text: str) -> None:
    """Only the parser's own words are kept: its snippet of the file could hold a secret."""
    mark = error.problem_mark or error.context_mark
    if mark is None:
        document.problem(0, 0, f"the file is not YAML: {error.problem}")
        return
    lines = text.splitlines()
    line = lines[mark.line] if mark.line < len(lines) else ""
    if line[mark.column : mark.column + 1] == "\t":
        document.problem(mark.line + 1, mark.column + 1, "a tab cannot indent YAML; use spaces")
        return
    context = f"{error.context}: " if error.context else ""
    document.problem(mark.line + 1, mark.column + 1, f"this is not YAML: {context}{error.problem}")


class _Builder:
    """Turns the parser's events into nodes, with a stack of its own."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._stack: list[_Open] = []
        self._anchors: dict[str, Node] = {}
        self._documents = 0

    def build(self, text: str) -> None:
        for event in yaml.parse(text, Loader=_LOADER):
            kind = type(event)
            if kind is yaml.ScalarEvent:
                self._scalar(event)
            elif kind is yaml.MappingStartEvent or kind is yaml.SequenceStartEvent:
                self._open(event)
            elif kind is yaml.MappingEndEvent or kind is yaml.SequenceEndEvent:
                self._close()
            elif kind is yaml.AliasEvent:
                self._alias(event)
            elif kind is yaml.DocumentStartEvent:
                self._documents += 1
                if self._documents > 1:
                    self._stop(event, "a file holds one document: remove the line '---' or split the file")

    def _stop(self, event: Any, message: str) -> None:
        self._document.problem(event.start_mark.line + 1, event.start_mark.column + 1, message)
        raise _StopError

    def _at_key(self) -> bool:
        return bool(self._stack) and self._stack[-1].waiting and isinstance(self._stack[-1].node.value, dict)

    def _scalar(self, event: Any) -> None:
        mark = event.start_mark
        node = Node(event.value, mark.line + 1, mark.column + 1)
        if event.tag not in _TEXT_TAGS:
            self._document.problem(node.line, node.column, f"the tag {event.tag!r} is not allowed; remove it")
        if event.implicit[0] and not self._at_key():
            node.value = _resolve(event.value)
        if event.anchor:
            self._anchors[event.anchor] = node
        self._add(node)

    def _open(self, event: Any) -> None:
        mark = event.start_mark
        if len(self._stack) >= MAX_DEPTH:
            self._stop(event, f"more than {MAX_DEPTH} levels are nested here")
        if event.tag not in {None, "!", "tag:yaml.org,2002:map", "tag:yaml.org,2002:seq"}:
            self._document.problem(
                mark.line + 1, mark.column + 1, f"the tag {event.tag!r} is not allowed; remove it"
            )
        value: Any = {} if type(event) is yaml.MappingStartEvent else []
        if self._at_key():
            self._stop(event, "a key must be plain text")
        self._stack.append(_Open(Node(value, mark.line + 1, mark.column + 1), event.anchor))

    def _close(self) -> None:
        done = self._stack.pop()
        if done.anchor:
            self._anchors[done.anchor] = done.node
        self._add(done.node)

    def _alias(self, event: Any) -> None:
        node = self._anchors.get(event.anchor)
        if node is None:
            self._stop(event, f"the alias *{event.anchor} has no anchor before it, or stands inside it")
            return
        if self._at_key():
            self._stop(event, "a key must be plain text, not an alias")
        if node.height + len(self._stack) > MAX_DEPTH:
            self._stop(event, f"more than {MAX_DEPTH} levels are nested here")
        self._add(node)

    def _add(self, node: Node) -> None:
        if not self._stack:
            self._document.root = node
            return
        top = self._stack[-1]
        if isinstance(top.node.value, list):
            top.node.value.append(node)
        elif top.waiting:
            top.key = (str(node.value), node.line, node.column)
            top.waiting = False
            return
        else:
            self._pair(top, node)
        top.node.size += node.size
        top.node.height = max(top.node.height, node.height + 1)
        if top.node.size > MAX_NODES:
            self._document.problem(
                node.line, node.column, f"more than {MAX_NODES} values, aliases written out"
            )
            raise _StopError

    def _pair(self, top: _Open, node: Node) -> None:
        if top.key is None:  # pragma: no cover - a value always follows its key in the parser's events
            return
        name, line, column = top.key
        top.waiting = True
        if name == "<<":
            self._document.problem(line, column, "merge keys (<<) are not supported; write the fields out")
        elif name in top.node.value:
            first = top.node.value[name].line
            self._document.problem(line, column, f"the key {name!r} stands twice here, first in line {first}")
        else:
            top.node.value[name] = Entry(line, column, node)


def _resolve(text: str) -> str | int | float | bool | None:
    if text in _NULL:
        return None
    first = text[0]
    if first in "tTfF":
        return True if text in _TRUE else False if text in _FALSE else text
    if first in "+-.0123456789":
        if _INT.fullmatch(text):
            return int(text)
        if _FLOAT.fullmatch(text):
            return float(text)
    return text
