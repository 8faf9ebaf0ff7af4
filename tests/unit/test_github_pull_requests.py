"""Opening a pull request once, adopting the one that is there, through real HTTP."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from github_cases import post_of, poster_at
from loopback import Answer, Loopback, loopback

from connectors.github.poster import GitHubPoster
from connectors.poster import Post, PostRefusedError, PostUncertainError

US = {"id": 42, "login": "acme-robot", "type": "User"}
MARKER = "<!-- triggerhub run=run-1 slot=s1 -->"
REPO = "/repos/acme/checkout"
PULLS = f"{REPO}/pulls"
EXISTS = {
    "message": "Validation Failed",
    "errors": [
        {
            "resource": "PullRequest",
            "code": "custom",
            "message": "A pull request already exists for acme:agent/run-1.",
        }
    ],
}


HEAD = "a" * 40
FORK = "b" * 40


def compared(*files: dict[str, Any]) -> dict[str, Any]:
    """GitHub's comparison; by default one added line."""
    return {"merge_base_commit": {"sha": FORK}, "files": list(files) or [changed("a.py")]}


def changed(path: str, status: str = "modified", **parts: Any) -> dict[str, Any]:
    row = {"filename": path, "status": status, "sha": "c" * 40, "additions": 1, "deletions": 0}
    return {**row, "patch": "@@ -1 +1,2 @@\n a\n+b", **parts}


def tree(*paths: str, mode: str = "100644") -> dict[str, Any]:
    rows = [{"path": path, "mode": mode, "type": "blob", "sha": "c" * 40, "size": 2} for path in paths]
    return {"sha": HEAD, "tree": rows, "truncated": False}


@pytest.fixture
def github(server: Loopback) -> Loopback:
    server.on("GET", "/user", Answer(200, US))
    server.on("GET", REPO, Answer(200, {"default_branch": "trunk"}))
    server.on("GET", f"{REPO}/git/ref/heads/agent/run-1", Answer(200, {"object": {"sha": HEAD}}))
    for base in ("trunk", "next", "main"):
        server.on("GET", f"{REPO}/compare/{base}...{HEAD}", Answer(200, compared()))
    server.on("GET", f"{REPO}/git/trees/{HEAD}", Answer(200, tree("a.py")))
    return server


@pytest.fixture
def poster(github: Loopback, http: httpx.AsyncClient) -> GitHubPoster:
    return poster_at(github.url, http)


def pull(number: int = 31, **parts: Any) -> dict[str, Any]:
    return {
        "number": number,
        "html_url": f"https://github.example/acme/checkout/pull/{number}",
        "state": "open",
        "body": f"{MARKER}\nWhy.",
        "user": US,
        "labels": [],
        "head": {"ref": "agent/run-1"},
        "base": {"ref": "trunk", "repo": {"full_name": "acme/checkout"}},
        **parts,
    }


def opening(target: dict[str, Any] | None = None, **arguments: Any) -> Post:
    return post_of(
        "open_pull_request",
        {"title": "Check vouchers", "body": "Why.", "head": "agent/run-1", **arguments},
        {"repository": "acme/checkout", **(target or {})},
    )


async def test_a_pull_request_is_opened(github: Loopback, poster: GitHubPoster) -> None:
    github.on("POST", PULLS, Answer(201, pull()))
    receipt = await poster.create(
        opening({"draft": True, "title_prefix": "[agent] "}, body="Thanks @ada.\n\nFixes #12")
    )
    assert github.seen("POST")[0].json() == {
        "title": "[agent] Check vouchers",
        "head": "agent/run-1",
        "base": "trunk",
        "body": f"{MARKER}\nThanks @\u200bada.\n\nFixes #12",
        "draft": True,
        "maintainer_can_modify": True,
    }
    assert receipt.subject == "acme/checkout#31"
    assert receipt.artefact == "pr:acme/checkout#31"
    assert receipt.url == "https://github.example/acme/checkout/pull/31"
    assert receipt.note == ""


