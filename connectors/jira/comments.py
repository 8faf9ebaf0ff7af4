"""Posting comments once: with a hidden mark, found again by it, as restricted as what they answer.

On Cloud the mark is a comment property, which nobody sees and no text can imitate; on Data Center it is an
anchor in the text, which shows as nothing.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any, Final
from urllib.parse import quote

from connectors.base import Identity
from connectors.body import get, id_at
from connectors.clip import clip
from connectors.jira.adf import to_adf
from connectors.jira.client import JiraClient, JiraMissingError, JiraRefusalError, identifiers, issue_path
from connectors.jira.marks import anchor_of, carries, property_of
from connectors.jira.outputs import CommentArguments
from connectors.jira.wiki import to_wiki
from connectors.poster import Post, PostGoneError, PostRefusedError, PostUncertainError
from schemas.result import Receipt

LIMIT: Final = 30_000
"""Characters. Jira Cloud takes 32,767 of its stored form, which is longer than what we send."""
INTERNAL_PROPERTY: Final = "sd.public.comment"
PAGE: Final = 100
MAX_PAGES: Final = 20
SHORTENED: Final = "the text was shortened to fit Jira's limit"


class Comments:
    """Comments of one connection."""

    def __init__(self, client: JiraClient, *, who: Callable[[], Awaitable[Identity]]) -> None:
        """`who`: asks who we are; may raise PostError."""
        self._client = client
        self._who = who
        self._cloud = client.settings.product == "cloud"

    async def find(self, post: Post, issue: str) -> Receipt | None:
        """Our comment of (run, slot) on the issue, newest first."""
        start = 0
        for _ in range(MAX_PAGES):
            page = await self._client.read(
                issue_path(issue, "comment"),
                what=f"reading the comments of {issue}",
                params={
                    "expand": "properties",
                    "orderBy": "-created",
                    "startAt": str(start),
                    "maxResults": str(PAGE),
                },
            )
            comments = page.get("comments")
            if not isinstance(comments, list) or not comments:
                return None
            for comment in comments:
                if carries(comment, run=post.run, slot=post.slot, cloud=self._cloud) and await self._is_ours(
                    comment
                ):
                    return self._receipt(post, issue, comment, note="found from an earlier attempt")
            start += len(comments)
            total = page.get("total")
            if isinstance(total, int) and start >= total:
                return None
        return None

    async def create(self, post: Post, issue: str) -> Receipt:
        """Post the comment. A refusal as too long is answered by one shorter try: nothing was written."""
        made, note = await self._written(post, issue, "POST", issue_path(issue, "comment"))
        if id_at(made, "id") is None:
            msg = f"commenting on {issue}: the answer names no comment"
            raise PostUncertainError(msg)
        return self._receipt(post, issue, made, note=note)

    async def update(self, post: Post, issue: str, receipt: Receipt) -> Receipt:
        """Change the comment, as restricted as it was. Nobody is notified of that."""
        kind, _, number = (receipt.artefact or "").partition(":")
        if kind != "comment" or not number.isdecimal():
            msg = f"{post.output}: {receipt.artefact!r} is no comment that could be changed"
            raise PostRefusedError(msg)
        path = f"{issue_path(issue, 'comment', number)}?notifyUsers=false"
        try:
            _, note = await self._written(post, issue, "PUT", path)
        except JiraMissingError as error:
            raise PostGoneError(str(error)) from None
        return self._receipt(post, issue, {"id": number}, note=note)

    async def _written(self, post: Post, issue: str, method: str, path: str) -> tuple[dict[str, Any], str]:
        """The answer, and what is to be said of the text. Raises PostError."""
        assert isinstance(post.arguments, CommentArguments)  # noqa: S101 - the outbox validated it by the spec
        what = f"commenting on {issue}"
        text = clip(post.arguments.text, LIMIT)
        note = SHORTENED if text != post.arguments.text else ""
        try:
            body = await asyncio.to_thread(self._body, post, text)
            _, made = await self._client.write(method, path, what=what, json=self._payload(post, body))
        except JiraRefusalError as error:
            if not _too_long(error):
                raise
            note, body = SHORTENED, await asyncio.to_thread(self._short_body, post, text)
            _, made = await self._client.write(method, path, what=what, json=self._payload(post, body))
        return made, note

    def _payload(self, post: Post, body: Any) -> dict[str, Any]:
        payload: dict[str, Any] = {"body": body}
        properties = []
        if self._cloud:
            properties.append(property_of(post.marker))
        if post.to_origin and post.origin.visibility == "restricted":
            payload.update(_visibility(post))
            if post.origin.address.get("internal") == "true":
                properties.append({"key": INTERNAL_PROPERTY, "value": {"internal": True}})
        if properties:
            payload["properties"] = properties
        return payload

    def _body(self, post: Post, text: str) -> Any:
        """The text in Jira's form. Called in a thread: thousands of brackets keep the parser busy."""
        if self._cloud:
            return to_adf(text)
        anchor = "\n\n" + anchor_of(post.marker)
        room = LIMIT
        wiki = to_wiki(text)
        while len(wiki) + len(anchor) > LIMIT and room > 1:
            # Escapes make the text longer, by how much only the converter knows.
            room = room * 3 // 4
            wiki = to_wiki(clip(text, room))
        return wiki + anchor

    def _short_body(self, post: Post, text: str) -> Any:
        """At most half of `text`, and small in whichever way Jira counts."""
        room = min(len(text), LIMIT) // 2
        body = self._body(post, clip(text, room))
        while len(body if isinstance(body, str) else json.dumps(body)) > LIMIT and room > 1:
            room = room * 3 // 4
            body = self._body(post, clip(text, room))
        return body

    async def _is_ours(self, comment: object) -> bool:
        """True unless the author is known to be somebody else, who may have copied our marker."""
        author = identifiers(get(comment, "author"))
        if not author:
            return True
        try:
            us = await self._who()
        except PostRefusedError:
            # Some tokens may not ask; then the marker, which nobody else can foresee, has to do.
            return True
        return bool(author & us.actor_ids) or any(name.lower() in us.logins for name in author)

    def _receipt(self, post: Post, issue: str, comment: object, *, note: str) -> Receipt:
        number = id_at(comment, "id")
        page = post.origin.subject.url if post.to_origin else None
        if page is None and self._client.settings.site is not None:
            page = f"{self._client.settings.site}/browse/{quote(issue, safe='')}"
        url = f"{page}?focusedCommentId={number}#comment-{number}" if page is not None else None
        return Receipt(url=url, artefact=f"comment:{number}", note=note)


def _visibility(post: Post) -> dict[str, Any]:
    """Who may read the comment that is answered may read the answer, and nobody else."""
    address = post.origin.address
    kind = address.get("visibility_type")
    if kind not in {"role", "group"}:
        return {}
    which = "identifier" if "visibility_identifier" in address else "value"
    return {"visibility": {"type": kind, which: address.get(f"visibility_{which}", "")}}


def _too_long(error: JiraRefusalError) -> bool:
    """`The entered text is too long. It exceeds the allowed limit of 32,767 characters.` The number is in
    every language, the words are not.
    """
    message = error.errors.get("comment", "")
    return "too long" in message or "32,767" in message or "32767" in message
