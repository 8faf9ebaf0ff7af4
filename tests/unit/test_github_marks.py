"""Reactions, labels, commit statuses and check runs through real HTTP."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from github_cases import post_of, poster_at
from loopback import Answer, Loopback

from connectors.github.poster import GitHubPoster
from connectors.poster import Post, PostRefusedError

REPO = "/repos/acme/checkout"
SHA = "c0de" + "0" * 36
PULL = ("pr", "acme/checkout#15")


@pytest.fixture
def github(server: Loopback) -> Loopback:
    return server


@pytest.fixture
def poster(github: Loopback, http: httpx.AsyncClient) -> GitHubPoster:
    return poster_at(github.url, http)


@pytest.mark.parametrize(
    ("address", "path"),
    [
        ({}, "/issues/15/reactions"),
        ({"comment_id": "77"}, "/issues/comments/77/reactions"),
        ({"review_comment_id": "78", "thread_id": "70"}, "/pulls/comments/78/reactions"),
        ({"commit_comment_id": "79"}, "/comments/79/reactions"),
        ({"comment_id": "../1"}, "/issues/15/reactions"),
    ],
)
@pytest.mark.parametrize("status", [200, 201])
async def test_a_reaction_goes_to_what_the_event_tells_of(
    github: Loopback, poster: GitHubPoster, address: dict[str, str], path: str, status: int
) -> None:
    github.on("POST", REPO + path, Answer(status, {"id": 5}))
    receipt = await poster.create(post_of("add_reaction", {}, subject=PULL, address=address))
    assert receipt.artefact == "reaction:5"
    assert github.seen("POST")[0].json() == {"content": "eyes"}


async def test_a_fixed_reaction_wins(github: Loopback, poster: GitHubPoster) -> None:
    github.on("POST", f"{REPO}/issues/comments/7/reactions", Answer(201, {"id": 5}))
    target = {"repository": "acme/checkout", "number": 12, "comment_id": 7, "content": "rocket"}
    await poster.create(post_of("add_reaction", {"content": "-1"}, target))
    assert github.seen("POST")[0].json() == {"content": "rocket"}


async def test_repeating_a_reaction_or_label_needs_no_search(github: Loopback, poster: GitHubPoster) -> None:
    assert await poster.find(post_of("add_reaction", {}, subject=PULL)) is None
    assert await poster.find(post_of("add_label", {"labels": ["a"]}, subject=PULL)) is None
    assert github.calls == []


async def test_labels_are_added(github: Loopback, poster: GitHubPoster) -> None:
    github.on("POST", f"{REPO}/issues/15/labels", Answer(200, []))
    receipt = await poster.create(post_of("add_label", {"labels": ["bug", "voucher"]}, subject=PULL))
    assert github.seen("POST")[0].json() == {"labels": ["bug", "voucher"]}
    assert "bug, voucher" in receipt.note


async def test_a_label_that_the_rule_does_not_allow_is_refused(
    github: Loopback, poster: GitHubPoster
) -> None:
    target = {"repository": "acme/checkout", "number": 15, "allowed": ["bug", "docs"]}
    with pytest.raises(PostRefusedError, match=r"'deploy'.*bug, docs"):
        await poster.create(post_of("add_label", {"labels": ["BUG", "deploy"]}, target))
    assert github.calls == []


def status_of(description: str = "2 failed", **target: Any) -> Post:
    arguments = {"state": "failure", "description": description, "target_url": "https://ci.example.com/1"}
    if target:
        return post_of("set_commit_status", arguments, target)
    return post_of("set_commit_status", arguments, subject=PULL, address={"head_sha": SHA})


async def test_a_status_is_set(github: Loopback, poster: GitHubPoster) -> None:
    github.on(
        "POST", f"{REPO}/statuses/{SHA}", Answer(201, {"id": 6, "target_url": "https://ci.example.com/1"})
    )
    receipt = await poster.create(status_of("long " * 100))
    body = github.seen("POST")[0].json()
    assert (body["state"], body["context"]) == ("failure", "triggerhub")
    assert len(body["description"]) <= 140
    assert receipt.artefact == "status:6"


async def test_a_pull_request_is_asked_for_its_head(github: Loopback, poster: GitHubPoster) -> None:
    github.on("GET", f"{REPO}/pulls/15", Answer(200, {"head": {"sha": SHA}}))
    github.on("POST", f"{REPO}/statuses/{SHA}", Answer(201, {"id": 6}))
    await poster.create(post_of("set_commit_status", {"state": "success"}, subject=PULL))
    assert github.seen("POST", f"{REPO}/statuses/{SHA}")


async def test_a_status_needs_a_commit(github: Loopback, poster: GitHubPoster) -> None:
    for post in (
        post_of("set_commit_status", {"state": "success"}, subject=("issue", "acme/checkout#12")),
        post_of("set_commit_status", {"state": "success"}, {"repository": "acme/checkout"}),
    ):
        with pytest.raises(PostRefusedError, match="commit"):
            await poster.create(post)
    assert github.calls == []


@pytest.mark.parametrize(
    ("statuses", "is_found"),
    [
        ([], False),
        ([{"id": 1, "context": "ci", "state": "failure", "description": "2 failed"}], False),
        ([{"id": 1, "context": "triggerhub", "state": "failure", "description": "2 failed"}], True),
        ([{"id": 1, "context": "triggerhub", "state": "pending", "description": "2 failed"}], False),
        (
            [
                {"id": 2, "context": "triggerhub", "state": "pending", "description": ""},
                {"id": 1, "context": "triggerhub", "state": "failure", "description": "2 failed"},
            ],
            False,
        ),
    ],
)
async def test_a_status_is_found_if_it_is_the_newest_of_its_context(
    github: Loopback, poster: GitHubPoster, statuses: list[dict[str, Any]], *, is_found: bool
) -> None:
    github.on("GET", f"{REPO}/commits/{SHA}/statuses", Answer(200, statuses))
    assert (await poster.find(status_of()) is not None) is is_found


async def test_a_check_run_with_a_token_is_refused_without_a_call(
    github: Loopback, poster: GitHubPoster
) -> None:
    arguments = {"conclusion": "failure", "title": "2 problems", "summary": "See below."}
    post = post_of("create_check_run", arguments, subject=PULL, address={"head_sha": SHA})
    for attempt in (poster.create, poster.find):
        with pytest.raises(PostRefusedError, match="only a GitHub App"):
            await attempt(post)
    assert github.calls == []
