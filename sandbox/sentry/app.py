"""Sentry's REST calls below `/sentry/api/0/`: shapes, statuses and error bodies as Sentry's (webhooks
reference §3.2).

Errors are `{"detail": …}` or a map of field to messages, both with 4xx.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any, Final, Literal

from pydantic import Field
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from sandbox.moments import iso_micros
from sandbox.requests import Body, NotJsonError, UnacceptableBodyError, read_body
from sandbox.sentry.state import APP_UUID, USER_ID, ExternalIssue, Note, SentryIssue
from sandbox.world import World

PAGE: Final = 100
Endpoint = Callable[[Request], Awaitable[Response]]


class _NewComment(Body):
    text: str
    mentions: list[str] = Field(default_factory=list)


class _Update(Body):
    status: Literal["resolved", "resolvedInNextRelease", "unresolved", "ignored"] | None = None
    statusDetails: dict[str, Any] | None = None  # noqa: N815 - Sentry's name
    substatus: str | None = None
    assignedTo: str | None = None  # noqa: N815 - Sentry's name
    hasSeen: bool | None = None  # noqa: N815 - Sentry's name


class _NewExternalIssue(Body):
    issueId: Any = None  # noqa: N815 - Sentry's name
    webUrl: str = Field(pattern=r"^https?://")  # noqa: N815 - Sentry's name
    project: str = Field(min_length=1)
    identifier: str = Field(min_length=1)


class _RefusedError(Exception):
    def __init__(self, status: int, body: Any) -> None:
        super().__init__(str(status))
        self.status = status
        self.body = body


def build(world: World) -> Starlette:
    """Sentry as the token of an internal integration sees it."""
    service = _Sentry(world)
    issue = "/api/0/organizations/{org}/issues/{issue}"
    installation = "/api/0/sentry-app-installations/{uuid}/external-issues"
    return Starlette(
        routes=[
            Route("/api/0/", _guard(service.index), methods=["GET"]),
            Route("/api/0/organizations/{org}/", _guard(service.organization), methods=["GET"]),
            Route(
                "/api/0/organizations/{org}/sentry-app-installations/",
                _guard(service.installed),
                methods=["GET"],
            ),
            *(
                Route(path, _guard(endpoint), methods=["GET"])
                for path, endpoint in (
                    ("/api/0/organizations/{org}/issues/", service.search),
                    ("/api/0/organizations/{org}/projects/", service.projects),
                    ("/api/0/projects/{org}/{project}/rules/", service.rules),
                    ("/api/0/projects/{org}/{project}/rules/{rule}/group-history/", service.firings),
                    (f"{issue}/events/{{event}}/", service.event),
                )
            ),
            Route(f"{issue}/", _guard(service.issue), methods=["GET", "PUT"]),
            Route(f"{issue}/comments/", _guard(service.comments), methods=["GET", "POST"]),
            Route(f"{issue}/comments/{{note}}/", _guard(service.comment), methods=["PUT", "DELETE"]),
            Route(f"{issue}/external-issues/", _guard(service.links), methods=["GET"]),
            Route(f"{issue}/events/latest/", _guard(service.latest), methods=["GET"]),
            Route(f"{installation}/", _guard(service.link), methods=["POST"]),
            Route(f"{installation}/{{link}}/", _guard(service.unlink), methods=["DELETE"]),
        ]
    )


def _guard(endpoint: Endpoint) -> Endpoint:
    """Ask for a credential, and turn refusals into Sentry's answers."""

    async def guarded(request: Request) -> Response:
        if not request.headers.get("authorization"):
            return JSONResponse({"detail": "Authentication credentials were not provided."}, status_code=401)
        try:
            return await endpoint(request)
        except _RefusedError as error:
            return JSONResponse(error.body, status_code=error.status)
        except NotJsonError:
            return JSONResponse({"detail": "JSON parse error - Expecting value"}, status_code=400)
        except UnacceptableBodyError as error:
            return JSONResponse(_field_map(error), status_code=400)

    return guarded


def _field_map(error: UnacceptableBodyError) -> dict[str, list[str]]:
    fields: dict[str, list[str]] = {}
    for path, kind, message in error.problems:
        words = "This field is required." if kind == "missing" else message
        fields.setdefault(path.partition(".")[0] or "nonFieldErrors", []).append(words)
    return fields


