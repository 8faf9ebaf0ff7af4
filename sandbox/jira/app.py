"""Jira's REST calls below `/jira/rest/api/3/` (ADF) and `/2/` (wiki markup), webhooks reference §2.3."""

from __future__ import annotations

from typing import Any, Final

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from sandbox.jira import adf, shapes
from sandbox.jira.answers import Endpoint, RefusedError, guard, no_issue
from sandbox.jira.bodies import (
    Assignee,
    DoTransition,
    IssueUpdate,
    NewComment,
    NewIssue,
    NewRemoteLink,
)
from sandbox.jira.search import Search
from sandbox.jira.state import ACCOUNT_ID, WORKFLOW, JiraComment, JiraIssue, RemoteLink
from sandbox.moments import now
from sandbox.requests import read_body, read_json
from sandbox.world import World

PAGE: Final = 50
MAX_PAGE: Final = 100
TOO_LONG: Final = (
    f"The entered text is too long. It exceeds the allowed limit of {adf.MAX_TEXT:,} characters."
)


def build(world: World) -> Starlette:
    """A Jira Cloud site as an API token sees it."""
    service = _Jira(world)
    issue = "/rest/api/{version:int}/issue"
    one = f"{issue}/{{key}}"
    table: list[tuple[str, Endpoint, list[str]]] = [
        ("/rest/api/{version:int}/myself", service.myself, ["GET"]),
        ("/rest/api/{version:int}/serverInfo", service.server_info, ["GET"]),
        ("/rest/api/{version:int}/search", service.gone, ["GET", "POST"]),
        (issue, service.create, ["POST"]),
        (one, service.issue, ["GET", "PUT"]),
        (f"{one}/comment", service.comments, ["GET", "POST"]),
        (f"{one}/comment/{{comment}}", service.comment, ["GET", "PUT", "DELETE"]),
        (f"{one}/transitions", service.transitions, ["GET", "POST"]),
        (f"{one}/remotelink", service.remote_links, ["GET", "POST"]),
        (f"{one}/assignee", service.assignee, ["PUT"]),
        (f"{one}/properties/{{name}}", service.property, ["GET", "PUT", "DELETE"]),
    ]
    table += Search(world).table()
    return Starlette(
        routes=[Route(path, guard(endpoint), methods=methods) for path, endpoint, methods in table]
    )


