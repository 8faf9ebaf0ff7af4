"""Finding what a request's path names. Every endpoint begins here; anything unknown is GitHub's 404."""

from __future__ import annotations

from starlette.requests import Request

from sandbox.github.answers import RefusedError, caller, not_found
from sandbox.github.records import Comment, Issue, Pull, Repository
from sandbox.github.state import GitHub
from sandbox.moments import now
from sandbox.world import World


class Place:
    """Base of the groups of endpoints: a world, and how to walk into it from a path."""

    def __init__(self, world: World) -> None:
        self.github: GitHub = world.github

    def login(self, request: Request) -> str:
        """In whose name the call acts."""
        return caller(request, self.github)

    def repo(self, request: Request) -> Repository:
        """`/repos/{owner}/{repo}`."""
        caller(request, self.github)
        found = self.github.repo(f"{request.path_params['owner']}/{request.path_params['repo']}")
        if found is None:
            raise not_found()
        return found

    def issue(self, request: Request) -> tuple[Repository, Issue]:
        """`…/issues/{number}`; a pull request is an issue too."""
        repo = self.repo(request)
        found = self.github.issue(repo, int(request.path_params["number"]))
        if found is None:
            raise not_found()
        return repo, found

    def pull(self, request: Request) -> tuple[Repository, Issue, Pull]:
        """`…/pulls/{number}`."""
        repo = self.repo(request)
        found = self.github.pull(repo, int(request.path_params["number"]))
        if found is None or found.pull is None:
            raise not_found()
        return repo, found, found.pull

    def sha(self, repo: Repository, ref: str) -> str:
        """A commit by branch or sha. 422 as GitHub words it."""
        found = self.github.commit(repo, ref)
        if found is None:
            raise RefusedError(422, f"No commit found for SHA: {ref}")
        return found

    def new_comment(self, request: Request, body: str) -> Comment:
        """A comment of the caller, not yet anywhere."""
        moment = now()
        return Comment(
            id=self.github.new_id(), body=body, login=self.login(request), at=moment, edited_at=moment
        )
