"""Jira's search, changelogs and statuses, and the webhooks of an app: what one asks to find what one was not told."""

from __future__ import annotations

import re
from typing import Any, Final

from pydantic import Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from sandbox.jira import bodies, shapes
from sandbox.jira.answers import Endpoint, RefusedError, no_issue
from sandbox.jira.state import WORKFLOW, JiraIssue
from sandbox.moments import now
from sandbox.requests import Body, read_body
from sandbox.world import World

HISTORIES: Final = 40
"""Entries of the changelog that a search shows, newest first."""
COMMENTS: Final = 20
"""Comments that a search shows, oldest first."""
LIFE: Final = 30 * 86_400.0
"""Seconds that an app's webhook lives from its making or renewal."""
MINUTE: Final = 60.0


class Refresh(Body):
    """`PUT /rest/api/3/webhook/refresh`."""

    webhookIds: list[int] = Field(min_length=1)  # noqa: N815 - Jira's name


class Search:
    """The endpoints, over one world."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._jira = world.jira

    def table(self) -> list[tuple[str, Endpoint, list[str]]]:
        """Paths with their endpoints and methods."""
        base = "/rest/api/{version:int}"
        return [
            (f"{base}/search/jql", self.search, ["GET", "POST"]),
            (f"{base}/issue/{{key}}/changelog", self.changelog, ["GET"]),
            (f"{base}/status/{{status}}", self.status, ["GET"]),
            (f"{base}/webhook", self.webhooks, ["GET"]),
            (f"{base}/webhook/refresh", self.refresh, ["PUT"]),
        ]

    async def search(self, request: Request) -> Response:
        if request.method == "POST":
            asked = await read_body(request, bodies.Search)
        else:
            fields = [name for name in request.query_params.get("fields", "").split(",") if name]
            asked = bodies.Search(
                jql=request.query_params.get("jql", ""),
                fields=fields,
                nextPageToken=request.query_params.get("nextPageToken"),
            )
        token = asked.nextPageToken or "0"
        if not token.isdigit():
            raise RefusedError(400, "The value of the parameter nextPageToken is invalid.")
        found = [issue for issue in self._jira.issues.values() if _matches(issue, asked.jql)]
        found.sort(key=lambda issue: issue.edited_at)
        start, version = int(token), int(request.path_params["version"])
        expand = (asked.expand or "").split(",")
        answer: dict[str, Any] = {
            "issues": [
                self._found(issue, asked.fields, version=version, changelog="changelog" in expand)
                for issue in found[start : start + asked.maxResults]
            ],
            "isLast": start + asked.maxResults >= len(found),
        }
        if not answer["isLast"]:
            answer["nextPageToken"] = str(start + asked.maxResults)
        return JSONResponse(answer)

    def _found(self, issue: JiraIssue, fields: list[str], *, version: int, changelog: bool) -> dict[str, Any]:
        if not fields:
            return {"id": issue.id}
        shape = shapes.issue(issue, only=fields)
        if "*all" in fields or "comment" in fields:
            shown = issue.comments[:COMMENTS]
            shape["fields"]["comment"] = {
                "comments": [
                    shapes.comment(issue, note, properties=False, version=version) for note in shown
                ],
                "maxResults": COMMENTS,
                "total": len(issue.comments),
                "startAt": 0,
            }
        if changelog:
            newest = issue.histories[::-1][:HISTORIES]
            shape["changelog"] = {
                "startAt": 0,
                "maxResults": HISTORIES,
                "total": len(issue.histories),
                "histories": [shapes.history(entry) for entry in newest],
            }
        return shape

    async def changelog(self, request: Request) -> Response:
        issue = self._jira.issue(str(request.path_params["key"]))
        if issue is None:
            raise no_issue()
        start, size = (
            int(request.query_params.get(name, usual))
            for name, usual in (("startAt", "0"), ("maxResults", "100"))
        )
        rows = [shapes.history(entry) for entry in issue.histories]
        page = rows[start : start + size]
        return JSONResponse(
            {
                "startAt": start,
                "maxResults": size,
                "total": len(rows),
                "isLast": start + size >= len(rows),
                "values": page,
            }
        )

    async def status(self, request: Request) -> Response:
        wanted = str(request.path_params["status"])
        for _, name, number, _ in WORKFLOW:
            if wanted in {number, name}:
                return JSONResponse(shapes.status(name))
        raise RefusedError(404, f"The status with id '{wanted}' does not exist")

    async def webhooks(self, request: Request) -> Response:
        self._need_app(request)
        hooks = [hook for hook in self._world.post.hooks.values() if hook.service == "jira"]
        rows = [
            {
                "id": hook.id,
                "url": hook.url,
                "jqlFilter": "project = SHOP",
                "events": ["jira:issue_updated"],
                "expirationDate": int(self._jira.webhook_ends.get(hook.id, now() + LIFE) * 1000),
            }
            for hook in hooks
        ]
        answer = {"startAt": 0, "maxResults": 100, "total": len(rows), "isLast": True, "values": rows}
        return JSONResponse(answer)

    async def refresh(self, request: Request) -> Response:
        self._need_app(request)
        wanted = (await read_body(request, Refresh)).webhookIds
        ends = now() + LIFE
        for number in wanted:
            if number in self._world.post.hooks:
                self._jira.webhook_ends[number] = ends
        return JSONResponse({"expirationDate": int(ends * 1000)})

    def _need_app(self, request: Request) -> None:
        if not request.headers.get("authorization", "").lower().startswith("bearer "):
            raise RefusedError(403, "Only Connect and OAuth 2.0 apps can use this operation.")


def _matches(issue: JiraIssue, jql: str) -> bool:
    """`field = value` and `updated >= -15m`, joined by AND: enough to find one's own things and what changed."""
    plain = re.sub(r"(?i)\s+order\s+by\s.*$", "", jql.strip())
    values = {
        "key": [issue.key],
        "issuekey": [issue.key],
        "project": [issue.project],
        "labels": issue.fields.get("labels", []),
        "status": [issue.status],
    }
    for part in re.split(r"\s+AND\s+", plain, flags=re.IGNORECASE):
        clause = part.strip().removeprefix("(").removesuffix(")").strip()
        since = re.fullmatch(r"(?i)updated\s*>=\s*\"?-([0-9]+)m\"?", clause)
        if since is not None:
            if issue.assumed or issue.edited_at < now() - int(since[1]) * MINUTE:
                return False
            continue
        found = re.fullmatch(r"(\w+)\s*=\s*\"?([^\"]*)\"?", clause)
        if found is None or found[1].lower() not in values:
            raise RefusedError(400, f"Error in the JQL Query: the sandbox cannot read {clause!r}.")
        if found[2] not in values[found[1].lower()]:
            return False
    return True
