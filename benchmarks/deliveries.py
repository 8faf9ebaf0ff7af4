"""Signed webhooks of about 8 kB, each telling of another fact."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

from connectors.registry import connector
from hub.demo.scenarios import webhook

SECRET = "bench-webhook-secret"
BODY_BYTES = 8000


def signed(
    count: int, *, first: int = 0, pad: int = BODY_BYTES, issues: int | None = None, mention: bool = True
) -> Iterator[tuple[dict[str, str], bytes]]:
    """`count` comments on GitHub issues that mention the hub, or not: headers and body."""
    github = connector("github")
    headers, sample = webhook("github-mention")
    payload = json.loads(sample)
    if not mention:
        payload["comment"]["body"] = "Nothing for a machine to do."
    for number in range(first, first + count):
        payload["comment"] |= {"id": 10_000_000 + number, "node_id": f"IC_bench{number}"}
        payload["issue"]["number"] = 1 + (number if issues is None else number % issues)
        payload["comment"]["html_url"] = (
            f"https://github.com/acme/checkout/issues/{payload['issue']['number']}#issuecomment-{10_000_000 + number}"
        )
        body = json.dumps(payload).encode()
        payload["padding"] = ""
        if len(body) < pad:
            payload["padding"] = "x" * (pad - len(body))
            body = json.dumps(payload).encode()
        given = {**headers, "x-github-delivery": f"00000000-0000-4000-8000-{number:012d}"}
        yield github.sign(given, body, secret=SECRET, now=time.time()), body
