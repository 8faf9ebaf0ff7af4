"""How commands speak: results on standard output, remarks and errors on standard error, colour on terminals.

Text from outside is printed with its control characters replaced, or a title could rewrite the screen.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import wraps
from typing import Any, Final, NoReturn, ParamSpec, TextIO, TypeVar

import typer

P = ParamSpec("P")
T = TypeVar("T")

FAILED: Final = 1
USAGE: Final = 2
SHORT_ID: Final = 14
"""`evt_` and ten digits: unmistakable up to about a hundred thousand events."""
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
_BREAKS: Final = re.compile(r"\s*\n\s*")
_STYLES: Final = {
    **dict.fromkeys(("ok", "matched", "succeeded", "posted", "handled", "retried"), "32"),
    **dict.fromkeys(("warn", "suppressed", "ignored", "stopping", "unsupported", "retrying"), "33"),
    **dict.fromkeys(("fail", "error", "failed", "refused", "timed_out", "unreadable", "dead"), "31"),
    **dict.fromkeys(("running", "sending", "creating", "reporting", "posting"), "36"),
    **dict.fromkeys(("not_matched", "cancelled", "queued", "pending", "dropped"), "2"),
}


class CommandError(Exception):
    """A command cannot do what it was asked: the text says what, with which value, and what to do."""

    def __init__(self, message: str, *, code: int = FAILED) -> None:
        super().__init__(message)
        self.code = code


def honest(command: Callable[P, T]) -> Callable[P, T]:
    """Turn CommandError into a paragraph on standard error and its exit code."""

    @wraps(command)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return command(*args, **kwargs)
        except CommandError as error:
            complain(str(error))
            raise typer.Exit(error.code) from None

    return guarded


def complain(text: str) -> None:
    """An error, on standard error."""
    label = _painted("error", "fail", sys.stderr)
    _write(sys.stderr, f"{label}: {visible(text, lines=True)}")


def remark(text: str) -> None:
    """Something to know that is no result, on standard error."""
    _write(sys.stderr, visible(text, lines=True))


def say(text: str = "") -> None:
    """A line of the result, with whatever comes from outside made harmless."""
    _write(sys.stdout, visible(text, lines=True))


def emit(text: str) -> None:
    """Text of our own making (JSON, a schema), as it is."""
    _write(sys.stdout, text)


def emit_bytes(value: bytes) -> None:
    """Bytes as they are, for a file or another program."""
    sys.stdout.flush()
    sys.stdout.buffer.write(value)
    sys.stdout.buffer.flush()


def state(word: str) -> str:
    """A status word, coloured on a terminal. Not to be passed through `visible` again."""
    return _painted(word, word, sys.stdout)


def say_state(word: str, text: str) -> None:
    """`word` as a coloured status before a line of text."""
    _write(sys.stdout, f"{_painted(word.ljust(4), word, sys.stdout)}  {visible(text, lines=True)}")


def visible(text: str, *, lines: bool = False) -> str:
    """`text` with control characters replaced. Without `lines` it becomes one line."""
    if not lines:
        text = _BREAKS.sub(" ", text)
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text.replace("\r\n", "\n"))


def table(headings: Sequence[str], rows: Iterable[Sequence[object]], *, states: str | None = None) -> None:
    """Rows under headings. `states` names the column with status words.

    On a terminal cells wrap to its width. In a pipe nothing is cut: columns are lined up by spaces.
    """
    cells = [["-" if cell is None else visible(str(cell)) for cell in row] for row in rows]
    if not cells:
        remark("none")
        return
    if sys.stdout.isatty():
        _rich_table(headings, cells, states)
        return
    widths = [max(len(row[column]) for row in (headings, *cells)) for column in range(len(headings))]
    for row in (list(headings), *cells):
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        _write(sys.stdout, line.rstrip())


def _rich_table(headings: Sequence[str], cells: Sequence[Sequence[str]], states: str | None) -> None:
    from rich import box  # noqa: PLC0415 - only tables on a terminal pay for it
    from rich.console import Console  # noqa: PLC0415 - the same
    from rich.table import Table  # noqa: PLC0415 - the same
    from rich.text import Text  # noqa: PLC0415 - the same

    drawn = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for index, heading in enumerate(headings):
        drawn.add_column(heading, overflow="fold", no_wrap=index == 0)
    for row in cells:
        drawn.add_row(
            *(
                Text.from_ansi(state(cell)) if heading == states else Text(cell)
                for heading, cell in zip(headings, row, strict=True)
            )
        )
    Console().print(drawn)


def moment(value: datetime | None) -> str:
    """A time to the second, in UTC."""
    return "-" if value is None else value.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def brief_moment(value: datetime) -> str:
    """The same for a table: to the minute on a terminal."""
    whole = moment(value)
    return whole[: -len(":00Z")] if sys.stdout.isatty() else whole


def brief_id(identifier: str | None) -> str | None:
    """An id for a table: on a terminal its beginning, which every command takes for the whole."""
    return identifier[:SHORT_ID] if identifier is not None and sys.stdout.isatty() else identifier


def as_json(value: Any) -> str:
    """JSON indented on a terminal, on one line in a pipe. Takes pydantic models too."""
    import orjson  # noqa: PLC0415 - --help must not pay for it

    def plain(one: Any) -> Any:
        return one.model_dump(mode="json")

    option = orjson.OPT_INDENT_2 if sys.stdout.isatty() else 0
    return orjson.dumps(value, default=plain, option=option).decode()


@contextmanager
def quiet_pipes() -> Iterator[None]:
    """`triggerhub … | head` ends quietly when the reader has seen enough."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        # Python flushes once more at exit and would complain: let it write to nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(FAILED) from None


def stop(code: int) -> NoReturn:
    """End the command with an exit code."""
    raise typer.Exit(code)


def _painted(text: str, word: str, stream: TextIO) -> str:
    style = _STYLES.get(word)
    return f"\x1b[{style}m{text}\x1b[0m" if style and stream.isatty() else text


def _write(stream: TextIO, text: str) -> None:
    # A file name may hold bytes that are no text, a console may lack a letter: no reason to fail.
    encoding = stream.encoding or "utf-8"
    stream.write(text.encode(encoding, "backslashreplace").decode(encoding) + "\n")
