"""Finds what Jira's webhooks did not tell: issues changed since, by JQL, with their changelog and comments. Renews the
webhooks of an app, which end after 30 days.

Reads by version 2 of the REST interface, whose texts are wiki markup as in webhooks. Writes nothing but the renewal.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

import httpx
import orjson

from connectors.body import get, id_at, text_at, time_at
from connectors.healer import Harvest, Healer, Memory, PageGoneError
from connectors.jira.client import JiraClient, JiraRefusalError, issue_path
from connectors.jira.rebuilding import Seen, Span, base_of, reached, webhooks
from connectors.jira.settings import JiraSettings
from connectors.poster import PostRefusedError

PAGE: Final = 25
"""Issues of a page. Each may need further calls for its comments, and a page has a minute."""
FURTHER: Final = 100
MAX_FURTHER: Final = 5
"""Further pages of one issue's changelog or comments."""
MAX_PROJECTS: Final = 100
BY_JQL: Final = "jql"
EVERYTHING: Final = "everything"
RENEW_BELOW: Final = 15 * 86_400.0
"""Seconds that a webhook may have left before it is renewed: half of its life, so that two weeks of failures do no
harm."""
SORTS: Final[Mapping[str, str]] = {
    "issue.opened": "created",
    "issue.deleted": "deleted",
    "comment.created": "comment",
    "comment.edited": "comment-edit",
    "comment.deleted": "comment-deletion",
}
"""Kinds by the box that is ticked for them at the webhook; all others come of "issue updated"."""


