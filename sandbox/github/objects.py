"""Git's objects as the emulated GitHub shows them: trees with their shas, and what differs between two of them. Pure."""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

FILE: Final = "100644"
FOLDER: Final = "040000"
SUBMODULE: Final = "160000"
MODES: Final = frozenset({FILE, "100755", "120000", FOLDER, SUBMODULE})
MAX_PATCH: Final = 20_000
"""Characters above which a comparison shows no patch of a file."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A file in a tree."""

    mode: str
    content: bytes

    @property
    def sha(self) -> str:
        """Of a submodule, the content is the commit's sha."""
        return self.content.decode() if self.mode == SUBMODULE else blob_sha(self.content)


Files = Mapping[str, Entry]
"""A whole tree, by path."""


def blob_sha(content: bytes) -> str:
    """Git's own."""
    return _sha("blob", content)


def subtree(files: Files, folder: str) -> dict[str, Entry]:
    """What lies below `folder` (empty: everything), by path within it."""
    prefix = f"{folder}/" if folder else ""
    return {path.removeprefix(prefix): entry for path, entry in files.items() if path.startswith(prefix)}


def rows(files: Files) -> list[dict[str, Any]]:
    """The entries of the top of a tree, folders among them, as Git orders them."""
    made: list[dict[str, Any]] = []
    for name in {path.partition("/")[0] for path in files}:
        entry = files.get(name)
        if entry is None:
            made.append({"path": name, "mode": FOLDER, "type": "tree", "sha": tree_sha(subtree(files, name))})
            continue
        row: dict[str, Any] = {"path": name, "mode": entry.mode, "type": "blob", "sha": entry.sha}
        if entry.mode == SUBMODULE:
            row["type"] = "commit"
        else:
            row["size"] = len(entry.content)
        made.append(row)
    return sorted(made, key=lambda row: f"{row['path']}/" if row["type"] == "tree" else row["path"])


def tree_sha(files: Files) -> str:
    """Git's own."""
    body = b"".join(
        f"{row['mode'].lstrip('0')} {row['path']}".encode() + b"\0" + bytes.fromhex(row["sha"])
        for row in rows(files)
    )
    return _sha("tree", body)


def folders(files: Files) -> Iterator[tuple[str, dict[str, Entry]]]:
    """Sha and contents of the tree and of every folder in it."""
    names = {path.rpartition("/")[0] for path in files} | {""}
    for name in sorted(names | {above for path in names for above in _above(path)}):
        part = subtree(files, name)
        yield tree_sha(part), part


def changes(before: Files, after: Files) -> list[dict[str, Any]]:
    """The `files` of a comparison. A file that only moved is renamed; GitHub also calls similar ones so."""
    gone = {path: entry for path, entry in before.items() if path not in after}
    made: list[dict[str, Any]] = []
    for path, entry in sorted(after.items()):
        old = before.get(path)
        if old == entry:
            continue
        moved = None if old is not None else next((p for p, e in gone.items() if e == entry), None)
        if moved is not None:
            del gone[moved]
            made.append(_change(path, "renamed", entry.sha, b"", b"") | {"previous_filename": moved})
        else:
            status = "added" if old is None else "modified"
            made.append(_change(path, status, entry.sha, old.content if old else b"", entry.content))
    made += [_change(path, "removed", entry.sha, entry.content, b"") for path, entry in sorted(gone.items())]
    return sorted(made, key=lambda change: str(change["filename"]))


def _change(path: str, status: str, sha: str, old: bytes, new: bytes) -> dict[str, Any]:
    patch = _patch(old, new)
    lines = patch.splitlines()
    additions = sum(line.startswith("+") for line in lines)
    deletions = sum(line.startswith("-") for line in lines)
    shape: dict[str, Any] = {
        "sha": sha,
        "filename": path,
        "status": status,
        "additions": additions,
        "deletions": deletions,
        "changes": additions + deletions,
    }
    if patch and len(patch) <= MAX_PATCH:
        shape["patch"] = patch
    return shape


def _patch(old: bytes, new: bytes) -> str:
    if b"\0" in old + new:
        return ""
    lines = list(difflib.unified_diff(_lines(old), _lines(new), lineterm=""))
    return "\n".join(lines[2:])


def _lines(content: bytes) -> list[str]:
    *lines, last = content.decode("utf-8", "replace").split("\n")
    return [*lines, f"{last}\n\\ No newline at end of file"] if last else lines


def _above(path: str) -> Iterator[str]:
    while "/" in path:
        path = path.rpartition("/")[0]
        yield path


def _sha(kind: str, body: bytes) -> str:
    return hashlib.sha1(f"{kind} {len(body)}\0".encode() + body, usedforsecurity=False).hexdigest()
