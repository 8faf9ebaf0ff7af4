"""What a pushed branch brings is judged by GitHub's comparison before a pull request is opened; doubt is a refusal."""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import Any

import httpx
import pytest
from github_cases import post_of, poster_at
from loopback import Answer, Loopback

from connectors.github.poster import GitHubPoster
from connectors.poster import Post, PostPolicyError, PostRefusedError
from schemas.policy.secrets import KnownSecrets

REPO = "/repos/acme/checkout"
HEAD, FORK, FOLDER, BLOB, OLD = "a" * 40, "b" * 40, "d" * 40, "c" * 40, "e" * 40
OURS = "hub-webhook-secret-4711"
OPENED = {"number": 31, "state": "open", "head": {"ref": "agent/x", "sha": HEAD}, "labels": []}


@pytest.fixture
def github(server: Loopback) -> Loopback:
    server.on("GET", "/user", Answer(200, {"id": 42, "login": "acme-robot"}))
    server.on("GET", REPO, Answer(200, {"full_name": "acme/checkout", "default_branch": "main"}))
    server.on("GET", f"{REPO}/git/ref/heads/agent/x", Answer(200, {"object": {"sha": HEAD}}))
    server.on("POST", f"{REPO}/pulls", Answer(201, OPENED))
    trees(server)
    return server


@pytest.fixture
def poster(github: Loopback, http: httpx.AsyncClient) -> GitHubPoster:
    return poster_at(github.url, http)


def row(path: str, status: str = "modified", **parts: Any) -> dict[str, Any]:
    plain = {"filename": path, "status": status, "sha": BLOB, "additions": 1, "deletions": 0}
    return {**plain, "patch": "@@ -1 +1,2 @@\n a\n+b", **parts}


def compares(github: Loopback, *rows: dict[str, Any], **parts: Any) -> None:
    body = {"merge_base_commit": {"sha": FORK}, "files": list(rows), **parts}
    github.on("GET", f"{REPO}/compare/main...{HEAD}", Answer(200, body))


def trees(github: Loopback, *, mode: str = "100644", old: str = "100644", truncated: bool = False) -> None:
    """One file in src at the head and at the fork."""
    for sha, folder in ((HEAD, FOLDER), (FORK, OLD)):
        top = [{"path": "src", "mode": "040000", "type": "tree", "sha": folder}]
        github.on("GET", f"{REPO}/git/trees/{sha}", Answer(200, {"tree": top, "truncated": truncated}))
    for folder, kind in ((FOLDER, mode), (OLD, old)):
        inner = [{"path": "a.py", "mode": kind, "type": "blob", "sha": folder[:1] * 40, "size": 9}]
        github.on("GET", f"{REPO}/git/trees/{folder}", Answer(200, {"tree": inner, "truncated": False}))


def opening(target: dict[str, Any] | None = None, **arguments: Any) -> Post:
    made = post_of(
        "open_pull_request",
        {"title": "Repair", "head": "agent/x", **arguments},
        {"repository": "acme/checkout", "base": "main", **(target or {})},
    )
    return replace(made, known=KnownSecrets([OURS]))


async def refused(poster: GitHubPoster, github: Loopback, post: Post) -> PostPolicyError:
    with pytest.raises(PostPolicyError) as caught:
        await poster.create(post)
    assert github.seen("POST") == []
    return caught.value


async def test_a_branch_within_the_policy_becomes_a_pull_request(
    github: Loopback, poster: GitHubPoster
) -> None:
    compares(github, row("src/a.py"))
    target = {"paths": {"allow": ["src/**"]}, "branches": ["agent/*"], "max_files": 1, "max_diff_lines": 1}
    receipt = await poster.create(opening(target))
    assert receipt.subject == "acme/checkout#31"


