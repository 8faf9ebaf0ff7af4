"""The applier of patches: what difflib and git write goes on exactly; whatever does not fit is refused with the place."""

from __future__ import annotations

import difflib
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.policy.patches import PatchError, apply, read_patch, split_lines

_LINE = st.text(alphabet="ab \r-+@\\", max_size=5)
_TEXT = st.tuples(st.lists(_LINE, max_size=12), st.booleans()).map(
    lambda made: "\n".join(made[0]) + ("\n" if made[1] and made[0] else "")
)


def unified(old: str, new: str, name: str = "f") -> str:
    """As `diff -u` writes it."""
    lines = difflib.unified_diff(split_lines(old), split_lines(new), f"a/{name}", f"b/{name}")
    return "".join(
        line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines
    )


@given(_TEXT, _TEXT)
@settings(max_examples=300)
def test_a_diff_goes_onto_its_own_base(old: str, new: str) -> None:
    text = unified(old, new)
    if not text:
        return
    [patch] = read_patch(text)
    assert apply(patch, old) == new


@given(_TEXT, _TEXT, _TEXT)
@settings(max_examples=300)
def test_a_diff_goes_onto_no_other_base_unless_its_lines_are_there(old: str, new: str, other: str) -> None:
    text = unified(old, new)
    if not text:
        return
    [patch] = read_patch(text)
    try:
        result = apply(patch, other)
    except PatchError:
        return
    there = split_lines(other)
    for hunk in patch.hunks:
        begin = hunk.start - 1 if hunk.before else hunk.start
        assert there[begin : begin + len(hunk.before)] == list(hunk.before)
    assert len(split_lines(result)) == len(there) + sum(len(h.after) - len(h.before) for h in patch.hunks)


@given(st.text(alphabet="ab\n-+@ \\/,0123456789d\r", max_size=200))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        patches = read_patch("--- a/f\n+++ b/f\n" + text)
    except PatchError:
        return
    for patch in patches:
        try:
            apply(patch, "a\nb\n")
        except PatchError:
            continue


@given(_TEXT, _TEXT, st.text(alphabet="ab+- @\n", max_size=8), st.integers(0, 200))
def test_a_damaged_patch_never_fails_otherwise(old: str, new: str, noise: str, at: int) -> None:
    text = unified(old, new)
    damaged = text[:at] + noise + text[at + len(noise) :]
    try:
        for patch in read_patch(damaged):
            apply(patch, old)
    except PatchError:
        return


def git(folder: Path, *words: str) -> str:
    command = [
        "git",
        "-c",
        "user.name=t",
        "-c",
        "user.email=t@example.org",
        "-c",
        "core.autocrlf=false",
        *words,
    ]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True, timeout=30).stdout


def test_what_git_writes_is_read(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    (tmp_path / "src").mkdir()
    (tmp_path / "src/a.py").write_text("one\ntwo\nthree\n" * 20)
    (tmp_path / "gone.txt").write_text("x\n")
    (tmp_path / "old.txt").write_text("".join(f"line {n}\n" for n in range(30)))
    (tmp_path / "run.sh").write_text("#!/bin/sh\n")
    git(tmp_path, "add", "-A")
    git(tmp_path, "commit", "-qm", "first")
    (tmp_path / "src/a.py").write_text("zero\n" + "one\ntwo\nthree\n" * 19 + "one\n2\nthree")
    (tmp_path / "gone.txt").unlink()
    (tmp_path / "new.txt").write_text("fresh\n")
    (tmp_path / "old.txt").rename(tmp_path / "moved.txt")
    (tmp_path / "moved.txt").write_text("".join(f"line {n}\n" for n in range(29)) + "last\n")
    (tmp_path / "run.sh").chmod(0o755)
    git(tmp_path, "add", "-A")
    by_path = {patch.new or patch.old: patch for patch in read_patch(git(tmp_path, "diff", "--cached", "-M"))}
    assert set(by_path) == {"src/a.py", "gone.txt", "new.txt", "moved.txt", "run.sh"}
    assert apply(by_path["src/a.py"], "one\ntwo\nthree\n" * 20) == (tmp_path / "src/a.py").read_text()
    assert by_path["gone.txt"].new is None
    assert apply(by_path["gone.txt"], "x\n") == ""
    assert apply(by_path["new.txt"], None) == "fresh\n"
    assert by_path["moved.txt"].old == "old.txt"
    assert (
        apply(by_path["moved.txt"], git(tmp_path, "show", "HEAD:old.txt"))
        == (tmp_path / "moved.txt").read_text()
    )
    assert by_path["run.sh"].mode == "100755"
    assert apply(by_path["run.sh"], "#!/bin/sh\n") == "#!/bin/sh\n"


def test_a_mail_of_git_is_read() -> None:
    text = (
        "From 1234 Mon Sep 17 00:00:00 2001\nSubject: [PATCH] x\n\n---\n f | 2 +-\n\n"
        "diff --git a/f b/f\nindex 1..2 100644\n--- a/f\n+++ b/f\n@@ -1 +1 @@\n-a\n+b\n-- \n2.39.5\n"
    )
    [patch] = read_patch(text)
    assert apply(patch, "a\n") == "b\n"


REFUSED = {
    "nothing": "",
    "prose": "I changed the file so that it works.\n",
    "hunk first": "@@ -1 +1 @@\n-a\n+b\n",
    "counts": "--- a/f\n+++ b/f\n@@ -1,3 +1 @@\n-a\n+b\n",
    "bad header": "--- a/f\n+++ b/f\n@@ -1 +1\n-a\n+b\n",
    "two names": "--- a/f\n+++ b/g\n@@ -1 +1 @@\n-a\n+b\n",
    "binary": "diff --git a/f b/f\nindex 1..2\nGIT binary patch\nliteral 3\n",
    "copy": "diff --git a/f b/g\ncopy from f\ncopy to g\n",
    "silent rename": "diff --git a/f b/g\n--- a/f\n+++ b/g\n@@ -1 +1 @@\n-a\n+b\n",
    "other names": "diff --git a/f b/f\n--- a/x\n+++ b/x\n@@ -1 +1 @@\n-a\n+b\n",
    "no file": "--- /dev/null\n+++ /dev/null\n@@ -0,0 +1 @@\n+b\n",
    "rubbish between": "--- a/f\n+++ b/f\n@@ -1 +1 @@\n-a\n+b\nand then\n",
    "quoted": '--- "a/f\\t"\n+++ "b/f\\t"\n@@ -1 +1 @@\n-a\n+b\n',
    "misfit": "--- a/f\n+++ b/f\n@@ -1 +1 @@\n-x\n+b\n",
    "shifted": "--- a/f\n+++ b/f\n@@ -2 +2 @@\n-a\n+b\n",
    "past the end": "--- a/f\n+++ b/f\n@@ -9 +9 @@\n-a\n+b\n",
    "backwards": "--- a/f\n+++ b/f\n@@ -2 +2 @@\n-b\n+c\n@@ -1 +1 @@\n-a\n+b\n",
    "exists": "--- /dev/null\n+++ b/f\n@@ -0,0 +1 @@\n+b\n",
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_fit_is_refused(name: str) -> None:
    def carry_out() -> None:
        for patch in read_patch(REFUSED[name]):
            apply(patch, "a\nb\n")

    with pytest.raises(PatchError):
        carry_out()


def test_a_file_that_is_not_there_is_told_of() -> None:
    [patch] = read_patch("--- a/f\n+++ b/f\n@@ -1 +1 @@\n-a\n+b\n")
    with pytest.raises(PatchError, match="does not exist on the base branch"):
        apply(patch, None)
