"""Which of GitHub's deliveries are asked for again, and by whom."""

from __future__ import annotations

import time
from collections.abc import Collection
from typing import Any, Final

import httpx
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from loopback import Answer, Loopback

from connectors.github.connector import CONNECTOR
from connectors.github.healing import MAX_ATTEMPTS, failed_deliveries
from connectors.github.settings import GitHubSettings
from connectors.healer import Healer, Memory, PageGoneError
from connectors.poster import PostRefusedError, PostRetryError

SINCE: Final = 1_767_322_800.0  # 2026-01-02T03:00:00Z
UNTIL: Final = SINCE + 600


def entry(number: int, guid: str, minute: int, status: int = 502) -> dict[str, Any]:
    at = f"2026-01-02T03:{minute:02d}:00Z" if minute >= 0 else f"2026-01-02T02:{60 + minute:02d}:00Z"
    return {"id": number, "guid": guid, "delivered_at": at, "status_code": status, "event": "issues"}


def failed(*entries: dict[str, Any]) -> dict[str, str]:
    """Newest first, as GitHub lists."""
    listed = sorted(entries, key=lambda one: one["delivered_at"], reverse=True)
    return failed_deliveries(listed, since=SINCE, until=UNTIL)


def test_what_no_attempt_brought_through_is_failed() -> None:
    assert failed(entry(1, "a", 1), entry(2, "b", 2, 202)) == {"a": "1"}


@pytest.mark.parametrize("status", [200, 202, 204])
def test_a_later_success_of_the_same_guid_settles_it(status: int) -> None:
    assert failed(entry(1, "a", 1), entry(2, "a", 5, status)) == {}


def test_of_several_failures_the_newest_is_repeated() -> None:
    assert failed(entry(1, "a", 1), entry(2, "a", 5)) == {"a": "2"}


def test_what_was_tried_a_moment_ago_may_still_be_answered() -> None:
    assert failed(entry(1, "a", 1), entry(2, "a", 11)) == {}


def test_what_failed_before_the_span_was_looked_at_before() -> None:
    assert failed(entry(1, "a", -5)) == {}
    assert failed(entry(1, "a", -5), entry(2, "a", 1)) == {"a": "2"}


def test_what_fails_and_fails_is_left_alone_in_the_end() -> None:
    attempts = [entry(number, "a", 1) for number in range(MAX_ATTEMPTS)]
    assert failed(*attempts[:-1]) != {}
    assert failed(*attempts) == {}


def test_a_status_in_words_is_understood_and_nonsense_is_passed_over() -> None:
    good = {**entry(1, "a", 1), "status_code": None, "status": "OK"}
    assert failed(good) == {}
    assert failed_deliveries([{}, {"guid": 7}, {"guid": "x", "id": True}], since=SINCE, until=UNTIL) == {}


@pytest.fixture
def github(server: Loopback) -> Loopback:
    return server


def memory(*, known: Collection[str] = (), subjects: tuple[str, ...] = ()) -> Memory:
    async def delivered(keys: Collection[str]) -> frozenset[str]:
        return frozenset(keys) & frozenset(known)

    return Memory("acme", None, subjects, frozenset(), delivered)


def healer(github: Loopback, http: httpx.AsyncClient, **more: Any) -> Healer:
    given = {
        "source": "github",
        "api_url": github.url,
        "webhook_secrets": ["env:S"],
        "token": "env:T",
        **more,
    }
    settings = GitHubSettings.model_validate(given)
    found = CONNECTOR.healer(
        settings, token="ghp_x" if settings.token else None, http=http, files=more.pop("files", {})
    )
    assert found is not None
    return found


async def test_what_the_hub_has_is_not_asked_for_whatever_github_thinks(github: Loopback) -> None:
    path = "/repos/acme/checkout/hooks/7/deliveries"
    github.on("GET", path, Answer(json=[entry(2, "b", 2), entry(1, "a", 1)]))
    github.on("POST", f"{path}/1/attempts", Answer(202, json={}))
    async with httpx.AsyncClient() as http:
        one = healer(github, http, hooks=[{"repository": "acme/checkout", "id": 7}])
        known = memory(known={"b"})
        [stream] = await one.streams(known)
        harvest = await one.missed(stream, since=SINCE, until=UNTIL, page=None, memory=known)
    assert (harvest.redelivered, harvest.requests, harvest.page) == (1, (), None)
    assert [call.path for call in github.seen("POST")] == [f"{path}/1/attempts"]


