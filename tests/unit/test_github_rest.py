"""What GitHub's refusals mean: for good, later, or nobody knows (webhooks reference §1.4)."""

from __future__ import annotations

import time
from typing import Any

import httpx
import pytest
from github_cases import post_of, poster_at
from loopback import Answer, Loopback
from pydantic import ValidationError

from connectors.github.connector import CONNECTOR
from connectors.github.settings import API_URL, AppSettings, GitHubSettings
from connectors.poster import Poster, PostRefusedError, PostRetryError, PostUncertainError

PATH = "/repos/acme/checkout/issues/12/comments"
TOKEN = "ghp_invented_and_secret"
POST = post_of("comment", {"text": "the body of the comment"}, subject=("issue", "acme/checkout#12"))


@pytest.fixture
def github(server: Loopback) -> Loopback:
    return server


@pytest.fixture
def poster(github: Loopback, http: httpx.AsyncClient) -> Poster:
    return poster_at(github.url, http, token=TOKEN)


def silent(error: BaseException) -> str:
    """The error's text, which must show neither the token nor what was to be posted."""
    text = str(error)
    assert TOKEN not in text
    assert "the body of the comment" not in text
    return text


SECONDARY = {"message": "You have exceeded a secondary rate limit. Please wait a few minutes."}
DENIED = {"message": "Resource not accessible by integration"}


@pytest.mark.parametrize(
    ("answer", "wait"),
    [
        (Answer(403, SECONDARY, {"retry-after": "17"}), 17.0),
        (Answer(429, {"message": "x"}, {"retry-after": "30"}), 30.0),
        (Answer(403, DENIED, {"retry-after": "5"}), 5.0),
        (Answer(403, {"message": "API rate limit exceeded for user ID 1."}), 60.0),
        (Answer(403, SECONDARY), 60.0),
        (Answer(403, {"message": "You have triggered an abuse detection mechanism."}), 60.0),
        (Answer(429, {"message": "x"}), 60.0),
        (Answer(429, None, {}, b"<html>"), 60.0),
        (Answer(403, {"message": "x"}, {"x-ratelimit-remaining": "0", "x-ratelimit-reset": "soon"}), 60.0),
        (Answer(403, {"message": "x"}, {"x-ratelimit-remaining": "0", "x-ratelimit-reset": "1"}), 1.0),
        (
            Answer(
                422, {"message": "Validation Failed", "errors": [{"message": "was submitted too quickly"}]}
            ),
            60.0,
        ),
        (Answer(503, {"message": "x"}, {"retry-after": "9"}), 9.0),
        (Answer(408, {"message": "x"}), None),
    ],
)
async def test_come_later(github: Loopback, poster: Poster, answer: Answer, wait: float | None) -> None:
    github.on("POST", PATH, answer)
    with pytest.raises(PostRetryError) as caught:
        await poster.create(POST)
    assert caught.value.retry_after == wait
    silent(caught.value)
    assert len(github.seen("POST")) == 1


async def test_the_primary_limit_ends_at_its_reset(github: Loopback, poster: Poster) -> None:
    headers = {"x-ratelimit-remaining": "0", "x-ratelimit-reset": str(int(time.time()) + 600)}
    github.on("POST", PATH, Answer(403, {"message": "API rate limit exceeded"}, headers))
    with pytest.raises(PostRetryError) as caught:
        await poster.create(POST)
    assert caught.value.retry_after == pytest.approx(600, abs=30)


