"""Posts to GitHub for one connection: picks the output and hands over. Must not decide when to try again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import httpx

from connectors.base import Identity
from connectors.github.checks import Checks
from connectors.github.client import Client
from connectors.github.comments import Comments, ThreadReplies
from connectors.github.credentials import AppCredentials, Credentials, NoCredentials, TokenCredentials
from connectors.github.destinations import check_repository
from connectors.github.marks import CheckRuns, Labels, Reactions, Statuses
from connectors.github.pull_requests import PullRequests
from connectors.github.rest import Rest
from connectors.github.settings import GitHubSettings
from connectors.own_posts import ASK
from connectors.poster import Check, EditPace, Post, Poster, PostRefusedError, RepositoryAccess
from schemas.result import Origin, Receipt


class Output(Protocol):
    """One kind of post. Both methods call GitHub and raise PostError."""

    async def find(self, post: Post) -> Receipt | None:
        """An earlier try at this post. Must not write."""

    async def create(self, post: Post) -> Receipt:
        """Make the post."""


@runtime_checkable
class Editable(Output, Protocol):
    """One whose posts can be changed."""

    async def update(self, post: Post, receipt: Receipt) -> Receipt:
        """See `Poster.update`."""


class GitHubPoster(Poster):
    """One connection's way out."""

    edit_pace = EditPace(seconds=30.0, together=2)
    """500 writes an hour that make content; edits take half of them at most."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._checks = Checks(client)
        self._outputs: Mapping[str, Output] = {
            "comment": Comments(client),
            "reply_in_review_thread": ThreadReplies(client),
            "open_pull_request": PullRequests(client),
            "add_reaction": Reactions(client),
            "add_label": Labels(client),
            "set_commit_status": Statuses(client),
            "create_check_run": CheckRuns(client),
            ASK: Comments(client),
        }

    @classmethod
    def build(
        cls,
        settings: GitHubSettings,
        *,
        token: str | None,
        http: httpx.AsyncClient,
        files: Mapping[str, str],
    ) -> GitHubPoster:
        """Make the poster of a connection. `files` holds the App's private key under its reference."""
        rest = Rest(settings.api_url, http)
        declared = Identity(
            actor_ids=frozenset(settings.self_ids),
            logins=frozenset(login.lower() for login in settings.self_logins),
        )
        return cls(Client(rest, credentials_of(settings, token, rest, files), declared=declared))

    async def find(self, post: Post) -> Receipt | None:
        return await self._output(post).find(post)

    async def create(self, post: Post) -> Receipt:
        return await self._output(post).create(post)

    async def update(self, post: Post, receipt: Receipt) -> Receipt:
        output = self._output(post)
        if not isinstance(output, Editable):
            return await super().update(post, receipt)
        return await output.update(post, receipt)

    def seen_mark(self, origin: Origin) -> tuple[str, Mapping[str, Any]] | None:
        """A reaction, on the comment where the event is about one, else on the issue or pull request."""
        comments = ("comment_id", "review_comment_id", "commit_comment_id")
        if origin.subject.kind in {"issue", "pr"} or any(name in origin.address for name in comments):
            return "add_reaction", {"content": "eyes"}
        return None

    async def show_check(self, check: Check, earlier: Receipt | None) -> Receipt:
        return await self._checks.show(check, earlier)

    async def identify(self) -> Identity:
        return await self._client.identity()

    async def repository(self, name: str, *, write: bool = True) -> RepositoryAccess:
        """`https://github.com/<name>` and a token; an App's is new, and good for its contents alone."""
        check_repository(name)
        token, seconds = await self._client.credentials.clone_token(name, write=write)
        return RepositoryAccess(url=f"https://github.com/{name}", token=token, seconds=seconds)

    def _output(self, post: Post) -> Output:
        output = self._outputs.get(post.output)
        if output is None:
            msg = f"GitHub has no output {post.output!r}; it has {', '.join(self._outputs)}"
            raise PostRefusedError(msg)
        return output


def credentials_of(
    settings: GitHubSettings, token: str | None, rest: Rest, files: Mapping[str, str]
) -> Credentials:
    if settings.app is not None:
        key = files.get(settings.app.private_key, "")
        return AppCredentials(settings.app.id, key, rest, installation_id=settings.app.installation_id)
    return TokenCredentials(token, rest) if token else NoCredentials()
