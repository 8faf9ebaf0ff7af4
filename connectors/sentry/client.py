"""One call to Sentry's REST API below `/api/0`, and what its refusals mean. Must not know what it is for."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from typing import Any, Final

import httpx

from connectors.body import text_at
from connectors.calls import call, decoded, expect_json, refuse, retry_after
from connectors.poster import PostRefusedError, PostRetryError
from connectors.sentry.settings import SentrySettings

HINTS: Final[dict[int, str]] = {
    401: "check the connection's token",
    403: "the integration lacks a permission (Issue & Event: Read & Write)",
    404: "no such issue in this organization, or no permission to see it",
}
_NEXT: Final = re.compile(r'<([^>]+)>;\s*rel="next";\s*results="true";\s*cursor="([^"]+)"')


class SentryClient:
    """Calls of one connection."""

    def __init__(self, settings: SentrySettings, *, token: str | None, http: httpx.AsyncClient) -> None:
        self._settings = settings
        self._token = token
        self._http = http

    async def call(
        self, method: str, path: str, *, what: str, json: Any = None, params: Mapping[str, str] | None = None
    ) -> httpx.Response:
        """Send one request and return the answer, whatever its status. Raises PostError as `calls.call` does."""
        if not self._token:
            msg = f"Sentry, {what}: the connection has no token; set `token` to the integration's auth token"
            raise PostRefusedError(msg)
        return await call(
            self._http,
            method,
            f"{self._settings.api_url}/api/0{path}",
            what=f"Sentry, {what}",
            headers={"Authorization": f"Bearer {self._token}"},
            json=json,
            params=params,
        )


def read(response: httpx.Response, *, what: str) -> Any:
    """The decoded answer of a success; the right error otherwise."""
    body = decoded(response)
    if response.is_success:
        expect_json(response, what=f"Sentry, {what}", vendor="Sentry")
        return body
    now = time.time()
    text = f"Sentry, {what}"
    if response.status_code == httpx.codes.TOO_MANY_REQUESTS:
        msg = f"{text}: 429 {_detail(body)}".rstrip()
        raise PostRetryError(msg, retry_after=_wait(response, now=now))
    told = "; ".join(part for part in (_detail(body), HINTS.get(response.status_code)) if part)
    refuse(response, what=text, detail=told, now=now)
    return body


def next_cursor(response: httpx.Response) -> str | None:
    """The cursor of the next page by the header Link, None at the end."""
    found = _NEXT.search(response.headers.get("link", ""))
    return found[2] if found is not None else None


def _detail(body: Any) -> str:
    """What Sentry says is wrong: `{"detail": …}` or a map of field to messages."""
    detail = text_at(body, "detail") or text_at(body, "detail", "message")
    if detail is not None or not isinstance(body, dict):
        return detail or ""
    told = [
        f"{field}: {text_at(words, 0) or text_at(body, field) or 'refused'}" for field, words in body.items()
    ]
    return "; ".join(told)


def _wait(response: httpx.Response, *, now: float) -> float | None:
    """Seconds until the window ends: Retry-After, else X-Sentry-Rate-Limit-Reset (epoch seconds)."""
    named = retry_after(response, now=now)
    if named is not None:
        return named
    try:
        return max(0.0, float(response.headers["x-sentry-rate-limit-reset"]) - now)
    except (KeyError, ValueError):
        return None
