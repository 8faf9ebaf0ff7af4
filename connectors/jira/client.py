"""Jira's REST interface as the posters use it: signing in, and the vendor's errors sorted.

One call is one request; nothing is repeated here. No credential, header or request body gets into an error.
"""

from __future__ import annotations

import base64
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import quote

import httpx

from connectors import calls
from connectors.body import get, id_at, text_at
from connectors.jira.settings import JiraSettings
from connectors.poster import PostRefusedError, PostRetryError, PostUncertainError

MAX_MESSAGES: Final = 5


class JiraRefusalError(PostRefusedError):
    """A 400 with Jira's reasons by field, for the one caller that can act on them."""

    def __init__(self, message: str, *, errors: Mapping[str, str]) -> None:
        super().__init__(message)
        self.errors = errors


class JiraMissingError(PostRefusedError):
    """A 404: not there, or not for our account to see."""


class JiraClient:
    """REST calls of one connection."""

    def __init__(
        self, settings: JiraSettings, *, token: str | None, http: httpx.AsyncClient, rest: str | None = None
    ) -> None:
        self.settings = settings
        self._rest = rest or settings.rest
        self._http = http
        self._authorization = _authorization(settings, token)

    async def read(self, path: str, *, what: str, params: Mapping[str, str] | None = None) -> dict[str, Any]:
        """GET an object. Reading writes nothing, so an answer that was lost is a PostRetryError."""
        try:
            response = await self._send("GET", path, what=what, params=params)
        except PostUncertainError as error:
            raise PostRetryError(str(error)) from None
        found = calls.decoded(response)
        if not isinstance(found, dict):
            base, status = self.settings.api_url, response.status_code
            msg = f"{what}: {status} without a JSON object; is api_url {base!r} a Jira?"
            raise PostRetryError(msg)
        return found

    async def write(self, method: str, path: str, *, what: str, json: Any) -> tuple[int, dict[str, Any]]:
        """Send a change; returns the status and the answered object (empty for 204)."""
        response = await self._send(method, path, what=what, json=json)
        found = calls.decoded(response) if response.content else {}
        if not isinstance(found, dict):
            msg = f"{what}: {response.status_code} without a JSON object; whether it was done is not known"
            raise PostUncertainError(msg)
        return response.status_code, found

    async def _send(
        self, method: str, path: str, *, what: str, json: Any = None, params: Mapping[str, str] | None = None
    ) -> httpx.Response:
        if self._authorization is None:
            msg = f"{what}: the connection has no token; set token (and email on Cloud)"
            raise PostRefusedError(msg)
        headers = {"Authorization": self._authorization, "Accept": "application/json"}
        response = await calls.call(
            self._http,
            method,
            self._rest + path,
            what=what,
            headers=headers,
            json=json,
            params=params,
        )
        if not response.is_success:
            _refuse(response, what=what)
        return response


def issue_path(key: str, *rest: str) -> str:
    """Path of an issue, whatever stands in the key."""
    return "/".join(("/issue", quote(key, safe=""), *rest))


def _authorization(settings: JiraSettings, token: str | None) -> str | None:
    """Cloud's API tokens go with the owner's address (Basic); OAuth's and Data Center's go alone (Bearer)."""
    if not token:
        return None
    if settings.email is None:
        return f"Bearer {token}"
    return "Basic " + base64.b64encode(f"{settings.email}:{token}".encode()).decode("ascii")


def _refuse(response: httpx.Response, *, what: str) -> None:
    """Raise what an unsuccessful answer means. Always raises."""
    status, detail, now = response.status_code, _detail(response), time.time()
    text = f"{what}: {status} {detail}"[: calls.REDACTED].rstrip()
    if status == httpx.codes.TOO_MANY_REQUESTS:
        wait = calls.retry_after(response, now=now)
        raise PostRetryError(text, retry_after=wait if wait is not None else _reset(response, now))
    if status == httpx.codes.CONFLICT:
        # Somebody else's change came between; nothing of ours was written.
        raise PostRetryError(text)
    if status == httpx.codes.BAD_REQUEST:
        raise JiraRefusalError(text, errors=_field_errors(response))
    if status == httpx.codes.NOT_FOUND:
        raise JiraMissingError(text)
    calls.refuse(response, what=what, detail=detail, now=now)
    raise PostUncertainError(text)


def _detail(response: httpx.Response) -> str:
    """Jira's reasons in one line, with the remedy where the status alone would mislead."""
    answer = calls.decoded(response)
    listed = get(answer, "errorMessages")
    messages = [message for message in listed if isinstance(message, str)] if isinstance(listed, list) else []
    messages += [f"{field}: {message}" for field, message in _field_errors(response).items()]
    messages += [found for found in (text_at(answer, "message"), text_at(answer, "errorMessage")) if found]
    if not messages and answer is None and "html" in response.headers.get("content-type", ""):
        messages.append("an HTML page instead of JSON")
    reason = response.headers.get("ratelimit-reason")
    messages += [f"limit {reason}"] if reason else []
    messages += _remedy(response)
    return "; ".join(messages[:MAX_MESSAGES])


def _remedy(response: httpx.Response) -> list[str]:
    if response.status_code == httpx.codes.NOT_FOUND:
        return ["absent, or our account may not see it"]
    if response.status_code == httpx.codes.UNAUTHORIZED:
        return ["the credentials were refused: check token (expired?) and, on Cloud, email"]
    if response.headers.get("x-seraph-loginreason", "") == "AUTHENTICATION_DENIED":
        return ["Jira wants a captcha: sign in once in a browser"]
    if response.is_redirect:
        return ["redirected: api_url is not the site's own address, or a sign-in page stands before it"]
    return []


def _field_errors(response: httpx.Response) -> dict[str, str]:
    errors = get(calls.decoded(response), "errors")
    if not isinstance(errors, dict):
        return {}
    return {field: message for field, message in errors.items() if isinstance(message, str)}


def _reset(response: httpx.Response, now: float) -> float | None:
    """Seconds until `X-RateLimit-Reset`, which Jira gives as an ISO time."""
    try:
        moment = datetime.fromisoformat(response.headers.get("x-ratelimit-reset", ""))
    except ValueError:
        return None
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
    return max(0.0, moment.timestamp() - now)


def identifiers(person: object) -> frozenset[str]:
    """Every identifier of a user object: account id on Cloud, key and name on Data Center."""
    found = (id_at(person, "accountId"), id_at(person, "key"), id_at(person, "name"))
    return frozenset(value for value in found if value is not None)
