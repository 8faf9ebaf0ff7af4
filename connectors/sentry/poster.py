"""Posting to Sentry over its REST API (webhooks reference §3.2). Organization-scoped paths only: the bare
ones are deprecated. Never retries and never sleeps: the outbox schedules.
"""

from __future__ import annotations

import re
from typing import Any, Final
from urllib.parse import quote

import httpx

from connectors.base import Identity
from connectors.body import get, id_at, text_at
from connectors.poster import Post, Poster, PostGoneError, PostRefusedError
from connectors.sentry.client import SentryClient, next_cursor, read
from connectors.sentry.comments import carries, compose
from connectors.sentry.outputs import CommentArguments, IssueTarget, LinkArguments, StatusArguments
from connectors.sentry.payloads import issue_url
from connectors.sentry.pulls import split_address
from connectors.sentry.settings import SentrySettings
from schemas.result import Receipt

MAX_PAGES: Final = 10
"""Pages of 100 comments, newest first, that are searched for an earlier post."""
REPEATED: Final = "You have already posted that comment"
"""Sentry's 400 for the same text by the same user within an hour: the comment is there, so it is a
success."""
_NUMBER: Final = re.compile(r"[0-9]{1,20}")


class SentryPoster(Poster):
    """Posts of one connection."""

    def __init__(self, settings: SentrySettings, *, token: str | None, http: httpx.AsyncClient) -> None:
        self._settings = settings
        self._client = SentryClient(settings, token=token, http=http)
        self._user: str | None = None

    async def find(self, post: Post) -> Receipt | None:
        """An earlier try, by the marker in a comment, the state of the issue, or the link that is there."""
        issue = _issue(post)
        organization = self._organization(post)
        if isinstance(post.arguments, CommentArguments):
            return await self._find_comment(post, organization, issue)
        if isinstance(post.arguments, StatusArguments):
            shown = await self._get(f"{_path(organization, issue)}/", what="reading the issue")
            return _status_receipt(shown, organization, issue) if _has(shown, post.arguments) else None
        if isinstance(post.arguments, LinkArguments):
            links = await self._get(
                f"{_path(organization, issue)}/external-issues/", what="reading the issue's links"
            )
            for link in links if isinstance(links, list) else []:
                if text_at(link, "webUrl") == post.arguments.url:
                    return _link_receipt(link, post.arguments)
            return None
        raise _unknown(post)

    async def create(self, post: Post) -> Receipt:
        """Carry out the post."""
        issue = _issue(post)
        organization = self._organization(post)
        if isinstance(post.arguments, CommentArguments):
            return await self._comment(post, post.arguments, organization, issue)
        if isinstance(post.arguments, StatusArguments):
            body: dict[str, Any] = {"status": post.arguments.status}
            if post.arguments.assigned_to is not None:
                body["assignedTo"] = post.arguments.assigned_to
            shown = await self._send(
                "PUT", f"{_path(organization, issue)}/", body, what="setting the issue's state"
            )
            return _status_receipt(shown, organization, issue)
        if isinstance(post.arguments, LinkArguments):
            return await self._link(post, post.arguments, issue)
        raise _unknown(post)

    async def update(self, post: Post, receipt: Receipt) -> Receipt:
        """Change a comment: the same undocumented endpoint as for writing, with the comment's number."""
        kind, _, number = (receipt.artefact or "").partition(":")
        if not isinstance(post.arguments, CommentArguments) or kind != "comment" or not number.isdecimal():
            return await super().update(post, receipt)
        issue, organization = _issue(post), self._organization(post)
        what = "changing the comment"
        text = compose(post.arguments.text, post.marker)
        path = f"{_path(organization, issue)}/comments/{number}/"
        response = await self._client.call("PUT", path, what=what, json={"text": text})
        if response.status_code == httpx.codes.NOT_FOUND:
            msg = f"Sentry, {what}: 404 it was deleted, or is not the token's own"
            raise PostGoneError(msg)
        read(response, what=what)
        return self._comment_receipt({"id": number}, organization, issue)

    async def identify(self) -> Identity:
        """The user behind the token, and the integration where the token may read the organization's
        integrations.

        `GET /api/0/` answers any valid token with its user; an invalid one gets 401.
        """
        user = await self._get("/", what="asking who the token is")
        found = {id_at(user, "user", "id"), self._settings.app_uuid}
        if self._settings.organization is not None:
            found |= await self._apps(self._settings.organization)
        return Identity(actor_ids=frozenset(number for number in found if number))

    async def _apps(self, organization: str) -> set[str | None]:
        """The integration behind the configured installation (or behind the only one). Needs org:read;
        nothing without."""
        path = f"/organizations/{quote(organization, safe='')}/sentry-app-installations/"
        try:
            installed = await self._get(path, what="reading the organization's integrations")
        except PostRefusedError:
            return set()
        entries = installed if isinstance(installed, list) else []
        wanted = self._settings.installation_uuid
        if wanted is None and len(entries) != 1:
            return set()
        return {id_at(entry, "app", "uuid") for entry in entries if wanted in {None, text_at(entry, "uuid")}}

    async def _comment(
        self, post: Post, arguments: CommentArguments, organization: str, issue: str
    ) -> Receipt:
        what = "writing the comment"
        text = compose(arguments.text, post.marker)
        response = await self._client.call(
            "POST", f"{_path(organization, issue)}/comments/", what=what, json={"text": text}
        )
        if response.status_code == httpx.codes.BAD_REQUEST and REPEATED in response.text:
            known = await self._find_comment(post, organization, issue)
            return known or Receipt(url=self._page(organization, issue), note="the comment was there already")
        return self._comment_receipt(read(response, what=what), organization, issue)

    async def _find_comment(self, post: Post, organization: str, issue: str) -> Receipt | None:
        cursor: str | None = None
        for _ in range(MAX_PAGES):
            params = {"cursor": cursor} if cursor else None
            what = "looking for an earlier comment"
            response = await self._client.call(
                "GET", f"{_path(organization, issue)}/comments/", what=what, params=params
            )
            comments = read(response, what=what)
            for comment in comments if isinstance(comments, list) else []:
                text = text_at(comment, "data", "text") or ""
                if carries(text, run=post.run, slot=post.slot) and await self._is_ours(comment):
                    return self._comment_receipt(comment, organization, issue)
            cursor = next_cursor(response)
            if cursor is None:
                return None
        return None

    async def _is_ours(self, comment: Any) -> bool:
        """True unless the author is known to be somebody else, who may have copied our marker."""
        author = id_at(comment, "user", "id")
        if author is None or author in self._settings.self_ids:
            return True
        if self._user is None:
            try:
                self._user = id_at(await self._get("/", what="asking who the token is"), "user", "id")
            except PostRefusedError:
                return True
        # A token of no user (an organization's) cannot be compared: then the marker has to do.
        return self._user is None or author == self._user

    async def _link(self, post: Post, arguments: LinkArguments, issue: str) -> Receipt:
        installation = self._settings.installation_uuid or post.origin.address.get("installation")
        if not installation:
            msg = "link_issue: no installation is known; set installation_uuid on the connection"
            raise PostRefusedError(msg)
        project, identifier = split_address(arguments.url) or ("", "")
        body = {
            "issueId": int(issue),
            "webUrl": arguments.url,
            "project": arguments.project or project,
            "identifier": arguments.identifier or identifier,
        }
        path = f"/sentry-app-installations/{quote(installation, safe='')}/external-issues/"
        return _link_receipt(await self._send("POST", path, body, what="linking the issue"), arguments)

    async def _get(self, path: str, *, what: str) -> Any:
        return read(await self._client.call("GET", path, what=what), what=what)

    async def _send(self, method: str, path: str, body: dict[str, Any], *, what: str) -> Any:
        return read(await self._client.call(method, path, what=what, json=body), what=what)

    def _organization(self, post: Post) -> str:
        organization = self._settings.organization or post.origin.address.get("organization")
        if not organization:
            msg = f"{post.output}: no organization is known; set `organization` on the connection"
            raise PostRefusedError(msg)
        return organization

    def _comment_receipt(self, comment: Any, organization: str, issue: str) -> Receipt:
        number = id_at(comment, "id")
        page = self._page(organization, issue)
        anchor = f"{page}activity/#event_{number}" if page and number else page
        return Receipt(url=anchor, artefact=f"comment:{number}" if number else None)

    def _page(self, organization: str, issue: str) -> str | None:
        return _page(self._settings.api_url, organization, issue)


