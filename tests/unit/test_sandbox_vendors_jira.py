"""The emulated Jira over loopback HTTP: ADF checked, upserts, transitions, error bodies."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from sandbox.jira import adf
from sandbox.jira.state import ACCOUNT_ID
from sandbox.server import Sandbox, serve

AUTH = {"authorization": "Basic Ym90QGFjbWUuZXhhbXBsZTp4"}


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with serve() as running:
        running.world.jira.ensure_issue("SHOP-7", summary="Cart is empty")
        yield running


@pytest.fixture
async def jira(sandbox: Sandbox) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=f"{sandbox.api_url('jira')}/rest/api/3", headers=AUTH) as client:
        yield client


def text(words: str, *marks: dict[str, Any]) -> dict[str, Any]:
    return {"type": "text", "text": words, **({"marks": list(marks)} if marks else {})}


def doc(*content: dict[str, Any]) -> dict[str, Any]:
    return {"version": 1, "type": "doc", "content": list(content)}


def paragraph(*content: dict[str, Any]) -> dict[str, Any]:
    return {"type": "paragraph", "content": list(content)}


async def test_identity_and_missing_credentials(jira: httpx.AsyncClient) -> None:
    assert (await jira.get("/myself")).json()["accountId"] == ACCOUNT_ID
    refused = await jira.get("/myself", headers={"authorization": ""})
    assert (refused.status_code, refused.json()["errors"]) == (401, {})
    missing = await jira.get("/issue/SHOP-8")
    words = "Issue does not exist or you do not have permission to see it."
    assert (missing.status_code, missing.json()["errorMessages"]) == (404, [words])


async def test_comments_keep_properties_and_are_listed_in_pages(jira: httpx.AsyncClient) -> None:
    for number in range(3):
        value = {"run": "r", "slot": str(number)}
        body = {
            "body": doc(paragraph(text(f"n{number}"))),
            "properties": [{"key": "triggerhub", "value": value}],
        }
        assert (await jira.post("/issue/SHOP-7/comment", json=body)).status_code == 201
    params: dict[str, str] = {"expand": "properties", "orderBy": "-created", "maxResults": "2"}
    first = (await jira.get("/issue/SHOP-7/comment", params=params)).json()
    assert (first["total"], first["startAt"], first["maxResults"]) == (3, 0, 2)
    assert [item["properties"][0]["value"]["slot"] for item in first["comments"]] == ["2", "1"]
    rest = (await jira.get("/issue/SHOP-7/comment", params={**params, "startAt": "2"})).json()
    assert [item["properties"][0]["value"]["slot"] for item in rest["comments"]] == ["0"]
    bare = (await jira.get("/issue/SHOP-7/comment")).json()["comments"]
    assert "properties" not in bare[0]


@pytest.mark.parametrize(
    "body",
    [
        "a string is wiki markup, which is API v2",
        {"type": "doc", "content": []},
        doc(paragraph(text(""))),
        doc({"type": "marquee", "content": []}),
        doc(text("no paragraph around it")),
        doc(paragraph(text("x", {"type": "code"}, {"type": "strong"}))),
        doc(paragraph(text("x", {"type": "link"}))),
        doc(paragraph(text("x", {"type": "blink"}))),
        doc({"type": "bulletList", "content": []}),
        doc({"type": "heading", "attrs": {"level": 7}, "content": [text("x")]}),
        doc({"type": "codeBlock", "content": [text("x", {"type": "strong"})]}),
        doc({"type": "paragraph", "content": [text("x")], "style": "bold"}),
        doc(),
    ],
)
async def test_documents_that_jira_refuses(jira: httpx.AsyncClient, sandbox: Sandbox, body: object) -> None:
    answer = await jira.post("/issue/SHOP-7/comment", json={"body": body})
    assert answer.status_code == 400
    assert "comment" in answer.json()["errors"]
    assert sandbox.world.jira.issues["SHOP-7"].comments == []


def test_a_rich_document_is_good() -> None:
    item = {"type": "listItem", "content": [paragraph(text("one", {"type": "strong"}))]}
    cell = {"type": "tableCell", "attrs": {}, "content": [paragraph(text("c"))]}
    good = doc(
        {"type": "heading", "attrs": {"level": 2}, "content": [text("Title")]},
        paragraph(text("x", {"type": "code"}, {"type": "link", "attrs": {"href": "https://example.com"}})),
        {"type": "bulletList", "content": [item]},
        {"type": "codeBlock", "attrs": {"language": "python"}, "content": [text("1")]},
        {"type": "panel", "attrs": {"panelType": "info"}, "content": [paragraph(text("note"))]},
        {"type": "table", "content": [{"type": "tableRow", "content": [cell]}]},
        {"type": "rule"},
        paragraph({"type": "mention", "attrs": {"id": "712020:1"}}, {"type": "hardBreak"}),
    )
    assert adf.problems(good) == []


async def test_too_long_is_400_in_jiras_words(jira: httpx.AsyncClient) -> None:
    answer = await jira.post("/issue/SHOP-7/comment", json={"body": doc(paragraph(text("x" * 32_767)))})
    assert answer.status_code == 400
    assert answer.json()["errors"]["comment"].startswith("The entered text is too long.")
    fits = await jira.post("/issue/SHOP-7/comment", json={"body": doc(paragraph(text("x" * 30_000)))})
    assert fits.status_code == 201


async def test_api_v2_takes_wiki_markup(jira: httpx.AsyncClient, sandbox: Sandbox) -> None:
    url = f"{sandbox.api_url('jira')}/rest/api/2/issue/SHOP-7/comment"
    assert (await jira.post(url, json={"body": "h1. *Hello*"})).status_code == 201
    assert (await jira.post(url, json={"body": doc(paragraph(text("x")))})).status_code == 400


async def test_transitions_move_the_issue_and_drop_out_of_the_list(jira: httpx.AsyncClient) -> None:
    offered = (await jira.get("/issue/SHOP-7/transitions")).json()["transitions"]
    done = next(item for item in offered if item["to"]["statusCategory"]["key"] == "done")
    moved = await jira.post("/issue/SHOP-7/transitions", json={"transition": {"id": done["id"]}})
    assert moved.status_code == 204
    issue = (await jira.get("/issue/SHOP-7")).json()
    assert issue["fields"]["status"]["name"] == "Done"
    left = (await jira.get("/issue/SHOP-7/transitions")).json()["transitions"]
    assert done["id"] not in [item["id"] for item in left]
    again = await jira.post("/issue/SHOP-7/transitions", json={"transition": {"id": done["id"]}})
    assert again.status_code == 400


async def test_remote_links_are_upserted_by_global_id(jira: httpx.AsyncClient, sandbox: Sandbox) -> None:
    link = {"globalId": "acme:pr:1", "object": {"url": "https://example.com/1", "title": "PR 1"}}
    first = await jira.post("/issue/SHOP-7/remotelink", json=link)
    link["object"] = {"url": "https://example.com/1", "title": "PR 1, merged"}
    second = await jira.post("/issue/SHOP-7/remotelink", json=link)
    assert (first.status_code, second.status_code) == (201, 200)
    assert first.json()["id"] == second.json()["id"]
    assert [item.object["title"] for item in sandbox.world.jira.issues["SHOP-7"].remote_links] == [
        "PR 1, merged"
    ]
    assert (await jira.post("/issue/SHOP-7/remotelink", json={"object": {"url": "u"}})).status_code == 400


async def test_labels_properties_assignee_and_creation(jira: httpx.AsyncClient, sandbox: Sandbox) -> None:
    add = {"update": {"labels": [{"add": "agent"}, {"add": "agent"}]}}
    assert (await jira.put("/issue/SHOP-7", json=add)).status_code == 204
    assert (await jira.get("/issue/SHOP-7?fields=labels")).json()["fields"] == {"labels": ["agent"]}
    spaced = {"update": {"labels": [{"add": "two words"}]}}
    assert (await jira.put("/issue/SHOP-7", json=spaced)).status_code == 400
    assert (await jira.put("/issue/SHOP-7/properties/triggerhub", json={"run": "r"})).status_code == 201
    assert (await jira.put("/issue/SHOP-7/properties/triggerhub", json={"run": "s"})).status_code == 200
    assert (await jira.get("/issue/SHOP-7/properties/triggerhub")).json()["value"] == {"run": "s"}
    assert (await jira.put("/issue/SHOP-7/assignee", json={"accountId": "712020:1"})).status_code == 204
    fields = {"project": {"key": "SHOP"}, "summary": "New", "issuetype": {"name": "Bug"}, "labels": ["x"]}
    made = await jira.post("/issue", json={"fields": fields})
    assert (made.status_code, made.json()["key"]) == (201, "SHOP-8")
    found = await jira.post(
        "/search/jql", json={"jql": "project = SHOP AND labels = x", "fields": ["summary"]}
    )
    assert [item["key"] for item in found.json()["issues"]] == ["SHOP-8"]
    assert (await jira.get("/search", params={"jql": "project = SHOP"})).status_code == 410
    unknown = await jira.post("/issue", json={"fields": {**fields, "project": {"key": "NONE"}}})
    assert (unknown.status_code, list(unknown.json()["errors"])) == (400, ["project"])
    assert sandbox.world.jira.issues["SHOP-8"].fields["summary"] == "New"
