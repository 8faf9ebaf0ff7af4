"""One call to GitHub's REST API and what its refusals mean. Must not know what is posted, nor wait or retry.

GitHub answers both a permission denied and a rate limit with 403, so headers decide (docs, "Best practices
for using the REST API", "Handle rate limit errors appropriately").
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

import httpx

from connectors.body import get, text_at
from connectors.calls import call, decoded, expect_json, refuse, retry_after
from connectors.github.payloads import items
from connectors.poster import PostRefusedError, PostRetryError

ACCEPT: Final = "application/vnd.github+json"
API_VERSION: Final = "2022-11-28"
SECONDARY_WAIT: Final = 60.0
"""Seconds to stay away when a secondary limit names no time. The docs ask for at least one minute."""
MAX_WAIT: Final = 3700.0
"""Seconds. A primary limit ends within the hour; a wait beyond that means clocks disagree."""
PAGE: Final = 100
MAX_PAGES: Final = 50
MAX_REDIRECTS: Final = 2
_MOVED: Final = frozenset({301, 302, 307, 308})
_LIMIT_WORDS: Final = (
    "secondary rate limit",
    "abuse detection",
    "submitted too quickly",
    "rate limit exceeded",
)


class Rest:
    """GitHub's REST API under one base address. Holds no credential: each call is given its token."""

    def __init__(self, base: str, http: httpx.AsyncClient) -> None:
        self.base = base
        self._http = http

    async def send(
        self,
        method: str,
        path: str,
        *,
        token: str | None,
        what: str,
        json: Any = None,
        params: Mapping[str, str] | None = None,
    ) -> httpx.Response:
        """Send one request and return the answer, whatever its status. Raises PostError as `calls.call` does.

        A renamed repository answers with a redirect; the request is repeated verbatim whichever kind it is (docs, "Best
        practices for using the REST API"), on this base only, so that the token goes nowhere else.
        """
        headers = {"Accept": ACCEPT, "X-GitHub-Api-Version": API_VERSION}
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        url = self.base + path
        for _ in range(MAX_REDIRECTS):
            response = await call(
                self._http, method, url, what=what, headers=headers, json=json, params=params
            )
            target = self._redirect(response)
            if target is None:
                return response
            url, params = target, None
        return await call(self._http, method, url, what=what, headers=headers, json=json, params=params)

    def _redirect(self, response: httpx.Response) -> str | None:
        """Where to go on, if to a place below our base."""
        if response.status_code not in _MOVED:
            return None
        try:
            target = str(response.request.url.join(response.headers.get("location", "")))
        except (httpx.InvalidURL, ValueError):
            return None
        return target if target.startswith(self.base + "/") else None


def check(response: httpx.Response, *, what: str) -> None:
    """Raise the PostError that an unsuccessful answer means; return if it was a success."""
    if response.is_success:
        expect_json(response, what=what, vendor="GitHub")
        return
    now = time.time()
    status, detail = response.status_code, explain(response)
    wait = _limited(response, detail, now=now)
    if wait is not None:
        msg = f"{what}: {status} GitHub's rate limit is reached; {detail}"
        raise PostRetryError(msg, retry_after=wait)
    if status == httpx.codes.UNAUTHORIZED:
        msg = f"{what}: 401 GitHub does not take the credential; renew the connection's token or App key"
        raise PostRefusedError(msg)
    if status == httpx.codes.NOT_FOUND:
        detail = f"{detail}; it does not exist, or the credential may not see it"
    elif status == httpx.codes.FORBIDDEN:
        needed = response.headers.get("x-accepted-github-permissions", "")
        detail = (
            f"{detail}; the credential lacks a permission{f' (accepted: {needed[:100]})' if needed else ''}"
        )
    elif status == httpx.codes.GONE:
        detail = f"{detail}; issues may be disabled in this repository"
    refuse(response, what=what, detail=detail, now=now)


def explain(response: httpx.Response) -> str:
    """GitHub's own words: `message` and the messages of `errors`."""
    body = decoded(response)
    words = [text_at(body, "message") or response.reason_phrase]
    for error in list(items(body, "errors"))[:5]:
        if isinstance(error, str):
            words.append(error)
        else:
            said = text_at(error, "message")
            field, code = text_at(error, "field"), text_at(error, "code")
            words.append(said or " ".join(part for part in (field, code) if part))
    return ": ".join(word for word in words if word)


def objects(response: httpx.Response, *path: str) -> list[Mapping[str, Any]]:
    """The list of objects in the answer, at `path` where GitHub wraps it."""
    found = get(decoded(response), *path)
    return [item for item in found if isinstance(item, Mapping)] if isinstance(found, list) else []


def last_page(response: httpx.Response) -> int | None:
    """The number of the last page by the header Link, else None."""
    url = response.links.get("last", {}).get("url", "")
    pages = parse_qs(urlsplit(url).query).get("page", [])
    return int(pages[0]) if pages and pages[0].isascii() and pages[0].isdigit() else None


async def newest_first(fetch: Callable[[int], Awaitable[httpx.Response]]) -> AsyncIterator[Mapping[str, Any]]:
    """Items of a list that GitHub sorts oldest first, the newest pages first.

    `fetch` takes a page number and returns the answer. At most MAX_PAGES pages are read.
    """
    first = await fetch(1)
    opening = objects(first)
    last = last_page(first)
    if last is None and len(opening) >= PAGE:
        for page in range(2, MAX_PAGES + 1):
            found = objects(await fetch(page))
            for item in found:
                yield item
            if len(found) < PAGE:
                break
    for page in range(min(last or 1, 10**6), max(1, (last or 1) - MAX_PAGES), -1):
        for item in reversed(objects(await fetch(page))):
            yield item
    for item in reversed(opening):
        yield item


def _limited(response: httpx.Response, detail: str, *, now: float) -> float | None:
    """Seconds to wait if the answer is a rate limit, in the order that the docs give; else None."""
    status = response.status_code
    words = detail.lower()
    if status == httpx.codes.UNPROCESSABLE_ENTITY:
        return SECONDARY_WAIT if "submitted too quickly" in words else None
    if status not in {httpx.codes.FORBIDDEN, httpx.codes.TOO_MANY_REQUESTS}:
        return None
    wait = retry_after(response, now=now)
    if wait is not None:
        return min(wait, MAX_WAIT)
    if response.headers.get("x-ratelimit-remaining") == "0":
        try:
            reset = float(response.headers.get("x-ratelimit-reset", ""))
        except ValueError:
            return SECONDARY_WAIT
        return min(max(reset - now, 1.0), MAX_WAIT)
    if status == httpx.codes.TOO_MANY_REQUESTS or any(word in words for word in _LIMIT_WORDS):
        return SECONDARY_WAIT
    return None