class _Sentry:
    """The endpoints, over one world."""

    def __init__(self, world: World) -> None:
        self._sentry = world.sentry

    async def index(self, _: Request) -> Response:
        user = {
            "id": USER_ID,
            "name": "triggerhub",
            "username": f"triggerhub-{APP_UUID[:8]}",
            "isActive": True,
        }
        return JSONResponse({"version": "0", "auth": {"scopes": ["event:write", "org:read"]}, "user": user})

    async def organization(self, request: Request) -> Response:
        slug = self._organization(request)
        return JSONResponse(
            {
                "id": "1402317",
                "slug": slug,
                "name": slug.title(),
                "status": {"id": "active", "name": "active"},
            }
        )

    async def installed(self, request: Request) -> Response:
        slug = self._organization(request)
        return JSONResponse(
            [
                {
                    "uuid": uuid,
                    "status": "installed",
                    "app": {"uuid": APP_UUID, "slug": "triggerhub"},
                    "organization": {"slug": slug, "id": 1402317},
                }
                for uuid in sorted(self._sentry.installations)
            ]
        )

    async def issue(self, request: Request) -> Response:
        issue = self._issue(request)
        if request.method == "PUT":
            self._update(issue, await read_body(request, _Update))
        return JSONResponse(issue_shape(issue, str(request.path_params["org"])))

    async def search(self, request: Request) -> Response:
        """`firstSeen:>=TIME` is the one thing that can be searched for."""
        slug = self._organization(request)
        wanted = re.fullmatch(r"firstSeen:>=(\S+)", request.query_params.get("query", ""))
        if wanted is None:
            raise _RefusedError(
                400, {"detail": "Error parsing search query: the sandbox reads firstSeen:>= only"}
            )
        since = datetime.fromisoformat(wanted[1]).timestamp()
        found = [one for one in self._sentry.issues.values() if one.at >= since and not one.assumed]
        found.sort(key=lambda one: one.at, reverse=True)
        return _page(request, [issue_shape(one, slug) for one in found])

    async def projects(self, request: Request) -> Response:
        self._organization(request)
        slugs = {one.project for one in self._sentry.issues.values()}
        return _page(request, [{"id": "4509", "slug": slug, "name": slug.title()} for slug in sorted(slugs)])

    async def rules(self, request: Request) -> Response:
        self._organization(request)
        project = request.path_params["project"]
        rows = [
            {"id": rule.id, "name": rule.name, "projects": [project], "actions": [{"service": "triggerhub"}]}
            for rule in self._sentry.rules.values()
            if rule.project == project
        ]
        return _page(request, rows)

    async def firings(self, request: Request) -> Response:
        """For each issue the newest firing of the rule."""
        slug = self._organization(request)
        rule = request.path_params["rule"]
        if rule not in self._sentry.rules:
            raise _missing()
        first, last = (
            datetime.fromisoformat(request.query_params[name]).timestamp() for name in ("start", "end")
        )
        newest = {
            one.issue: one for one in self._sentry.firings if one.rule == rule and first <= one.at <= last + 1
        }
        rows = [
            {
                "group": issue_shape(self._sentry.issues[number], slug),
                "count": 1,
                "lastTriggered": iso_micros(one.at),
                "eventId": one.event,
            }
            for number, one in newest.items()
            if number in self._sentry.issues
        ]
        return _page(request, rows)

    async def event(self, request: Request) -> Response:
        issue, number = self._issue(request), request.path_params["event"]
        fired = next((one for one in self._sentry.firings if one.event == number), None)
        if fired is None:
            raise _missing()
        shape = {"id": number, "eventID": number, "groupID": issue.id, "title": issue.title}
        return JSONResponse(shape | {"dateCreated": iso_micros(fired.at), "entries": []})

    async def comments(self, request: Request) -> Response:
        issue = self._issue(request)
        if request.method == "GET":
            return _page(request, [_note_shape(note, issue) for note in reversed(issue.notes)])
        body = await read_body(request, _NewComment)
        if not body.text.strip():
            raise _RefusedError(400, {"text": ["This field may not be blank."]})
        note = self._sentry.comment(issue, body.text)
        if note is None:
            raise _RefusedError(400, {"detail": "You have already posted that comment."})
        return JSONResponse(_note_shape(note, issue), status_code=201)

    async def comment(self, request: Request) -> Response:
        issue = self._issue(request)
        note = next((item for item in issue.notes if item.id == request.path_params["note"]), None)
        if note is None:
            raise _missing()
        if request.method == "DELETE":
            issue.notes.remove(note)
            return Response(status_code=204)
        note.text = (await read_body(request, _NewComment)).text
        return JSONResponse(_note_shape(note, issue))

    async def links(self, request: Request) -> Response:
        return JSONResponse([_link_shape(link) for link in self._issue(request).links])

    async def latest(self, request: Request) -> Response:
        issue = self._issue(request)
        event = {
            "id": "0" * 24 + issue.id[-8:].rjust(8, "0"),
            "groupID": issue.id,
            "title": issue.title,
            "dateCreated": iso_micros(issue.at),
            "tags": [{"key": "level", "value": issue.level}],
            "entries": [],
        }
        return JSONResponse(event)

    async def link(self, request: Request) -> Response:
        if request.path_params["uuid"] not in self._sentry.installations:
            raise _missing()
        body = await read_body(request, _NewExternalIssue)
        try:
            number = int(body.issueId)
        except (TypeError, ValueError):
            words = "issueId is required, and must be an integer"
            raise _RefusedError(400, {"detail": words}) from None
        issue = self._sentry.issue(str(number))
        if issue is None:
            raise _RefusedError(
                404, {"detail": "Could not find the corresponding issue for the given issueId"}
            )
        # Sentry updates the one link that an app may have per issue (source: ExternalIssueCreator).
        issue.links.clear()
        link = ExternalIssue(
            id=self._sentry.new_id(),
            issue=issue.id,
            web_url=body.webUrl,
            project=body.project,
            identifier=body.identifier,
        )
        issue.links.append(link)
        return JSONResponse(_link_shape(link))

    async def unlink(self, request: Request) -> Response:
        for issue in self._sentry.issues.values():
            for link in issue.links:
                if link.id == request.path_params["link"]:
                    issue.links.remove(link)
                    return Response(status_code=204)
        raise _missing()

    def _organization(self, request: Request) -> str:
        slug = str(request.path_params["org"])
        if not self._sentry.organization(slug):
            raise _missing()
        return slug

    def _issue(self, request: Request) -> SentryIssue:
        self._organization(request)
        issue = self._sentry.issue(str(request.path_params["issue"]))
        if issue is None:
            raise _missing()
        return issue

    def _update(self, issue: SentryIssue, body: _Update) -> None:
        if body.status is not None:
            issue.status = "resolved" if body.status == "resolvedInNextRelease" else body.status
            issue.status_details = body.statusDetails or {}
            if body.status == "resolvedInNextRelease":
                issue.status_details = {"inNextRelease": True}
            issue.substatus = {"unresolved": "ongoing", "ignored": "archived_until_escalating"}.get(
                issue.status
            )
        if body.assignedTo is not None:
            kind, _, number = body.assignedTo.rpartition(":")
            if kind not in {"", "user", "team"} or (kind and not number.isdigit()):
                raise _RefusedError(400, {"assignedTo": ["Unknown actor input"]})
            issue.assigned_to = body.assignedTo or None


