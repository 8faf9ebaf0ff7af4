"""Slack's errors, against a scripted server on this machine: which are final, which pass, which leave a
doubt.
"""

from __future__ import annotations

import httpx
import pytest
from loopback import Answer, Loopback
from slack_posts import AUTH, TOKEN, failure, post, settings

from connectors.poster import Poster, PostRefusedError, PostRetryError, PostUncertainError
from connectors.slack.connector import CONNECTOR


@pytest.fixture
def slack(server: Loopback) -> Loopback:
    server.on("POST", "/api/auth.test", Answer(json=AUTH))
    return server


@pytest.fixture
def poster(slack: Loopback, http: httpx.AsyncClient) -> Poster:
    return CONNECTOR.poster(settings(slack.url), token=TOKEN, http=http, files={})


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (failure("ratelimited"), PostRetryError),
        (failure("service_unavailable"), PostRetryError),
        (Answer(429, {"ok": False, "error": "ratelimited"}, {"Retry-After": "30"}), PostRetryError),
        (failure("internal_error"), PostUncertainError),
        (failure("fatal_error"), PostUncertainError),
        (Answer(500, body=b"oops"), PostUncertainError),
        (Answer(503, body=b"oops"), PostUncertainError),
        (Answer(200, body=b"<html>"), PostUncertainError),
        (Answer(200, json=[]), PostUncertainError),
        (Answer(json={"ok": True}), PostUncertainError),
        (Answer(cut=True), PostUncertainError),
        (failure("channel_not_found"), PostRefusedError),
        (failure("not_in_channel"), PostRefusedError),
        (failure("is_archived"), PostRefusedError),
        (failure("invalid_auth"), PostRefusedError),
        (failure("msg_too_long"), PostRefusedError),
        (failure("an_error_of_tomorrow"), PostRefusedError),
        (Answer(json={"ok": False}), PostRefusedError),
        (Answer(404, body=b""), PostRefusedError),
        (Answer(302, headers={"Location": "https://example.com"}), PostRefusedError),
    ],
)
async def test_errors(slack: Loopback, poster: Poster, answer: Answer, error: type[Exception]) -> None:
    slack.on("POST", "/api/chat.postMessage", answer)
    with pytest.raises(error) as caught:
        await poster.create(post("comment", {"text": "confidential words"}))
    assert type(caught.value) is error or issubclass(type(caught.value), PostRefusedError)
    assert TOKEN not in str(caught.value)
    assert "confidential" not in str(caught.value)
    assert len(slack.seen("POST", "/api/chat.postMessage")) == 1


async def test_the_named_wait_is_passed_on(slack: Loopback, poster: Poster) -> None:
    slack.on(
        "POST",
        "/api/chat.postMessage",
        Answer(429, {"ok": False, "error": "ratelimited"}, {"Retry-After": "30"}),
    )
    with pytest.raises(PostRetryError) as caught:
        await poster.create(post("comment", {"text": "x"}))
    assert caught.value.retry_after == 30


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (
            failure("missing_scope", needed="chat:write", provided="users:read"),
            ["missing_scope", "chat:write", "install"],
        ),
        (failure("not_in_channel"), ["invite the app"]),
        (failure("invalid_arguments", response_metadata={"messages": ["[ERROR] bad"]}), ["[ERROR] bad"]),
        (failure("Something said: in prose"), ["without naming an error"]),
    ],
)
async def test_refusals_say_what_to_do(
    slack: Loopback, poster: Poster, answer: Answer, words: list[str]
) -> None:
    slack.on("POST", "/api/chat.postMessage", answer)
    with pytest.raises(PostRefusedError) as caught:
        await poster.create(post("comment", {"text": "x"}))
    for word in words:
        assert word in str(caught.value)


async def test_no_connection_is_a_retry() -> None:
    async with httpx.AsyncClient() as http:
        closed = CONNECTOR.poster(settings("http://127.0.0.1:9"), token=TOKEN, http=http, files={})
        with pytest.raises(PostRetryError):
            await closed.create(post("comment", {"text": "x"}))


async def test_without_a_token_nothing_is_sent(slack: Loopback) -> None:
    async with httpx.AsyncClient() as http:
        poster = CONNECTOR.poster(settings(slack.url), token=None, http=http, files={})
        with pytest.raises(PostRefusedError, match="token"):
            await poster.create(post("comment", {"text": "x"}))
    assert slack.calls == []
