"""One outbound REST call with its errors sorted: refused for good, come back later, or nobody knows.

Vendor-specific readings of a status are the posters' business; this is what holds for all. It never puts a header,
a token or a request body into an error.
"""

from __future__ import annotations

from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any, Final

import httpx

from connectors.poster import PostRefusedError, PostRetryError, PostUncertainError

USER_AGENT: Final = "triggerhub"
TIMEOUT: Final = httpx.Timeout(15.0, connect=5.0)
"""Seconds. Far below the lease of a result, so that a slow call cannot outlive its claim. Raising it above the lease
breaks posting once."""
REDACTED: Final = 300


async def call(
    http: httpx.AsyncClient,
    method: str,
    url: str,
    *,
    what: str,
    headers: Mapping[str, str] | None = None,
    json: Any = None,
    params: Mapping[str, str] | None = None,
) -> httpx.Response:
    """Send one request and return the response, whatever its status. `what` names the call in errors.

    Raises PostRetryError when no connection was made (nothing was written) and PostUncertainError when the answer was
    lost after sending.
    """
    try:
        return await http.request(
            method,
            url,
            headers={"User-Agent": USER_AGENT, **(headers or {})},
            json=json,
            params=params,
            timeout=TIMEOUT,
        )
    except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
        msg = f"{what}: no connection to {_host(url)} ({type(error).__name__})"
        raise PostRetryError(msg) from None
    except httpx.HTTPError as error:
        msg = f"{what}: the answer of {_host(url)} was lost ({type(error).__name__})"
        raise PostUncertainError(msg) from None
    except (httpx.InvalidURL, ValueError) as error:
        msg = f"{what}: the address is not usable ({type(error).__name__}); check api_url"
        raise PostRefusedError(msg) from None


def retry_after(response: httpx.Response, *, now: float) -> float | None:
    """Seconds to wait by the header Retry-After (number or HTTP date), else None."""
    given = response.headers.get("retry-after")
    if not given:
        return None
    try:
        return max(0.0, float(given))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(given).timestamp() - now)
    except (ValueError, TypeError):
        return None


def refuse(response: httpx.Response, *, what: str, detail: str, now: float) -> None:
    """Raise the error that an unsuccessful status means to every vendor. Return if it was a success (2xx)."""
    status = response.status_code
    if response.is_success:
        return
    text = f"{what}: {status} {detail[:REDACTED]}".rstrip()
    if status in {408, 425, 429}:
        raise PostRetryError(text, retry_after=retry_after(response, now=now))
    if status == httpx.codes.SERVICE_UNAVAILABLE and "retry-after" in response.headers:
        raise PostRetryError(text, retry_after=retry_after(response, now=now))
    if status >= httpx.codes.INTERNAL_SERVER_ERROR:
        raise PostUncertainError(text)
    raise PostRefusedError(text)


def decoded(response: httpx.Response) -> Any:
    """The JSON body, or None where it is not JSON (vendors answer HTML on some errors)."""
    try:
        return response.json()
    except ValueError:
        return None


def expect_json(response: httpx.Response, *, what: str, vendor: str) -> None:
    """Raise PostUncertainError where a 200 holds no JSON.

    That is a proxy's own page. Taken for an answer it would say "posted", or that nothing is there yet.
    """
    if response.status_code == httpx.codes.OK and decoded(response) is None:
        msg = f"{what}: 200 with a page that is not {vendor}'s JSON; check api_url, and proxies on the way"
        raise PostUncertainError(msg)


def _host(url: str) -> str:
    return url.split("/", 3)[2] if "://" in url else url
