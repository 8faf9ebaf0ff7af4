"""Paths of a repository: which are never taken, which are protected, and which a rule lets an agent touch. Pure."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from typing import Final

from schemas.policy.globs import first_fit
from schemas.policy.shapes import PathPolicy, Refusal
from schemas.policy.unseen import BIDIRECTIONAL, bare, visible

MAX_PATH: Final = 1_000
MAX_PART: Final = 255
_SURROGATE: Final = re.compile("[\ud800-\udfff]")

PROTECTED: Final = (
    ".github/workflows/**",
    ".github/actions/**",
    ".github/CODEOWNERS",
    "docs/CODEOWNERS",
    "CODEOWNERS",
    ".gitmodules",
    ".gitlab-ci.yml",
    ".circleci/**",
    "azure-pipelines.yml",
    "Jenkinsfile",
)
"""What runs with the repository's own secrets, or decides who must review. Touched only where `paths.allow` has a
pattern that begins with the very name: `**` and `.github/**` do not open it."""


def judge_path(path: str, policy: PathPolicy) -> Refusal | None:
    """Whether a path may be touched at all."""
    wrong = unsafe(path)
    if wrong is not None:
        return Refusal("paths", f"the path {shown(path)} {wrong}")
    denied = first_fit(path, policy.deny, any_case=True)
    if denied is not None:
        return Refusal(
            "paths",
            f"the path {shown(path)} must not be touched (paths.deny has {denied!r}); leave it as it is",
        )
    allowed = first_fit(path, policy.allow)
    protected = first_fit(path, PROTECTED, any_case=True)
    if protected is not None and not _opened(path, protected, policy.allow):
        msg = (
            f"the path {shown(path)} is protected ({protected}): it decides what runs or who reviews. Leave it as it "
            "is, and say in the text what a person should change there"
        )
        return Refusal("paths", msg)
    if policy.allow and allowed is None:
        msg = f"the path {shown(path)} must not be touched; allowed are {', '.join(policy.allow[:20])}"
        return Refusal("paths", msg)
    return None


def _opened(path: str, protected: str, allow: Iterable[str]) -> bool:
    name = protected.removesuffix("**")
    return first_fit(path, [pattern for pattern in allow if pattern.startswith(name)]) is not None


def unsafe(path: str) -> str | None:
    """Why a path is refused whatever the rule says: it could leave the repository, reach Git's own folder on some
    file system, or read other than it is. None for a good one."""
    if not path or len(path) > MAX_PATH:
        return f"is empty or longer than {MAX_PATH} characters"
    if path.startswith(("/", "~")) or "\\" in path or (len(path) > 1 and path[1] == ":"):
        return "is not relative to the repository; write it with / and without one in front"
    if _SURROGATE.search(path):
        return "has characters that cannot be written"
    return _unreadable(path) or next((wrong for part in path.split("/") if (wrong := _bad_part(part))), None)


def _unreadable(path: str) -> str | None:
    if visible(path) != path or not path.isprintable() or BIDIRECTIONAL.search(path):
        return "has characters that nobody can see"
    if unicodedata.normalize("NFC", path) != path:
        return "is not in composed form (Unicode NFC)"
    return None


def _bad_part(part: str) -> str | None:
    if part in {"", ".", ".."}:
        return "has an empty part, '.' or '..'"
    if len(part.encode()) > MAX_PART:
        return f"has a part of more than {MAX_PART} bytes"
    if is_gits_own(part):
        return "reaches into Git's own folder"
    if part[-1] in ". " or part[0] == " ":
        return "has a part that ends with a blank or a dot, or begins with a blank"
    return None


def is_gits_own(part: str) -> bool:
    """Whether some file system takes this name for `.git`: letter case, NTFS short names and streams, HFS+ joiners."""
    name = bare(part).casefold().split(":")[0].rstrip(". ")
    return name in {".git", "git~1", "git~2", "git~3", "git~4"}


def collisions(new: Iterable[str], existing: Iterable[str]) -> tuple[str, str] | None:
    """Two paths that differ in letter case or Unicode form only: one file on some systems. (new, other)."""
    seen = {_folded(path): path for path in existing}
    for path in new:
        other = seen.setdefault(_folded(path), path)
        if other != path:
            return path, other
    return None


def _folded(path: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFKD", path).casefold())


def shown(path: str) -> str:
    """A path as it can be told: quoted, short, nothing in it that acts."""
    text = ascii(path)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}...'"


_LONGEST: Final = 120
