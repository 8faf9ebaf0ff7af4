"""The emulated GitHub over loopback HTTP: statuses, error bodies and idempotency as in its REST reference."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import AsyncIterator

import httpx
import pytest

from sandbox.github.state import APP_SLUG, INSTALLATION_ID
from sandbox.server import Sandbox, serve

REPO = "acme/checkout"
AUTH = {"authorization": "Bearer github_pat_x", "user-agent": "tests"}


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with serve() as running:
        running.world.github.ensure_repo(REPO)
        running.world.github.ensure_issue(REPO, 12, title="Cart is empty")
        yield running


@pytest.fixture
async def github(sandbox: Sandbox) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=sandbox.api_url("github"), headers=AUTH) as client:
        yield client


def jwt(*, seconds: int = 500) -> str:
    """An app's token with a signature that nobody checks."""
    now = int(time.time())
    parts = [
        {"alg": "RS256"},
        {"iat": now - 60, "exp": now + seconds, "iss": "1040001"},
        {"signature": "none"},
    ]
    encoded = [base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts]
    return ".".join(encoded)


async def installation_token(github: httpx.AsyncClient) -> str:
    answer = await github.post(
        f"/app/installations/{INSTALLATION_ID}/access_tokens", headers={"authorization": f"Bearer {jwt()}"}
    )
    assert answer.status_code == 201
    token: str = answer.json()["token"]
    assert token.startswith("ghs_")
    return token


async def test_no_credential_is_401_and_an_unknown_place_is_404(github: httpx.AsyncClient) -> None:
    bare = await github.get("/user", headers={"authorization": ""})
    assert (bare.status_code, bare.json()["message"]) == (401, "Requires authentication")
    for path in (
        "/repos/acme/nowhere",
        f"/repos/{REPO}/issues/99",
        f"/repos/{REPO}/pulls/12",
        "/nothing/here",
    ):
        answer = await github.get(path)
        assert (answer.status_code, answer.json()["message"]) == (404, "Not Found")


async def test_a_comment_is_kept_verbatim_listed_and_edited(github: httpx.AsyncClient) -> None:
    body = "<!-- triggerhub run=r slot=s -->\nhello"
    made = await github.post(f"/repos/{REPO}/issues/12/comments", json={"body": body})
    assert made.status_code == 201
    comment = made.json()
    assert comment["body"] == body
    assert comment["html_url"].endswith(f"/acme/checkout/issues/12#issuecomment-{comment['id']}")
    edited = await github.patch(f"/repos/{REPO}/issues/comments/{comment['id']}", json={"body": "new"})
    assert edited.status_code == 200
    listed = await github.get(f"/repos/{REPO}/issues/12/comments")
    assert [item["body"] for item in listed.json()] == ["new"]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({}, '"body" wasn\'t supplied.'),
        ({"body": "x", "mood": "good"}, '"mood" is not a permitted key.'),
        ({"body": 7}, "For 'properties/body'"),
        ({"body": " "}, "Validation Failed"),
        ({"body": "x" * 65_537}, "Validation Failed"),
    ],
)
async def test_a_bad_comment_is_422_in_githubs_words(
    github: httpx.AsyncClient, sandbox: Sandbox, body: dict[str, object], words: str
) -> None:
    answer = await github.post(f"/repos/{REPO}/issues/12/comments", json=body)
    assert answer.status_code == 422
    assert words in answer.json()["message"]
    assert sandbox.world.github.repos[REPO].issues[12].comments == []


async def test_too_long_says_how_long_it_may_be(github: httpx.AsyncClient) -> None:
    answer = await github.post(f"/repos/{REPO}/issues/12/comments", json={"body": "x" * 65_537})
    assert answer.json()["errors"][0]["message"] == "body is too long (maximum is 65536 characters)"
    assert (
        await github.post(f"/repos/{REPO}/issues/12/comments", json={"body": "x" * 65_536})
    ).status_code == 201


async def test_lists_come_in_pages_with_link_headers(github: httpx.AsyncClient) -> None:
    for number in range(5):
        await github.post(f"/repos/{REPO}/issues/12/comments", json={"body": f"comment {number}"})
    seen: list[str] = []
    url: str | None = f"/repos/{REPO}/issues/12/comments?per_page=2"
    while url is not None:
        answer = await github.get(url)
        seen += [item["body"] for item in answer.json()]
        url = answer.links.get("next", {}).get("url")
    assert seen == [f"comment {number}" for number in range(5)]


async def test_reactions_are_201_once_and_200_after(github: httpx.AsyncClient) -> None:
    path = f"/repos/{REPO}/issues/12/reactions"
    assert (await github.post(path, json={"content": "eyes"})).status_code == 201
    assert (await github.post(path, json={"content": "eyes"})).status_code == 200
    assert (await github.post(path, json={"content": "rocket"})).status_code == 201
    assert (await github.post(path, json={"content": "tada"})).status_code == 422
    assert len((await github.get(path)).json()) == 2


