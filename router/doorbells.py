"""What the service itself tells of sessions and vaults, by webhook. It starts nothing by itself: it rings. Pure.

No rule is asked about a session. A session that a rule started for another's webhook would send webhooks of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from schemas.event import Event

SERVICE: Final = "anthropic"
"""The connector whose events these are."""
SESSION: Final = "session"
UNHEARD: Final = frozenset(
    {"session.created", "session.pending", "session.thread_created", "session.status_rescheduled"}
)
"""Of no use to anybody: nothing has come to rest, and nothing goes on."""
GOING: Final = frozenset({"session.running", "session.status_run_started", "session.updated"})
"""Of use to a run that waits; one that follows its session hears it by stream."""
FAILED: Final = "vault_credential.refresh_failed"
MENDED: Final = frozenset(
    {"vault_credential.created", "vault_credential.archived", "vault_credential.deleted"}
)
VAULT_GONE: Final = frozenset({"vault.archived", "vault.deleted"})


@dataclass(frozen=True, slots=True)
class Ring:
    """Something happened to a session."""

    session_id: str
    what: str
    heard: bool
    """Whether anybody has a use for it."""
    at_rest: bool
    """Whether a run that follows the session should look too."""


@dataclass(frozen=True, slots=True)
class CredentialNews:
    """Something happened to a credential, or to a whole vault (then `credential_id` is None)."""

    vault_id: str | None
    credential_id: str | None
    broken: bool


def ring_of(event: Event) -> Ring | None:
    """The ring that an event is; None where it is about no session. An unknown type rings: looking does no harm."""
    if event.connector != SERVICE or event.data.subject.kind != SESSION:
        return None
    what = event.type.removeprefix(f"{SERVICE}.")
    return Ring(
        session_id=event.data.subject.key,
        what=what,
        heard=what not in UNHEARD,
        at_rest=what not in UNHEARD | GOING,
    )


def credential_news_of(event: Event) -> CredentialNews | None:
    """What an event says of a credential; None where it says nothing of any."""
    if event.connector != SERVICE:
        return None
    what = event.type.removeprefix(f"{SERVICE}.")
    key, vault = event.data.subject.key, event.data.address.get("vault")
    if what == FAILED and vault:
        return CredentialNews(vault, key, broken=True)
    if what in MENDED:
        return CredentialNews(vault, key, broken=False)
    return CredentialNews(key, None, broken=False) if what in VAULT_GONE else None
