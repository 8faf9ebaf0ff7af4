"""What is wrong with a configuration, said so that it can be put right: file, line, path, value, near name.

A problem must never quote a secret.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Final, Literal

Location = tuple[str | int, ...]
"""Way from the top of the file to a field: `("rules", 3, "match", "if")`."""

MAX_VALUE: Final = 80
MAX_NAMES: Final = 12


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong. `line` and `column` count from 1; 0 means the file as a whole."""

    file: str
    line: int
    column: int
    path: str
    message: str
    severity: Literal["error", "warning"] = "error"
    """A warning does not keep the configuration from loading."""

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        path = f"{self.path}: " if self.path else ""
        note = "warning: " if self.severity == "warning" else ""
        return f"{place}: {note}{path}{self.message}"


class ConfigError(Exception):
    """The configuration was refused. `problems` holds every reason found, in the order of the files."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = list(problems)


def path_of(location: Iterable[str | int]) -> str:
    """`rules[3].match.if`."""
    text = ""
    for step in location:
        if isinstance(step, int):
            text += f"[{step}]"
        else:
            text += f".{step}" if text else step
    return text


def quote(value: object) -> str:
    """A value as it may stand in a message: shortened."""
    text = repr(value)
    return text if len(text) <= MAX_VALUE else f"{text[: MAX_VALUE - 3]}..."


def hint(name: str, known: Iterable[str]) -> str:
    """`did you mean 'fixer'?`, or which names there are."""
    names = sorted(set(known))
    near = get_close_matches(name, names, n=3) or get_close_matches(name.lower(), names, n=1)
    near.sort(
        key=lambda one: not one.startswith(name)
    )  # the beginning of a name was more likely meant than its end
    if near:
        return f"did you mean {near[0]!r}?"
    if not names:
        return "none is defined"
    shown = ", ".join(names[:MAX_NAMES])
    return f"known are {shown}{', …' if len(names) > MAX_NAMES else ''}"


def unknown(what: str, name: str, known: Iterable[str]) -> str:
    """The message for a name that does not exist."""
    return f"unknown {what} {quote(name)}; {hint(name, known)}"
