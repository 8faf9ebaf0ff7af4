"""Posting to Jira against a scripted server: transitions, links and labels, each class of error, and where it may go."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from jira_posts import (
    PAGE,
    TOKEN,
    V2,
    V3,
    an_origin,
    comment_path,
    data_center,
    post,
    poster,
)
from loopback import Answer, Loopback

from connectors.poster import (
    PostError,
    PostRefusedError,
    PostRetryError,
    PostUncertainError,
)
from schemas.event import Subject

TRANSITIONS = {
    "transitions": [
        {
            "id": "11",
            "name": "Start",
            "to": {"name": "In Arbeit", "statusCategory": {"key": "indeterminate"}},
        },
        {"id": "31", "name": "Finish", "to": {"name": "Erledigt", "statusCategory": {"key": "done"}}},
        {"id": "41", "name": "Reject", "to": {"name": "Verworfen", "statusCategory": {"key": "done"}}},
    ]
}


def standing(name: str, category: str) -> Answer:
    return Answer(
        200, {"key": "SHOP-17", "fields": {"status": {"name": name, "statusCategory": {"key": category}}}}
    )


@pytest.mark.parametrize(
    ("arguments", "target", "identifier"),
    [
        ({"status": "erledigt"}, {}, "31"),
        ({"status": "Reject"}, {}, "41"),
        ({}, {"status": "Verworfen"}, "41"),
        ({}, {"category": "done"}, "31"),
        ({}, {"category": "in_progress"}, "11"),
        ({"status": "Verworfen"}, {"category": "done"}, "41"),
        ({"status": "In Arbeit"}, {"status": "in arbeit"}, "11"),
    ],
)
async def test_transition(
    server: Loopback,
    http: httpx.AsyncClient,
    arguments: dict[str, Any],
    target: dict[str, Any],
    identifier: str,
) -> None:
    server.on("GET", f"{V3}/issue/SHOP-17", standing("Offen", "new"))
    server.on("GET", f"{V3}/issue/SHOP-17/transitions", Answer(200, TRANSITIONS))
    server.on("POST", f"{V3}/issue/SHOP-17/transitions", Answer(204))
    receipt = await poster(server, http).create(post("transition", arguments, target))
    assert [call.json() for call in server.seen("POST")] == [{"transition": {"id": identifier}}]
    assert server.calls[0].query == {"fields": "status"}
    assert receipt.url == PAGE
    assert "moved" in receipt.note


async def test_transition_to_where_it_stands_is_success(server: Loopback, http: httpx.AsyncClient) -> None:
    server.on("GET", f"{V3}/issue/SHOP-17", standing("Erledigt", "done"))
    ours = poster(server, http)
    for what in (post("transition", {}, {"category": "done"}), post("transition", {"status": "ERLEDIGT"})):
        for receipt in (await ours.create(what), await ours.find(what)):
            assert receipt is not None
            assert "already" in receipt.note
    assert await ours.find(post("transition", {"status": "Offen"})) is None
    assert not server.seen("POST")


async def test_transition_needs_no_right_to_read_the_issue(server: Loopback, http: httpx.AsyncClient) -> None:
    server.on("GET", f"{V3}/issue/SHOP-17/transitions", Answer(200, TRANSITIONS))
    server.on("POST", f"{V3}/issue/SHOP-17/transitions", Answer(204))
    await poster(server, http).create(post("transition", {"status": "Erledigt"}))
    assert len(server.seen("POST")) == 1


@pytest.mark.parametrize(
    ("arguments", "target", "told"),
    [
        ({"status": "Nirgends"}, {}, "'In Arbeit', 'Erledigt', 'Verworfen'"),
        ({"status": "Verworfen"}, {"status": "Erledigt"}, "only"),
        ({"status": "In Arbeit"}, {"category": "done"}, "no transition"),
        ({}, {}, "neither"),
    ],
)
async def test_transition_refused(
    server: Loopback, http: httpx.AsyncClient, arguments: dict[str, Any], target: dict[str, Any], told: str
) -> None:
    server.on("GET", f"{V3}/issue/SHOP-17", standing("Offen", "new"))
    server.on("GET", f"{V3}/issue/SHOP-17/transitions", Answer(200, TRANSITIONS))
    with pytest.raises(PostRefusedError, match=told):
        await poster(server, http).create(post("transition", arguments, target))
    assert not server.seen("POST")


async def test_transition_with_a_screen_tells_the_fields(server: Loopback, http: httpx.AsyncClient) -> None:
    server.on("GET", f"{V3}/issue/SHOP-17", standing("Offen", "new"))
    server.on("GET", f"{V3}/issue/SHOP-17/transitions", Answer(200, TRANSITIONS))
    answer = {"errorMessages": ["Not done."], "errors": {"resolution": "Resolution is required."}}
    server.on("POST", f"{V3}/issue/SHOP-17/transitions", Answer(400, answer))
    with pytest.raises(PostRefusedError, match=r"400 Not done\.; resolution: Resolution is required\."):
        await poster(server, http).create(post("transition", {"status": "Erledigt"}))


async def test_remote_link(server: Loopback, http: httpx.AsyncClient) -> None:
    path = f"{V3}/issue/SHOP-17/remotelink"
    server.on("POST", path, Answer(201, {"id": 10000}), Answer(200, {"id": 10000}))
    url = "https://github.com/acme/checkout/pull/7"
    what = post("add_remote_link", {"url": url, "title": "acme/checkout#7", "relationship": "fixed by"})
    ours = poster(server, http)
    assert await ours.find(what) is None
    first, second = await ours.create(what), await ours.create(what)
    assert server.calls[0].json() == {
        "globalId": f"triggerhub:{url}",
        "relationship": "fixed by",
        "object": {"url": url, "title": "acme/checkout#7", "status": {"resolved": False}},
    }
    assert server.calls[0].json() == server.calls[1].json()
    assert first.artefact == second.artefact == "remotelink:10000"
    assert ("made" in first.note, "updated" in second.note) == (True, True)


async def test_long_address_of_a_remote_link_still_has_an_identity(
    server: Loopback, http: httpx.AsyncClient
) -> None:
    server.on("POST", f"{V3}/issue/SHOP-17/remotelink", Answer(201, {"id": 1}))
    for last in "ab":
        url = "https://example.com/" + "x" * 400 + last
        await poster(server, http).create(post("add_remote_link", {"url": url, "title": "t", "summary": "s"}))
    identities = [call.json()["globalId"] for call in server.calls]
    assert len(set(identities)) == 2
    assert all(len(identity) <= 255 for identity in identities)


@pytest.mark.parametrize(("output", "verb"), [("add_label", "add"), ("remove_label", "remove")])
async def test_labels(server: Loopback, http: httpx.AsyncClient, output: str, verb: str) -> None:
    server.on("PUT", f"{V3}/issue/SHOP-17", Answer(204))
    ours = poster(server, http)
    for arguments, target in (({"label": "agent-done"}, {}), ({}, {"label": "agent-done"})):
        what = post(output, arguments, target)
        assert await ours.find(what) is None
        receipt = await ours.create(what)
        assert "agent-done" in receipt.note
    assert [call.json() for call in server.calls] == [{"update": {"labels": [{verb: "agent-done"}]}}] * 2
    for arguments, target in (({"label": "other"}, {"label": "agent-done"}), ({}, {})):
        with pytest.raises(PostRefusedError, match="label"):
            await ours.create(post(output, arguments, target))


@pytest.mark.parametrize(
    ("answer", "error", "told"),
    [
        (
            Answer(400, {"errorMessages": ["Bad."], "errors": {"comment": "Nope."}}),
            PostRefusedError,
            "Bad.; comment: Nope",
        ),
        (
            Answer(401, body=b"<html>x</html>", headers={"content-type": "text/html"}),
            PostRefusedError,
            "HTML page.*token",
        ),
        (Answer(401, {"code": 401, "message": "Unauthorized"}), PostRefusedError, "Unauthorized.*token"),
        (
            Answer(403, {}, headers={"x-seraph-loginreason": "AUTHENTICATION_DENIED"}),
            PostRefusedError,
            "captcha",
        ),
        (Answer(404, {"errorMessages": ["Issue does not exist."]}), PostRefusedError, "exist.*may not see"),
        (Answer(302, headers={"location": "/login"}), PostRefusedError, "302.*api_url"),
        (Answer(413), PostRefusedError, "413"),
        (Answer(409), PostRetryError, "409"),
        (Answer(429, {"errorMessages": ["Slow."]}), PostRetryError, "429"),
        (Answer(503, headers={"retry-after": "7"}), PostRetryError, "503"),
        (
            Answer(503, body=b"<html></html>", headers={"content-type": "text/html"}),
            PostUncertainError,
            "HTML",
        ),
        (Answer(500), PostUncertainError, "500"),
        (Answer(504), PostUncertainError, "504"),
        (
            Answer(200, body=b"<html></html>", headers={"content-type": "text/html"}),
            PostUncertainError,
            "without a JSON",
        ),
        (Answer(201, {}), PostUncertainError, "names no comment"),
        (Answer(201, cut=True), PostUncertainError, "lost"),
    ],
)
async def test_errors_of_writing(
    server: Loopback, http: httpx.AsyncClient, answer: Answer, error: type[PostError], told: str
) -> None:
    server.on("POST", comment_path(), answer)
    with pytest.raises(error, match=told) as caught:
        await poster(server, http).create(post("comment", {"text": "secret words"}))
    assert type(caught.value) is error or issubclass(type(caught.value), error)
    shown = str(caught.value)
    assert TOKEN not in shown
    assert "secret words" not in shown
    assert len(server.calls) == 1


async def test_waiting_times(server: Loopback, http: httpx.AsyncClient) -> None:
    later = (datetime.now(tz=UTC) + timedelta(seconds=90)).isoformat(timespec="seconds")
    reason = {"ratelimit-reason": "jira-per-issue-on-write"}
    for headers, low, high in (
        ({"retry-after": "12"}, 12, 12),
        ({"x-ratelimit-reset": later}, 80, 91),
        ({"x-ratelimit-reset": later.replace("+00:00", "Z"), "retry-after": "3"}, 3, 3),
        ({"x-ratelimit-reset": later.replace("+00:00", "Z")}, 80, 91),
    ):
        server.on("POST", comment_path(), Answer(429, headers={**headers, **reason}))
        with pytest.raises(PostRetryError, match="jira-per-issue-on-write") as caught:
            await poster(server, http).create(post("comment", {"text": "x"}))
        assert caught.value.retry_after is not None
        assert low <= caught.value.retry_after <= high
    server.on("POST", comment_path(), Answer(429, headers={"x-ratelimit-reset": "soon"}))
    with pytest.raises(PostRetryError) as vague:
        await poster(server, http).create(post("comment", {"text": "x"}))
    assert vague.value.retry_after is None


@pytest.mark.parametrize(
    "answer", [Answer(500), Answer(200, cut=True), Answer(200, body=b"<html>"), Answer(429)]
)
async def test_reading_in_vain_wrote_nothing(
    server: Loopback, http: httpx.AsyncClient, answer: Answer
) -> None:
    server.on("GET", comment_path(), answer)
    with pytest.raises(PostRetryError):
        await poster(server, http).find(post("comment", {"text": "x"}))


async def test_no_connection_wrote_nothing(http: httpx.AsyncClient) -> None:
    nowhere = Loopback()
    nowhere.url = "http://127.0.0.1:1"
    with pytest.raises(PostRetryError, match="no connection"):
        await poster(nowhere, http).create(post("comment", {"text": "x"}))


async def test_no_token_is_said(server: Loopback, http: httpx.AsyncClient) -> None:
    with pytest.raises(PostRefusedError, match="token"):
        await poster(server, http, token=None).create(post("comment", {"text": "x"}))
    assert not server.calls


@pytest.mark.parametrize(
    "subject",
    [
        Subject(kind="sprint", key="sprint/12"),
        Subject(kind="issue", key="../myself"),
        Subject(kind="issue", key="SHOP-1?x"),
        Subject(kind="thread", key="T1/C1/1700000000.1"),
    ],
)
async def test_origin_that_is_no_issue(server: Loopback, http: httpx.AsyncClient, subject: Subject) -> None:
    with pytest.raises(PostRefusedError, match="no Jira issue"):
        await poster(server, http).create(post("comment", {"text": "x"}, origin=an_origin(subject=subject)))
    assert not server.calls


async def test_rule_that_names_no_issue(server: Loopback, http: httpx.AsyncClient) -> None:
    what = replace(post("comment", {"text": "x"}), to_origin=False)
    with pytest.raises(PostRefusedError, match="names no issue"):
        await poster(server, http).create(what)
    with pytest.raises(PostRefusedError, match="no output 'shout'"):
        await poster(server, http).create(replace(what, output="shout"))
    assert not server.calls


async def test_who_we_are(server: Loopback, http: httpx.AsyncClient) -> None:
    server.on("GET", f"{V3}/myself", Answer(200, {"accountId": "712020:b07", "accountType": "atlassian"}))
    cloud = await poster(server, http, self_ids=("app-1",), self_logins=("Robot",)).identify()
    assert cloud.actor_ids == {"712020:b07", "app-1"}
    assert cloud.logins == {"robot"}
    server.on("GET", f"{V2}/myself", Answer(200, {"key": "JIRAUSER10200", "name": "Fixer"}))
    center = await data_center(server, http).identify()
    assert center.actor_ids == {"JIRAUSER10200", "Fixer"}
    assert center.logins == {"fixer"}
    server.on("GET", f"{V3}/myself", Answer(200, {}))
    with pytest.raises(PostRefusedError, match="no account"):
        await poster(server, http).identify()
    server.on("GET", f"{V3}/myself", Answer(401, {"errorMessages": []}))
    with pytest.raises(PostRefusedError, match="token"):
        await poster(server, http).identify()
