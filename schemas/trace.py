"""W3C trace context: one `traceparent` follows a webhook to its posts.

https://www.w3.org/TR/trace-context/ version 00. No exporter here: the identifiers travel, whoever traces can join them.
"""

from __future__ import annotations

import re
import secrets
from typing import Final

_TRACEPARENT: Final = re.compile(r"00-(?P<trace>[0-9a-f]{32})-(?P<span>[0-9a-f]{16})-(?P<flags>[0-9a-f]{2})")


def new_traceparent() -> str:
    """The start of a new trace, sampled."""
    return f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-01"


def child_of(traceparent: str | None) -> str:
    """The next span of the same trace; a new trace where the given one is missing or malformed."""
    found = _TRACEPARENT.fullmatch(traceparent or "")
    if found is None or set(found["trace"]) == {"0"} or set(found["span"]) == {"0"}:
        return new_traceparent()
    return f"00-{found['trace']}-{secrets.token_hex(8)}-{found['flags']}"
