"""Webhooks at GitHub: those of a repository, the App's own, what was delivered, and delivering again."""

from __future__ import annotations

from typing import Any, Final

from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from sandbox.github.answers import RefusedError, caller, credential, guard, not_found, page
from sandbox.github.place import Place
from sandbox.vendor.post import Hook
from sandbox.world import World

PER_PAGE: Final = 30


class Hooks(Place):
    """The endpoints, over one world."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self._post = world.post

    def routes(self) -> list[Route]:
        """Each below a repository, and the App's own."""
        repository = "/repos/{owner}/{repo}/hooks"
        table = [
            (repository, self.all, ["GET"]),
            ("/orgs/{org}/hooks", self.of_organization, ["GET"]),
            *(
                (f"{place}/deliveries", self.deliveries, ["GET"])
                for place in (f"{repository}/{{hook:int}}", "/app/hook")
            ),
            *(
                (f"{place}/deliveries/{{delivery:int}}/attempts", self.again, ["POST"])
                for place in (f"{repository}/{{hook:int}}", "/app/hook")
            ),
        ]
        return [Route(path, guard(endpoint), methods=methods) for path, endpoint, methods in table]

    async def all(self, request: Request) -> Response:
        repo = self.repo(request)
        return page(request, [_shape(hook) for hook in self._of(repo.name)])

    async def of_organization(self, request: Request) -> Response:
        caller(request, self.github)
        return page(request, [])

    async def deliveries(self, request: Request) -> Response:
        """Newest first; the cursor is the id to begin with."""
        hook = self._hook(request)
        size = min(int(request.query_params.get("per_page", str(PER_PAGE))), 100)
        rows = list(self._post.of_hook(hook.id))
        cursor = request.query_params.get("cursor")
        if cursor is not None:
            begin = next((at for at, row in enumerate(rows) if str(row.id) == cursor), None)
            if begin is None:
                raise RefusedError(422, "Invalid cursor")
            rows = rows[begin:]
        headers = None
        if len(rows) > size:
            url = request.url.include_query_params(cursor=rows[size].id)
            headers = {"link": f'<{url}>; rel="next"'}
        return JSONResponse([row.as_github() for row in rows[:size]], headers=headers)

    async def again(self, request: Request) -> Response:
        hook = self._hook(request)
        wanted = int(request.path_params["delivery"])
        for attempt in self._post.of_hook(hook.id):
            if attempt.id == wanted:
                later = BackgroundTask(self._post.send_again, attempt)
                return JSONResponse({}, status_code=202, background=later)
        raise not_found()

    def _hook(self, request: Request) -> Hook:
        number = request.path_params.get("hook")
        if number is None:
            if credential(request, self.github) != "app":
                raise RefusedError(401, "A JSON web token could not be decoded")
            found = [
                hook for hook in self._post.hooks.values() if hook.service == "github" and hook.place is None
            ]
        else:
            repo = self.repo(request)
            found = [hook for hook in self._of(repo.name) if hook.id == int(number)]
        if not found:
            raise not_found()
        return found[0]

    def _of(self, name: str) -> list[Hook]:
        return [
            hook
            for hook in self._post.hooks.values()
            if hook.service == "github" and hook.place is not None and hook.place.lower() == name.lower()
        ]


def _shape(hook: Hook) -> dict[str, Any]:
    return {
        "type": "Repository",
        "id": hook.id,
        "name": "web",
        "active": True,
        "events": ["*"],
        "config": {"content_type": "json", "insecure_ssl": "0", "url": hook.url, "secret": "********"},
    }
