"""Comments and thread replies through real HTTP: marker first, found again, never taken from a stranger."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from github_cases import post_of, poster_at
from loopback import Answer, Call, Loopback

from connectors.github.connector import CONNECTOR
from connectors.github.poster import GitHubPoster
from connectors.github.settings import GitHubSettings
from connectors.poster import Post, PostRefusedError

US = {"id": 42, "login": "acme-robot", "type": "User"}
STRANGER = {"id": 666, "login": "stranger", "type": "User"}
MARKER = "<!-- triggerhub run=run-1 slot=s1 -->"
ISSUE = "/repos/acme/checkout/issues/12/comments"
REPLIES = "/repos/acme/checkout/pulls/15/comments/900/replies"
THREADS = "/repos/acme/checkout/pulls/15/comments"


@pytest.fixture
def github(server: Loopback) -> Loopback:
    server.on("GET", "/user", Answer(200, US))
    return server


@pytest.fixture
def poster(github: Loopback, http: httpx.AsyncClient) -> GitHubPoster:
    return poster_at(github.url, http)


def comment(ident: int, body: str, user: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"id": ident, "html_url": f"https://github.example/c/{ident}", "body": body, "user": user or US}


def to_issue(text: str = "Done.") -> Post:
    return post_of("comment", {"text": text}, subject=("issue", "acme/checkout#12"))


async def test_a_comment_begins_with_its_marker(github: Loopback, poster: GitHubPoster) -> None:
    github.on("POST", ISSUE, Answer(201, comment(7, "")))
    receipt = await poster.create(to_issue("Done, @ada. See `@x`."))
    (call,) = github.seen("POST")
    first, _, rest = call.json()["body"].partition("\n")
    assert first == MARKER
    assert rest == "Done, @\u200bada. See `@x`."
    assert call.headers["authorization"] == "Bearer ghp_invented"
    assert call.headers["accept"] == "application/vnd.github+json"
    assert call.headers["x-github-api-version"] == "2022-11-28"
    assert call.headers["user-agent"]
    assert (receipt.artefact, receipt.url) == ("comment:7", "https://github.example/c/7")


@pytest.mark.parametrize("text", ["x" * 200_000, "é\U0001f600" * 60_000, "```\n" + "code\n" * 30_000])
async def test_a_long_comment_is_cut_with_its_marker_kept(
    github: Loopback, poster: GitHubPoster, text: str
) -> None:
    github.on("POST", ISSUE, Answer(201, comment(7, "")))
    await poster.create(to_issue(text))
    body = github.seen("POST")[0].json()["body"]
    assert len(body) <= 60_000
    assert body.startswith(MARKER + "\n")
    assert body.endswith("(shortened)")
    assert sum(line.startswith("```") for line in body.splitlines()) % 2 == 0


async def test_a_target_in_the_rule_is_used_and_not_the_origin(
    github: Loopback, poster: GitHubPoster
) -> None:
    github.on("POST", "/repos/acme/other/issues/3/comments", Answer(201, comment(8, "")))
    await poster.create(post_of("comment", {"text": "x"}, {"repository": "acme/other", "number": 3}))
    assert github.seen("POST", "/repos/acme/other/issues/3/comments")


async def test_a_build_of_a_commit_is_commented_on_the_commit(github: Loopback, poster: GitHubPoster) -> None:
    sha = "c0de" + "0" * 36
    github.on("POST", f"/repos/acme/checkout/commits/{sha}/comments", Answer(201, comment(9, "")))
    receipt = await poster.create(
        post_of("comment", {"text": "x"}, subject=("commit", f"acme/checkout@{sha}"))
    )
    assert receipt.artefact == "commit_comment:9"
    branch = post_of(
        "comment", {"text": "x"}, subject=("branch", "acme/checkout@main"), address={"head_sha": sha}
    )
    assert (await poster.create(branch)).artefact == "commit_comment:9"


@pytest.mark.parametrize(
    ("subject", "address"),
    [
        (("alert", "acme/checkout/security/dependabot/5"), {}),
        (("repository", "acme/checkout"), {}),
        (("branch", "acme/checkout@main"), {}),
        (("branch", "acme/checkout@main"), {"head_sha": "../../../user"}),
        (("installation", "installations/1"), {}),
        (("issue", "acme/checkout#../3"), {}),
        (("issue", "acme/..#3"), {}),
        (("issue", "acme/a/b#3"), {}),
    ],
)
async def test_what_cannot_be_commented_is_refused_without_a_call(
    github: Loopback, poster: GitHubPoster, subject: tuple[str, str], address: dict[str, str]
) -> None:
    with pytest.raises(PostRefusedError):
        await poster.create(post_of("comment", {"text": "x"}, subject=subject, address=address))
    assert github.calls == []


@pytest.mark.parametrize("target", [{}, {"repository": "acme/checkout"}, {"number": 3}])
async def test_an_incomplete_target_is_refused_with_a_remedy(
    github: Loopback, poster: GitHubPoster, target: dict[str, Any]
) -> None:
    with pytest.raises(PostRefusedError, match="to: origin"):
        await poster.create(post_of("comment", {"text": "x"}, target))
    assert github.calls == []


async def test_an_earlier_try_is_found_and_nothing_is_written(github: Loopback, poster: GitHubPoster) -> None:
    listed = [comment(1, "hello"), comment(2, f"{MARKER}\nDone."), comment(3, "later")]
    github.on("GET", ISSUE, Answer(200, listed))
    receipt = await poster.find(to_issue())
    assert receipt is not None
    assert receipt.artefact == "comment:2"
    assert github.seen("POST") == []


@pytest.mark.parametrize(
    "other",
    [
        comment(1, f"> {MARKER}\nquoted"),
        comment(1, f"Look:\n{MARKER}"),
        comment(1, MARKER, STRANGER),
        comment(1, MARKER.replace("s1", "s10")),
        comment(1, MARKER.replace("run-1", "run-11")),
        comment(1, ""),
        {"id": 1, "body": None, "user": None},
    ],
)
async def test_what_is_not_our_try_is_not_found(
    github: Loopback, poster: GitHubPoster, other: dict[str, Any]
) -> None:
    github.on("GET", ISSUE, Answer(200, [other]))
    assert await poster.find(to_issue()) is None


@pytest.mark.parametrize("has_link", [True, False])
async def test_every_page_is_searched(github: Loopback, poster: GitHubPoster, *, has_link: bool) -> None:
    pages = {
        1: [comment(n, "x") for n in range(100)],
        2: [comment(n, MARKER if n == 150 else "x") for n in range(100, 200)],
        3: [comment(200, "x")],
    }

    def page(call: Call) -> Answer:
        assert call.query["per_page"] == "100"
        link = f'<{github.url}{ISSUE}?per_page=100&page=3>; rel="last"'
        return Answer(200, pages[int(call.query["page"])], {"link": link} if has_link else {})

    github.on("GET", ISSUE, page)
    receipt = await poster.find(to_issue())
    assert receipt is not None
    assert receipt.artefact == "comment:150"


async def test_a_token_that_may_not_read_user_still_finds_by_marker(
    github: Loopback, poster: GitHubPoster
) -> None:
    github.on("GET", "/user", Answer(403, {"message": "Resource not accessible by integration"}))
    github.on("GET", ISSUE, Answer(200, [comment(5, MARKER)]))
    receipt = await poster.find(to_issue())
    assert receipt is not None
    assert receipt.artefact == "comment:5"


async def test_who_we_are_is_asked_once(github: Loopback, poster: GitHubPoster) -> None:
    first, second = await poster.identify(), await poster.identify()
    assert first == second
    assert (first.actor_ids, first.logins) == (frozenset({"42"}), frozenset({"acme-robot"}))
    assert len(github.seen("GET", "/user")) == 1


def to_thread(**target: Any) -> Post:
    if target:
        return post_of("reply_in_review_thread", {"text": "Yes."}, target)
    address = {"review_comment_id": "901", "thread_id": "900"}
    return post_of(
        "reply_in_review_thread", {"text": "Yes."}, subject=("pr", "acme/checkout#15"), address=address
    )


async def test_a_reply_goes_to_the_first_comment_of_the_thread(
    github: Loopback, poster: GitHubPoster
) -> None:
    github.on("POST", REPLIES, Answer(201, comment(902, "")))
    fixed = to_thread(repository="acme/checkout", number=15, comment_id=900)
    for post in (to_thread(), fixed):
        assert (await poster.create(post)).artefact == "review_comment:902"
    assert github.seen("POST")[0].json()["body"] == f"{MARKER}\nYes."


async def test_a_reply_is_found_among_the_newest(github: Loopback, poster: GitHubPoster) -> None:
    github.on("GET", THREADS, Answer(200, [comment(903, "x"), comment(902, MARKER)]))
    receipt = await poster.find(to_thread())
    assert receipt is not None
    assert receipt.artefact == "review_comment:902"
    assert github.seen("GET", THREADS)[0].query["direction"] == "desc"


async def test_a_reply_needs_a_thread(github: Loopback, poster: GitHubPoster) -> None:
    with pytest.raises(PostRefusedError, match="review thread"):
        await poster.create(
            post_of("reply_in_review_thread", {"text": "x"}, subject=("pr", "acme/checkout#15"))
        )
    assert github.calls == []


async def test_without_a_credential_nothing_is_posted(github: Loopback) -> None:
    settings = GitHubSettings(source="github", api_url=github.url, webhook_secrets=("env:A",))
    async with httpx.AsyncClient() as http:
        made = CONNECTOR.poster(settings, token=None, http=http, files={})
        with pytest.raises(PostRefusedError, match="token or app"):
            await made.create(to_issue())
        assert (await made.identify()).actor_ids == frozenset()
    assert github.calls == []
