"""Applying a unified diff to the very text it was made against. Pure.

Strict: every line of context and removal must be where the hunk says, and the counts must agree. Nothing is searched
for nearby and nothing is guessed; a patch that does not fit is refused with the place, so that a better one can be made.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

MAX_PATCH: Final = 1_000_000
MAX_HUNKS: Final = 5_000
_HUNK: Final = re.compile(r"@@ -(\d{1,9})(?:,(\d{1,9}))? \+(\d{1,9})(?:,(\d{1,9}))? @@(?: .*)?")
_MODE: Final = re.compile(r"(?:new file|new|deleted file|old) mode ([0-7]{6})")
_HEADER: Final = re.compile(r"diff --git a/(\S+) b/(\S+)")
_IGNORED: Final = ("index ", "similarity index ", "dissimilarity index ")
NOWHERE: Final = "/dev/null"


class PatchError(ValueError):
    """The patch cannot be read, or does not fit. The text is for the agent."""


@dataclass(frozen=True, slots=True)
class Hunk:
    """A stretch of lines. `before` and `after` keep their line ends; a last line may have none."""

    start: int
    """Line of the old text that `before` begins at, from 1; for an empty `before` the line it follows, from 0."""
    before: tuple[str, ...]
    after: tuple[str, ...]


@dataclass(slots=True)
class FilePatch:
    """What a patch does to one file."""

    old: str | None = None
    """Path before; None for a new file."""
    new: str | None = None
    """Path after; None for a removed one."""
    mode: str | None = None
    """Git's mode where the patch names a new one."""
    hunks: list[Hunk] = field(default_factory=list)


def read_patch(text: str) -> list[FilePatch]:
    """Read a unified diff, as `git diff` or `diff -u` write it. Raises PatchError."""
    if len(text) > MAX_PATCH:
        msg = f"the patch has {len(text)} characters; at most {MAX_PATCH} are taken"
        raise PatchError(msg)
    return _Reader(text).read()


def apply(patch: FilePatch, text: str | None) -> str:
    """The text after the patch. `text`: the file as it is, None where there is none. Raises PatchError."""
    if patch.old is None and text is not None:
        msg = f"{patch.new!r} is said to be new, but it exists; make the patch against the file as it is"
        raise PatchError(msg)
    if patch.old is not None and text is None:
        msg = f"{patch.old!r} does not exist on the base branch; look at the paths, or add the file as a new one"
        raise PatchError(msg)
    lines = split_lines(text or "")
    result: list[str] = []
    at = 0
    for number, hunk in enumerate(patch.hunks, start=1):
        begin = hunk.start - 1 if hunk.before else hunk.start
        if begin < at or begin > len(lines):
            msg = f"hunk {number} of {patch.new or patch.old!r}: line {hunk.start} is in the hunk above, or past the end"
            raise PatchError(msg)
        found = lines[begin : begin + len(hunk.before)]
        if found != list(hunk.before):
            raise PatchError(_misfit(patch, number, hunk, found))
        result += lines[at:begin]
        result += hunk.after
        at = begin + len(hunk.before)
    result += lines[at:]
    if any(not line.endswith("\n") for line in result[:-1]):
        msg = f"{patch.new or patch.old!r}: a line without an end stands before the last one"
        raise PatchError(msg)
    return "".join(result)


def split_lines(text: str) -> list[str]:
    """Lines with their ends. Only \\n ends a line, as in Git; \\r belongs to the line."""
    parts = text.split("\n")
    return [f"{part}\n" for part in parts[:-1]] + ([parts[-1]] if parts[-1] else [])


def _misfit(patch: FilePatch, number: int, hunk: Hunk, found: Sequence[str]) -> str:
    off = next((at for at, (a, b) in enumerate(zip(hunk.before, found, strict=False)) if a != b), len(found))
    return (
        f"hunk {number} of {(patch.old or patch.new)!r} does not fit: line {hunk.start + off} of the base branch is not "
        "what the patch has there. Make it against the base branch as it is, with exact context, or give whole files"
    )


