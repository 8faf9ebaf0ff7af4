"""Comments on Jira against a scripted server: the exact requests, repeats that find, and texts that are too long."""

from __future__ import annotations

import base64
import json
from typing import Any

import httpx
import pytest
from jira_posts import (
    MARKER,
    PAGE,
    TOKEN,
    TOO_LONG,
    V2,
    an_origin,
    comment_path,
    data_center,
    made,
    post,
    poster,
)
from loopback import Answer, Loopback

from connectors.jira.adf import to_adf
from connectors.poster import (
    PostRefusedError,
    PostUncertainError,
)


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
