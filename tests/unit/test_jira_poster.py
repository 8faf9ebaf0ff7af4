"""Posting to Jira against a scripted server: the exact requests, each class of error, repeats that find."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from loopback import Answer, Loopback, loopback

from connectors.jira.adf import to_adf
from connectors.jira.connector import CONNECTOR
from connectors.jira.outputs import OUTPUTS
from connectors.jira.settings import JiraSettings
from connectors.poster import (
    OutputArguments,
    OutputTarget,
    Post,
    Poster,
    PostError,
    PostRefusedError,
    PostRetryError,
    PostUncertainError,
)
from schemas.event import Subject
from schemas.result import Origin

V3 = "/rest/api/3"
V2 = "/rest/api/2"
TOKEN = "an-invented-api-token"
TOO_LONG = {
    "errorMessages": [],
    "errors": {"comment": "The entered text is too long. It exceeds the allowed limit of 32,767 characters."},
}
PAGE = "https://acme.atlassian.net/browse/SHOP-17"


@pytest.fixture
def server() -> Iterator[Loopback]:
    with loopback() as running:
        yield running


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient() as client:
        yield client


def poster(server: Loopback, http: httpx.AsyncClient, *, token: str | None = TOKEN, **more: Any) -> Poster:
    given = {"email": "bot@acme.example", **more}
    configured = JiraSettings.model_validate(
        {
            "api_url": server.url,
            "webhook_secrets": ["env:X"],
            **{k: v for k, v in given.items() if v is not None},
        }
    )
    return CONNECTOR.poster(configured, token=token, http=http, files={})


def data_center(server: Loopback, http: httpx.AsyncClient) -> Poster:
    return poster(server, http, email=None, deployment="datacenter")


def post(
    output: str,
    arguments: dict[str, Any],
    target: dict[str, Any] | None = None,
    *,
    origin: Origin | None = None,
    slot: str = "comment.1",
) -> Post:
    spec = OUTPUTS[output]
    made_target: OutputTarget = spec.target.model_validate(target or {})
    made_arguments: OutputArguments = spec.arguments.model_validate(arguments)
    return Post(
        run="run_01",
        slot=slot,
        output=output,
        target=made_target,
        arguments=made_arguments,
        origin=origin or an_origin(),
        to_origin=target is None or "issue" not in target,
    )


def an_origin(**more: Any) -> Origin:
    fields: dict[str, Any] = {
        "connection": "acme-jira",
        "event_id": "evt_1",
        "kind": "comment.created",
        "subject": Subject(kind="issue", key="SHOP-17", url=PAGE),
    }
    return Origin(**{**fields, **more})


def comment_path(version: str = V3, key: str = "SHOP-17") -> str:
    return f"{version}/issue/{key}/comment"


def made(number: str = "30002") -> Answer:
    return Answer(
        201, {"id": number, "self": f"https://acme.atlassian.net/rest/api/3/issue/10231/comment/{number}"}
    )


MARKER = {"key": "triggerhub.marker", "value": {"run": "run_01", "slot": "comment.1"}}


async def test_comment_on_cloud(server: Loopback, http: httpx.AsyncClient) -> None:
    server.on("POST", comment_path(), made())
    receipt = await poster(server, http).create(post("comment", {"text": "Done: **all** of it."}))
    (call,) = server.calls
    assert call.json() == {"body": to_adf("Done: **all** of it."), "properties": [MARKER]}
    basic = base64.b64encode(f"bot@acme.example:{TOKEN}".encode()).decode()
    assert call.headers["authorization"] == f"Basic {basic}"
    assert call.headers["accept"] == "application/json"
    assert call.headers["user-agent"] == "triggerhub"
    assert receipt.artefact == "comment:30002"
    assert receipt.url == f"{PAGE}?focusedCommentId=30002#comment-30002"


async def test_comment_on_data_center(server: Loopback, http: httpx.AsyncClient) -> None:
    server.on("POST", comment_path(V2, "OPS-8"), made("52009"))
    receipt = await data_center(server, http).create(
        post("comment", {"text": "**Fixed** for [~lin]"}, {"issue": "OPS-8"})
    )
    (call,) = server.calls
    assert call.json() == {"body": "*Fixed* for \\[\\~lin\\]\n\n{anchor:triggerhub.run_01.comment.1}"}
    assert call.headers["authorization"] == f"Bearer {TOKEN}"
    assert receipt.url == f"{server.url}/browse/OPS-8?focusedCommentId=52009#comment-52009"


async def test_gateway_of_scoped_tokens(server: Loopback, http: httpx.AsyncClient) -> None:
    server.on("POST", f"/ex/jira/11111111-aaaa{comment_path(key='SHOP-1')}", made())
    through = poster(
        server, http, email=None, cloud_id="11111111-aaaa", site_url="https://acme.atlassian.net/"
    )
    receipt = await through.create(post("comment", {"text": "x"}, {"issue": "SHOP-1"}))
    assert server.calls[0].headers["authorization"] == f"Bearer {TOKEN}"
    assert receipt.url == "https://acme.atlassian.net/browse/SHOP-1?focusedCommentId=30002#comment-30002"


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        (
            {"visibility_type": "role", "visibility_value": "Administrators"},
            {"visibility": {"type": "role", "value": "Administrators"}},
        ),
        (
            {"visibility_type": "group", "visibility_value": "staff", "visibility_identifier": "0000-1"},
            {"visibility": {"type": "group", "identifier": "0000-1"}},
        ),
        (
            {"internal": "true"},
            {"properties": [MARKER, {"key": "sd.public.comment", "value": {"internal": True}}]},
        ),
        ({}, {}),
    ],
)
async def test_an_answer_is_as_restricted_as_the_question(
    server: Loopback, http: httpx.AsyncClient, address: dict[str, str], expected: dict[str, Any]
) -> None:
    server.on("POST", comment_path(), made())
    origin = an_origin(visibility="restricted", address=address)
    await poster(server, http).create(post("comment", {"text": "x"}, origin=origin))
    assert server.calls[0].json() == {"body": to_adf("x"), "properties": [MARKER], **expected}


async def test_find_by_property_over_pages(server: Loopback, http: httpx.AsyncClient) -> None:
    def page(call: Any) -> Answer:
        start = int(call.query["startAt"])
        comments: list[dict[str, Any]] = [
            {
                "id": str(start + n),
                "properties": [{**MARKER, "value": {"run": "run_00", "slot": "comment.1"}}],
            }
            for n in range(100)
        ]
        if start == 100:
            comments[7] = {"id": "7777", "properties": [{"key": "other", "value": 1}, MARKER]}
        return Answer(200, {"startAt": start, "maxResults": 100, "total": 250, "comments": comments})

    server.on("GET", comment_path(), page)
    receipt = await poster(server, http).find(post("comment", {"text": "x"}))
    assert receipt is not None
    assert receipt.artefact == "comment:7777"
    assert [call.query["startAt"] for call in server.calls] == ["0", "100"]
    assert server.calls[0].query == {
        "expand": "properties", "orderBy": "-created", "startAt": "0", "maxResults": "100",
    }  # fmt: skip
    assert not server.seen("POST")


async def test_find_needs_run_and_slot_and_never_the_text(server: Loopback, http: httpx.AsyncClient) -> None:
    comments = [
        {"id": "1", "body": to_adf("x")},
        {
            "id": "2",
            "properties": [{"key": "triggerhub.marker", "value": {"run": "run_01", "slot": "comment.2"}}],
        },
        {"id": "3", "properties": {"triggerhub.marker": MARKER["value"]}},
        "damaged",
    ]
    server.on("GET", comment_path(), Answer(200, {"total": 4, "comments": comments}))
    assert await poster(server, http).find(post("comment", {"text": "x"})) is None


async def test_find_by_anchor_on_data_center(server: Loopback, http: httpx.AsyncClient) -> None:
    body = "x\n\n{anchor:triggerhub.run_01.comment.1}"
    comments = [{"id": "1", "body": body.replace("comment.1", "comment.10")}, {"id": "2", "body": body}]
    server.on("GET", comment_path(V2), Answer(200, {"total": 2, "comments": comments}))
    receipt = await data_center(server, http).find(post("comment", {"text": "x"}))
    assert receipt is not None
    assert receipt.artefact == "comment:2"


async def test_what_create_wrote_find_finds(server: Loopback, http: httpx.AsyncClient) -> None:
    """The answer is lost after the comment was stored; the next attempt finds it and writes nothing."""
    stored: list[dict[str, Any]] = []

    def store(call: Any) -> Answer:
        stored.append({"id": "30002", **call.json()})
        return Answer(201, cut=True)

    server.on("POST", comment_path(), store)
    server.on("GET", comment_path(), lambda _: Answer(200, {"total": len(stored), "comments": stored}))
    ours, what = poster(server, http), post("comment", {"text": "x"})
    with pytest.raises(PostUncertainError):
        await ours.create(what)
    receipt = await ours.find(what)
    assert receipt is not None
    assert receipt.artefact == "comment:30002"
    assert len(server.seen("POST")) == 1


async def test_long_text_is_cut_before_it_is_sent(server: Loopback, http: httpx.AsyncClient) -> None:
    server.on("POST", comment_path(), made())
    receipt = await poster(server, http).create(post("comment", {"text": "```\n" + "word " * 20_000}))
    (block, note) = server.calls[0].json()["body"]["content"]
    assert block["type"] == "codeBlock"
    assert note["content"][0]["text"] == "… (shortened)"
    assert 29_000 < len(block["content"][0]["text"]) < 30_000
    assert "shortened" in receipt.note


async def test_too_long_all_the_same_is_tried_once_shorter(server: Loopback, http: httpx.AsyncClient) -> None:
    server.on("POST", comment_path(), Answer(400, TOO_LONG), made())
    receipt = await poster(server, http).create(post("comment", {"text": "- **a**\n" * 3_000}))
    first, second = (call.json() for call in server.seen("POST"))
    assert len(json.dumps(second["body"])) < 30_000 < len(json.dumps(first["body"]))
    assert second["properties"] == [MARKER]
    assert "shortened" in receipt.note


async def test_too_long_twice_is_refused(server: Loopback, http: httpx.AsyncClient) -> None:
    server.on("POST", comment_path(), Answer(400, TOO_LONG))
    with pytest.raises(PostRefusedError, match="too long"):
        await poster(server, http).create(post("comment", {"text": "x" * 40_000}))
    assert len(server.seen("POST")) == 2


async def test_wiki_text_stays_under_the_limit_with_its_anchor(
    server: Loopback, http: httpx.AsyncClient
) -> None:
    server.on("POST", comment_path(V2), made())
    await data_center(server, http).create(post("comment", {"text": "[~_*" * 10_000}))
    body = server.calls[0].json()["body"]
    assert len(body) <= 30_000
    assert body.endswith("{anchor:triggerhub.run_01.comment.1}")


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
