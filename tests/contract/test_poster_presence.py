"""Marks that something was seen, at every vendor, and checks on pull requests with both credentials of GitHub."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any, Final

import httpx
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from vendor_places import RUN, VENDORS, Place, furnish, place_at

from connectors.github.connector import CONNECTOR
from connectors.github.settings import AppSettings, GitHubSettings
from connectors.poster import Check, Post, Poster, PostRefusedError
from sandbox.github.records import Repository
from sandbox.server import Sandbox, serve
from schemas.event import Subject

KEY: Final = "env:KEY"
PULL: Final = "acme/checkout#15"
CHECK: Final = Check(run=RUN, name="agent review", pull=PULL, state="pending", title="At work")
DONE: Final = replace(
    CHECK, state="success", title="Done, $0.12", url="https://github.com/acme/checkout/pull/16"
)


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with serve() as running:
        furnish(running)
        running.world.github.ensure_pull("acme/checkout", 15, head="topic")
        yield running


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient() as client:
        yield client


def mark_of(place: Place, **origin: Any) -> Post | None:
    """The mark that the poster proposes, as it is posted."""
    origin_of = place.origin(**origin)
    mark = place.poster.seen_mark(origin_of)
    if mark is None:
        return None
    output, arguments = mark
    spec = place.connector.outputs[output]
    return Post(
        run=RUN,
        slot="seen",
        output=output,
        target=spec.target(),
        arguments=spec.arguments.model_validate(dict(arguments)),
        origin=origin_of,
        to_origin=True,
    )


def marks(place: Place) -> list[str]:
    world = place.sandbox.world
    match place.vendor:
        case "github":
            return [one.content for one in world.github.repos["acme/checkout"].issues[12].reactions]
        case "jira":
            return list(world.jira.issues["SHOP-7"].fields["labels"])
        case _:
            messages = world.slack.channels["C1"].messages.values()
            return [name for one in messages for name, people in one.reactions.items() for _ in people]


@pytest.mark.parametrize(("vendor", "mark"), [("github", "eyes"), ("jira", "seen-by-us"), ("slack", "eyes")])
async def test_a_mark_set_twice_is_one_mark_and_says_nothing(
    sandbox: Sandbox, http: httpx.AsyncClient, vendor: str, mark: str
) -> None:
    place = place_at(vendor, sandbox, http, **({"seen_label": mark} if vendor == "jira" else {}))
    wanted = mark_of(place)
    assert wanted is not None
    for _ in range(2):
        await place.poster.create(wanted)
    assert marks(place) == [mark]
    assert place.texts() == []


@pytest.mark.parametrize("vendor", ["jira", "sentry"])
async def test_a_vendor_without_a_silent_mark_gets_none(
    sandbox: Sandbox, http: httpx.AsyncClient, vendor: str
) -> None:
    assert mark_of(place_at(vendor, sandbox, http)) is None


async def test_what_has_no_page_to_react_to_gets_none(sandbox: Sandbox, http: httpx.AsyncClient) -> None:
    commit = Subject(kind="commit", key="acme/checkout@c0de", container="acme/checkout")
    assert mark_of(place_at("github", sandbox, http), subject=commit) is None


@pytest.mark.parametrize("vendor", VENDORS)
async def test_the_pace_of_edits_leaves_room_for_posts(
    sandbox: Sandbox, http: httpx.AsyncClient, vendor: str
) -> None:
    pace = place_at(vendor, sandbox, http).poster.edit_pace
    a_minute = 60 / pace.seconds * pace.together
    most = {"github": 500 / 60, "slack": 50.0, "jira": 100.0, "sentry": 40.0}[vendor]
    assert a_minute <= most
    assert pace.seconds >= 3


@pytest.fixture(params=["app", "token"])
def poster(request: pytest.FixtureRequest, sandbox: Sandbox, http: httpx.AsyncClient) -> Poster:
    fields: dict[str, Any] = {
        "source": "github",
        "api_url": sandbox.api_url("github"),
        "webhook_secrets": ("env:A",),
    }
    if request.param == "token":
        settings = GitHubSettings(token="env:T", **fields)
        return CONNECTOR.poster(settings, token="ghp_invented", http=http, files={})
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )
    settings = GitHubSettings(app=AppSettings(id="Iv23example", private_key=KEY), **fields)
    return CONNECTOR.poster(settings, token=None, http=http, files={KEY: key.decode()})


def repository(sandbox: Sandbox) -> Repository:
    return sandbox.world.github.repos["acme/checkout"]


def head(sandbox: Sandbox) -> str:
    pull = repository(sandbox).issues[15].pull
    assert pull is not None
    return pull.head_sha


def shown(sandbox: Sandbox, sha: str) -> list[str]:
    """How each check of a commit stands: check runs as they are, of statuses the newest of each name."""
    place = repository(sandbox)
    runs = [
        str(one.fields.get("conclusion") or one.fields["status"])
        for one in place.check_runs
        if one.head_sha == sha
    ]
    newest = {one.context: one.state for one in place.statuses if one.sha == sha}
    return runs + list(newest.values())


async def test_a_check_goes_from_pending_to_its_end(sandbox: Sandbox, poster: Poster) -> None:
    sha = head(sandbox)
    first = await poster.show_check(CHECK, None)
    assert shown(sandbox, sha) in (["pending"], ["in_progress"])
    await poster.show_check(DONE, first)
    assert shown(sandbox, sha) == ["success"]


async def test_a_check_that_is_shown_again_is_one_check(sandbox: Sandbox, poster: Poster) -> None:
    for _ in range(2):
        await poster.show_check(CHECK, None)  # the receipt was lost
    await poster.show_check(DONE, None)
    await poster.show_check(DONE, None)
    place = repository(sandbox)
    assert shown(sandbox, head(sandbox)) == ["success"]
    assert len(place.check_runs) + len(place.statuses) == (1 if place.check_runs else 2)


async def test_the_end_shows_on_new_commits_and_where_it_began(sandbox: Sandbox, poster: Poster) -> None:
    before = head(sandbox)
    receipt = await poster.show_check(CHECK, None)
    after = sandbox.world.github.push("acme/checkout", "topic", message="More", files={"b.txt": "b\n"})
    assert head(sandbox) != before, after
    await poster.show_check(DONE, receipt)
    assert (shown(sandbox, before), shown(sandbox, head(sandbox))) == (["success"], ["success"])


async def test_a_check_is_shown_on_pull_requests_of_github_alone(
    sandbox: Sandbox, http: httpx.AsyncClient, poster: Poster
) -> None:
    with pytest.raises(PostRefusedError, match="is none"):
        await poster.show_check(replace(CHECK, pull="acme/checkout"), None)
    with pytest.raises(PostRefusedError, match="only github connections"):
        await place_at("slack", sandbox, http).poster.show_check(CHECK, None)
