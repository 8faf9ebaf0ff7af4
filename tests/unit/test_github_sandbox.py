"""Every GitHub output against the emulated GitHub: done once, found again after any doubt, known as ours."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Final

import httpx
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from github_cases import post_of

from connectors.github.connector import CONNECTOR
from connectors.github.settings import AppSettings, GitHubSettings
from connectors.poster import Poster, PostRefusedError, PostRetryError, PostUncertainError
from sandbox.server import Sandbox, serve

REPOSITORY: Final = "acme/checkout"
PEM: Final = (
    rsa.generate_private_key(public_exponent=65537, key_size=2048)
    .private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )
    .decode()
)
OPENING: Final = {"title": "Check vouchers", "body": "Why.", "head": "agent/run-1"}
OUTPUTS: Final[dict[str, tuple[dict[str, Any], dict[str, Any]]]] = {
    "comment": ({"text": "Done, @octo-dev."}, {"number": 12}),
    "open_pull_request": (OPENING, {"labels": ["agent"], "draft": True}),
    "add_reaction": ({"content": "eyes"}, {"number": 12}),
    "add_label": ({"labels": ["bug"]}, {"number": 12}),
    "set_commit_status": ({"state": "failure", "description": "2 failed"}, {}),
    "create_check_run": ({"conclusion": "failure", "title": "2 problems", "summary": "Both."}, {}),
}
AT_A_COMMIT: Final = frozenset({"set_commit_status", "create_check_run"})


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with serve(port=0) as running:
        github = running.world.github
        github.ensure_repo(REPOSITORY)
        github.ensure_issue(REPOSITORY, 12)
        github.push(REPOSITORY, "agent/run-1", message="Work", files={"voucher.py": "x = 1\n"})
        yield running


@pytest.fixture(params=["app", "token"])
def poster(request: pytest.FixtureRequest, sandbox: Sandbox, http: httpx.AsyncClient) -> Poster:
    base: dict[str, Any] = {
        "source": "github",
        "api_url": sandbox.api_url("github"),
        "webhook_secrets": ("env:A",),
    }
    if request.param == "token":
        settings = GitHubSettings(**base, token="env:T")
        return CONNECTOR.poster(settings, token="ghp_invented", http=http, files={})
    settings = GitHubSettings(**base, app=AppSettings(id="1040001", private_key="file:key"))
    return CONNECTOR.poster(settings, token=None, http=http, files={"file:key": PEM})


def is_token(request: pytest.FixtureRequest) -> bool:
    return "token" in request.node.callspec.id.split("-")


def target_of(sandbox: Sandbox, output: str) -> dict[str, Any]:
    target = {"repository": REPOSITORY, **OUTPUTS[output][1]}
    if output in AT_A_COMMIT:
        target["sha"] = sandbox.world.github.repos[REPOSITORY].branches["agent/run-1"]
    return target


def artefacts(sandbox: Sandbox) -> dict[str, int]:
    """How many things of each sort there are in the repository."""
    repo = sandbox.world.github.repos[REPOSITORY]
    issue = repo.issues[12]
    return {
        "comment": len(issue.comments),
        "open_pull_request": len(repo.issues) - 1,
        "add_reaction": len(issue.reactions),
        "add_label": len(issue.labels),
        "set_commit_status": len(repo.statuses),
        "create_check_run": len(repo.check_runs),
    }


@pytest.mark.parametrize("output", OUTPUTS)
async def test_an_output_is_made_and_found(
    sandbox: Sandbox, poster: Poster, output: str, request: pytest.FixtureRequest
) -> None:
    post = post_of(output, OUTPUTS[output][0], target_of(sandbox, output))
    if output == "create_check_run" and is_token(request):
        with pytest.raises(PostRefusedError, match="only a GitHub App"):
            await poster.create(post)
        return
    assert await poster.find(post) is None
    made = await poster.create(post)
    assert artefacts(sandbox)[output] == 1
    again = await poster.find(post)
    if output in {"add_reaction", "add_label"}:
        again = await poster.create(post)
    assert again is not None
    assert (again.artefact, again.url, again.subject) == (made.artefact, made.url, made.subject)
    assert artefacts(sandbox)[output] == 1


@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize("fault", ["commit_then_status", "commit_then_cut", "status", "cut"])
async def test_a_doubt_is_cleared_by_looking(
    sandbox: Sandbox, poster: Poster, output: str, fault: Any, request: pytest.FixtureRequest
) -> None:
    if output == "create_check_run" and is_token(request):
        pytest.skip("check runs need an App")
    post = post_of(output, OUTPUTS[output][0], target_of(sandbox, output))
    sandbox.world.faults.ask(fault, service="github", method="POST", path="/repos/*")
    with pytest.raises(PostUncertainError):
        await poster.create(post)
    if await poster.find(post) is None:
        await poster.create(post)
    assert artefacts(sandbox)[output] == 1
    if output == "open_pull_request":
        pulls = [issue for issue in sandbox.world.github.repos[REPOSITORY].issues.values() if issue.pull]
        assert [(pull.labels, pull.title) for pull in pulls] == [(["agent"], "Check vouchers")]


async def test_a_rate_limit_is_waited_for(sandbox: Sandbox, poster: Poster) -> None:
    sandbox.world.faults.ask("rate_limit", service="github", path="/repos/*/comments", seconds=7)
    post = post_of("comment", {"text": "x"}, {"repository": REPOSITORY, "number": 12})
    with pytest.raises(PostRetryError) as caught:
        await poster.create(post)
    assert caught.value.retry_after is not None
    assert artefacts(sandbox)["comment"] == 0
    await poster.create(post)
    assert artefacts(sandbox)["comment"] == 1


async def test_a_pull_request_that_is_there_is_adopted(sandbox: Sandbox, poster: Poster) -> None:
    sandbox.world.github.ensure_pull(REPOSITORY, 31, head="agent/run-1")
    receipt = await poster.create(post_of("open_pull_request", OPENING, {"repository": REPOSITORY}))
    assert receipt.subject == f"{REPOSITORY}#31"
    assert "adopted" in receipt.note


async def test_a_reply_stays_in_its_thread(sandbox: Sandbox, poster: Poster, http: httpx.AsyncClient) -> None:
    sandbox.world.github.ensure_pull(REPOSITORY, 15, head="voucher")
    sha = sandbox.world.github.repos[REPOSITORY].branches["voucher"]
    opened = await http.post(
        f"{sandbox.api_url('github')}/repos/{REPOSITORY}/pulls/15/comments",
        json={"body": "Why?", "commit_id": sha, "path": "voucher.txt", "line": 1},
        headers={"Authorization": "Bearer ghp_invented", "User-Agent": "test"},
    )
    assert opened.status_code == 201, opened.text
    address = {"thread_id": str(opened.json()["id"])}
    post = post_of(
        "reply_in_review_thread", {"text": "So."}, subject=("pr", f"{REPOSITORY}#15"), address=address
    )
    made = await poster.create(post)
    found = await poster.find(post)
    assert found is not None
    assert found.artefact == made.artefact
    pull = sandbox.world.github.repos[REPOSITORY].issues[15].pull
    assert pull is not None
    assert [comment.in_reply_to_id for comment in pull.review_comments] == [None, opened.json()["id"]]


async def test_an_unknown_repository_is_refused(poster: Poster) -> None:
    with pytest.raises(PostRefusedError, match="404"):
        await poster.create(post_of("comment", {"text": "x"}, {"repository": "acme/nowhere", "number": 1}))


async def test_who_we_are_fits_what_we_write(sandbox: Sandbox, poster: Poster) -> None:
    identity = await poster.identify()
    await poster.create(post_of("comment", {"text": "x"}, {"repository": REPOSITORY, "number": 12}))
    comment = sandbox.world.github.repos[REPOSITORY].issues[12].comments[0]
    assert comment.login.lower() in identity.logins


async def test_a_session_gets_a_token_that_works(
    sandbox: Sandbox, poster: Poster, http: httpx.AsyncClient
) -> None:
    access = await poster.repository(REPOSITORY)
    assert access.url == f"https://github.com/{REPOSITORY}"
    answer = await http.get(
        f"{sandbox.api_url('github')}/repos/{REPOSITORY}",
        headers={"Authorization": f"Bearer {access.token}", "User-Agent": "test"},
    )
    assert answer.status_code == 200
