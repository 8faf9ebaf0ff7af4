"""Sending a webhook as its vendor would: signed, with fresh delivery ids, over HTTP. For trying out a hub.

Nothing is stored, and no secret is printed.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

import httpx

from connectors.base import Connector, Request
from hub.api_access import is_loopback

SEND_SECONDS: Final = 30.0
DELIVERY_HEADERS: Final[Mapping[str, str]] = {
    "github": "x-github-delivery",
    "jira": "x-atlassian-webhook-identifier",
}
"""Where a vendor names the delivery in a header. Slack and Anthropic do so in the body; Sentry's `sign` adds its own."""
_OURS: Final = frozenset(
    {
        "host",
        "connection",
        "content-length",
        "transfer-encoding",
        "accept-encoding",
        "expect",
        "te",
        "upgrade",
    }
)
"""Headers of a captured request that belong to its own connection."""


class SendError(Exception):
    """Nobody answered."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the hub said."""

    status: int
    text: str

    @property
    def accepted(self) -> bool:
        return 200 <= self.status < 300  # noqa: PLR2004 - the successes of HTTP


def signed_headers(connector: Connector, request: Request, *, secret: str, now: float) -> dict[str, str]:
    """The request's headers as the vendor would send them. A delivery id that is there is kept."""
    headers = {name: value for name, value in request.headers.items() if name not in _OURS}
    fresh = DELIVERY_HEADERS.get(connector.source)
    if fresh is not None:
        headers.setdefault(fresh, str(uuid.uuid4()))
    return connector.sign(headers, request.body, secret=secret, now=now)


def hook_at(url: str, connection: str) -> str:
    """The whole address. `url` is that, or a hub's alone, as other commands take it: then without a path."""
    parts = url.split("://", 1)
    is_hub = len(parts) == 2 and "/" not in parts[1].removesuffix("/")  # noqa: PLR2004 - scheme and the rest
    return f"{url.removesuffix('/')}/hooks/{connection}" if is_hub else url


def send(connector: Connector, request: Request, *, secret: str, url: str) -> Answer:
    """Sign and post. Blocks. Raises SendError where no answer comes."""
    headers = signed_headers(connector, request, secret=secret, now=time.time())
    try:
        host = urlsplit(url).hostname
        # A proxy of the environment has no way to this machine.
        with httpx.Client(
            timeout=SEND_SECONDS, trust_env=not (host == "localhost" or is_loopback(host))
        ) as http:
            answer = http.post(url, content=request.body, headers=headers)
    except (httpx.InvalidURL, httpx.UnsupportedProtocol, ValueError) as error:
        msg = f"{url} is not an address ({error}); write one such as http://127.0.0.1:8080/hooks/NAME"
        raise SendError(msg) from None
    except httpx.HTTPError as error:
        msg = (
            f"nobody answers at {url} ({type(error).__name__}); "
            "start the hub with `triggerhub up`, or name its address with --url"
        )
        raise SendError(msg) from None
    return Answer(answer.status_code, answer.text)
