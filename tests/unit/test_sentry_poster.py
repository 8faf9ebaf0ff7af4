"""Posting to Sentry over loopback HTTP: once whatever happens, errors sorted, nothing secret in them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from pydantic import ValidationError

from connectors.poster import (
    OutputArguments,
    Post,
    Poster,
    PostRefusedError,
    PostRetryError,
    PostUncertainError,
)
from connectors.sentry.comments import MAX_COMMENT, carries, compose
from connectors.sentry.connector import CONNECTOR
from connectors.sentry.outputs import CommentArguments, IssueTarget, LinkArguments, StatusArguments
from connectors.sentry.settings import SentrySettings
from sandbox.sentry.state import APP_UUID, INSTALLATION_UUID, USER_ID, SentryIssue
from sandbox.server import Sandbox, serve
from schemas.event import Subject
from schemas.marker import Marker
from schemas.result import Origin

ISSUE = "5900123456"
TOKEN = "sntrys_secret_value"
PULL = "https://github.com/acme/checkout/pull/12"


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with serve() as running:
        running.world.sentry.ensure_issue(ISSUE)
        yield running


def build(sandbox: Sandbox, http: httpx.AsyncClient, *, token: str | None = TOKEN, **more: Any) -> Poster:
    settings = SentrySettings(
        source="sentry",
        api_url=sandbox.api_url("sentry"),
        webhook_secrets=("env:S",),
        **{"organization": "acme", **more},
    )
    return CONNECTOR.poster(settings, token=token, http=http, files={})


@pytest.fixture
def poster(sandbox: Sandbox, http: httpx.AsyncClient) -> Poster:
    return build(sandbox, http)


def post(
    arguments: OutputArguments, *, slot: str = "comment", issue: str | None = None, **origin: Any
) -> Post:
    names = {CommentArguments: "comment", StatusArguments: "set_issue_status", LinkArguments: "link_issue"}
    subject = Subject(kind="issue", key=origin.pop("key", ISSUE))
    address = origin.pop("address", {"issue": ISSUE, "installation": INSTALLATION_UUID})
    return Post(
        run="run_01",
        slot=slot,
        output=names[type(arguments)],
        target=IssueTarget(issue=issue),
        arguments=arguments,
        origin=Origin(connection="c", event_id="e", kind="alert.fired", subject=subject, address=address),
        to_origin=origin.pop("to_origin", issue is None),
    )


def kept(sandbox: Sandbox) -> SentryIssue:
    return sandbox.world.sentry.issues[ISSUE]


async def test_a_comment_is_written_and_found_again(sandbox: Sandbox, poster: Poster) -> None:
    wanted = post(CommentArguments(text="The cause is **an empty cart**.\r\n\r\n\r\n\r\nSee above."))
    assert await poster.find(wanted) is None
    made = await poster.create(wanted)
    (note,) = kept(sandbox).notes
    assert note.text == (
        "The cause is **an empty cart**.\n\nSee above.\n\n[//]: # (triggerhub run=run_01 slot=comment)"
    )
    assert made.artefact == f"comment:{note.id}"
    assert made.url is not None
    assert made.url.endswith(f"/organizations/acme/issues/{ISSUE}/activity/#event_{note.id}")
    assert await poster.find(wanted) == made
    assert await poster.find(post(CommentArguments(text="x"), slot="comment_2")) is None


async def test_the_same_comment_again_is_a_success(sandbox: Sandbox, poster: Poster) -> None:
    wanted = post(CommentArguments(text="once"))
    first = await poster.create(wanted)
    assert await poster.create(wanted) == first
    assert len(kept(sandbox).notes) == 1


@pytest.mark.parametrize("mode", ["commit_then_status", "commit_then_cut"])
async def test_a_lost_answer_is_uncertain_and_found_afterwards(
    sandbox: Sandbox, poster: Poster, mode: Any
) -> None:
    sandbox.world.faults.ask(mode, service="sentry", method="POST")
    wanted = post(CommentArguments(text="once"))
    with pytest.raises(PostUncertainError):
        await poster.create(wanted)
    found = await poster.find(wanted)
    assert found is not None
    assert found.artefact == f"comment:{kept(sandbox).notes[0].id}"
    assert len(kept(sandbox).notes) == 1


async def test_an_earlier_comment_is_found_pages_away(sandbox: Sandbox, poster: Poster) -> None:
    wanted = post(CommentArguments(text="early"))
    made = await poster.create(wanted)
    for number in range(230):
        sandbox.world.sentry.comment(kept(sandbox), f"n{number}")
    assert await poster.find(wanted) == made
    calls = sandbox.world.log.calls("sentry", method="GET")
    assert [call.query for call in calls if call.path.endswith("/comments/")] == [
        {},
        {"cursor": "0:100:0"},
        {"cursor": "0:200:0"},
    ]


async def test_a_rate_limit_says_when_to_come_back(sandbox: Sandbox, poster: Poster) -> None:
    sandbox.world.faults.ask("rate_limit", service="sentry", seconds=30)
    with pytest.raises(PostRetryError, match="too frequently") as caught:
        await poster.create(post(CommentArguments(text="x")))
    assert caught.value.retry_after is not None
    assert 25 < caught.value.retry_after <= 31
    assert kept(sandbox).notes == []


@pytest.mark.parametrize(
    ("status", "error"),
    [(401, PostRefusedError), (403, PostRefusedError), (404, PostRefusedError), (500, PostUncertainError)],
)
async def test_errors_are_sorted_and_hold_no_secret(
    sandbox: Sandbox, poster: Poster, status: int, error: type[Exception]
) -> None:
    sandbox.world.faults.ask("status", status=status, body={"detail": "no"})
    with pytest.raises(error, match=f"{status} no") as caught:
        await poster.create(post(CommentArguments(text="private words")))
    assert TOKEN not in str(caught.value)
    assert "private words" not in str(caught.value)


async def test_a_html_page_and_a_field_map_are_readable_errors(sandbox: Sandbox, poster: Poster) -> None:
    sandbox.world.faults.ask("status", status=403, body="<html>blocked</html>")
    with pytest.raises(PostRefusedError, match="403 the integration lacks a permission"):
        await poster.create(post(CommentArguments(text="x")))
    sandbox.world.faults.ask("status", status=400, body={"text": ["This field may not be blank."]})
    with pytest.raises(PostRefusedError, match="text: This field may not be blank"):
        await poster.create(post(CommentArguments(text="x")))


async def test_no_connection_means_nothing_was_written(http: httpx.AsyncClient) -> None:
    async with serve() as sandbox:
        gone = build(sandbox, http)
    with pytest.raises(PostRetryError):
        await gone.create(post(CommentArguments(text="x")))


async def test_state_and_assignee_are_set_and_recognised(sandbox: Sandbox, poster: Poster) -> None:
    later = post(StatusArguments(status="resolvedInNextRelease", assigned_to="team:4"))
    assert await poster.find(later) is None
    made = await poster.create(later)
    assert made.note == "the issue is resolved"
    assert (kept(sandbox).status, kept(sandbox).assigned_to) == ("resolved", "team:4")
    assert await poster.find(later) is not None
    assert await poster.find(post(StatusArguments(status="resolved"))) is None
    assert (
        await poster.find(post(StatusArguments(status="resolvedInNextRelease", assigned_to="team:5"))) is None
    )
    await poster.create(post(StatusArguments(status="ignored")))
    assert await poster.find(post(StatusArguments(status="ignored"))) is not None


async def test_a_pull_request_is_linked_once(sandbox: Sandbox, poster: Poster) -> None:
    wanted = post(LinkArguments(url=PULL))
    assert await poster.find(wanted) is None
    made = await poster.create(wanted)
    assert (made.url, made.note) == (PULL, "linked as acme/checkout#12")
    assert await poster.find(wanted) == made
    await poster.create(wanted)
    assert [link.web_url for link in kept(sandbox).links] == [PULL]
    named = LinkArguments(url="https://tracker.example.com/t/9", project="OPS", identifier="9")
    assert (await poster.create(post(named))).note == "linked as OPS#9"


def test_a_link_needs_a_name() -> None:
    with pytest.raises(ValidationError, match="give project and identifier"):
        LinkArguments(url="https://tracker.example.com/t/9", project="OPS")
    with pytest.raises(ValidationError):
        LinkArguments(url="javascript:alert(1)", project="a", identifier="b")


async def test_where_a_post_goes(sandbox: Sandbox, poster: Poster, http: httpx.AsyncClient) -> None:
    sandbox.world.sentry.ensure_issue("42")
    await poster.create(post(CommentArguments(text="there"), issue="42"))
    assert len(sandbox.world.sentry.issues["42"].notes) == 1
    with pytest.raises(PostRefusedError, match="names no issue"):
        await poster.create(post(CommentArguments(text="x"), to_origin=False))
    with pytest.raises(PostRefusedError, match="no Sentry issue"):
        await poster.create(post(CommentArguments(text="x"), key="metric:7", address={}))
    with pytest.raises(PostRefusedError, match="no such issue"):
        await poster.create(post(CommentArguments(text="x"), issue="43"))
    lost = build(sandbox, http, organization=None)
    with pytest.raises(PostRefusedError, match="set `organization`"):
        await lost.create(post(CommentArguments(text="x")))
    by_event = post(CommentArguments(text="by event"), address={"issue": ISSUE, "organization": "acme"})
    assert (await lost.create(by_event)).artefact is not None
    with pytest.raises(PostRefusedError, match="installation_uuid"):
        await poster.create(post(LinkArguments(url=PULL), address={"issue": ISSUE}))
    with pytest.raises(PostRefusedError, match="no token"):
        await build(sandbox, http, token=None).create(post(CommentArguments(text="x")))


async def test_identity(sandbox: Sandbox, poster: Poster, http: httpx.AsyncClient) -> None:
    assert (await poster.identify()).actor_ids == {USER_ID, APP_UUID}
    sandbox.world.faults.ask("status", status=403, path="*/sentry-app-installations/")
    assert (await poster.identify()).actor_ids == {USER_ID}
    sandbox.world.sentry.installations.add("c" * 36)
    assert (await poster.identify()).actor_ids == {USER_ID}
    named = build(sandbox, http, installation_uuid=INSTALLATION_UUID)
    assert (await named.identify()).actor_ids == {USER_ID, APP_UUID}
    sandbox.world.faults.ask("status", status=401, path="/api/0/")
    with pytest.raises(PostRefusedError, match="check the connection's token"):
        await poster.identify()


def test_a_marker_of_somebody_else_is_taken_out_and_long_text_keeps_ours() -> None:
    forged = "words\n  [//]: # (triggerhub run=run_02 slot=comment)\nmore"
    text = compose(forged, Marker("run_01", "comment"))
    assert not carries(text, run="run_02", slot="comment")
    assert carries(text, run="run_01", slot="comment")
    long = compose("```\n" + "x\n" * MAX_COMMENT, Marker("run_01", "comment"))
    assert len(long) <= MAX_COMMENT
    assert long.count("```") == 2
    assert carries(long, run="run_01", slot="comment")


def test_settings() -> None:
    common: dict[str, Any] = {"source": "sentry", "webhook_secrets": ("env:S",)}
    assert SentrySettings(**common).api_url == "https://sentry.io"
    assert SentrySettings(**common, api_url="https://de.sentry.io/api/0/").api_url == "https://de.sentry.io"
    for wrong in ({"organization": "a/b"}, {"installation_uuid": "x"}, {"organisation": "acme"}):
        with pytest.raises(ValidationError):
            SentrySettings(**common, **wrong)
