"""`/_sandbox/…`: looking at the world and changing it from another process. Loopback only; it asks for no
credential."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from sandbox.faults import Fault
from sandbox.vendor import admin as vendor
from sandbox.world import World

Endpoint = Callable[[Request], Awaitable[Response]]


class _Form(BaseModel):
    model_config = ConfigDict(extra="forbid")


F = TypeVar("F", bound=_Form)


class Push(_Form):
    """`POST /_sandbox/github/push`: what an agent's `git push` does."""

    repo: str
    branch: str
    base: str | None = None
    message: str = "Work of an agent"
    files: dict[str, str] = Field(default_factory=dict)


class Repo(_Form):
    """`POST /_sandbox/github/repos`."""

    name: str
    private: bool = True
    default_branch: str = "main"


class GitHubIssue(_Form):
    """`POST /_sandbox/github/issues`. With `head` it is a pull request."""

    repo: str
    number: int = Field(ge=1)
    title: str | None = None
    body: str | None = None
    login: str = "octo-dev"
    labels: tuple[str, ...] = ()
    head: str | None = None


class JiraIssue(_Form):
    """`POST /_sandbox/jira/issues`."""

    key: str = Field(pattern=r"^[A-Z][A-Z0-9_]*-[1-9][0-9]*$")
    summary: str | None = None
    status: str = "To Do"
    labels: tuple[str, ...] = ()


class SentryIssue(_Form):
    """`POST /_sandbox/sentry/issues`."""

    id: str = Field(pattern=r"^[0-9]+$")
    title: str | None = None
    project: str = "checkout"
    organization: str = "acme"


class SlackChannel(_Form):
    """`POST /_sandbox/slack/channels`."""

    id: str
    name: str | None = None
    is_member: bool = True


class SlackMessage(_Form):
    """`POST /_sandbox/slack/messages`: something a person wrote."""

    channel: str
    ts: str
    user: str = "U02ADA000"
    text: str = ""
    thread_ts: str | None = None


def build(world: World) -> Starlette:
    """The admin routes of one world."""
    return Starlette(
        routes=[
            *vendor.routes(world),
            Route("/log", _log(world), methods=["GET"]),
            Route("/state", _state(world), methods=["GET"]),
            Route("/faults", _faults(world), methods=["GET", "POST", "DELETE"]),
            Route("/reset", _reset(world), methods=["POST"]),
            Route("/github/push", _form(Push, lambda form: {"sha": _push(world, form)}), methods=["POST"]),
            Route("/github/repos", _form(Repo, lambda form: _repo(world, form)), methods=["POST"]),
            Route(
                "/github/issues",
                _form(GitHubIssue, lambda form: _github_issue(world, form)),
                methods=["POST"],
            ),
            Route("/jira/issues", _form(JiraIssue, lambda form: _jira_issue(world, form)), methods=["POST"]),
            Route(
                "/sentry/issues",
                _form(SentryIssue, lambda form: _sentry_issue(world, form)),
                methods=["POST"],
            ),
            Route(
                "/slack/channels", _form(SlackChannel, lambda form: _channel(world, form)), methods=["POST"]
            ),
            Route(
                "/slack/messages", _form(SlackMessage, lambda form: _message(world, form)), methods=["POST"]
            ),
        ]
    )


def _log(world: World) -> Endpoint:
    async def endpoint(request: Request) -> Response:
        try:
            since = int(request.query_params.get("since", "0"))
        except ValueError:
            return _refused("since must be the number `n` of a call")
        service = request.query_params.get("service") or None
        calls = [call.as_dict() for call in world.log.calls(service, since=since)]
        return Response(orjson.dumps({"calls": calls}, default=str), media_type="application/json")

    return endpoint


def _state(world: World) -> Endpoint:
    async def endpoint(_: Request) -> Response:
        # Some state is kept by number.
        body = orjson.dumps(world.state(), default=str, option=orjson.OPT_NON_STR_KEYS)
        return Response(body, media_type="application/json")

    return endpoint


def _faults(world: World) -> Endpoint:
    async def endpoint(request: Request) -> Response:
        if request.method == "DELETE":
            world.faults.clear()
            return Response(status_code=204)
        if request.method == "GET":
            return JSONResponse(
                {"faults": [fault.model_dump(mode="json") for fault in world.faults.active()]}
            )
        try:
            fault = world.faults.add(Fault.model_validate_json(await request.body()))
        except ValidationError as error:
            return _refused(_why(error))
        return JSONResponse(fault.model_dump(mode="json"), status_code=201)

    return endpoint


def _reset(world: World) -> Endpoint:
    async def endpoint(_: Request) -> Response:
        world.reset()
        return Response(status_code=204)

    return endpoint


def _form(model: type[F], act: Callable[[F], Any]) -> Endpoint:
    async def endpoint(request: Request) -> Response:
        try:
            form = model.model_validate_json(await request.body())
        except ValidationError as error:
            return _refused(_why(error))
        try:
            return JSONResponse(act(form), status_code=201)
        except (LookupError, ValueError) as error:
            return _refused(str(error))

    return endpoint


def _push(world: World, form: Push) -> str:
    return world.github.push(form.repo, form.branch, base=form.base, message=form.message, files=form.files)


def _repo(world: World, form: Repo) -> dict[str, Any]:
    made = world.github.ensure_repo(form.name, private=form.private, default_branch=form.default_branch)
    return {"name": made.name, "id": made.id}


def _github_issue(world: World, form: GitHubIssue) -> dict[str, Any]:
    if form.head is not None:
        issue = world.github.ensure_pull(
            form.repo, form.number, head=form.head, title=form.title, login=form.login
        )
    else:
        issue = world.github.ensure_issue(
            form.repo, form.number, title=form.title, body=form.body, login=form.login, labels=form.labels
        )
    return {"number": issue.number, "id": issue.id}


def _jira_issue(world: World, form: JiraIssue) -> dict[str, Any]:
    issue = world.jira.ensure_issue(form.key, summary=form.summary, status=form.status, labels=form.labels)
    return {"key": issue.key, "id": issue.id}


def _sentry_issue(world: World, form: SentryIssue) -> dict[str, Any]:
    issue = world.sentry.ensure_issue(
        form.id, title=form.title, project=form.project, organization=form.organization
    )
    return {"id": issue.id}


def _channel(world: World, form: SlackChannel) -> dict[str, Any]:
    return {"id": world.slack.ensure_channel(form.id, name=form.name, is_member=form.is_member).id}


def _message(world: World, form: SlackMessage) -> dict[str, Any]:
    message = world.slack.ensure_message(
        form.channel, form.ts, user=form.user, text=form.text, thread_ts=form.thread_ts
    )
    return {"ts": message.ts}


ERRORS_SHOWN: Final = 5


def _why(error: ValidationError) -> str:
    shown = [
        f"{'.'.join(str(step) for step in item['loc']) or 'body'}: {item['msg']}"
        for item in error.errors(include_url=False, include_input=False)[:ERRORS_SHOWN]
    ]
    return json.dumps(shown)


def _refused(why: str) -> Response:
    return JSONResponse({"error": why}, status_code=400)
