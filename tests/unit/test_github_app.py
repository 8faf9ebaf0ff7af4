"""The App credential through real HTTP: JWT, installation tokens, single flight, narrowing, check runs."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from github_cases import post_of
from loopback import Answer, Call, Loopback

from connectors.github.connector import CONNECTOR
from connectors.github.settings import AppSettings, GitHubSettings
from connectors.poster import Post, Poster, PostRefusedError, PostRetryError

KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
PEM = KEY.private_bytes(
    serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
).decode()
REFERENCE = "file:/run/secrets/app.pem"
COMMENTS = "/repos/acme/checkout/issues/12/comments"
INSTALLATION = "/repos/acme/checkout/installation"
TOKENS = "/app/installations/555/access_tokens"


class Minter:
    """Answers token requests with a new token each time."""

    def __init__(self, *, lifetime: timedelta = timedelta(hours=1)) -> None:
        self.made = 0
        self.lifetime = lifetime

    def __call__(self, call: Call) -> Answer:
        claims = jwt.decode(
            call.headers["authorization"].removeprefix("Bearer "), KEY.public_key(), algorithms=["RS256"]
        )
        assert claims["iss"] == "Iv23example"
        assert claims["iat"] <= time.time() - 30
        assert time.time() < claims["exp"] <= time.time() + 600
        self.made += 1
        expires = datetime.now(tz=UTC) + self.lifetime
        return Answer(
            201, {"token": f"ghs_{self.made}", "expires_at": expires.strftime("%Y-%m-%dT%H:%M:%SZ")}
        )


@pytest.fixture
def minter() -> Minter:
    return Minter()


@pytest.fixture
def github(server: Loopback, minter: Minter) -> Loopback:
    server.on("GET", INSTALLATION, Answer(200, {"id": 555}))
    server.on("POST", TOKENS, minter)
    server.on("POST", COMMENTS, Answer(201, {"id": 1}))
    return server


def poster_of(github: Loopback, http: httpx.AsyncClient, *, key: str = PEM, **app: Any) -> Poster:
    settings = GitHubSettings(
        source="github",
        api_url=github.url,
        webhook_secrets=("env:A",),
        app=AppSettings(id="Iv23example", private_key=REFERENCE, **app),
    )
    return CONNECTOR.poster(settings, token=None, http=http, files={REFERENCE: key})


def comment() -> Post:
    return post_of("comment", {"text": "x"}, subject=("issue", "acme/checkout#12"))


async def test_the_installation_is_looked_up_once_and_its_token_used(
    github: Loopback, http: httpx.AsyncClient, minter: Minter
) -> None:
    poster = poster_of(github, http)
    await poster.create(comment())
    await poster.create(comment())
    assert len(github.seen("GET", INSTALLATION)) == 1
    assert minter.made == 1
    assert [call.headers["authorization"] for call in github.seen("POST", COMMENTS)] == ["Bearer ghs_1"] * 2


async def test_a_configured_installation_is_not_looked_up(github: Loopback, http: httpx.AsyncClient) -> None:
    await poster_of(github, http, installation_id=555).create(comment())
    assert github.seen("GET") == []


async def test_many_tasks_make_one_token(github: Loopback, http: httpx.AsyncClient, minter: Minter) -> None:
    poster = poster_of(github, http)
    async with asyncio.TaskGroup() as group:
        for _ in range(20):
            group.create_task(poster.create(comment()))
    assert minter.made == 1
    assert len(github.seen("GET", INSTALLATION)) == 1
    assert len(github.seen("POST", COMMENTS)) == 20


async def test_a_token_near_its_end_is_renewed(
    github: Loopback, http: httpx.AsyncClient, minter: Minter
) -> None:
    minter.lifetime = timedelta(seconds=-5)
    poster = poster_of(github, http)
    await poster.create(comment())
    await poster.create(comment())
    assert minter.made == 2


async def test_a_token_that_is_refused_is_replaced_at_the_next_attempt(
    github: Loopback, http: httpx.AsyncClient
) -> None:
    github.on("POST", COMMENTS, Answer(401, {"message": "Bad credentials"}), Answer(201, {"id": 1}))
    poster = poster_of(github, http)
    with pytest.raises(PostRetryError):
        await poster.create(comment())
    await poster.create(comment())
    assert [call.headers["authorization"] for call in github.seen("POST", COMMENTS)] == [
        "Bearer ghs_1",
        "Bearer ghs_2",
    ]


async def test_an_app_that_was_installed_anew_is_found_again(
    github: Loopback, http: httpx.AsyncClient, minter: Minter
) -> None:
    github.on("GET", INSTALLATION, Answer(200, {"id": 444}), Answer(200, {"id": 555}))
    github.on("POST", "/app/installations/444/access_tokens", Answer(404, {"message": "Not Found"}))
    poster = poster_of(github, http)
    with pytest.raises(PostRetryError, match="installed anew"):
        await poster.create(comment())
    await poster.create(comment())
    assert minter.made == 1


async def test_an_app_that_is_not_installed_says_so(github: Loopback, http: httpx.AsyncClient) -> None:
    github.on("GET", INSTALLATION, Answer(404, {"message": "Not Found"}))
    with pytest.raises(PostRefusedError, match="install the App"):
        await poster_of(github, http).create(comment())


@pytest.mark.parametrize("key", ["", "not a key", PEM[:200], "-----BEGIN RSA PRIVATE KEY-----\nabc\n"])
async def test_a_broken_key_is_refused_and_not_shown(
    github: Loopback, http: httpx.AsyncClient, key: str
) -> None:
    with pytest.raises(PostRefusedError, match="private_key") as caught:
        await poster_of(github, http, key=key).create(comment())
    assert not key or key not in str(caught.value)
    assert github.calls == []


async def test_a_key_with_written_out_line_ends_is_read(github: Loopback, http: httpx.AsyncClient) -> None:
    await poster_of(github, http, key=PEM.replace("\n", "\\n")).create(comment())
    assert github.seen("POST", COMMENTS)


async def test_a_session_gets_a_new_token_for_one_repositorys_contents(
    github: Loopback, http: httpx.AsyncClient, minter: Minter
) -> None:
    poster = poster_of(github, http)
    first, second = await poster.repository("acme/checkout"), await poster.repository("acme/checkout")
    assert first.url == "https://github.com/acme/checkout"
    assert {first.token, second.token} == {"ghs_1", "ghs_2"}
    narrowing = {"repositories": ["checkout"], "permissions": {"contents": "write"}}
    assert [call.json() for call in github.seen("POST", TOKENS)] == [narrowing] * 2
    assert first.token not in repr(first)
    await poster.repository("acme/checkout", write=False)
    reading = {**narrowing, "permissions": {"contents": "read"}}
    assert github.seen("POST", TOKENS)[-1].json() == reading
    await poster.create(comment())
    assert minter.made == 4


@pytest.mark.parametrize(
    "name", ["acme", "acme/../x", "acme/..", "/x", "acme/x/y", "acme/x?y", "", "acme/x\n"]
)
async def test_a_name_that_is_no_repository_is_refused(
    github: Loopback, http: httpx.AsyncClient, name: str
) -> None:
    with pytest.raises(PostRefusedError, match="owner/repo"):
        await poster_of(github, http).repository(name)
    assert github.calls == []


async def test_a_plain_tokens_repository(github: Loopback, http: httpx.AsyncClient) -> None:
    settings = GitHubSettings(source="github", api_url=github.url, webhook_secrets=("env:A",), token="env:T")
    poster = CONNECTOR.poster(settings, token="ghp_invented", http=http, files={})
    assert (await poster.repository("acme/checkout")).token == "ghp_invented"


async def test_an_app_is_known_by_its_id_its_bot_user_and_its_login(
    github: Loopback, http: httpx.AsyncClient
) -> None:
    github.on("GET", "/app", Answer(200, {"id": 810001, "slug": "Acme-Hub"}))
    github.on("GET", "/users/Acme-Hub[bot]", Answer(200, {"id": 7009999}))
    identity = await poster_of(github, http).identify()
    assert identity.actor_ids == frozenset({"app:810001", "7009999"})
    assert identity.logins == frozenset({"acme-hub[bot]"})
    assert "authorization" not in github.seen("GET", "/users/Acme-Hub[bot]")[0].headers


async def test_an_app_whose_bot_user_is_not_shown_is_known_by_the_rest(
    github: Loopback, http: httpx.AsyncClient
) -> None:
    github.on("GET", "/app", Answer(200, {"id": 810001, "slug": "acme-hub"}))
    identity = await poster_of(github, http).identify()
    assert identity.actor_ids == frozenset({"app:810001"})
    assert identity.logins == frozenset({"acme-hub[bot]"})


SHA = "c0de" + "0" * 36
CHECKS = "/repos/acme/checkout/check-runs"


def check(**arguments: Any) -> Post:
    given = {"conclusion": "failure", "title": "2 problems", "summary": "See below.", **arguments}
    return post_of("create_check_run", given, subject=("pr", "acme/checkout#15"), address={"head_sha": SHA})


async def test_a_check_run_is_written_within_the_limits(github: Loopback, http: httpx.AsyncClient) -> None:
    github.on("POST", CHECKS, Answer(201, {"id": 9, "html_url": "https://github.example/runs/9"}))
    receipt = await poster_of(github, http).create(check(summary="\U0001f600" * 50_000, text="é" * 100_000))
    body = github.seen("POST", CHECKS)[0].json()
    assert (body["name"], body["head_sha"], body["status"]) == ("triggerhub", SHA, "completed")
    assert (body["external_id"], body["conclusion"]) == ("run-1:s1", "failure")
    assert len(body["output"]["summary"].encode()) <= 65_535
    assert len(body["output"]["text"].encode()) <= 65_535
    assert (receipt.artefact, receipt.url) == ("check_run:9", "https://github.example/runs/9")


@pytest.mark.parametrize(("external_id", "is_found"), [("run-1:s1", True), ("run-1:s2", False), ("", False)])
async def test_a_check_run_is_found_by_our_name_for_it(
    github: Loopback, http: httpx.AsyncClient, external_id: str, *, is_found: bool
) -> None:
    runs = {"total_count": 1, "check_runs": [{"id": 9, "external_id": external_id}]}
    github.on("GET", f"/repos/acme/checkout/commits/{SHA}/check-runs", Answer(200, runs))
    receipt = await poster_of(github, http).find(check())
    assert (receipt is not None) is is_found


async def test_our_comment_is_known_by_the_app_it_was_made_with(
    github: Loopback, http: httpx.AsyncClient
) -> None:
    github.on("GET", "/app", Answer(200, {"id": 810001, "slug": "acme-hub"}))
    marked = {"id": 3, "body": "<!-- triggerhub run=run-1 slot=s1 -->\nx", "user": {"id": 5, "login": "ada"}}
    github.on("GET", COMMENTS, Answer(200, [marked]))
    poster = poster_of(github, http)
    assert await poster.find(comment()) is None
    github.on("GET", COMMENTS, Answer(200, [{**marked, "performed_via_github_app": {"id": 810001}}]))
    assert await poster.find(comment()) is not None


async def test_a_token_for_a_session_says_how_long_it_lives(
    github: Loopback, http: httpx.AsyncClient, minter: Minter
) -> None:
    minter.lifetime = timedelta(minutes=20)
    app = poster_of(github, http)
    access = await app.repository("acme/checkout")
    assert access.seconds is not None
    assert 1190 < access.seconds <= 1200
    again = await app.repository("acme/checkout")
    assert again.token != access.token, "each session has its own"