class JiraHealer(Healer):
    """Of one connection."""

    def __init__(
        self,
        settings: JiraSettings,
        *,
        token: str | None,
        http: httpx.AsyncClient,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._settings = settings
        self._client = JiraClient(settings, token=token, http=http, rest=settings.rest_of_webhooks)
        self._admin = JiraClient(settings, token=token, http=http)
        self._clock = clock
        self._statuses: dict[str, Mapping[str, Any]] = {}
        self._base: str | None = None

    def scope(self, kind: str, subject: str) -> str | None:
        """The webhook's JQL is not known here, so a project counts as wanted once something of it came."""
        sort = SORTS.get(kind, "updated")
        project = subject.rpartition("-")[0]
        return sort if self._settings.heal_jql is not None else f"{sort} {project}" if project else None

    async def streams(self, memory: Memory) -> Sequence[str]:
        """One for each project, so that one that is gone does not stop the others."""
        if self._settings.heal_jql is not None:
            return (BY_JQL,)
        if memory.scopes is None:
            return (EVERYTHING,)
        projects = {scope.partition(" ")[2] for scope in memory.scopes}
        return sorted(project for project in projects if project)[:MAX_PROJECTS]

    async def missed(
        self, stream: str, *, since: float, until: float, page: str | None, memory: Memory
    ) -> Harvest:
        span = Span(since, until)
        place: dict[str, Any] = orjson.loads(page) if page is not None else {"jql": self._jql(stream, span)}
        issues, following = await self._search(stream, place)
        requests = [request for issue in issues for request in await self._read(issue, span, memory)]
        return Harvest(
            requests=tuple(requests),
            page=orjson.dumps({**place, **following}).decode() if following is not None else None,
        )

    async def renew(self, memory: Memory, *, now: float) -> str | None:
        """Only an app's own (dynamic) webhooks end, and only an app may ask for them."""
        if self._settings.product != "cloud" or self._settings.email is not None:
            return None
        ending = [
            hook async for hook in _hooks(self._admin, memory.connection) if _left(hook, now) < RENEW_BELOW
        ]
        numbers = [int(number) for hook in ending if (number := id_at(hook, "id")) and number.isdigit()]
        if not numbers:
            return None
        what = "renewing the webhooks"
        _, answer = await self._admin.write(
            "PUT", "/webhook/refresh", what=what, json={"webhookIds": numbers}
        )
        until = id_at(answer, "expirationDate")
        return f"{len(numbers)} webhooks of Jira, until {until or 'a time that Jira does not name'}"

    def _jql(self, stream: str, span: Span) -> str:
        """Relative time: absolute times are read in the time zone of the account's profile, to the minute."""
        minutes = int((self._clock() - span.since) // 60) + 2
        parts = [f"updated >= -{minutes}m"]
        if stream == BY_JQL:
            parts.insert(0, f"({self._settings.heal_jql})")
        elif stream != EVERYTHING:
            name = stream.replace("\\", "").replace('"', "")
            parts.insert(0, f'project = "{name}"')
        return " AND ".join(parts) + " ORDER BY updated ASC"

    async def _search(
        self, stream: str, place: Mapping[str, Any]
    ) -> tuple[list[Mapping[str, Any]], dict[str, Any] | None]:
        """Issues of a page, and where the next one begins (None: there is none)."""
        what = f"searching for changes in {stream}"
        if self._settings.product == "datacenter":
            start = int(place.get("start", 0))
            params = {
                "jql": str(place["jql"]),
                "startAt": str(start),
                "maxResults": str(PAGE),
                "fields": "*all",
                "expand": "changelog",
            }
            answer = await self._client.read("/search", what=what, params=params)
            issues = _objects(answer, "issues")
            total = get(answer, "total")
            more = bool(issues) and isinstance(total, int) and start + len(issues) < total
            return issues, {"start": start + len(issues)} if more else None
        body: dict[str, Any] = {
            "jql": place["jql"],
            "maxResults": PAGE,
            "fields": ["*all"],
            "expand": "changelog",
        }
        if "token" in place:
            body["nextPageToken"] = place["token"]
        try:
            _, answer = await self._client.write("POST", "/search/jql", what=what, json=body)
        except JiraRefusalError as error:
            if "token" in place:
                raise PageGoneError(str(error)) from None
            raise
        token = text_at(answer, "nextPageToken")
        return _objects(answer, "issues"), {"token": token} if token is not None else None

    async def _read(self, issue: Mapping[str, Any], span: Span, memory: Memory) -> list[Any]:
        key = id_at(issue, "id") or text_at(issue, "key")
        if key is None:
            return []
        seen = Seen(issue, await self._histories(key, issue, span), await self._comments(key, issue, span))
        wanted = {
            status
            for history in seen.histories
            if span.holds(history, "created")
            for status in reached(history)
        }
        for status in sorted(wanted - self._statuses.keys()):
            await self._look_up(status, issue)
        base = await self._site(text_at(issue, "self"), memory)
        return webhooks(seen, span, base=base, statuses=self._statuses)

    async def _histories(self, key: str, issue: Mapping[str, Any], span: Span) -> list[Mapping[str, Any]]:
        """The search shows the newest entries of the changelog (on Cloud some forty); more are asked for if needed."""
        shown = _objects(issue, "changelog", "histories")
        total = get(issue, "changelog", "total")
        if not isinstance(total, int) or total <= len(shown) or not _all_within(shown, span, "created"):
            return shown
        found = {id_at(entry, "id"): entry for entry in shown}
        end = total
        for _ in range(MAX_FURTHER):
            start = max(0, end - FURTHER)
            params = {"startAt": str(start), "maxResults": str(end - start)}
            answer = await self._client.read(
                issue_path(key, "changelog"), what=f"reading the changelog of {key}", params=params
            )
            page = _objects(answer, "values")
            found |= {id_at(entry, "id"): entry for entry in page}
            end = start
            if end == 0 or not _all_within(page, span, "created"):
                break
        return list(found.values())

    async def _comments(self, key: str, issue: Mapping[str, Any], span: Span) -> list[Mapping[str, Any]]:
        shown = _objects(issue, "fields", "comment", "comments")
        total = get(issue, "fields", "comment", "total")
        if not isinstance(total, int) or total <= len(shown):
            return shown
        found: list[Mapping[str, Any]] = []
        for number in range(MAX_FURTHER):
            params = {"orderBy": "-created", "startAt": str(number * FURTHER), "maxResults": str(FURTHER)}
            answer = await self._client.read(
                issue_path(key, "comment"), what=f"reading the comments of {key}", params=params
            )
            page = _objects(answer, "comments")
            found += page
            if len(page) < FURTHER or not any(
                span.holds(one, "created") or span.holds(one, "updated") for one in page
            ):
                break
        return found

    async def _look_up(self, status: str, issue: Mapping[str, Any]) -> None:
        """A status with its category: by it a transition is told to close or not."""
        current = get(issue, "fields", "status")
        if isinstance(current, Mapping) and id_at(current, "id") == status:
            self._statuses[status] = current
            return
        try:
            found = await self._client.read(f"/status/{status}", what=f"looking up the status {status}")
        except PostRefusedError:
            found = {"id": status}  # gone from the workflow; its name, in the changelog, has to do
        self._statuses[status] = found

    async def _site(self, address: str | None, memory: Memory) -> str:
        found = base_of(address, account=memory.account)
        if found is not None:
            return found
        if self._base is None:
            info = await self._client.read("/serverInfo", what="asking Jira for its address")
            self._base = text_at(info, "baseUrl") or self._settings.site or self._settings.api_url
        return self._base.rstrip("/")


async def _hooks(client: JiraClient, connection: str) -> Any:
    """The app's webhooks that send to the connection; where Jira shows no address, all."""
    start = 0
    while True:
        answer = await client.read(
            "/webhook", what="reading the app's webhooks", params={"startAt": str(start), "maxResults": "100"}
        )
        page = _objects(answer, "values")
        for hook in page:
            address = text_at(hook, "url")
            if address is None or address.partition("?")[0].rstrip("/").endswith(f"/hooks/{connection}"):
                yield hook
        start += len(page)
        if not page or get(answer, "isLast") is not False:
            return


def _left(hook: Mapping[str, Any], now: float) -> float:
    """Seconds until it ends. Jira writes milliseconds or an ISO time."""
    ends = get(hook, "expirationDate")
    if isinstance(ends, int | float) and not isinstance(ends, bool):
        return ends / 1000 - now
    at = time_at(hook, "expirationDate")
    return at.timestamp() - now if at is not None else float("inf")


def _objects(value: object, *path: str) -> list[Mapping[str, Any]]:
    found = get(value, *path)
    return [item for item in found if isinstance(item, dict)] if isinstance(found, list) else []


def _all_within(entries: Iterable[Mapping[str, Any]], span: Span, field: str) -> bool:
    """Whether none is older than the span: then there may be more of it."""
    times = [time_at(entry, field) for entry in entries]
    return all(at is None or at.timestamp() >= span.since for at in times)