class _Jira:
    """The endpoints, over one world."""

    def __init__(self, world: World) -> None:
        self._jira = world.jira

    async def myself(self, _: Request) -> Response:
        return JSONResponse(
            shapes.account(ACCOUNT_ID) | {"emailAddress": "bot@acme.example", "locale": "en_US"}
        )

    async def server_info(self, _: Request) -> Response:
        return JSONResponse({"baseUrl": shapes.SITE, "deploymentType": "Cloud", "version": "1001.0.0"})

    async def gone(self, _: Request) -> Response:
        words = "The requested API has been removed. Please use the /rest/api/3/search/jql API."
        raise RefusedError(410, words)

    async def create(self, request: Request) -> Response:
        body = await read_body(request, NewIssue)
        fields = dict(body.fields)
        project = fields.pop("project", None)
        key = project.get("key") if isinstance(project, dict) else None
        if not isinstance(key, str) or (key not in self._jira.projects and not self._jira.create_missing):
            raise RefusedError(400, errors={"project": "Specify a valid project ID or key"})
        summary = fields.get("summary")
        if not isinstance(summary, str) or not summary.strip():
            raise RefusedError(400, errors={"summary": "You must specify a summary of the issue."})
        if not isinstance(fields.get("issuetype"), dict):
            raise RefusedError(400, errors={"issuetype": "Specify an issue type"})
        self._check_fields(request, fields)
        issue = self._jira.ensure_issue(self._jira.next_key(key), summary=summary)
        issue.fields |= fields
        issue.properties = {item.key: item.value for item in body.properties}
        self_url = f"{shapes.SITE}/rest/api/3/issue/{issue.id}"
        return JSONResponse({"id": issue.id, "key": issue.key, "self": self_url}, status_code=201)

    async def issue(self, request: Request) -> Response:
        issue = self._issue(request)
        if request.method == "GET":
            only = [name for name in request.query_params.get("fields", "").split(",") if name]
            return JSONResponse(shapes.issue(issue, only=only))
        body = await read_body(request, IssueUpdate)
        if not body.fields and not body.update and not body.properties:
            raise RefusedError(400, "one of 'fields' or 'update' required")
        self._check_fields(request, body.fields or {})
        labels = _labels(issue, (body.update or {}).get("labels", []))
        unknown = sorted(set(body.update or {}) - {"labels"})
        if unknown:
            field = unknown[0]
            raise RefusedError(
                400,
                errors={
                    field: f"Field '{field}' cannot be set. It is not on the appropriate screen, or unknown."
                },
            )
        issue.fields |= body.fields or {}
        issue.edited_at = now()
        if (body.update or {}).get("labels"):
            self._jira.relabel(issue, labels)
        return Response(status_code=204)

    async def comments(self, request: Request) -> Response:
        issue = self._issue(request)
        expand = "properties" in request.query_params.get("expand", "").split(",")
        if request.method == "GET":
            newest = request.query_params.get("orderBy", "created").startswith("-")
            version = request.path_params["version"]
            rows = [
                shapes.comment(issue, note, properties=expand, version=version) for note in issue.comments
            ]
            return _page(request, rows[::-1] if newest else rows)
        body = await read_body(request, NewComment)
        self._check_text(request, body.body, "comment")
        moment = now()
        note = JiraComment(
            id=self._jira.new_id(),
            body=body.body,
            account=ACCOUNT_ID,
            at=moment,
            edited_at=moment,
            visibility=body.visibility.model_dump(exclude_none=True) if body.visibility else None,
            properties={item.key: item.value for item in body.properties},
        )
        issue.comments.append(note)
        issue.edited_at = moment
        return JSONResponse(shapes.comment(issue, note, properties=expand), status_code=201)

    async def comment(self, request: Request) -> Response:
        issue = self._issue(request)
        wanted = request.path_params["comment"]
        note = next((note for note in issue.comments if note.id == wanted), None)
        if note is None:
            raise RefusedError(404, f"Can not find a comment for the id: {wanted}.")
        if request.method == "DELETE":
            issue.comments.remove(note)
            return Response(status_code=204)
        if request.method == "PUT":
            body = await read_body(request, NewComment)
            self._check_text(request, body.body, "comment")
            note.body, note.edited_at = body.body, now()
            # What is not said again of its readers is taken off.
            note.visibility = body.visibility.model_dump(exclude_none=True) if body.visibility else None
            note.properties |= {item.key: item.value for item in body.properties}
        expand = "properties" in request.query_params.get("expand", "").split(",")
        return JSONResponse(shapes.comment(issue, note, properties=expand))

    async def transitions(self, request: Request) -> Response:
        issue = self._issue(request)
        possible = {number: name for number, name, _, _ in WORKFLOW if name != issue.status}
        if request.method == "GET":
            rows = [shapes.transition(number, name) for number, name in possible.items()]
            return JSONResponse({"expand": "transitions", "transitions": rows})
        chosen = (await read_body(request, DoTransition)).transition.id
        if chosen not in possible:
            raise RefusedError(400, f"Transition id '{chosen}' is not valid for this issue.")
        self._jira.move(issue, possible[chosen])
        return Response(status_code=204)

    async def remote_links(self, request: Request) -> Response:
        issue = self._issue(request)
        if request.method == "GET":
            wanted = request.query_params.get("globalId")
            rows = [
                shapes.remote_link(issue, link)
                for link in issue.remote_links
                if wanted in {None, link.global_id}
            ]
            if wanted is None:
                return JSONResponse(rows)
            if not rows:
                raise RefusedError(404, f"No remote link with globalId {wanted}")
            return JSONResponse(rows[0])
        body = await read_body(request, NewRemoteLink)
        known = next(
            (link for link in issue.remote_links if body.globalId and link.global_id == body.globalId), None
        )
        link = known or RemoteLink(
            id=int(self._jira.new_id()), global_id=body.globalId, relationship=None, object={}
        )
        link.relationship = body.relationship
        link.object = body.object.model_dump(exclude_none=True)
        link.application = body.application.model_dump(exclude_none=True) if body.application else {}
        if known is None:
            issue.remote_links.append(link)
        answer = {"id": link.id, "self": shapes.remote_link(issue, link)["self"]}
        return JSONResponse(answer, status_code=201 if known is None else 200)

    async def assignee(self, request: Request) -> Response:
        issue = self._issue(request)
        account = (await read_body(request, Assignee)).accountId
        self._jira.assign(issue, account)
        return Response(status_code=204)

    async def property(self, request: Request) -> Response:
        issue = self._issue(request)
        name = request.path_params["name"]
        if request.method == "PUT":
            fresh = name not in issue.properties
            issue.properties[name] = await read_json(request)
            return Response(status_code=201 if fresh else 200)
        if name not in issue.properties:
            raise RefusedError(404, f"The issue property with key {name} was not found.")
        if request.method == "DELETE":
            del issue.properties[name]
            return Response(status_code=204)
        return JSONResponse({"key": name, "value": issue.properties[name]})

    def _issue(self, request: Request) -> JiraIssue:
        issue = self._jira.issue(str(request.path_params["key"]))
        if issue is None:
            raise no_issue()
        return issue

    def _check_fields(self, request: Request, fields: dict[str, Any]) -> None:
        if fields.get("description") is not None:
            self._check_text(request, fields["description"], "description")
        labels = fields.get("labels", [])
        if not isinstance(labels, list) or not all(
            isinstance(name, str) and " " not in name for name in labels
        ):
            raise RefusedError(400, errors={"labels": "The label contains spaces which is invalid."})

    def _check_text(self, request: Request, text: Any, field: str) -> None:
        """API v3 takes ADF, v2 a string of wiki markup; both are measured."""
        if request.path_params["version"] == 2:  # noqa: PLR2004 - the version in the path
            if not isinstance(text, str) or not text.strip():
                raise RefusedError(400, errors={field: "Comment body can not be empty!"})
            length = len(text)
        else:
            if adf.problems(text):
                raise RefusedError(400, "INVALID_INPUT", errors={field: "Comment body is not valid!"})
            if not adf.plain(text).strip() and "inlineCard" not in str(text):
                raise RefusedError(400, errors={field: "Comment body can not be empty!"})
            length = adf.characters(text)
        if length > adf.MAX_TEXT:
            raise RefusedError(400, errors={field: TOO_LONG})


def _labels(issue: JiraIssue, changes: list[dict[str, Any]]) -> list[str]:
    labels = list(issue.fields.get("labels", []))
    for change in changes:
        for verb, value in change.items():
            words = value if isinstance(value, str) else ""
            if verb not in {"add", "remove"} or not words or " " in words:
                raise RefusedError(
                    400, errors={"labels": f"The label '{words}' contains spaces which is invalid."}
                )
            if verb == "add" and words not in labels:
                labels.append(words)
            if verb == "remove" and words in labels:
                labels.remove(words)
    return labels


def _page(request: Request, rows: list[dict[str, Any]]) -> Response:
    """One page by startAt and maxResults."""
    start, size = request.query_params.get("startAt", "0"), request.query_params.get("maxResults", str(PAGE))
    if not start.isdigit() or not size.isdigit():
        raise RefusedError(400, "startAt and maxResults must be numbers")
    first, count = int(start), min(int(size), MAX_PAGE)
    shown = rows[first : first + count]
    return JSONResponse({"startAt": first, "maxResults": count, "total": len(rows), "comments": shown})