@pytest.mark.parametrize(
    ("target", "rows", "clause"),
    [
        ({"branches": ["agent/y*"]}, [], "branches"),
        ({"paths": {"allow": ["docs/**"]}}, [row("src/a.py")], "paths"),
        ({"paths": {"deny": ["src/*"]}}, [row("src/a.py")], "paths"),
        ({}, [row(".github/workflows/ci.yml", "added")], "paths"),
        ({}, [row("src/a.py", "renamed", previous_filename=".github/workflows/ci.yml")], "paths"),
        (
            {"paths": {"allow": ["src/**"]}},
            [row("src/a.py", "renamed", previous_filename="lib/a.py")],
            "paths",
        ),
        ({"max_files": 1}, [row("src/a.py"), row("src/b.py")], "max_files"),
        ({"max_diff_lines": 5}, [row("src/a.py", additions=3, deletions=3)], "max_diff_lines"),
        ({}, [], "files"),
        ({}, [row("src/a.py", "renamed")], "files"),
        ({}, [row("src/a.py", "mystery")], "files"),
        ({}, [row("src/a.py", additions="1")], "files"),
        ({}, [{"status": "added"}], "files"),
        ({}, [row(f"src/{n}.py") for n in range(300)], "max_files"),
        ({"max_files": 299}, [row(f"src/{n}.py") for n in range(300)], "max_files"),
        ({"source": "patch"}, [row("src/a.py")], "source"),
        ({}, [row("src/a.py", patch=f"@@ -1 +1,2 @@\n a\n+x = '{OURS}'")], "secrets"),
        ({}, [row("src/a.py", patch="@@ -1 +1,2 @@\n a\n+t = 'ghp_" + "aB3" * 12 + "'")], "secrets"),
        ({}, [row("src/a.py", patch="@@ -1 +1,2 @@\n a\n+if x:\u202e")], "hidden"),
    ],
)
async def test_what_the_policy_does_not_allow_is_refused_before_anything_is_made(
    github: Loopback, poster: GitHubPoster, target: dict[str, Any], rows: list[dict[str, Any]], clause: str
) -> None:
    compares(github, *rows)
    error = await refused(poster, github, opening(target))
    assert error.clause == clause
    assert OURS not in str(error)


async def test_a_secret_that_was_there_before_is_no_reason(github: Loopback, poster: GitHubPoster) -> None:
    compares(github, row("src/a.py", patch=f"@@ -1,2 +1,2 @@\n {OURS}\n-{OURS} old\n+b", deletions=1))
    await poster.create(opening())


@pytest.mark.parametrize(
    ("mode", "old", "option"),
    [
        ("100755", "100644", "executables"),
        ("120000", "100644", "symlinks"),
        ("160000", "160000", "submodules"),
    ],
)
async def test_kinds_of_files_come_from_the_trees(
    github: Loopback, poster: GitHubPoster, mode: str, old: str, option: str
) -> None:
    compares(github, row("src/a.py"))
    trees(github, mode=mode, old=old)
    error = await refused(poster, github, opening())
    assert error.clause == "paths"
    await poster.create(opening({"paths": {option: True}}))


async def test_a_file_that_is_not_where_the_comparison_says_is_refused(
    github: Loopback, poster: GitHubPoster
) -> None:
    compares(github, row("src/b.py", "added"))
    assert (await refused(poster, github, opening())).clause == "paths"


async def test_a_folder_that_github_cuts_short_is_refused(github: Loopback, poster: GitHubPoster) -> None:
    compares(github, row("src/a.py"))
    trees(github, truncated=True)
    assert (await refused(poster, github, opening())).clause == "files"


@pytest.mark.parametrize(
    ("size", "content", "clause"),
    [
        (9, f"x={OURS}", "secrets"),
        (9, "\0binary", None),
        (2_000_000, "", "files"),
    ],
)
async def test_what_the_comparison_does_not_show_is_looked_at_whole(
    github: Loopback, poster: GitHubPoster, size: int, content: str, clause: str | None
) -> None:
    compares(github, row("src/a.py", "added", patch=None))
    raw = content.encode()
    body = {"size": size if size > 9 else len(raw), "content": base64.encodebytes(raw).decode()}
    github.on("GET", f"{REPO}/git/blobs/{'d' * 40}", Answer(200, {**body, "encoding": "base64"}))
    if clause is None:
        await poster.create(opening())
    else:
        assert (await refused(poster, github, opening())).clause == clause