def _missing() -> _RefusedError:
    return _RefusedError(404, {"detail": "The requested resource does not exist"})


def _page(request: Request, rows: list[dict[str, Any]]) -> Response:
    """One page with Sentry's Link header: `rel`, `results` and a cursor `0:offset:0`."""
    parts = request.query_params.get("cursor", "0:0:0").split(":")
    if len(parts) != len(["0", "0", "0"]) or not all(part.isdigit() for part in parts):
        raise _RefusedError(400, {"detail": "Invalid cursor parameter."})
    start = int(parts[1])
    more = "true" if start + PAGE < len(rows) else "false"
    base = str(request.url).partition("?")[0]
    earlier = "true" if start else "false"
    before = f'<{base}?&cursor=0:{max(start - PAGE, 0)}:1>; rel="previous"; results="{earlier}"'
    after = f'<{base}?&cursor=0:{start + PAGE}:0>; rel="next"; results="{more}"; cursor="0:{start + PAGE}:0"'
    return JSONResponse(rows[start : start + PAGE], headers={"link": f"{before}, {after}"})


def _note_shape(note: Note, issue: SentryIssue) -> dict[str, Any]:
    return {
        "id": note.id,
        "user": {"id": note.user, "name": "triggerhub", "username": f"triggerhub-{APP_UUID[:8]}"},
        "sentry_app": None,
        "type": "note",
        "data": {"text": note.text},
        "dateCreated": iso_micros(note.at),
        "issue": {"id": issue.id},
    }


def issue_shape(issue: SentryIssue, org: str) -> dict[str, Any]:
    """An issue as the REST interface shows it."""
    assigned = None
    if issue.assigned_to is not None:
        kind, _, number = issue.assigned_to.rpartition(":")
        assigned = {"type": kind or "user", "id": number, "name": number}
    return {
        "id": issue.id,
        "shortId": issue.short_id,
        "title": issue.title,
        "permalink": f"https://{org}.sentry.io/issues/{issue.id}/",
        "level": issue.level,
        "status": issue.status,
        "statusDetails": issue.status_details,
        "substatus": issue.substatus,
        "project": {"id": "4509", "name": issue.project, "slug": issue.project, "platform": "python"},
        "assignedTo": assigned,
        "numComments": len(issue.notes),
        "issueCategory": "error",
        "firstSeen": iso_micros(issue.at),
        "lastSeen": iso_micros(issue.at),
        "count": "1",
        "userCount": 1,
    }


def _link_shape(link: ExternalIssue) -> dict[str, Any]:
    return {
        "id": link.id,
        "issueId": link.issue,
        "serviceType": "triggerhub",
        "displayName": link.display_name,
        "webUrl": link.web_url,
    }
