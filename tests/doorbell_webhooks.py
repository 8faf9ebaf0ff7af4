"""The webhooks of the service itself, and a hub's configuration in which they matter. Holds no expectations."""

from __future__ import annotations

import base64
import json
import time
from typing import Any, Final

from connectors.registry import connector

KEY: Final = "whsec_" + base64.b64encode(b"an invented signing key").decode()


def told(
    what: str, about: str, *, id_: str = "whe_1", key: str = KEY, **data: str
) -> tuple[dict[str, str], bytes]:
    """Headers and body of a webhook about a session or a credential."""
    named = {"type": what, "id": about, "organization_id": "org_1", "workspace_id": "wrkspc_1", **data}
    event = {"type": "event", "id": id_, "created_at": "2026-11-22T08:00:00Z", "data": named}
    body = json.dumps(event).encode()
    return connector("anthropic").sign({}, body, secret=key, now=time.time()), body


def costly(github: str) -> dict[str, Any]:
    """One rule whose run waits at its budget. `github`: where GitHub answers."""
    return {
        "version": 1,
        "connections": {
            "acme-github": {
                "source": "github",
                "api_url": github,
                "webhook_secrets": ["env:SECRET"],
                "token": "env:TOKEN",
            },
            "acme-anthropic": {"source": "anthropic", "webhook_secrets": ["env:KEY"]},
        },
        "environments": {"plain": {"config": {"type": "cloud"}}},
        "agents": {"helper": {"model": "claude-sonnet-5-5", "environment": "plain"}},
        "rules": [
            {
                "name": "costly",
                "match": {"source": "github", "kind": "issue.opened"},
                "agent": "helper",
                "prompt": "[sandbox: scenario=budget] Look into this.",
                "limits": {"budget_usd": 5, "on_budget": "wait"},
            }
        ],
    }