async def test_a_patch_that_shows_less_than_it_counts_is_not_believed(
    github: Loopback, poster: GitHubPoster
) -> None:
    compares(github, row("src/a.py", additions=2))
    raw = f"b\n{OURS}\n".encode()
    body = {"size": len(raw), "content": base64.encodebytes(raw).decode(), "encoding": "base64"}
    github.on("GET", f"{REPO}/git/blobs/{'d' * 40}", Answer(200, body))
    assert (await refused(poster, github, opening())).clause == "secrets"


async def test_a_comparison_without_files_is_refused(github: Loopback, poster: GitHubPoster) -> None:
    compares(github, files=None)
    with pytest.raises(PostRefusedError, match="cannot be judged"):
        await poster.create(opening())


async def test_a_branch_that_was_not_pushed_is_told_of(github: Loopback, poster: GitHubPoster) -> None:
    github.on("GET", f"{REPO}/git/ref/heads/agent/x", Answer(404, {"message": "Not Found"}))
    with pytest.raises(PostRefusedError, match="push it first"):
        await poster.create(opening())


async def test_a_push_between_judging_and_opening_is_judged_and_closed(
    github: Loopback, poster: GitHubPoster
) -> None:
    compares(github, row("src/a.py"))
    late = "f" * 40
    github.on("POST", f"{REPO}/pulls", Answer(201, {**OPENED, "head": {"ref": "agent/x", "sha": late}}))
    body = {"merge_base_commit": {"sha": FORK}, "files": [row(".github/workflows/x.yml", "added")]}
    github.on("GET", f"{REPO}/compare/main...{late}", Answer(200, body))
    github.on("PATCH", f"{REPO}/pulls/31", Answer(200, {**OPENED, "state": "closed"}))
    with pytest.raises(PostPolicyError):
        await poster.create(opening())
    assert github.seen("PATCH")[0].json() == {"state": "closed"}


@pytest.mark.parametrize(
    ("target", "arguments", "clause"),
    [
        (
            {"repository": None, "repositories": ["acme/shop*"]},
            {"repository": "acme/checkout"},
            "repositories",
        ),
        ({"repository": None, "repositories": ["acme/a", "acme/b"]}, {}, "repositories"),
        ({}, {"repository": "acme/other"}, "repository"),
        ({"base": None, "bases": ["release/*"]}, {"base": "main"}, "bases"),
    ],
)
async def test_places_are_judged_where_it_is_posted_too(
    github: Loopback, poster: GitHubPoster, target: dict[str, Any], arguments: dict[str, Any], clause: str
) -> None:
    compares(github, row("src/a.py"))
    error = await refused(poster, github, opening(target, **arguments))
    assert error.clause == clause


async def test_a_repository_is_chosen_among_those_allowed(github: Loopback, poster: GitHubPoster) -> None:
    compares(github, row("src/a.py"))
    target = {"repository": None, "repositories": ["acme/*"]}
    assert (await poster.create(opening(target, repository="acme/checkout"))).subject == "acme/checkout#31"


async def test_only_named_logins_are_notified(github: Loopback, poster: GitHubPoster) -> None:
    compares(github, row("src/a.py"))
    post = opening(body="@ada and @Grace-h, @ada-evil @ada/team @ada.")
    named = replace(post, policy=post.policy.model_copy(update={"mentions": ("Ada", "grace-h")}))
    await poster.create(named)
    body = github.seen("POST")[0].json()["body"].partition("\n")[2]
    assert body == "@ada and @Grace-h, @\u200bada-evil @\u200bada/team @ada."


async def test_what_is_shown_only_after_it_was_opened_is_judged_then_and_closed(
    github: Loopback, poster: GitHubPoster
) -> None:
    missing = Answer(404, {"message": "Not Found"})
    github.on("GET", REPO, missing)
    github.on("GET", f"{REPO}/git/ref/heads/agent/x", missing)
    github.on("PATCH", f"{REPO}/pulls/31", Answer(200, OPENED))
    compares(github, row(".github/workflows/ci.yml", "added"))
    with pytest.raises(PostPolicyError):
        await poster.create(opening())
    assert github.seen("PATCH")[0].json() == {"state": "closed"}
