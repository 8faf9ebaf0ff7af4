"""The Jira poster: which issue an output goes to, and which module carries it out. Contains no request of its
own but the one that asks who we are.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, Protocol

import httpx

from connectors.base import Identity
from connectors.body import text_at
from connectors.jira.client import JiraClient, identifiers
from connectors.jira.comments import Comments
from connectors.jira.outputs import IssueTarget
from connectors.jira.settings import JiraSettings
from connectors.jira.workflow import Labels, RemoteLinks, Transitions
from connectors.own_posts import ASK
from connectors.poster import EditPace, Post, Poster, PostRefusedError
from schemas.result import Origin, Receipt

_ISSUE: Final = re.compile(r"^[A-Za-z0-9_]+(?:-[0-9]+)?$")


class _Way(Protocol):
    """Carries out one kind of output on an issue."""

    async def find(self, post: Post, issue: str) -> Receipt | None: ...

    async def create(self, post: Post, issue: str) -> Receipt: ...


class JiraPoster(Poster):
    """Posts of one Jira connection."""

    edit_pace = EditPace(seconds=10.0, together=10)
    """Writes to one issue are limited to some 20 in 2 s; "every few seconds" is the advice."""

    def __init__(self, settings: JiraSettings, *, token: str | None, http: httpx.AsyncClient) -> None:
        self._settings = settings
        self._client = JiraClient(settings, token=token, http=http)
        self._identity: Identity | None = None
        comments = Comments(self._client, who=self._us)
        self._ways: Mapping[str, _Way] = {
            "comment": comments,
            "transition": Transitions(self._client),
            "add_remote_link": RemoteLinks(self._client),
            "add_label": Labels(self._client, add=True),
            "remove_label": Labels(self._client, add=False),
            ASK: comments,
        }

    async def find(self, post: Post) -> Receipt | None:
        """See `Poster.find`."""
        return await self._way(post).find(post, _issue(post))

    async def create(self, post: Post) -> Receipt:
        """See `Poster.create`."""
        return await self._way(post).create(post, _issue(post))

    async def update(self, post: Post, receipt: Receipt) -> Receipt:
        """See `Poster.update`."""
        way = self._way(post)
        if not isinstance(way, Comments):
            return await super().update(post, receipt)
        return await way.update(post, _issue(post), receipt)

    def seen_mark(self, origin: Origin) -> tuple[str, Mapping[str, Any]] | None:
        """The label that the connection names. Jira has no reactions, and a label tells watchers that it changed."""
        label = self._settings.seen_label
        return (
            ("add_label", {"label": label}) if label is not None and origin.subject.kind == "issue" else None
        )

    async def identify(self) -> Identity:
        """Our account id (Cloud), or key and name (Data Center), by `GET /myself`."""
        person = await self._client.read("/myself", what="asking Jira who we are")
        ids = identifiers(person)
        if not ids:
            msg = (
                "asking Jira who we are: the answer names no account; are token and email those of one user?"
            )
            raise PostRefusedError(msg)
        name = text_at(person, "name")
        return Identity(
            actor_ids=ids | frozenset(self._settings.self_ids),
            logins=frozenset(
                login.lower() for login in (*self._settings.self_logins, *([name] if name else []))
            ),
        )

    async def _us(self) -> Identity:
        """Who we are, asked for once. Raises PostError."""
        if self._identity is None:
            self._identity = await self.identify()
        return self._identity

    def _way(self, post: Post) -> _Way:
        way = self._ways.get(post.output)
        if way is None:
            msg = f"jira has no output {post.output!r}; it has {', '.join(self._ways)}"
            raise PostRefusedError(msg)
        return way


def _issue(post: Post) -> str:
    """Key (or id) of the issue that the post goes to."""
    if post.to_origin:
        if post.origin.subject.kind != "issue" or not _ISSUE.match(post.origin.subject.key):
            about = post.origin.subject.key[:100]
            msg = f"the event is about {about!r}, which is no Jira issue: name one in the rule (issue: KEY-1)"
            raise PostRefusedError(msg)
        return post.origin.subject.key
    if not isinstance(post.target, IssueTarget) or post.target.issue is None:
        msg = f"the output {post.output!r} names no issue: add issue: KEY-1 in the rule, or to: origin"
        raise PostRefusedError(msg)
    return post.target.issue