def _page(api_url: str, organization: str, issue: str) -> str | None:
    """The issue's page: on sentry.io below the organization's own host, elsewhere below the base."""
    if api_url.startswith("https://") and api_url.endswith("sentry.io"):
        return issue_url(organization, issue)
    return f"{api_url}/organizations/{organization}/issues/{issue}/"


def _issue(post: Post) -> str:
    """The issue to post on: the target's, or with `to: origin` the event's."""
    target = post.target
    if not post.to_origin and isinstance(target, IssueTarget) and target.issue is not None:
        return target.issue
    if not post.to_origin:
        msg = f"{post.output}: the rule names no issue; write `issue: <numeric id>` or `to: origin`"
        raise PostRefusedError(msg)
    issue = post.origin.address.get("issue") or post.origin.subject.key
    if not _NUMBER.fullmatch(issue):
        about = post.origin.subject.key[:80]
        msg = f"{post.output}: the event is about {about!r}, which is no Sentry issue; post elsewhere"
        raise PostRefusedError(msg)
    return issue


def _path(organization: str, issue: str) -> str:
    return f"/organizations/{quote(organization, safe='')}/issues/{issue}"


def _has(shown: Any, wanted: StatusArguments) -> bool:
    """Whether the issue is already as wanted. An assignee by name cannot be compared: then it is set
    again."""
    status = text_at(shown, "status")
    later = bool(get(shown, "statusDetails", "inNextRelease"))
    if wanted.status == "resolvedInNextRelease":
        same = status == "resolved" and later
    else:
        same = status == wanted.status and not (wanted.status == "resolved" and later)
    if not same or wanted.assigned_to is None:
        return same
    return wanted.assigned_to == f"{text_at(shown, 'assignedTo', 'type')}:{id_at(shown, 'assignedTo', 'id')}"


def _status_receipt(shown: Any, organization: str, issue: str) -> Receipt:
    url = text_at(shown, "permalink") or issue_url(organization, issue)
    status = text_at(shown, "status")
    return Receipt(url=url, note=f"the issue is {status}" if status else "")


def _link_receipt(shown: Any, wanted: LinkArguments) -> Receipt:
    number = id_at(shown, "id")
    name = text_at(shown, "displayName")
    note = f"linked as {name}" if name else ""
    return Receipt(url=wanted.url, artefact=f"link:{number}" if number else None, note=note)


def _unknown(post: Post) -> PostRefusedError:
    return PostRefusedError(f"a Sentry connection cannot do {post.output!r}")