class _Reader:
    def __init__(self, text: str) -> None:
        self._lines = split_lines(text)
        self._at = 0
        self._files: list[FilePatch] = []
        self._hunks = 0

    def read(self) -> list[FilePatch]:
        while (line := self._peek()) is not None:
            if line.startswith("diff --git "):
                self._git_file()
            elif line.startswith("--- "):
                patch = FilePatch()
                self._files.append(patch)
                self._names(patch)
                self._body(patch)
            elif line.startswith("@@"):
                self._fail("a hunk stands before any file (--- and +++ lines)")
            elif self._files and line.strip() and not self._is_prose_ok():
                self._fail("this line belongs to no hunk")
            else:
                self._at += 1
        if not self._files:
            msg = "the patch has no file in it: a unified diff has --- and +++ lines, and hunks that begin with @@"
            raise PatchError(msg)
        return self._files

    def _is_prose_ok(self) -> bool:
        line = self._peek() or ""
        return line.startswith("-- ") or bool(
            re.fullmatch(r"\d+\.\d+\.\d+.*", line)
        )  # the signature of git format-patch

    def _peek(self) -> str | None:
        return self._lines[self._at].rstrip("\n") if self._at < len(self._lines) else None

    def _fail(self, reason: str) -> None:
        msg = f"the patch cannot be read at line {self._at + 1}: {reason}"
        raise PatchError(msg)

    def _git_file(self) -> None:
        header = _HEADER.fullmatch(self._peek() or "")
        if header is None:
            self._fail("a path with blanks or quotes; give such files whole, in files")
            return
        patch = FilePatch(old=header[1], new=header[2])
        self._files.append(patch)
        self._at += 1
        is_renamed = False
        while (line := self._peek()) is not None:
            mode = _MODE.fullmatch(line)
            if mode is not None:
                self._mode(patch, line, mode[1])
            elif line.startswith(("rename from ", "rename to ")):
                is_renamed = True
            elif line.startswith(("copy from ", "copy to ")):
                self._fail("copies are not taken; add the file as a new one")
            elif line.startswith(("GIT binary patch", "Binary files ")):
                self._fail(
                    "binary patches are not taken; give the file whole, in files, with encoding base64"
                )
            elif not line.startswith(_IGNORED):
                break
            self._at += 1
        if patch.old != patch.new and patch.old and patch.new and not is_renamed:
            self._fail("the two paths differ, but it is no rename")
        if line is not None and line.startswith("--- "):
            self._names(patch)
        self._body(patch)

    def _mode(self, patch: FilePatch, line: str, mode: str) -> None:
        if line.startswith("new file"):
            patch.old, patch.mode = None, mode
        elif line.startswith("deleted file"):
            patch.new = None
        elif line.startswith("new mode"):
            patch.mode = mode

    def _names(self, patch: FilePatch) -> None:
        git = bool(patch.old or patch.new)
        old = self._name("--- ", "a/", git=git)
        new = self._name("+++ ", "b/", git=git)
        if git and (old, new) != (patch.old, patch.new):
            self._fail("the --- and +++ lines name other paths than the lines above")
        patch.old, patch.new = old, new
        if old is None and new is None:
            self._fail("neither path is a file")
        if not git and old is not None and new is not None and old != new:
            self._fail(
                "--- and +++ name different files; rename with git's own lines (rename from, rename to)"
            )

    def _name(self, sign: str, prefix: str, *, git: bool) -> str | None:
        line = self._peek() or ""
        if not line.startswith(sign):
            self._fail(f"a line with {sign.strip()} is missing")
        self._at += 1
        name = line[len(sign) :].split("\t")[0].rstrip("\r")
        if name == NOWHERE:
            return None
        if name.startswith('"'):
            self._fail("a quoted path; give such files whole, in files")
        if name.startswith(prefix):
            return name.removeprefix(prefix)
        if git:
            self._fail(f"the path must begin with {prefix}")
        return name

    def _body(self, patch: FilePatch) -> None:
        while (line := self._peek()) is not None and line.startswith("@@"):
            self._hunk(patch)

    def _hunk(self, patch: FilePatch) -> None:
        self._hunks += 1
        found = _HUNK.fullmatch((self._peek() or "").rstrip("\r"))
        if found is None or self._hunks > MAX_HUNKS:
            self._fail("the @@ line is not of the form @@ -start,count +start,count @@")
            return
        self._at += 1
        left, right = int(found[2] or 1), int(found[4] or 1)
        before: list[str] = []
        after: list[str] = []
        while len(before) < left or len(after) < right:
            line = self._lines[self._at] if self._at < len(self._lines) else None
            if line is None:
                self._fail("the patch ends within a hunk, or its counts are wrong")
                return
            sign, rest = line[:1], line[1:]
            if line == "\n":  # editors strip the blank of an empty line of context
                sign, rest = " ", "\n"
            if sign == " ":
                before.append(rest)
                after.append(rest)
            elif sign == "-":
                before.append(rest)
            elif sign == "+":
                after.append(rest)
            elif sign == "\\":
                self._unended(before, after)
            else:
                self._fail("a line of a hunk begins with a blank, + or -; are its counts right?")
            self._at += 1
        if self._at < len(self._lines) and self._lines[self._at].startswith("\\"):
            self._unended(before, after)
            self._at += 1
        if len(before) != left or len(after) != right:
            self._fail("the counts of the hunk do not agree with its lines")
        patch.hunks.append(Hunk(int(found[1]), tuple(before), tuple(after)))

    def _unended(self, before: list[str], after: list[str]) -> None:
        """`\\ No newline at end of file`: about the line above, on the side or sides that it stands on."""
        above = self._lines[self._at - 1][:1]
        if above in {" ", "-"} and before:
            before[-1] = before[-1].removesuffix("\n")
        if above in {" ", "+"} and after:
            after[-1] = after[-1].removesuffix("\n")
