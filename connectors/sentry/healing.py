"""Finds what Sentry did not tell: issues first seen since, and issue alerts that fired, and rebuilds their webhooks.

Only these two have keys that do not depend on the webhook's own bytes. A change of state, a metric alert or a comment
shows no moment and no identifier by which a fetched copy would be known for the delivered one, so none is fetched.
Writes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import quote

import httpx
import orjson

from connectors.base import Request
from connectors.body import get, id_at, text_at, time_at
from connectors.healer import Harvest, Healer, Memory, PageGoneError
from connectors.poster import PostRefusedError
from connectors.sentry.client import SentryClient, next_cursor, read
from connectors.sentry.normalise import RESOURCE_HEADER
from connectors.sentry.settings import SentrySettings

ISSUES: Final = "issues"
ALERTS: Final = "alerts"
PAGE: Final = 100
PROJECTS_PER_PAGE: Final = 5
MAX_PROJECTS: Final = 500
MAX_RULES: Final = 20
"""Alert rules of one project that send to us."""
TOLD: Final = frozenset({"error", "outage", "feedback"})
"""Categories of issues that Sentry sends `issue.created` for (Sentry's source)."""
SYSTEM: Final[Mapping[str, str]] = {"type": "application", "id": "sentry", "name": "Sentry"}


class SentryHealer(Healer):
    """Of one connection."""

    def __init__(self, settings: SentrySettings, *, token: str | None, http: httpx.AsyncClient) -> None:
        self._settings = settings
        self._client = SentryClient(settings, token=token, http=http)

    async def streams(self, memory: Memory) -> Sequence[str]:
        """What was never sent here is not asked for either: alerts need further permissions."""
        kinds = {"issue.opened": ISSUES, "alert.fired": ALERTS}
        return [name for kind, name in kinds.items() if memory.scopes is None or kind in memory.scopes]

    async def missed(
        self, stream: str, *, since: float, until: float, page: str | None, memory: Memory
    ) -> Harvest:
        organization = self._settings.organization or memory.account
        if organization is None:
            msg = "Sentry, looking for gaps: no organization is known; set `organization` on the connection"
            raise PostRefusedError(msg)
        if stream == ALERTS:
            return await self._alerts(organization, since=since, until=until, page=page)
        return await self._issues(organization, since=since, until=until, page=page)

    async def _issues(self, organization: str, *, since: float, until: float, page: str | None) -> Harvest:
        what = "searching for new issues"
        params = {
            "query": f"firstSeen:>={_iso(since)}",
            "sort": "new",
            "project": "-1",
            "limit": str(PAGE),
            **({"cursor": page} if page is not None else {}),
        }
        response = await self._client.call(
            "GET", f"/organizations/{quote(organization, safe='')}/issues/", what=what, params=params
        )
        if page is not None and response.status_code == httpx.codes.BAD_REQUEST:
            msg = f"Sentry, {what}: 400 to the cursor"
            raise PageGoneError(msg)
        listed = _objects(read(response, what=what))
        issues = [
            issue
            for issue in listed
            if (seen := time_at(issue, "firstSeen")) is not None
            and since <= seen.timestamp() <= until
            and (text_at(issue, "issueCategory") or "error") in TOLD
        ]
        return Harvest(
            requests=tuple(self._created(issue, organization) for issue in reversed(issues)),
            page=next_cursor(response),
        )

    async def _alerts(self, organization: str, *, since: float, until: float, page: str | None) -> Harvest:
        """First which projects there are, then some of them at a time."""
        if page is None:
            ours = await self._ourselves(organization)
            path = f"/organizations/{quote(organization, safe='')}/projects/"
            listed = await self._list(path, what="listing the projects")
            names = [name for one in listed if (name := text_at(one, "slug")) is not None]
            place = {"ours": sorted(ours), "projects": names[:MAX_PROJECTS]}
            return Harvest(page=orjson.dumps(place).decode() if names else None)
        place = orjson.loads(page)
        projects, ours = place["projects"], frozenset(place["ours"])
        found: list[Request] = []
        for project in projects[:PROJECTS_PER_PAGE]:
            found += await self._of_project(organization, project, ours, since=since, until=until)
        left = projects[PROJECTS_PER_PAGE:]
        following = orjson.dumps({**place, "projects": left}).decode() if left else None
        return Harvest(requests=tuple(found), page=following)

    async def _of_project(
        self, organization: str, project: str, ours: frozenset[str], *, since: float, until: float
    ) -> list[Request]:
        """What the project's alert rules that send to us fired on: a rule names, for each issue, the newest event."""
        base = f"/projects/{quote(organization, safe='')}/{quote(project, safe='')}/rules/"
        rules = await self._list(base, what=f"listing the alert rules of {project}")
        found: list[Request] = []
        for rule in [one for one in rules if _sends_to(one, ours)][:MAX_RULES]:
            number, name = id_at(rule, "id"), text_at(rule, "name")
            if number is None or name is None:
                continue
            what = f"reading the history of the alert rule {number}"
            params = {"start": _iso(since), "end": _iso(until), "per_page": str(PAGE)}
            response = await self._client.call(
                "GET", f"{base}{number}/group-history/", what=what, params=params
            )
            if response.status_code == httpx.codes.NOT_FOUND:
                continue  # the rule was deleted meanwhile
            for fired in _objects(read(response, what=what)):
                request = await self._fired(fired, organization, project, name, since=since, until=until)
                found += [request] if request is not None else []
        return found

    async def _ourselves(self, organization: str) -> frozenset[str]:
        """Slug of the integration and uuid of its installation: by one of them an alert rule names us."""
        path = f"/organizations/{quote(organization, safe='')}/sentry-app-installations/"
        installed = await self._list(path, what="reading the organization's integrations")
        wanted = {self._settings.installation_uuid, self._settings.app_uuid} - {None}
        mine = [
            entry
            for entry in installed
            if not wanted or {text_at(entry, "uuid"), text_at(entry, "app", "uuid")} & wanted
        ]
        if len(mine) != 1:
            msg = (
                "Sentry, looking for alerts: which integration is ours is not known; set installation_uuid on the "
                "connection"
            )
            raise PostRefusedError(msg)
        names = {text_at(mine[0], "uuid"), text_at(mine[0], "app", "slug")}
        return frozenset(name for name in names if name is not None)

    async def _fired(
        self,
        fired: Mapping[str, Any],
        organization: str,
        project: str,
        rule: str,
        *,
        since: float,
        until: float,
    ) -> Request | None:
        at = time_at(fired, "lastTriggered")
        number, event = id_at(fired, "group", "id"), text_at(fired, "eventId")
        if at is None or not since <= at.timestamp() <= until or number is None or event is None:
            return None
        names = [quote(name, safe="") for name in (organization, number, event)]
        path, what = "/organizations/{}/issues/{}/events/{}/".format(*names), "reading the event of an alert"
        shown = await self._client.call("GET", path, what=what)
        # An event that is kept no longer: what the history says of its issue has to do.
        details = read(shown, what=what) if shown.status_code != httpx.codes.NOT_FOUND else {}
        data = {
            "event": _event(details, fired, organization=organization, project=project),
            "triggered_rule": rule,
        }
        return self._request("event_alert", "triggered", data, organization)

    def _created(self, issue: Mapping[str, Any], organization: str) -> Request:
        shown = {**issue, "web_url": text_at(issue, "permalink")}
        return self._request("issue", "created", {"issue": shown}, organization)

    def _request(self, resource: str, action: str, data: Mapping[str, Any], organization: str) -> Request:
        installation = {"organization": {"slug": organization}}
        if self._settings.installation_uuid is not None:
            installation["uuid"] = self._settings.installation_uuid  # type: ignore[assignment]  # JSON
        body = {"action": action, "installation": installation, "data": data, "actor": SYSTEM}
        return Request({RESOURCE_HEADER: resource, "content-type": "application/json"}, orjson.dumps(body))

    async def _list(self, path: str, *, what: str) -> list[Mapping[str, Any]]:
        return _objects(read(await self._client.call("GET", path, what=what), what=what))


def _event(details: object, fired: Mapping[str, Any], *, organization: str, project: str) -> dict[str, Any]:
    """The event as a webhook shows it, from the REST interface's form of it."""
    group = get(fired, "group")
    number = id_at(group, "id")
    event: dict[str, Any] = {
        "event_id": text_at(fired, "eventId"),
        "issue_id": number,
        "project_slug": project,
        "title": text_at(details, "title") or text_at(group, "title"),
        "culprit": text_at(details, "culprit") or text_at(group, "culprit"),
        "message": text_at(details, "message"),
        "metadata": get(details, "metadata") or get(group, "metadata"),
        "datetime": text_at(details, "dateCreated") or text_at(fired, "lastTriggered"),
        "level": text_at(group, "level"),
        "web_url": text_at(group, "permalink"),
        "url": f"https://sentry.io/api/0/projects/{organization}/{project}/events/{text_at(fired, 'eventId')}/",
    }
    for entry in _objects(get(details, "entries")):
        if text_at(entry, "type") == "exception":
            event["exception"] = get(entry, "data")
    return {name: value for name, value in event.items() if value is not None}


def _sends_to(rule: Mapping[str, Any], ours: frozenset[str]) -> bool:
    return any(
        {text_at(action, "service"), text_at(action, "sentryAppInstallationUuid")} & ours
        for action in _objects(get(rule, "actions"))
    )


def _objects(found: object) -> list[Mapping[str, Any]]:
    return [item for item in found if isinstance(item, dict)] if isinstance(found, list) else []


def _iso(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%S+00:00")