async def test_pages_are_followed_back_to_where_the_last_sweep_ended(github: Loopback) -> None:
    path = "/orgs/acme/hooks/7/deliveries"
    link = {"link": f'<{github.url}{path}?per_page=100&cursor=v1_9>; rel="next"'}
    github.on(
        "GET",
        path,
        Answer(json=[entry(3, "c", 3, 200)], headers=link),
        Answer(json=[entry(2, "b", -2, 200)], headers=link),
        Answer(422, json={"message": "Invalid cursor"}),
    )
    async with httpx.AsyncClient() as http:
        one = healer(github, http, hooks=[{"organization": "acme", "id": "7"}])
        [stream] = await one.streams(memory())
        first = await one.missed(stream, since=SINCE, until=UNTIL, page=None, memory=memory())
        second = await one.missed(stream, since=SINCE, until=UNTIL, page=first.page, memory=memory())
        assert (first.page, second.page) == ("v1_9", None)
        with pytest.raises(PageGoneError):
            await one.missed(stream, since=SINCE, until=UNTIL, page="v1_8", memory=memory())
    assert [call.query.get("cursor") for call in github.seen("GET", path)] == [None, "v1_9", "v1_8"]


async def test_an_app_asks_with_its_own_proof_and_needs_no_hook_named(github: Loopback) -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    github.on("GET", "/app/hook/deliveries", Answer(json=[entry(1, "a", 1)]))
    github.on("POST", "/app/hook/deliveries/1/attempts", Answer(202, json={}))
    async with httpx.AsyncClient() as http:
        settings = GitHubSettings.model_validate(
            {
                "source": "github",
                "api_url": github.url,
                "webhook_secrets": ["env:S"],
                "app": {"id": "Iv23x", "private_key": "env:KEY"},
            }
        )
        one = CONNECTOR.healer(settings, token=None, http=http, files={"env:KEY": key.decode()})
        assert one is not None
        [stream] = await one.streams(memory())
        harvest = await one.missed(stream, since=SINCE, until=UNTIL, page=None, memory=memory())
    assert harvest.redelivered == 1
    proofs = [call.headers["authorization"].removeprefix("Bearer ").count(".") for call in github.calls]
    assert proofs == [2, 2], "a JSON web token has three parts"


async def test_hooks_are_found_by_the_address_they_send_to(github: Loopback) -> None:
    hooks = [
        {"id": 5, "config": {"url": "https://ci.example.com/hooks/other"}},
        {"id": 6, "config": {"url": "https://hub.example.com/hooks/acme/"}},
    ]
    github.on("GET", "/repos/acme/checkout/hooks", Answer(json=hooks))
    async with httpx.AsyncClient() as http:
        one = healer(github, http)
        seen = memory(subjects=("acme/checkout#1", "acme/checkout@main", "installations/7"))
        assert await one.streams(seen) == ["repos/acme/checkout/hooks/6"]
        assert await one.streams(seen) == ["repos/acme/checkout/hooks/6"]
    assert len(github.seen("GET", "/repos/acme/checkout/hooks")) == 1


async def test_without_the_permission_it_says_what_is_needed(github: Loopback) -> None:
    refusal = Answer(403, json={"message": "Resource not accessible by personal access token"})
    github.on("GET", "/repos/acme/checkout/hooks", refusal)
    async with httpx.AsyncClient() as http:
        with pytest.raises(PostRefusedError, match="Webhooks: Read and write"):
            await healer(github, http).streams(memory(subjects=("acme/checkout#1",)))


async def test_a_rate_limit_is_a_reason_to_come_later(github: Loopback) -> None:
    limit = Answer(403, json={"message": "API rate limit exceeded"}, headers={"retry-after": "77"})
    github.on("GET", "/repos/acme/checkout/hooks/7/deliveries", limit)
    async with httpx.AsyncClient() as http:
        one = healer(github, http, hooks=[{"repository": "acme/checkout", "id": 7}])
        with pytest.raises(PostRetryError) as raised:
            await one.missed(
                "repos/acme/checkout/hooks/7", since=time.time(), until=UNTIL, page=None, memory=memory()
            )
    assert raised.value.retry_after == 77


@pytest.mark.parametrize(
    "hook",
    [
        {"id": 1},
        {"id": 1, "repository": "acme/checkout", "organization": "acme"},
        {"id": "first", "repository": "acme/checkout"},
        {"id": True, "repository": "acme/checkout"},
        {"id": 1, "repository": "acme/../etc"},
    ],
)
def test_a_hook_is_named_exactly(hook: dict[str, Any]) -> None:
    given = {"source": "github", "webhook_secrets": ["env:S"], "token": "env:T", "hooks": [hook]}
    with pytest.raises(ValueError, match=r"hook|repository|id"):
        GitHubSettings.model_validate(given)
