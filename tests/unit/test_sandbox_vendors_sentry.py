"""The emulated Sentry over loopback HTTP: repeated comments, states, links, error bodies."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest

from sandbox.sentry.state import INSTALLATION_UUID, REPEAT_WINDOW, USER_ID
from sandbox.server import Sandbox, serve

ISSUE = "/organizations/acme/issues/5900123456"


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with serve() as running:
        running.world.sentry.ensure_issue("5900123456", title="ZeroDivisionError")
        yield running


@pytest.fixture
async def sentry(sandbox: Sandbox) -> AsyncIterator[httpx.AsyncClient]:
    base = f"{sandbox.api_url('sentry')}/api/0"
    async with httpx.AsyncClient(base_url=base, headers={"authorization": "Bearer x"}) as client:
        yield client


async def test_who_the_token_is(sentry: httpx.AsyncClient) -> None:
    assert (await sentry.get("/")).json()["user"]["id"] == USER_ID
    bare = await sentry.get("/", headers={"authorization": ""})
    assert (bare.status_code, bare.json()["detail"]) == (401, "Authentication credentials were not provided.")
    installed = (await sentry.get("/organizations/acme/sentry-app-installations/")).json()
    assert [item["uuid"] for item in installed] == [INSTALLATION_UUID]


async def test_the_same_comment_within_an_hour_is_refused(
    sentry: httpx.AsyncClient, sandbox: Sandbox
) -> None:
    assert (await sentry.post(f"{ISSUE}/comments/", json={"text": "seen"})).status_code == 201
    again = await sentry.post(f"{ISSUE}/comments/", json={"text": "seen"})
    assert (again.status_code, again.json()["detail"]) == (400, "You have already posted that comment.")
    sandbox.world.sentry.issues["5900123456"].notes[0].at -= REPEAT_WINDOW + 1
    assert (await sentry.post(f"{ISSUE}/comments/", json={"text": "seen"})).status_code == 201


@pytest.mark.parametrize("body", [{}, {"text": ""}, {"text": 1}, {"text": "x", "colour": "red"}])
async def test_bad_comments_are_400_with_a_field_map(
    sentry: httpx.AsyncClient, sandbox: Sandbox, body: dict[str, object]
) -> None:
    answer = await sentry.post(f"{ISSUE}/comments/", json=body)
    assert answer.status_code == 400
    assert all(isinstance(words, list) for words in answer.json().values())
    assert sandbox.world.sentry.issues["5900123456"].notes == []


async def test_comments_are_listed_newest_first_in_pages(sentry: httpx.AsyncClient) -> None:
    for number in range(101):
        await sentry.post(f"{ISSUE}/comments/", json={"text": f"n{number}"})
    first = await sentry.get(f"{ISSUE}/comments/")
    assert (len(first.json()), first.json()[0]["data"]["text"]) == (100, "n100")
    assert 'rel="next"; results="true"; cursor="0:100:0"' in first.headers["link"]
    rest = await sentry.get(f"{ISSUE}/comments/", params={"cursor": "0:100:0"})
    assert [item["data"]["text"] for item in rest.json()] == ["n0"]
    assert 'rel="next"; results="false"' in rest.headers["link"]


async def test_state_and_assignee(sentry: httpx.AsyncClient) -> None:
    wanted = {"status": "resolvedInNextRelease", "assignedTo": "team:4"}
    changed = (await sentry.put(f"{ISSUE}/", json=wanted)).json()
    assert (changed["status"], changed["statusDetails"]) == ("resolved", {"inNextRelease": True})
    assert (changed["assignedTo"]["type"], changed["assignedTo"]["id"]) == ("team", "4")
    assert (await sentry.put(f"{ISSUE}/", json={"status": "fixed"})).status_code == 400
    assert (await sentry.put(f"{ISSUE}/", json={"assignedTo": "robot:1"})).status_code == 400
    assert (await sentry.get("/organizations/acme/issues/1/")).status_code == 404
    assert (await sentry.get("/organizations/other/issues/5900123456/")).status_code == 404


async def test_one_link_per_issue(sentry: httpx.AsyncClient) -> None:
    path = f"/sentry-app-installations/{INSTALLATION_UUID}/external-issues/"
    link = {
        "issueId": 5900123456,
        "webUrl": "https://example.com/1",
        "project": "acme/checkout",
        "identifier": "1",
    }
    made = await sentry.post(path, json=link)
    assert (made.status_code, made.json()["displayName"]) == (200, "acme/checkout#1")
    await sentry.post(path, json={**link, "identifier": "2"})
    links = (await sentry.get(f"{ISSUE}/external-issues/")).json()
    assert [item["displayName"] for item in links] == ["acme/checkout#2"]
    assert (await sentry.post(path, json={**link, "issueId": "CHECKOUT-2F"})).status_code == 400
    assert (await sentry.post(path, json={**link, "issueId": 1})).status_code == 404
    gone = await sentry.delete(f"{path}{links[0]['id']}/")
    assert (gone.status_code, (await sentry.get(f"{ISSUE}/external-issues/")).json()) == (204, [])