@pytest.mark.parametrize(
    ("target", "arguments", "base"),
    [
        ({}, {}, "trunk"),
        ({}, {"base": "next"}, "next"),
        ({"base": "main"}, {}, "main"),
        ({"base": "main"}, {"base": "next"}, "main"),
    ],
)
async def test_the_rules_base_wins(
    github: Loopback, poster: GitHubPoster, target: dict[str, Any], arguments: dict[str, Any], base: str
) -> None:
    github.on("POST", PULLS, Answer(201, pull()))
    await poster.create(opening(target, **arguments))
    assert github.seen("POST")[0].json()["base"] == base


async def test_a_title_is_one_line_within_the_limit(github: Loopback, poster: GitHubPoster) -> None:
    github.on("POST", PULLS, Answer(201, pull()))
    await poster.create(opening(title="Line one\nline two " + "x" * 500))
    title = github.seen("POST")[0].json()["title"]
    assert title.startswith("Line one line two xxx")
    assert len(title) <= 256


async def test_the_one_that_exists_is_adopted(github: Loopback, poster: GitHubPoster) -> None:
    github.on("POST", PULLS, Answer(422, EXISTS))
    github.on("GET", PULLS, Answer(200, [pull(30, body="By hand.", user={"id": 1, "login": "ada"})]))
    receipt = await poster.create(opening())
    assert receipt.subject == "acme/checkout#30"
    assert "adopted" in receipt.note
    (call,) = github.seen("GET", PULLS)
    assert (call.query["head"], call.query["state"], call.query["base"]) == (
        "acme:agent/run-1",
        "open",
        "trunk",
    )


async def test_one_of_another_branch_is_not_adopted(github: Loopback, poster: GitHubPoster) -> None:
    github.on("POST", PULLS, Answer(422, EXISTS))
    github.on("GET", PULLS, Answer(200, [pull(30, head={"ref": "other"})]))
    with pytest.raises(PostRefusedError, match="already exists"):
        await poster.create(opening())


async def test_another_refusal_is_told_in_githubs_words(github: Loopback, poster: GitHubPoster) -> None:
    errors = [{"message": "No commits between trunk and agent/run-1"}]
    github.on("POST", PULLS, Answer(422, {"message": "Validation Failed", "errors": errors}))
    with pytest.raises(PostRefusedError, match="No commits between trunk"):
        await poster.create(opening())


async def test_labels_are_added_after_opening(github: Loopback, poster: GitHubPoster) -> None:
    github.on("POST", PULLS, Answer(201, pull()))
    github.on("POST", f"{REPO}/issues/31/labels", Answer(200, []))
    receipt = await poster.create(opening({"labels": ["agent"]}))
    assert github.seen("POST", f"{REPO}/issues/31/labels")[0].json() == {"labels": ["agent"]}
    assert receipt.note == ""


async def test_a_failing_label_does_not_lose_the_pull_request(github: Loopback, poster: GitHubPoster) -> None:
    github.on("POST", PULLS, Answer(201, pull()))
    github.on("POST", f"{REPO}/issues/31/labels", Answer(500, {"message": "oops"}))
    receipt = await poster.create(opening({"labels": ["agent"]}))
    assert receipt.subject == "acme/checkout#31"
    assert "labels could not be added" in receipt.note


@pytest.mark.parametrize("state", ["open", "closed"])
async def test_an_earlier_try_is_found(github: Loopback, poster: GitHubPoster, state: str) -> None:
    github.on("GET", PULLS, Answer(200, [pull(30, body="By hand."), pull(31, state=state)]))
    receipt = await poster.find(opening())
    assert receipt is not None
    assert receipt.subject == "acme/checkout#31"
    assert github.seen("GET", PULLS)[0].query["state"] == "all"
    assert github.seen("POST") == []


async def test_a_try_that_lost_its_labels_is_completed(github: Loopback, poster: GitHubPoster) -> None:
    """The process died between opening and labelling: the next attempt adopts it and labels it."""
    post = opening({"labels": ["agent"]})
    github.on("GET", PULLS, Answer(200, [pull(31)]))
    assert await poster.find(post) is None
    github.on("POST", PULLS, Answer(422, EXISTS))
    github.on("POST", f"{REPO}/issues/31/labels", Answer(200, []))
    receipt = await poster.create(post)
    assert receipt.subject == "acme/checkout#31"
    assert receipt.note == ""
    assert github.seen("POST", f"{REPO}/issues/31/labels")