async def test_a_reset_far_off_is_not_believed(github: Loopback, poster: Poster) -> None:
    headers = {"x-ratelimit-remaining": "0", "x-ratelimit-reset": "99999999999"}
    github.on("POST", PATH, Answer(429, {"message": "x"}, headers))
    with pytest.raises(PostRetryError) as caught:
        await poster.create(POST)
    assert caught.value.retry_after == 3700


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (Answer(403, DENIED, {"x-ratelimit-remaining": "4999"}), "lacks a permission"),
        (Answer(403, DENIED, {"x-accepted-github-permissions": "issues=write"}), "issues=write"),
        (Answer(403, {"message": "Resource not accessible by personal access token"}), "lacks a permission"),
        (Answer(404, {"message": "Not Found"}), "may not see it"),
        (Answer(401, {"message": "Bad credentials"}), "renew the connection's token"),
        (Answer(410, {"message": "Issues are disabled for this repo"}), "disabled"),
        (Answer(409, {"message": "Git Repository is empty."}), "Repository is empty"),
        (
            Answer(
                422,
                {
                    "message": "Validation Failed",
                    "errors": [
                        {
                            "resource": "IssueComment",
                            "code": "unprocessable",
                            "field": "data",
                            "message": "Body is too long",
                        }
                    ],
                },
            ),
            "Body is too long",
        ),
        (
            Answer(422, {"message": "Validation Failed", "errors": ["a text", {"field": "f", "code": "c"}]}),
            "a text: f c",
        ),
        (Answer(400, None, {}, b"<html>"), "400"),
        (Answer(451, {"message": "Repository access blocked"}), "blocked"),
        (Answer(301, {"message": "Moved"}, {"location": "https://elsewhere.example/x"}), "301"),
    ],
)
async def test_refused_for_good(github: Loopback, poster: Poster, answer: Answer, words: str) -> None:
    github.on("POST", PATH, answer)
    with pytest.raises(PostRefusedError) as caught:
        await poster.create(POST)
    assert words in silent(caught.value)
    assert len(github.seen("POST")) == 1


@pytest.mark.parametrize("status", [500, 502, 503, 504, 599])
async def test_nobody_knows(github: Loopback, poster: Poster, status: int) -> None:
    github.on("POST", PATH, Answer(status, {"message": "Server Error"}))
    with pytest.raises(PostUncertainError) as caught:
        await poster.create(POST)
    silent(caught.value)


async def test_a_cut_answer_is_uncertain(github: Loopback, poster: Poster) -> None:
    github.on("POST", PATH, Answer(201, {"id": 1}, cut=True))
    with pytest.raises(PostUncertainError) as caught:
        await poster.create(POST)
    silent(caught.value)


async def test_no_connection_means_nothing_was_written() -> None:
    settings = GitHubSettings(
        source="github", api_url="http://127.0.0.1:9", webhook_secrets=("env:A",), token="env:T"
    )
    async with httpx.AsyncClient() as http:
        with pytest.raises(PostRetryError) as caught:
            await CONNECTOR.poster(settings, token=TOKEN, http=http, files={}).create(POST)
    silent(caught.value)


async def test_a_success_without_the_expected_body_is_a_receipt_without_an_id(
    github: Loopback, poster: Poster
) -> None:
    github.on("POST", PATH, Answer(201, None, {}, b"created"))
    receipt = await poster.create(POST)
    assert (receipt.url, receipt.artefact) == (None, None)


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ({"token": "env:T", "app": {"id": 1, "private_key": "file:k"}}, "not both"),
        ({"app": {"id": 1, "private_key": "-----BEGIN RSA"}}, "must be a reference"),
        ({"app": {"id": 1, "private_key": "file:k", "installation_id": "one"}}, "number"),
        ({"app": {"id": 1}}, "private_key"),
        ({"api_url": "api.github.com"}, "https://"),
        ({"webhook_secrets": []}, "at least 1"),
        ({"webhook_secrets": ["a", "b", "c"]}, "at most 2"),
        ({"tokn": "env:T"}, "tokn"),
    ],
)
def test_bad_settings_are_refused_when_built(parts: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        GitHubSettings.model_validate({"source": "github", "webhook_secrets": ["env:A"], **parts})


def test_settings_have_defaults() -> None:
    settings = GitHubSettings.model_validate(
        {
            "source": "github",
            "webhook_secrets": ["env:A"],
            "app": {"id": 7, "private_key": "env:K", "installation_id": 8},
        }
    )
    assert settings.api_url == API_URL
    assert settings.app == AppSettings(id="7", private_key="env:K", installation_id="8")
