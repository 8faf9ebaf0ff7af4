"""Who may use the JSON API and see the pages: holders of the token, or where none is set, programs on this machine."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

from connectors.signatures import same_as_one

REMEDY: Final = (
    "set TRIGGERHUB_API_TOKEN at the hub and send it as 'Authorization: Bearer …'; "
    "without that setting the API answers requests from this machine only"
)
_FORWARDED: Final = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip")
_FOREIGN: Final = frozenset({"cross-site", "same-site"})


class Access:
    """The rule of one hub. Reads headers, decides, remembers nothing."""

    def __init__(self, token: str | None) -> None:
        self._token = token.encode() if token else None

    def refusal(self, *, client: str | None, headers: Mapping[str, str]) -> str | None:
        """Why it is refused, or None. `headers` have lower-case names; `client` is the peer's address."""
        if self._token is not None:
            scheme, _, given = headers.get("authorization", "").partition(" ")
            offered = given.strip().encode("utf-8", "surrogateescape")
            if scheme.lower() == "bearer" and same_as_one(offered, [self._token]):
                return None
            return (
                "the bearer token is missing or wrong; send TRIGGERHUB_API_TOKEN as 'Authorization: Bearer …'"
            )
        if not is_loopback(client) or any(name in headers for name in _FORWARDED):
            return f"this request does not come from this machine; {REMEDY}"
        # A browser on this machine sends what any web page asks it to. A foreign name that resolves here (DNS
        # rebinding) shows in Host, a foreign page in Origin or Sec-Fetch-Site.
        if not _is_local(f"//{headers.get('host', '')}"):
            return f"the Host header does not name this machine; {REMEDY}"
        origin = headers.get("origin")
        if origin is not None and not _is_local(origin):
            return f"a web page of another origin may not use this API; {REMEDY}"
        if headers.get("sec-fetch-site") in _FOREIGN:
            return f"a web page of another site may not use this API; {REMEDY}"
        return None


def is_loopback(address: str | None) -> bool:
    """Whether a peer's address belongs to this machine alone."""
    try:
        parsed = ip_address(address or "")
    except ValueError:
        return False
    mapped = getattr(parsed, "ipv4_mapped", None)
    return bool((mapped or parsed).is_loopback)


def _is_local(url: str) -> bool:
    try:
        name = urlsplit(url).hostname
    except ValueError:
        return False
    return name == "localhost" or is_loopback(name)
