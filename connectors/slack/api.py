"""Slack's Web API, with its errors sorted. Slack answers most errors with status 200 and `"ok": false`.

Facts: docs.slack.dev/apis/web-api and the error tables of the methods. It never retries, never sleeps, and
puts neither the token nor a message's text into an error.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

import httpx

from connectors.body import get, text_at
from connectors.calls import call, decoded, refuse, retry_after
from connectors.poster import PostRefusedError, PostRetryError, PostUncertainError

LATER: Final = frozenset(
    {"ratelimited", "rate_limited", "service_unavailable", "team_added_to_org", "request_timeout"}
)
"""Slack did nothing and will take the same call later. `request_timeout` says that the body arrived cut
short.
"""
DOUBTFUL: Final = frozenset({"internal_error", "fatal_error"})
"""Slack's tables say of both that some aspect of the operation may have succeeded before the error was
raised.
"""
REMEDIES: Final[Mapping[str, str]] = {
    "account_inactive": "the app was removed from the workspace; install it again and renew the token",
    "channel_not_found": "check the channel's id, and invite the app if the channel is private",
    "invalid_auth": "renew the connection's bot token",
    "is_archived": "the channel is archived; name another one in the rule",
    "missing_scope": "add the scope in the app's OAuth & Permissions and install the app again",
    "not_authed": "set the connection's token to the app's bot token",
    "not_in_channel": "invite the app to the channel",
    "token_expired": "renew the connection's bot token",
    "token_revoked": "install the app again and renew the connection's bot token",
}
_CODE: Final = re.compile(r"[a-z0-9_:.,-]{1,100}")
JSON: Final = "application/json; charset=utf-8"
"""Slack warns of `missing_charset` without the second half."""


class SlackRefusedError(PostRefusedError):
    """Slack's `ok: false` with a code that will not change by waiting."""

    def __init__(self, message: str, *, code: str) -> None:
        super().__init__(message)
        self.code = code
        """Slack's name of the error."""


class SlackApi:
    """One connection's way to the Web API."""

    def __init__(
        self,
        *,
        api_url: str,
        token: str | None,
        http: httpx.AsyncClient,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._api_url = api_url.rstrip("/")
        self._token = token
        self._http = http
        self.clock = clock
        """Seconds since the epoch."""

    async def write(self, method: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """POST `body` as JSON to a method and return the answer. Raises PostError."""
        headers = {**self._authorization(method), "Content-Type": JSON}
        url = f"{self._api_url}/{method}"
        response = await call(
            self._http, "POST", url, what=f"slack {method}", headers=headers, json=dict(body)
        )
        return self._answer(response, method)

    async def read(self, method: str, params: Mapping[str, str]) -> dict[str, Any]:
        """GET a reading method (they take no JSON) and return the answer. Raises PostError."""
        url = f"{self._api_url}/{method}"
        response = await call(
            self._http,
            "GET",
            url,
            what=f"slack {method}",
            headers=self._authorization(method),
            params=dict(params),
        )
        return self._answer(response, method)

    def _authorization(self, method: str) -> dict[str, str]:
        if not self._token:
            msg = f"slack {method}: no token; set `token: env:NAME` of the connection to the app's bot token"
            raise PostRefusedError(msg)
        return {"Authorization": f"Bearer {self._token}"}

    def _answer(self, response: httpx.Response, method: str) -> dict[str, Any]:
        answer = decoded(response)
        code = _code(answer)
        refuse(response, what=f"slack {method}", detail=code or "", now=self.clock())
        if not isinstance(answer, dict):
            msg = (
                f"slack {method}: {response.status_code} with a body that is not a JSON object; check api_url"
            )
            raise PostUncertainError(msg)
        if answer.get("ok") is True:
            return answer
        text = f"slack {method}: {code or 'failed without naming an error'}"
        if code in LATER:
            raise PostRetryError(text, retry_after=retry_after(response, now=self.clock()))
        if code in DOUBTFUL:
            raise PostUncertainError(text)
        raise SlackRefusedError(text + _explanation(answer, code), code=code or "")


def _code(answer: Any) -> str | None:
    """The error's name, if it looks like one: anything else could carry content."""
    code = text_at(answer, "error")
    return code if code and _CODE.fullmatch(code) else None


def _explanation(answer: Mapping[str, Any], code: str | None) -> str:
    needed = text_at(answer, "needed")
    scope = f" (needed: {needed})" if needed and _CODE.fullmatch(needed) else ""
    messages = get(answer, "response_metadata", "messages")
    first = text_at(messages, 0) if code in {"invalid_blocks", "invalid_arguments"} else None
    why = f" ({first[:200]})" if first else ""
    remedy = REMEDIES.get(code or "")
    return f"{scope}{why}" + (f"; {remedy}" if remedy else "")
