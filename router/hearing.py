"""Hearing the service's own webhooks: rings go to the runs that have the sessions, broken credentials are written down.

Runs are rung for in the transaction that routes the event; whoever has the run looks for itself. Nothing is fetched here.
"""

from __future__ import annotations

from typing import Final

import structlog
from sqlalchemy import Connection

from router.doorbells import Ring, credential_news_of, ring_of
from router.recording import for_every_rule
from schemas.event import Event
from storage import credentials, doorbells
from storage.routing import RecordedVerdict

log = structlog.get_logger(__name__)

CLAUSE: Final = "session"


def hear(connection: Connection, event: Event) -> RecordedVerdict | None:
    """Do what the event is for. The verdict that stands for all rules, or None where the rules are asked."""
    _credentials(connection, event)
    ring = ring_of(event)
    if ring is None:
        return None
    found = doorbells.ring(connection, ring.session_id, at_rest=ring.at_rest) if ring.heard else None
    return for_every_rule(CLAUSE, _reason(ring, found), seen=ring.session_id)


def _reason(ring: Ring, found: doorbells.Rung | None) -> str:
    if not ring.heard:
        return f"{ring.what} tells no run anything"
    if found is None:
        return "no run here has this session: it is another program's, and is left alone"
    if not found.active:
        return f"the session's last run {found.run_id} has ended ({found.status}): nothing is left to do"
    return f"it rings for {found.run_id}, which looks at its session"


def _credentials(connection: Connection, event: Event) -> None:
    news = credential_news_of(event)
    if news is None:
        return
    if news.credential_id is None:
        credentials.vault_gone(connection, news.vault_id or "")
    elif not news.broken:
        credentials.mended(connection, news.credential_id)
    elif credentials.failed(
        connection,
        credential_id=news.credential_id,
        vault_id=news.vault_id or "",
        event_id=event.id,
        failed_at=event.time.timestamp(),
    ):
        log.warning(
            "a credential can no longer be renewed", credential=news.credential_id, vault=news.vault_id
        )