async def test_a_pull_request_needs_a_pushed_branch_and_exists_once(
    github: httpx.AsyncClient, sandbox: Sandbox
) -> None:
    wanted = {
        "title": "Guard the empty cart",
        "head": "agent/run-1",
        "base": "main",
        "body": "b",
        "draft": True,
    }
    missing = await github.post(f"/repos/{REPO}/pulls", json=wanted)
    assert missing.status_code == 422
    assert missing.json()["errors"] == [{"resource": "PullRequest", "code": "invalid", "field": "head"}]
    sha = sandbox.world.github.push(
        REPO, "agent/run-1", base="main", message="Fix", files={"cart.py": "ok\n"}
    )
    made = await github.post(f"/repos/{REPO}/pulls", json=wanted)
    assert made.status_code == 201
    pull = made.json()
    assert (pull["number"], pull["head"]["sha"], pull["draft"], pull["commits"]) == (13, sha, True, 1)
    again = await github.post(f"/repos/{REPO}/pulls", json=wanted)
    assert again.status_code == 422
    assert again.json()["errors"][0]["message"] == "A pull request already exists for acme:agent/run-1."
    adopted = await github.get(f"/repos/{REPO}/pulls", params={"head": "acme:agent/run-1", "state": "open"})
    assert [item["number"] for item in adopted.json()] == [13]
    files = await github.get(f"/repos/{REPO}/pulls/13/files")
    assert [item["filename"] for item in files.json()] == ["cart.py"]
    later = sandbox.world.github.push(REPO, "agent/run-1", message="More", files={"b.py": "1\n"})
    assert (await github.get(f"/repos/{REPO}/pulls/13")).json()["head"]["sha"] == later


async def test_a_branch_without_commits_of_its_own_opens_nothing(
    github: httpx.AsyncClient, sandbox: Sandbox
) -> None:
    repo = sandbox.world.github.repos[REPO]
    repo.branches["same"] = repo.branches["main"]
    answer = await github.post(f"/repos/{REPO}/pulls", json={"title": "t", "head": "same", "base": "main"})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["message"] == "No commits between main and same"


async def test_reviews_and_replies_stay_on_the_diff(github: httpx.AsyncClient, sandbox: Sandbox) -> None:
    sandbox.world.github.push(REPO, "work", base="main", message="m", files={"a.py": "1\n2\n"})
    sandbox.world.github.ensure_pull(REPO, 20, head="work")
    outside = {"event": "COMMENT", "body": "b", "comments": [{"path": "z.py", "line": 1, "body": "c"}]}
    assert (await github.post(f"/repos/{REPO}/pulls/20/reviews", json=outside)).status_code == 422
    inside = {"event": "COMMENT", "body": "b", "comments": [{"path": "a.py", "line": 2, "body": "c"}]}
    review = await github.post(f"/repos/{REPO}/pulls/20/reviews", json=inside)
    assert (review.status_code, review.json()["state"]) == (200, "COMMENTED")
    top = (await github.get(f"/repos/{REPO}/pulls/20/comments")).json()[0]
    reply = await github.post(f"/repos/{REPO}/pulls/20/comments/{top['id']}/replies", json={"body": "done"})
    assert (reply.status_code, reply.json()["in_reply_to_id"]) == (201, top["id"])
    nested = f"/repos/{REPO}/pulls/20/comments/{reply.json()['id']}/replies"
    assert (await github.post(nested, json={"body": "no"})).status_code == 422


async def test_check_runs_need_an_app_and_are_measured_in_bytes(
    github: httpx.AsyncClient, sandbox: Sandbox
) -> None:
    sha = sandbox.world.github.repos[REPO].branches["main"]
    run = {"name": "triggerhub", "head_sha": sha, "status": "in_progress", "external_id": "run-1"}
    refused = await github.post(f"/repos/{REPO}/check-runs", json=run)
    assert (refused.status_code, refused.json()["message"]) == (
        403,
        "You must authenticate via a GitHub App.",
    )
    app = {"authorization": f"Bearer {await installation_token(github)}"}
    made = await github.post(f"/repos/{REPO}/check-runs", json=run, headers=app)
    assert made.status_code == 201
    too_big = {"output": {"title": "t", "summary": "\N{PILE OF POO}" * 16_384}}
    path = f"/repos/{REPO}/check-runs/{made.json()['id']}"
    assert (await github.patch(path, json=too_big, headers=app)).status_code == 422
    done = await github.patch(path, json={"conclusion": "success"}, headers=app)
    assert (done.status_code, done.json()["status"]) == (200, "completed")
    found = await github.get(f"/repos/{REPO}/commits/{sha}/check-runs", params={"check_name": "triggerhub"})
    assert [item["external_id"] for item in found.json()["check_runs"]] == ["run-1"]


