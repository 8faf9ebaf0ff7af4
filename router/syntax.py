"""Reading the text of an expression: which fields it names, and what it may not do. Evaluates nothing.

The CEL library parses and runs expressions, but tells neither the paths they read nor whether a function
exists before it is called. This scanner covers what both need; the library has already accepted the text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from router.problems import hint

ROOT: Final = "event"
MACROS: Final = frozenset({"all", "exists", "exists_one", "existsOne", "map", "filter"})
"""Forms that run their body once per entry of a list or map."""
GLOBALS: Final = frozenset(
    {"has", "size", "int", "uint", "double", "string", "bytes", "timestamp", "duration", "type", "dyn"}
)
METHODS: Final = frozenset(
    {"size", "contains", "startsWith", "endsWith", "matches"}
    | {"getFullYear", "getMonth", "getDate", "getDayOfMonth", "getDayOfWeek", "getDayOfYear"}
    | {"getHours", "getMinutes", "getSeconds", "getMilliseconds"}
)
TYPES: Final = frozenset({"int", "uint", "double", "string", "bytes", "bool", "list", "map", "null_type"})
MAX_NESTING: Final = 2
MAX_MACROS: Final = 4

_KEYWORDS: Final = frozenset({"true", "false", "null", "in"})
_TOKEN: Final = re.compile(
    r"""
    (?P<space>\s+|//[^\n]*)
  | (?P<raw>[rR][bB]?(?:\"\"\"[\s\S]*?\"\"\"|'''[\s\S]*?'''|"[^"\n]*"|'[^'\n]*')
          |[bB][rR](?:\"\"\"[\s\S]*?\"\"\"|'''[\s\S]*?'''|"[^"\n]*"|'[^'\n]*'))
  | (?P<text>[bB]?(?:\"\"\"(?:\\[\s\S]|[^\\])*?\"\"\"|'''(?:\\[\s\S]|[^\\])*?'''
          |"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'))
  | (?P<number>0[xX][0-9a-fA-F]+[uU]?|(?:\d+\.\d+|\.\d+|\d+)(?:[eE][+-]?\d+)?[uU]?)
  | (?P<name>[A-Za-z_][A-Za-z0-9_]*)
  | (?P<sign>==|!=|<=|>=|&&|\|\||[-+*/%!?:.,()\[\]{}<>])
    """,
    re.VERBOSE,
)

Step = str | int


@dataclass(frozen=True, slots=True)
class Token:
    """One word of an expression."""

    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class Path:
    """A field as an expression names it."""

    root: str
    """`event`, or a variable of a macro."""
    steps: tuple[Step, ...]

    def __str__(self) -> str:
        return self.root + "".join(
            f"[{step}]" if isinstance(step, int) else f".{step}" for step in self.steps
        )


@dataclass(frozen=True, slots=True)
class Reading:
    """What the scanner found."""

    paths: tuple[Path, ...]
    """Fields of the event and of macro variables, in the order of the text, each once."""
    nesting: int
    """How deep macros stand in one another: 0 without any."""
    patterns: tuple[str, ...]
    """Literals given to `matches`, as written."""


class SyntaxProblemError(ValueError):
    """The expression does what rules may not do, or names something that does not exist."""


def tokens(text: str) -> list[Token]:
    """Split the text. Raises SyntaxProblemError at a character that CEL does not know."""
    found: list[Token] = []
    position = 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None or match.lastgroup is None:
            msg = f"the character {text[position]!r} is not understood"
            raise SyntaxProblemError(msg)
        position = match.end()
        if match.lastgroup != "space":
            found.append(Token(match.lastgroup, match.group()))
    return found


def scan(text: str) -> Reading:
    """Read an expression that the CEL library accepted. Raises SyntaxProblemError."""
    return _Scanner(tokens(text)).run()


@dataclass(slots=True)
class _Bracket:
    """An open bracket; `macro` and `variable` where it holds the body of a macro."""

    macro: str | None = None
    variable: str | None = None


class _Scanner:
    def __init__(self, words: list[Token]) -> None:
        self._words = words
        self._open: list[_Bracket] = []
        self._paths: dict[Path, None] = {}
        self._patterns: list[str] = []
        self._macros = 0
        self._nesting = 0

    def run(self) -> Reading:
        for index, word in enumerate(self._words):
            if word.kind == "name" and word.text not in _KEYWORDS:
                self._name(index, word.text)
            elif word.kind == "sign":
                self._sign(index, word.text)
        return Reading(tuple(self._paths), self._nesting, tuple(self._patterns))

    def _at(self, index: int) -> str:
        return self._words[index].text if 0 <= index < len(self._words) else ""

    def _name(self, index: int, name: str) -> None:
        following, selected = self._at(index + 1), self._at(index - 1) == "."
        if selected and not self._is_operand(index - 2):
            msg = f"a name cannot begin with a dot: write {name} instead of .{name}"
            raise SyntaxProblemError(msg)
        if following == "{":
            msg = f"{name}{{…}} builds a message, which rules cannot do"
            raise SyntaxProblemError(msg)
        if following == "(":
            self._call(index, name, selected=selected)
        elif not selected:
            self._variable(index, name)

    def _call(self, index: int, name: str, *, selected: bool) -> None:
        known = METHODS | MACROS if selected else GLOBALS
        if name not in known:
            if name in METHODS | MACROS | GLOBALS:
                msg = (
                    f"write {name}(x), not x.{name}()" if selected else f"write x.{name}(…), not {name}(x, …)"
                )
                raise SyntaxProblemError(msg)
            msg = f"unknown function {name!r}; {hint(name, METHODS | MACROS | GLOBALS)}"
            raise SyntaxProblemError(msg)
        if (
            name == "matches"
            and self._words[index + 2].kind in {"raw", "text"}
            and self._at(index + 3) == ")"
        ):
            self._patterns.append(self._words[index + 2].text)

    def _variable(self, index: int, name: str) -> None:
        bound = {bracket.variable for bracket in self._open if bracket.variable is not None}
        if name != ROOT and name not in bound:
            if name in TYPES:
                return
            msg = f"unknown name {name!r}; {hint(name, {ROOT, *bound})}"
            raise SyntaxProblemError(msg)
        self._paths.setdefault(Path(name, tuple(self._steps(index + 1))))

    def _steps(self, index: int) -> Iterator[Step]:
        """Selections after a variable, up to a method, a computed index or the end."""
        while True:
            sign, word, after = self._at(index), index + 1, self._at(index + 2)
            if sign == "." and self._words[word].kind == "name" and after != "(":
                yield self._words[word].text
                index += 2
            elif sign == "[" and after == "]" and (step := _literal(self._words[word])) is not None:
                yield step
                index += 3
            else:
                return

    def _sign(self, index: int, sign: str) -> None:
        if sign in "([{":
            self._enter(index, sign)
        elif sign in ")]}":
            if self._open:
                self._open.pop()
        elif sign == "+":
            self._refuse_growth("+")

    def _enter(self, index: int, sign: str) -> None:
        name = self._at(index - 1)
        if sign == "(" and name in MACROS and self._at(index - 2) == ".":
            variable = self._at(index + 1)
            if variable == ROOT:
                msg = f"{name}() cannot call its variable {ROOT!r}; choose another name"
                raise SyntaxProblemError(msg)
            if self._words[index + 1].kind != "name" or self._at(index + 2) != ",":
                msg = f"{name}() takes a variable and a condition, such as {name}(x, x == 1)"
                raise SyntaxProblemError(msg)
            self._open.append(_Bracket(name, variable))
            self._macros += 1
            self._nesting = max(self._nesting, sum(bracket.macro is not None for bracket in self._open))
            self._bound()
            return
        if sign == "{" or (sign == "[" and not self._is_operand(index - 1)):
            self._refuse_growth("lists and maps")
        self._open.append(_Bracket())

    def _is_operand(self, index: int) -> bool:
        """Whether the word at `index` ends a value, so that a dot or bracket after it selects from it."""
        before = self._words[index] if index >= 0 else Token("sign", "")
        return before.text in {")", "]", "}"} or (before.kind != "sign" and before.text != "in")

    def _bound(self) -> None:
        if self._macros > MAX_MACROS:
            msg = f"more than {MAX_MACROS} of {', '.join(sorted(MACROS))} in one expression cost too much"
            raise SyntaxProblemError(msg)
        if self._nesting > MAX_NESTING:
            msg = f"{', '.join(sorted(MACROS))} may be nested {MAX_NESTING} deep, not deeper"
            raise SyntaxProblemError(msg)

    def _refuse_growth(self, what: str) -> None:
        """A `map` that builds larger values out of values doubles them with every step of a chain."""
        if any(bracket.macro == "map" for bracket in self._open):
            msg = f"map() may only pick values: {what} cannot stand inside it"
            raise SyntaxProblemError(msg)


def _literal(word: Token) -> Step | None:
    if word.kind == "number" and word.text.isdigit() and len(word.text) <= len("999999999"):
        return int(word.text)
    if (
        word.kind == "text"
        and "\\" not in word.text
        and word.text[0] in "\"'"
        and word.text[:3] not in {'"""', "'''"}
    ):
        return word.text[1:-1]
    return None
