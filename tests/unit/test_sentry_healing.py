"""What the sandbox cannot show of finding what Sentry did not tell: categories, foreign rules, permissions."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final

import httpx
import pytest
from loopback import Answer, Loopback

from connectors.base import Fact, Identity
from connectors.healer import Harvest, Healer, Memory, PageGoneError
from connectors.poster import PostRefusedError, PostRetryError
from connectors.sentry.connector import CONNECTOR
from connectors.sentry.settings import SentrySettings

UNTIL: Final = 1_767_323_100.0  # 2026-01-02T03:05:00Z
SINCE: Final = UNTIL - 600
AT: Final = "2026-01-02T03:00:00Z"
ORG: Final = "/api/0/organizations/acme"
RULES: Final = "/api/0/projects/acme/checkout/rules/"
EVENT: Final = "9f1e0c5a7b6d4e3f8a2b1c0d9e8f7a6b"


@pytest.fixture
def sentry(server: Loopback) -> Loopback:
    return server


async def _delivered(_: Collection[str]) -> frozenset[str]:
    return frozenset()


def memory(*scopes: str, account: str | None = "acme") -> Memory:
    return Memory("acme", account, (), frozenset(scopes), _delivered)


def healer(sentry: Loopback, http: httpx.AsyncClient, **more: Any) -> Healer:
    given = {"source": "sentry", "api_url": sentry.url, "webhook_secrets": ["env:S"], "token": "env:T"}
    settings = SentrySettings.model_validate({**given, **more})
    found = CONNECTOR.healer(settings, token="t", http=http, files={})
    assert found is not None
    return found


def facts(*harvests: Harvest) -> list[Fact]:
    requests = [request for harvest in harvests for request in harvest.requests]
    return [fact for one in requests for fact in CONNECTOR.normalise(one, identity=Identity()).facts]


def issue(number: int, **more: Any) -> dict[str, Any]:
    link = f"https://acme.sentry.io/issues/{number}/"
    return {
        "id": str(number),
        "title": "Boom",
        "permalink": link,
        "firstSeen": AT,
        "issueCategory": "error",
        **more,
    }


async def test_only_issues_that_sentry_tells_of_and_of_the_time_asked_for(sentry: Loopback) -> None:
    listed = [
        issue(1),
        issue(2, issueCategory="performance"),
        issue(3, firstSeen="2026-01-01T00:00:00Z"),
        issue(4, firstSeen=None),
        issue(5, issueCategory="feedback"),
    ]
    sentry.on("GET", f"{ORG}/issues/", Answer(json=listed))
    async with httpx.AsyncClient() as http:
        one = healer(sentry, http)
        harvest = await one.missed("issues", since=SINCE, until=UNTIL, page=None, memory=memory())
    assert [(fact.kind, fact.subject.key) for fact in facts(harvest)] == [
        ("issue.opened", "5"),
        ("issue.opened", "1"),
    ]
    [call] = sentry.calls
    assert call.query["query"] == "firstSeen:>=2026-01-02T02:55:00+00:00"
    assert (call.query["sort"], call.query["project"]) == ("new", "-1")


async def test_what_never_came_is_not_asked_for(sentry: Loopback) -> None:
    async with httpx.AsyncClient() as http:
        one = healer(sentry, http)
        assert await one.streams(memory("comment.created")) == []
        assert await one.streams(memory("issue.opened")) == ["issues"]
        assert await one.streams(memory("issue.opened", "alert.fired")) == ["issues", "alerts"]


def alerts(sentry: Loopback) -> None:
    """An organization with two integrations, a rule for each, and one firing."""
    installed = [
        {"uuid": "11111111-1111-4111-8111-111111111111", "app": {"uuid": "a", "slug": "triggerhub"}},
        {"uuid": "22222222-2222-4222-8222-222222222222", "app": {"uuid": "b", "slug": "other"}},
    ]
    sentry.on("GET", f"{ORG}/sentry-app-installations/", Answer(json=installed))
    sentry.on("GET", f"{ORG}/projects/", Answer(json=[{"slug": "checkout"}]))
    ours = {"id": "7", "name": "Errors", "actions": [{"service": "triggerhub"}]}
    foreign = {"id": "8", "name": "Others", "actions": [{"service": "other"}, {"id": "mail"}]}
    sentry.on("GET", RULES, Answer(json=[ours, foreign]))
    fired = {"group": issue(1), "lastTriggered": AT, "eventId": EVENT, "count": 3}
    sentry.on("GET", f"{RULES}7/group-history/", Answer(json=[fired, {**fired, "lastTriggered": None}]))
    thrown = {"values": [{"type": "KeyError", "value": "'currency'"}]}
    details = {"title": "KeyError", "dateCreated": AT, "entries": [{"type": "exception", "data": thrown}]}
    sentry.on("GET", f"{ORG}/issues/1/events/{EVENT}/", Answer(json=details))


OURS: Final = {"installation_uuid": "11111111-1111-4111-8111-111111111111"}


async def read_alerts(one: Healer) -> list[Harvest]:
    found: list[Harvest] = []
    page: str | None = None
    while not found or page is not None:
        found.append(await one.missed("alerts", since=SINCE, until=UNTIL, page=page, memory=memory()))
        page = found[-1].page
    return found


async def test_alerts_of_rules_that_send_to_us_with_what_was_thrown(sentry: Loopback) -> None:
    alerts(sentry)
    async with httpx.AsyncClient() as http:
        harvests = await read_alerts(healer(sentry, http, **OURS))
    [fact] = facts(*harvests)
    assert (fact.kind, fact.key) == ("alert.fired", f"event_alert.triggered:1:{EVENT}:Errors")
    assert (fact.subject.container, fact.account) == ("checkout", "acme")
    assert "KeyError: 'currency'" in fact.text
    assert not sentry.seen("GET", f"{RULES}8/group-history/")


async def test_an_event_that_sentry_keeps_no_longer_is_told_by_its_issue(sentry: Loopback) -> None:
    alerts(sentry)
    sentry.on("GET", f"{ORG}/issues/1/events/{EVENT}/", Answer(404, json={"detail": "gone"}))
    async with httpx.AsyncClient() as http:
        [fact] = facts(*await read_alerts(healer(sentry, http, **OURS)))
    assert (fact.key, fact.subject.title) == (f"event_alert.triggered:1:{EVENT}:Errors", "Boom")


async def test_which_integration_is_ours_must_be_known(sentry: Loopback) -> None:
    alerts(sentry)
    async with httpx.AsyncClient() as http:
        with pytest.raises(PostRefusedError, match="set installation_uuid"):
            await read_alerts(healer(sentry, http))
        one = healer(sentry, http)
        with pytest.raises(PostRefusedError, match="set `organization`"):
            await one.missed("issues", since=SINCE, until=UNTIL, page=None, memory=memory(account=None))


async def test_a_missing_permission_a_limit_and_a_cursor_that_is_gone(sentry: Loopback) -> None:
    alerts(sentry)
    sentry.on("GET", RULES, Answer(403, json={"detail": "You do not have permission"}))
    sentry.on(
        "GET",
        f"{ORG}/issues/",
        Answer(429, json={"detail": "slow down"}, headers={"retry-after": "9"}),
        Answer(400, json={"detail": "Invalid cursor parameter."}),
    )
    async with httpx.AsyncClient() as http:
        one = healer(sentry, http, **OURS)
        with pytest.raises(PostRefusedError, match="You do not have permission"):
            await read_alerts(one)
        with pytest.raises(PostRetryError) as limited:
            await one.missed("issues", since=SINCE, until=UNTIL, page=None, memory=memory())
        assert limited.value.retry_after == 9
        with pytest.raises(PageGoneError):
            await one.missed("issues", since=SINCE, until=UNTIL, page="0:100:0", memory=memory())
