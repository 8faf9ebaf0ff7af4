"""Reading addresses of pull requests and issues on code hosts. Pure."""

from __future__ import annotations

import re
from typing import Final

_ADDRESS: Final = re.compile(
    r"https?://[^/\s]+/([A-Za-z0-9_.-]+/[A-Za-z0-9_.-]+)/(?:pull|pulls|issues)/([0-9]+)(?:[/?#]|$)"
)


def split_address(address: str) -> tuple[str, str] | None:
    """(`owner/repo`, number) of `https://host/owner/repo/pull/12` (or `/issues/12`), else None."""
    found = _ADDRESS.match(address)
    return (found[1], found[2]) if found else None