async def test_statuses_count_once_per_context(github: httpx.AsyncClient, sandbox: Sandbox) -> None:
    sha = sandbox.world.github.repos[REPO].branches["main"]
    for state in ("pending", "success"):
        body = {"state": state, "context": "triggerhub"}
        assert (await github.post(f"/repos/{REPO}/statuses/{sha}", json=body)).status_code == 201
    combined = (await github.get(f"/repos/{REPO}/commits/{sha}/status")).json()
    assert (combined["state"], combined["total_count"]) == ("success", 1)
    unknown = await github.post(f"/repos/{REPO}/statuses/{'0' * 40}", json={"state": "success"})
    assert (unknown.status_code, unknown.json()["message"]) == (422, f"No commit found for SHA: {'0' * 40}")
    long = {"state": "success", "description": "d" * 141}
    assert (await github.post(f"/repos/{REPO}/statuses/{sha}", json=long)).status_code == 422


async def test_an_app_mints_tokens_and_acts_as_its_bot(github: httpx.AsyncClient) -> None:
    assert (await github.get("/app")).status_code == 401
    assert (
        await github.get("/app", headers={"authorization": f"Bearer {jwt(seconds=900)}"})
    ).status_code == 401
    app = await github.get("/app", headers={"authorization": f"Bearer {jwt()}"})
    assert app.json()["slug"] == APP_SLUG
    found = await github.get(f"/repos/{REPO}/installation", headers={"authorization": f"Bearer {jwt()}"})
    assert found.json()["id"] == INSTALLATION_ID
    as_bot = {"authorization": f"Bearer {await installation_token(github)}"}
    assert (await github.get("/user", headers=as_bot)).status_code == 403
    made = await github.post(f"/repos/{REPO}/issues/12/comments", json={"body": "b"}, headers=as_bot)
    author = made.json()["user"]
    assert (author["login"], author["type"]) == (f"{APP_SLUG}[bot]", "Bot")
    bot = (await github.get(f"/users/{APP_SLUG}%5Bbot%5D")).json()
    assert bot["id"] == author["id"]


async def test_labels_issues_and_commit_comments(github: httpx.AsyncClient, sandbox: Sandbox) -> None:
    labels = await github.post(f"/repos/{REPO}/issues/12/labels", json={"labels": ["bug", "bug", "agent"]})
    assert [item["name"] for item in labels.json()] == ["bug", "agent"]
    assert (await github.delete(f"/repos/{REPO}/issues/12/labels/agent")).status_code == 200
    assert (await github.delete(f"/repos/{REPO}/issues/12/labels/agent")).status_code == 404
    closed = await github.patch(f"/repos/{REPO}/issues/12", json={"state": "closed"})
    assert (closed.json()["state"], closed.json()["state_reason"]) == ("closed", "completed")
    made = await github.post(f"/repos/{REPO}/issues", json={"title": "New one"})
    assert (made.status_code, made.json()["number"]) == (201, 13)
    sha = sandbox.world.github.repos[REPO].branches["main"]
    comment = await github.post(f"/repos/{REPO}/commits/{sha}/comments", json={"body": "seen"})
    assert comment.status_code == 201
    listed = (await github.get(f"/repos/{REPO}/commits/{sha}/comments")).json()
    assert [item["id"] for item in listed] == [comment.json()["id"]]


async def test_search_finds_by_text_and_qualifiers(github: httpx.AsyncClient) -> None:
    await github.post(f"/repos/{REPO}/issues", json={"title": "A", "body": "run_77"})
    found = (await github.get("/search/issues", params={"q": f"repo:{REPO} is:issue run_77"})).json()
    assert (found["total_count"], found["items"][0]["title"]) == (1, "A")
    assert (await github.get("/search/issues", params={"q": f"repo:{REPO} is:pr run_77"})).json()[
        "items"
    ] == []


async def test_missing_things_come_into_being_when_asked_to() -> None:
    async with (
        serve(create_missing=True) as sandbox,
        httpx.AsyncClient(base_url=sandbox.api_url("github"), headers=AUTH) as client,
    ):
        assert (
            await client.post("/repos/octo-dev/new/issues/4/comments", json={"body": "b"})
        ).status_code == 201
        assert (
            await client.post("/repos/octo-dev/new/pulls/9/reviews", json={"event": "APPROVE"})
        ).status_code == 200
        reaction = "/repos/octo-dev/new/issues/comments/555/reactions"
        assert (await client.post(reaction, json={"content": "eyes"})).status_code == 201
        status = f"/repos/octo-dev/new/statuses/{'a' * 40}"
        assert (await client.post(status, json={"state": "success"})).status_code == 201
