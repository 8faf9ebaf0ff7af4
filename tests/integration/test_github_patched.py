"""A pull request from files or a patch: one branch, one commit, one pull request, whatever dies in between."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import httpx
import pytest
from github_cases import post_of

from connectors.github.connector import CONNECTOR
from connectors.github.patched import branch_of
from connectors.github.poster import GitHubPoster
from connectors.github.settings import GitHubSettings
from connectors.poster import Post, PostPolicyError, PostRefusedError, PostRetryError, PostUncertainError
from sandbox.github.objects import Entry
from sandbox.github.records import Issue, Repository
from sandbox.server import Sandbox, serve
from schemas.policy.secrets import KnownSecrets
from schemas.result import Receipt

NAME = "acme/checkout"
CALLS = 16
"""Of one pull request from the patch below, with a label, undisturbed."""
OURS = "hub-webhook-secret-4711"
FILES = {
    "src/a.py": "one\ntwo\nthree\n",
    "src/deep/b.txt": "b\n",
    "README.md": "# checkout\n",
    "run.sh": "#!/bin/sh\n",
}
PATCH = """\
diff --git a/src/a.py b/src/a.py
--- a/src/a.py
+++ b/src/a.py
@@ -1,3 +1,3 @@
 one
-two
+2
 three
diff --git a/src/deep/b.txt b/src/deep/c.txt
similarity index 100%
rename from src/deep/b.txt
rename to src/deep/c.txt
diff --git a/new.md b/new.md
new file mode 100644
--- /dev/null
+++ b/new.md
@@ -0,0 +1 @@
+fresh
"""


class Place:
    """A sandbox with one repository, and a poster for it."""

    def __init__(self, sandbox: Sandbox, poster: GitHubPoster) -> None:
        self.world = sandbox.world
        self.poster = poster

    @property
    def repo(self) -> Repository:
        return self.world.github.repos[NAME]

    def pulls(self) -> list[Issue]:
        return [issue for issue in self.repo.issues.values() if issue.pull is not None]

    def tree(self, branch: str) -> dict[str, str]:
        return self.repo.files(self.repo.branches[branch])

    def calls(self) -> list[str]:
        return [f"{call.method} {call.path}" for call in self.world.log.calls("github")]

    async def attempts(self, post: Post, *, most: int = 6) -> Receipt:
        """As the outbox does: look before any attempt but the first."""
        for n in range(most):
            try:
                found = await self.poster.find(post) if n else None
                return found or await self.poster.create(post)
            except (PostUncertainError, PostRetryError):
                continue
        raise AssertionError(f"not posted after {most} attempts")


@pytest.fixture
async def place() -> AsyncIterator[Place]:
    async with serve() as sandbox, httpx.AsyncClient(timeout=5) as http:
        sandbox.world.github.ensure_repo(NAME)
        sandbox.world.github.push(NAME, "main", message="start", files=FILES)
        head = sandbox.world.github.repos[NAME].branches["main"]
        sandbox.world.github.repos[NAME].commits[head].modes["run.sh"] = "100755"
        settings = GitHubSettings(
            source="github", api_url=sandbox.api_url("github"), webhook_secrets=("env:A",), token="env:T"
        )
        poster = CONNECTOR.poster(settings, token="ghp_invented", http=http, files={})
        assert isinstance(poster, GitHubPoster)
        yield Place(sandbox, poster)


def opening(target: dict[str, Any] | None = None, **arguments: Any) -> Post:
    if not {"files", "patch", "head"} & arguments.keys():
        arguments["files"] = [{"path": "src/a.py", "content": "one\n2\nthree\n"}]
    made = post_of(
        "open_pull_request",
        {"title": "Repair", "body": "Why.", **arguments},
        {"repository": NAME, **(target or {})},
    )
    return replace(made, known=KnownSecrets([OURS]))


async def test_files_become_one_commit_on_a_branch_of_its_own(place: Place) -> None:
    before = place.repo.branches["main"]
    files = [
        {"path": "src/a.py", "content": "one\n2\nthree\n"},
        {"path": "docs/new.md", "content": "fresh\n"},
        {"path": "src/deep/b.txt", "delete": True},
        {"path": "logo.bin", "content": base64.b64encode(b"\0\1\2").decode(), "encoding": "base64"},
        {"path": "run.sh", "content": "#!/bin/sh\nexit 0\n"},
    ]
    post = opening({"title_prefix": "[agent] ", "labels": ["agent"], "draft": True}, files=files)
    receipt = await place.attempts(post)
    branch = branch_of(post)
    head = place.repo.commits[place.repo.branches[branch]]
    assert head.parent == before
    assert head.message == "[agent] Repair\n\nTriggerhub-Run: run-1\nTriggerhub-Slot: s1"
    assert place.tree(branch) == {
        **{path: text for path, text in FILES.items() if path != "src/deep/b.txt"},
        "src/a.py": "one\n2\nthree\n",
        "docs/new.md": "fresh\n",
        "logo.bin": "\0\1\2",
        "run.sh": "#!/bin/sh\nexit 0\n",
    }
    assert place.repo.entries(head.sha)["run.sh"].mode == "100755"  # as it was
    (pull,) = place.pulls()
    assert pull.pull is not None
    assert (pull.pull.head, pull.pull.base, pull.pull.draft) == (branch, "main", True)
    assert (pull.title, pull.labels) == ("[agent] Repair", ["agent"])
    assert receipt.subject == f"{NAME}#{pull.number}"
    assert place.repo.branches["main"] == before


async def test_a_patch_becomes_the_same(place: Place) -> None:
    post = opening(patch=PATCH)
    await place.attempts(post)
    tree = place.tree(branch_of(post))
    assert tree["src/a.py"] == "one\n2\nthree\n"
    assert tree["new.md"] == "fresh\n"
    assert tree["src/deep/c.txt"] == "b\n"
    assert "src/deep/b.txt" not in tree


async def test_it_starts_at_the_base_that_the_rule_names(place: Place) -> None:
    place.world.github.push(NAME, "release/1", message="r", files={"VERSION": "1\n"})
    post = opening({"base": "release/1"})
    await place.attempts(post)
    assert place.tree(branch_of(post))["VERSION"] == "1\n"


@pytest.mark.parametrize("mode", ["cut", "commit_then_cut", "commit_then_status"])
@pytest.mark.parametrize("strike", range(CALLS + 1))
async def test_whatever_dies_between_two_calls_there_is_one_of_each(
    place: Place, mode: Any, strike: int
) -> None:
    """The call number `strike` is the last that the first attempt makes: it is lost, or only its answer is."""
    base = place.repo.branches["main"]
    place.world.faults.ask(mode, service="github", skip=strike)
    post = opening({"labels": ["agent"]}, patch=PATCH)
    receipt = await place.attempts(post)
    branch = branch_of(post)
    assert sorted(place.repo.branches) == sorted(["main", branch])
    head = place.repo.commits[place.repo.branches[branch]]
    assert head.parent == base  # one commit, on what it was judged against
    (pull,) = place.pulls()
    assert receipt.subject == f"{NAME}#{pull.number}"
    # The pull request is there when the labels are added, so their failure is a note and no second attempt.
    assert pull.labels == ["agent"] or (strike == CALLS - 1 and "could not be added" in receipt.note)
    assert pull.body is not None
    assert pull.body.count("triggerhub run=") == 1


async def test_the_strikes_above_reach_every_call(place: Place) -> None:
    await place.attempts(opening({"labels": ["agent"]}, patch=PATCH))
    assert len(place.calls()) == CALLS, place.calls()


async def test_a_base_that_moved_after_the_commit_changes_nothing(place: Place) -> None:
    before = place.repo.branches["main"]
    place.world.faults.ask("status", service="github", method="POST", path="*/pulls", status=502)
    post = opening()
    with pytest.raises(PostUncertainError):
        await place.poster.create(post)
    place.world.github.push(NAME, "main", message="meanwhile", files={"src/a.py": "other\n"})
    assert await place.poster.find(post) is None
    await place.poster.create(post)
    assert place.repo.commits[place.repo.branches[branch_of(post)]].parent == before
    assert len(place.pulls()) == 1


async def test_a_base_that_moved_before_the_commit_is_judged_anew(place: Place) -> None:
    post = opening(patch=PATCH)
    place.world.faults.ask("status", service="github", method="POST", path="*/git/trees", status=502)
    with pytest.raises(PostUncertainError):
        await place.poster.create(post)
    place.world.github.push(NAME, "main", message="meanwhile", files={"src/a.py": "other\n"})
    with pytest.raises(PostPolicyError) as caught:
        await place.poster.create(post)
    assert caught.value.clause == "patch"
    assert sorted(place.repo.branches) == ["main"]


async def test_a_branch_of_that_name_with_other_content_is_not_taken_for_ours(place: Place) -> None:
    post = opening()
    place.world.github.push(NAME, branch_of(post), message="planted", files={"evil.sh": "x\n"})
    with pytest.raises(PostRefusedError, match="holds something else"):
        await place.poster.create(post)
    trailer = "Repair\n\nTriggerhub-Run: run-1\nTriggerhub-Slot: s1"
    del place.repo.branches[branch_of(post)]
    place.world.github.push(NAME, branch_of(post), message=trailer, files={"src/a.py": "planted\n"})
    with pytest.raises(PostRefusedError, match="holds something else"):
        await place.poster.create(post)
    assert place.pulls() == []


async def test_more_on_the_branch_than_the_rule_allows_is_refused(place: Place) -> None:
    """The planned files are there, and one more that the rule forbids."""
    post = opening()
    trailer = "Repair\n\nTriggerhub-Run: run-1\nTriggerhub-Slot: s1"
    files = {"src/a.py": "one\n2\nthree\n", ".github/workflows/x.yml": "on: push\n"}
    place.world.github.push(NAME, branch_of(post), message=trailer, files=files)
    with pytest.raises(PostRefusedError):
        await place.poster.create(post)
    assert place.pulls() == []


def file(path: str, content: str = "x\n", **parts: Any) -> dict[str, Any]:
    return {"path": path, "content": content, **parts}


@pytest.mark.parametrize(
    ("target", "arguments", "clause"),
    [
        ({"source": "branch"}, {}, "source"),
        ({"paths": {"allow": ["docs/**"]}}, {}, "paths"),
        ({"max_diff_lines": 1}, {}, "max_diff_lines"),
        ({"max_files": 1}, {"files": [file("a"), file("b")]}, "max_files"),
        ({}, {"files": [file(".github/workflows/ci.yml")]}, "paths"),
        ({}, {"files": [file("../x")]}, "paths"),
        ({}, {"files": [file("/etc/x")]}, "paths"),
        ({}, {"files": [file(".git/hooks/pre-commit")]}, "paths"),
        ({}, {"files": [file("src/.GIT/config")]}, "paths"),
        ({}, {"files": [file("readme.md")]}, "paths"),
        ({}, {"files": [file("SRC/new.py")]}, "paths"),
        ({}, {"files": [file("x"), file("X")]}, "paths"),
        ({}, {"files": [file("x"), file("x")]}, "files"),
        ({}, {"files": [file("src")]}, "files"),
        ({}, {"files": [file("README.md/x")]}, "files"),
        ({}, {"files": [{"path": "nowhere", "delete": True}]}, "files"),
        ({}, {"files": [file("src/a.py", FILES["src/a.py"])]}, "files"),
        ({}, {"files": [file("a", "***", encoding="base64")]}, "files"),
        ({}, {"files": [file("a.sh", mode="100755")]}, "paths"),
        ({}, {"files": [file("a", "/etc/passwd", mode="120000")]}, "paths"),
        ({}, {"files": [file("a", f"k = '{OURS}'\n")]}, "secrets"),
        ({}, {"files": [file("a", "t = 'ghp_" + "aB3" * 12 + "'\n")]}, "secrets"),
        ({}, {"files": [file("a", base64.b64encode(OURS.encode()).decode(), encoding="base64")]}, "secrets"),
        ({}, {"files": [file("a", "if x:\u202e\n")]}, "hidden"),
        ({}, {"patch": "nothing"}, "patch"),
        ({}, {"patch": PATCH.replace("-two", "-tvo")}, "patch"),
        ({}, {"patch": PATCH.replace("b/new.md", "b/src/a.py").replace("a/new.md", "a/src/a.py")}, "patch"),
        ({}, {"patch": "--- a/x\n+++ b/x\n@@ -1 +1 @@\n-a\n+b\n"}, "patch"),
        ({}, {"patch": "--- /dev/null\n+++ b/../x\n@@ -0,0 +1 @@\n+b\n"}, "paths"),
    ],
)
async def test_what_the_rule_does_not_allow_makes_nothing(
    place: Place, target: dict[str, Any], arguments: dict[str, Any], clause: str
) -> None:
    with pytest.raises(PostPolicyError) as caught:
        await place.poster.create(opening(target, **arguments))
    assert caught.value.clause == clause
    assert OURS not in str(caught.value)
    assert sorted(place.repo.branches) == ["main"]
    assert not any(call.startswith("POST") for call in place.calls())


async def test_a_link_is_written_where_the_rule_allows_it(place: Place) -> None:
    post = opening({"paths": {"symlinks": True}}, files=[file("a", "src/a.py", mode="120000")])
    await place.attempts(post)
    assert place.repo.entries(place.repo.branches[branch_of(post)])["a"] == Entry("120000", b"src/a.py")


async def test_an_empty_or_unknown_base_is_told_of(place: Place) -> None:
    with pytest.raises(PostRefusedError, match="no branch 'nowhere' to start from"):
        await place.poster.create(opening({"base": "nowhere"}))


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"head": "x", "patch": "y"},
        {"files": [{"path": "a"}]},
        {"files": [{"path": "a", "content": "", "delete": True}]},
    ],
)
def test_one_way_and_only_one(arguments: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="give"):
        CONNECTOR.outputs["open_pull_request"].arguments.model_validate({"title": "t", **arguments})


def test_names_of_branches_are_fixed() -> None:
    """Changing them makes a second branch for results that are on their way."""
    assert branch_of(opening()) == "triggerhub/run-1-ec082d60a5"
