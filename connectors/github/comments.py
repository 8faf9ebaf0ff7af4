"""Comments on issues, pull requests and commits, and replies in review threads. Must not delete any.

A comment of ours is found again by the marker in its first line, which an edit keeps.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import httpx

from connectors.body import id_at, text_at
from connectors.calls import decoded
from connectors.clip import clip
from connectors.github.client import Client
from connectors.github.destinations import number_of, origin_id, repository_of, sha_of
from connectors.github.mentions import disarm
from connectors.github.outputs import CommentArguments, ThreadTarget
from connectors.github.rest import PAGE, newest_first, objects
from connectors.markers import marker, opening
from connectors.poster import Post, PostRefusedError
from schemas.result import Receipt

MAX_COMMENT: Final = 60_000
"""Characters. GitHub refuses above 65,536 ("body is too long")."""


def marked(post: Post, text: str) -> str:
    """The body to send: marker first, then the text with its mentions disarmed, within the limit."""
    first = marker(post.marker)
    return f"{first}\n{clip(disarm(text, but=post.policy.mentions), MAX_COMMENT - len(first) - 1)}"


def is_marked(post: Post, thing: Mapping[str, Any]) -> bool:
    """True where `thing` begins with this very post's marker. Later lines do not count, as in a quotation."""
    return (text_at(thing, "body") or "").lstrip().startswith(opening(post.run, post.slot))


class Comments:
    """The output `comment`: in the conversation of an issue or pull request, else on the event's commit."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def find(self, post: Post) -> Receipt | None:
        path, artefact = self._place(post)

        async def fetch(page: int) -> httpx.Response:
            params = {"per_page": str(PAGE), "page": str(page)}
            return await self._client.get(path, repository=repository_of(post), params=params)

        async for comment in newest_first(fetch):
            if is_marked(post, comment) and await self._client.is_ours(comment):
                return _receipt(comment, artefact)
        return None

    async def create(self, post: Post) -> Receipt:
        path, artefact = self._place(post)
        response = await self._client.post(
            path, repository=repository_of(post), json={"body": marked(post, _text(post))}
        )
        return _receipt(decoded(response), artefact)

    async def update(self, post: Post, receipt: Receipt) -> Receipt:
        return await _edited(self._client, post, receipt)

    def _place(self, post: Post) -> tuple[str, str]:
        repository = repository_of(post)
        if post.to_origin and post.origin.subject.kind in {"commit", "branch", "tag"}:
            sha = sha_of(post)
            if sha is None:
                msg = f"the event names no commit to comment on (its subject is {post.origin.subject.key!r})"
                raise PostRefusedError(msg)
            return f"/repos/{repository}/commits/{sha}/comments", "commit_comment"
        return f"/repos/{repository}/issues/{number_of(post)}/comments", "comment"


class ThreadReplies:
    """The output `reply_in_review_thread`. GitHub takes replies to the first comment of a thread only."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def find(self, post: Post) -> Receipt | None:
        repository = repository_of(post)
        for page in range(1, _REPLY_PAGES + 1):
            response = await self._client.get(
                f"/repos/{repository}/pulls/{number_of(post)}/comments",
                repository=repository,
                params={"sort": "created", "direction": "desc", "per_page": str(PAGE), "page": str(page)},
            )
            found = objects(response)
            for comment in found:
                if is_marked(post, comment) and await self._client.is_ours(comment):
                    return _receipt(comment, "review_comment")
            if len(found) < PAGE:
                break
        return None

    async def create(self, post: Post) -> Receipt:
        repository = repository_of(post)
        target = post.target
        fixed = target.comment_id if isinstance(target, ThreadTarget) else None
        thread = origin_id(post, "thread_id", "review_comment_id") or fixed
        if thread is None:
            msg = "no review thread to reply in: the event is no review comment and the rule names none"
            raise PostRefusedError(msg)
        response = await self._client.post(
            f"/repos/{repository}/pulls/{number_of(post)}/comments/{thread}/replies",
            repository=repository,
            json={"body": marked(post, _text(post))},
        )
        return _receipt(decoded(response), "review_comment")

    async def update(self, post: Post, receipt: Receipt) -> Receipt:
        return await _edited(self._client, post, receipt)


_EDITABLE: Final[Mapping[str, str]] = {
    "comment": "issues/comments",
    "review_comment": "pulls/comments",
    "commit_comment": "comments",
}
"""Where a comment is changed, by the first half of its artefact."""
_REPLY_PAGES: Final = 10
"""Pages of the newest review comments that are searched. A lost reply is among the newest."""


async def _edited(client: Client, post: Post, receipt: Receipt) -> Receipt:
    kind, _, ident = (receipt.artefact or "").partition(":")
    if kind not in _EDITABLE or not ident.isdecimal():
        msg = f"{post.output}: {receipt.artefact!r} is no comment that could be changed"
        raise PostRefusedError(msg)
    repository = repository_of(post)
    path = f"/repos/{repository}/{_EDITABLE[kind]}/{ident}"
    response = await client.patch(path, repository=repository, json={"body": marked(post, _text(post))})
    return _receipt(decoded(response), kind)


def _text(post: Post) -> str:
    if not isinstance(post.arguments, CommentArguments):
        msg = f"the output {post.output} got arguments of another output"
        raise PostRefusedError(msg)
    return post.arguments.text


def _receipt(comment: object, artefact: str) -> Receipt:
    ident = id_at(comment, "id")
    return Receipt(url=text_at(comment, "html_url"), artefact=f"{artefact}:{ident}" if ident else None)