async def test_a_lost_answer_is_uncertain_and_then_found(github: Loopback, poster: GitHubPoster) -> None:
    github.on("POST", PULLS, Answer(201, pull(), cut=True))
    with pytest.raises(PostUncertainError):
        await poster.create(opening({"base": "trunk"}))
    github.on("GET", PULLS, Answer(200, [pull(31)]))
    receipt = await poster.find(opening({"base": "trunk"}))
    assert receipt is not None


async def test_the_origins_repository_is_used(github: Loopback, poster: GitHubPoster) -> None:
    github.on("POST", PULLS, Answer(201, pull()))
    arguments = {"title": "T", "body": "B", "head": "agent/run-1"}
    await poster.create(post_of("open_pull_request", arguments, subject=("issue", "acme/checkout#12")))
    assert github.seen("POST", PULLS)


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_a_renamed_repository_is_followed_and_named_anew(
    github: Loopback, poster: GitHubPoster, status: int
) -> None:
    moved = "/repositories/7100001/pulls"
    github.on("POST", PULLS, Answer(status, {"message": "Moved"}, {"location": github.url + moved}))
    renamed = pull(31, base={"ref": "trunk", "repo": {"full_name": "acme/till"}})
    github.on("POST", moved, Answer(201, renamed))
    receipt = await poster.create(opening({"base": "trunk"}))
    assert receipt.subject == "acme/till#31"
    assert github.seen("POST", moved)[0].json()["head"] == "agent/run-1"


NOT_FOUND = Answer(404, {"message": "Not Found"})


async def test_a_repository_that_is_not_shown_to_us_is_refused_by_github_itself(
    github: Loopback, poster: GitHubPoster
) -> None:
    github.on("GET", REPO, NOT_FOUND)
    github.on("GET", f"{REPO}/git/ref/heads/agent/run-1", NOT_FOUND)
    github.on("POST", PULLS, NOT_FOUND)
    with pytest.raises(PostRefusedError, match=r"POST .*404 Not Found"):
        await poster.create(opening())
    assert github.seen("POST", PULLS)[0].json()["base"] == "main"


async def test_what_is_not_shown_is_not_judged_so_a_rule_that_limits_it_opens_nothing(
    github: Loopback, poster: GitHubPoster
) -> None:
    github.on("GET", REPO, NOT_FOUND)
    github.on("GET", f"{REPO}/git/ref/heads/agent/run-1", NOT_FOUND)
    github.on("POST", PULLS, Answer(201, pull()))
    for limits in ({"paths": {"allow": ["src/**"]}}, {"max_files": 3}):
        with pytest.raises(PostRefusedError, match="cannot be judged"):
            await poster.create(opening(limits))
    assert github.seen("POST", PULLS) == []
    await poster.create(opening())
    assert len(github.seen("POST", PULLS)) == 1


async def test_a_branch_that_cannot_be_looked_at_opens_nothing_where_its_repository_is_shown(
    github: Loopback, poster: GitHubPoster
) -> None:
    for answer in (NOT_FOUND, Answer(403, {"message": "Resource not accessible by integration"})):
        github.on("GET", f"{REPO}/git/ref/heads/agent/run-1", answer)
        with pytest.raises(PostRefusedError):
            await poster.create(opening())
    assert github.seen("POST", PULLS) == []


async def test_a_redirect_elsewhere_is_not_followed(github: Loopback, poster: GitHubPoster) -> None:
    with loopback() as elsewhere:
        github.on("POST", PULLS, Answer(307, {}, {"location": elsewhere.url + PULLS}))
        with pytest.raises(PostRefusedError):
            await poster.create(opening({"base": "trunk"}))
        assert elsewhere.calls == []


@pytest.mark.parametrize(
    "head", ["", "a b", "a\nb", "--upload-pack=x y", "a:b:c", "stranger:main", "x" * 300, "a?b", "a&b", "-f"]
)
def test_a_head_that_is_no_branch_is_refused_before_anything_is_sent(head: str) -> None:
    with pytest.raises(ValueError, match="head"):
        opening(head=head)
