"""What the sandbox cannot show of finding what Jira did not tell: Data Center, the gateway, statuses that are gone."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final

import httpx
import orjson
import pytest
from loopback import Answer, Call, Loopback

from connectors.base import Identity
from connectors.healer import Harvest, Memory, PageGoneError
from connectors.jira.connector import CONNECTOR
from connectors.jira.healing import PAGE, JiraHealer
from connectors.jira.rebuilding import base_of
from connectors.jira.settings import JiraSettings

NOW: Final = 1_767_323_100.0  # 2026-01-02T03:05:00Z
SINCE: Final = NOW - 300
AT: Final = "2026-01-02T03:02:00.000+0000"
LONG_AGO: Final = "2020-01-01T00:00:00.000+0000"


@pytest.fixture
def jira(server: Loopback) -> Loopback:
    return server


def memory(account: str | None = None) -> Memory:
    async def delivered(_: Collection[str]) -> frozenset[str]:
        return frozenset()

    return Memory("acme", account, (), frozenset({"updated SHOP", "comment SHOP", "created OPS"}), delivered)


def healer(jira: Loopback, http: httpx.AsyncClient, **more: Any) -> JiraHealer:
    settings = JiraSettings.model_validate(
        {"source": "jira", "api_url": jira.url, "webhook_secrets": ["env:S"], "token": "env:T", **more}
    )
    return JiraHealer(settings, token="t", http=http, clock=lambda: NOW)


def issue(number: int, **fields: Any) -> dict[str, Any]:
    return {
        "id": str(number),
        "key": f"SHOP-{number}",
        "self": f"https://tracker.acme.example/jira/rest/api/2/issue/{number}",
        "fields": {"summary": "A", "created": AT, "creator": {"name": "ada", "key": "ada"}, **fields},
    }


def keys(harvest: Harvest) -> list[tuple[str, str, str | None]]:
    facts = [
        fact
        for request in harvest.requests
        for fact in CONNECTOR.normalise(request, identity=Identity()).facts
    ]
    return [(fact.kind, fact.key, fact.subject.url) for fact in facts]


async def test_data_center_is_searched_page_by_page_in_its_own_way(jira: Loopback) -> None:
    def page(call: Call) -> Answer:
        start = int(call.query["startAt"])
        issues = [issue(number) for number in range(start + 1, min(start + PAGE, PAGE + 2) + 1)]
        return Answer(json={"startAt": start, "maxResults": PAGE, "total": PAGE + 2, "issues": issues})

    jira.on("GET", "/rest/api/2/search", page)
    async with httpx.AsyncClient() as http:
        one = healer(jira, http, deployment="datacenter")
        assert await one.streams(memory()) == ["OPS", "SHOP"]
        first = await one.missed("SHOP", since=SINCE, until=NOW, page=None, memory=memory())
        second = await one.missed("SHOP", since=SINCE, until=NOW, page=first.page, memory=memory())
    assert (len(first.requests), len(second.requests), second.page) == (PAGE, 2, None)
    assert keys(second)[0] == (
        "issue.opened",
        f"tracker.acme.example:issue:{PAGE + 1}:issue.opened",
        f"https://tracker.acme.example/jira/browse/SHOP-{PAGE + 1}",
    )
    asked = jira.seen("GET", "/rest/api/2/search")
    assert {call.query["jql"] for call in asked} == {
        'project = "SHOP" AND updated >= -7m ORDER BY updated ASC'
    }
    assert [call.query["startAt"] for call in asked] == ["0", str(PAGE)]
    assert asked[0].query["expand"] == "changelog"


async def test_behind_the_gateway_the_site_is_asked_for_its_address(jira: Loopback) -> None:
    one_issue = {**issue(1), "self": "https://api.atlassian.com/ex/jira/11111111-2222/rest/api/2/issue/1"}
    jira.on("POST", "/ex/jira/11111111-2222/rest/api/2/search/jql", Answer(json={"issues": [one_issue]}))
    jira.on(
        "GET",
        "/ex/jira/11111111-2222/rest/api/2/serverInfo",
        Answer(json={"baseUrl": "https://acme.atlassian.net"}),
    )
    async with httpx.AsyncClient() as http:
        one = healer(jira, http, cloud_id="11111111-2222", email="bot@acme.example")
        unknown = await one.missed("SHOP", since=SINCE, until=NOW, page=None, memory=memory())
        learned = await one.missed(
            "SHOP", since=SINCE, until=NOW, page=None, memory=memory("shop.acme.example")
        )
        by_id = await one.missed("SHOP", since=SINCE, until=NOW, page=None, memory=memory("11111111-2222"))
    assert [keys(found)[0][1] for found in (unknown, learned, by_id)] == [
        "acme.atlassian.net:issue:1:issue.opened",
        "shop.acme.example:issue:1:issue.opened",
        "11111111-2222:issue:1:issue.opened",
    ]


async def test_a_status_that_is_gone_is_judged_by_its_name(jira: Loopback) -> None:
    item = {"field": "status", "from": "1", "fromString": "Open", "to": "6", "toString": "Closed"}
    history = {"id": "77", "created": AT, "author": {"name": "ada"}, "items": [item]}
    one_issue = issue(1, created=LONG_AGO, status={"id": "1", "name": "Open"})
    one_issue["changelog"] = {"total": 1, "histories": [history]}
    jira.on("POST", "/rest/api/2/search/jql", Answer(json={"issues": [one_issue]}))
    jira.on("GET", "/rest/api/2/status/6", Answer(404, json={"errorMessages": ["gone"]}))
    async with httpx.AsyncClient() as http:
        one = healer(jira, http, email="bot@acme.example")
        for _ in range(2):
            harvest = await one.missed("SHOP", since=SINCE, until=NOW, page=None, memory=memory())
            assert keys(harvest)[0][:2] == (
                "issue.closed",
                "tracker.acme.example:issue:1:changelog:77:issue.closed",
            )
    assert len(jira.seen("GET", "/rest/api/2/status/6")) == 1, "looked up once"


async def test_a_page_token_that_jira_forgot_and_a_project_that_is_gone(jira: Loopback) -> None:
    refusal = Answer(
        400, json={"errorMessages": ["The value 'SHOP' does not exist for the field 'project'."]}
    )
    jira.on("POST", "/rest/api/2/search/jql", refusal)
    async with httpx.AsyncClient() as http:
        one = healer(jira, http, email="bot@acme.example")
        page = orjson.dumps({"jql": "project = SHOP", "token": "x"}).decode()
        with pytest.raises(PageGoneError):
            await one.missed("SHOP", since=SINCE, until=NOW, page=page, memory=memory())
        with pytest.raises(Exception, match="does not exist for the field") as raised:
            await one.missed("SHOP", since=SINCE, until=NOW, page=None, memory=memory())
    assert type(raised.value).__name__ == "JiraRefusalError"


@pytest.mark.parametrize(
    ("address", "account", "base"),
    [
        ("https://a.example/x/rest/api/2/issue/1", None, "https://a.example/x"),
        ("https://a.example/x/rest/api/2/issue/1", "a.example", "https://a.example/x"),
        ("https://a.example/rest/api/2/issue/1", "b.example", "https://b.example"),
        ("https://api.atlassian.com/ex/jira/0-1/rest/api/2/issue/1", None, None),
        (
            "https://api.atlassian.com/ex/jira/0-1/rest/api/2/issue/1",
            "0-1",
            "https://api.atlassian.com/ex/jira/0-1",
        ),
        ("https://a.example/rest/api/2/issue/1", "0-1", "https://api.atlassian.com/ex/jira/0-1"),
        (None, None, None),
        ("nonsense", "b.example", "https://b.example"),
        ("http://[broken/rest/api", None, None),
    ],
)
def test_the_address_is_that_of_the_webhooks(
    address: str | None, account: str | None, base: str | None
) -> None:
    assert base_of(address, account=account) == base


def test_an_order_in_the_jql_is_refused() -> None:
    with pytest.raises(ValueError, match="must not say ORDER BY"):
        JiraSettings.model_validate(
            {
                "source": "jira",
                "api_url": "https://a.example",
                "webhook_secrets": ["env:S"],
                "heal_jql": "project = SHOP order  by created",
            }
        )
