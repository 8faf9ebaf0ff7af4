"""What a pull request may touch: paths, kinds of files, size, secrets."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.policy.changes import EXECUTABLE, SUBMODULE, SYMLINK, FileChange, judge_changes
from schemas.policy.globs import first_fit
from schemas.policy.paths import PROTECTED, collisions, is_gits_own, judge_path, unsafe
from schemas.policy.secrets import KnownSecrets
from schemas.policy.shapes import ChangePolicy, PathPolicy, Refusal

KNOWN = KnownSecrets(["hub-webhook-secret-4711"])


def judge(*changes: FileChange, **policy: object) -> Refusal | None:
    return judge_changes(changes, ChangePolicy.model_validate(policy), KNOWN)


def clause(*changes: FileChange, **policy: object) -> str | None:
    refusal = judge(*changes, **policy)
    return refusal.clause if refusal is not None else None


BAD_PATHS = [
    "",
    "/etc/passwd",
    "~/x",
    "../x",
    "a/../../x",
    "a/./b",
    "a//b",
    "a/",
    "a\\b",
    "C:/x",
    ".git/config",
    ".GIT/hooks/pre-commit",
    "a/.git/config",
    ".gi\u200ct/config",
    ".\u200dgit/config",
    ".git./config",
    ".git /config",
    ".git::$INDEX_ALLOCATION/config",
    "git~1/config",
    "GIT~1",
    "\uff0egit/config",
    "a\x00b",
    "a\nb",
    "a\u202eb",
    "a\u200bb",
    "cafe\u0301.txt",
    "x" * 1001,
    "x" * 256,
    "con. ",
    "a./b",
    " a",
    "\ud800",
]


@pytest.mark.parametrize("path", BAD_PATHS)
def test_a_path_that_could_do_harm_is_refused_whatever_the_rule_says(path: str) -> None:
    assert unsafe(path) is not None
    assert clause(FileChange(path, "added"), paths={"allow": ["**"]}) == "paths"
    assert clause(FileChange("ok", "renamed", previous=path)) == "paths"


@pytest.mark.parametrize(
    "path",
    ["a", "src/a.py", ".gitignore", ".github/x.md", "git/x", "a b/c d", "caf\u00e9.txt", "日本.md", "-x"],
)
def test_ordinary_paths_are_taken(path: str) -> None:
    assert unsafe(path) is None
    assert clause(FileChange(path, "added")) is None


@given(st.text(max_size=60))
def test_no_path_that_is_taken_reaches_outside_or_into_git(path: str) -> None:
    if unsafe(path) is None:
        parts = path.split("/")
        assert not path.startswith("/")
        assert not {"", ".", ".."} & set(parts)
        assert not any(is_gits_own(part) for part in parts)
        assert path.isprintable()


@pytest.mark.parametrize(
    ("path", "allow", "deny", "taken"),
    [
        ("src/a.py", (), (), True),
        ("src/a.py", ("src/**",), (), True),
        ("src/b/c/a.py", ("src/**",), (), True),
        ("src/a.py", ("src/*.py",), (), True),
        ("src/b/a.py", ("src/*.py",), (), False),
        ("docs/a.md", ("src/**",), (), False),
        ("srcx/a.py", ("src/**",), (), False),
        ("a.py", ("**/*.py",), (), True),
        ("x/y/a.py", ("**/*.py",), (), True),
        ("src/a.py", ("src/**",), ("src/a.py",), False),
        ("src/A.PY", (), ("src/a.py",), False),
        ("src/a.py", ("SRC/**",), (), False),
        ("src/secrets/x", ("**",), ("**/secrets/**",), False),
        ("secrets/x", ("**",), ("**/secrets/**",), False),
        ("a[b].py", ("a[b].py",), (), True),
        ("ab.py", ("a[b].py",), (), False),
        ("a.b", ("a?b",), (), True),
        ("a/b", ("a?b",), (), False),
    ],
)
def test_allow_and_deny(path: str, allow: tuple[str, ...], deny: tuple[str, ...], taken: bool) -> None:  # noqa: FBT001 - a table
    refusal = judge_path(path, PathPolicy(allow=allow, deny=deny))
    assert (refusal is None) is taken


_PART = st.text(alphabet="ab.*?", min_size=1, max_size=4)


@given(
    st.lists(_PART, min_size=1, max_size=4),
    st.lists(st.text(alphabet="ab.", min_size=1, max_size=4), min_size=1, max_size=4),
)
def test_a_star_never_crosses_a_slash(pattern: list[str], path: list[str]) -> None:
    plain = [part.replace("**", "*").replace("**", "*").replace("**", "*") for part in pattern]
    if first_fit("/".join(path), ["/".join(plain)]) is not None:
        assert len(plain) == len(path)


@pytest.mark.parametrize(
    "path",
    [
        ".github/workflows/ci.yml",
        ".GitHub/Workflows/x.yml",
        ".github/CODEOWNERS",
        ".gitmodules",
        "Jenkinsfile",
    ],
)
def test_what_runs_or_decides_is_protected_until_named(path: str) -> None:
    for allow in ((), ("**",), (".github/**",), ("*", "**/*")):
        assert judge_path(path, PathPolicy(allow=allow)) is not None
    refusal = judge_path(path, PathPolicy(allow=("**",)))
    assert refusal is not None
    assert "protected" in refusal.reason


def test_a_protected_path_is_opened_by_its_own_name_only() -> None:
    policy = PathPolicy(allow=("src/**", ".github/workflows/ci.yml"))
    assert judge_path(".github/workflows/ci.yml", policy) is None
    assert judge_path(".github/workflows/release.yml", policy) is not None
    assert judge_path(".github/workflows/release.yml", PathPolicy(allow=(".github/workflows/**",))) is None
    assert all(not unsafe(name.replace("**", "x")) for name in PROTECTED)


def test_size_counts_old_and_new_paths_and_all_lines() -> None:
    three = [FileChange(f"f{n}", "modified", additions=2, deletions=1) for n in range(3)]
    assert clause(*three, max_files=3, max_diff_lines=9) is None
    assert clause(*three, max_files=2) == "max_files"
    assert clause(*three, max_diff_lines=8) == "max_diff_lines"
    assert clause(FileChange("new", "renamed", previous="old"), max_files=1) == "max_files"
    assert clause() == "files"


def test_both_paths_of_a_rename_are_judged() -> None:
    moved = FileChange("src/x", "renamed", previous=".github/workflows/ci.yml")
    assert clause(moved) == "paths"


@pytest.mark.parametrize(
    ("mode", "option"), [(EXECUTABLE, "executables"), (SYMLINK, "symlinks"), (SUBMODULE, "submodules")]
)
def test_kinds_of_files_are_refused_until_allowed(mode: str, option: str) -> None:
    assert clause(FileChange("x", "added", mode=mode)) == "paths"
    assert clause(FileChange("x", "added", mode=mode), paths={option: True}) is None


def test_a_file_that_was_executable_may_stay_so_and_an_unknown_mode_is_refused() -> None:
    assert clause(FileChange("x", "modified", mode=EXECUTABLE, old_mode=EXECUTABLE)) is None
    assert clause(FileChange("x", "modified", mode=None)) == "paths"
    assert clause(FileChange("x", "removed", mode=None)) is None


@pytest.mark.parametrize(
    ("added", "expected"),
    [
        ("x = 1\n", None),
        ("t = 'ghp_" + "aB3" * 12 + "'", "secrets"),
        ("t = 'hub-webhook-secret-4711'", "secrets"),
        ("if x:\u202e # \u2066 y", "hidden"),
        (None, "files"),
    ],
)
def test_what_is_added_is_looked_through(added: str | None, expected: str | None) -> None:
    assert clause(FileChange("x", "modified", added=added)) == expected
    assert clause(FileChange("x", "removed", mode=None, added=added)) is None


def test_a_refusal_shows_paths_harmlessly() -> None:
    refusal = judge(FileChange("a\u202e\n<!channel>" + "x" * 500, "added"))
    assert refusal is not None
    assert refusal.reason.isprintable()
    assert refusal.reason.isascii()
    assert len(refusal.reason) < 400


@pytest.mark.parametrize(
    ("new", "existing", "found"),
    [
        (["readme.md"], ["README.md"], ("readme.md", "README.md")),
        (["README.md"], ["README.md"], None),
        (["a", "A"], [], ("A", "a")),
        (["straße"], ["STRASSE"], ("straße", "STRASSE")),
        (["b"], ["a"], None),
    ],
)
def test_paths_that_are_one_file_on_some_systems(new: list[str], existing: list[str], found: object) -> None:
    assert collisions(new, existing) == found
