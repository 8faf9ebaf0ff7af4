"""What the service's own webhooks are for: whom a type rings for, and what it says of a credential."""

from __future__ import annotations

import pytest
from router_samples import event

from router.doorbells import CredentialNews, Ring, credential_news_of, ring_of
from schemas.event import Event, Subject


def told(
    what: str, *, connector: str = "anthropic", kind: str = "session", key: str = "sesn_1", **address: str
) -> Event:
    """An event as the connector makes it."""
    one = event()
    subject = Subject(kind=kind, key=key, url=None, title=None, container=None)
    data = one.data.model_copy(update={"kind": "other", "subject": subject, "address": address})
    return one.model_copy(
        update={"source": f"{connector}/acme", "type": f"{connector}.{what}", "subject": key, "data": data}
    )


@pytest.mark.parametrize(
    ("what", "heard", "at_rest"),
    [
        ("session.status_idled", True, True),
        ("session.budget_reached", True, True),
        ("session.status_terminated", True, True),
        ("session.something_new", True, True),
        ("session.updated", True, False),
        ("session.status_run_started", True, False),
        ("session.created", False, False),
        ("session.status_rescheduled", False, False),
    ],
)
def test_what_rings(what: str, *, heard: bool, at_rest: bool) -> None:
    assert ring_of(told(what)) == Ring("sesn_1", what, heard=heard, at_rest=at_rest)


def test_other_subjects_and_other_vendors_ring_for_nobody() -> None:
    assert ring_of(told("vault.archived", kind="vault", key="vlt_1")) is None
    assert ring_of(told("session.status_idled", connector="github")) is None
    assert credential_news_of(told("vault.archived", connector="github", kind="vault", key="vlt_1")) is None


@pytest.mark.parametrize(
    ("what", "key", "news"),
    [
        ("vault_credential.refresh_failed", "vcrd_1", CredentialNews("vlt_1", "vcrd_1", broken=True)),
        ("vault_credential.archived", "vcrd_1", CredentialNews("vlt_1", "vcrd_1", broken=False)),
        ("vault_credential.created", "vcrd_1", CredentialNews("vlt_1", "vcrd_1", broken=False)),
        ("vault.deleted", "vlt_1", CredentialNews("vlt_1", None, broken=False)),
        ("vault.created", "vlt_1", None),
        ("session.updated", "sesn_1", None),
    ],
)
def test_what_is_said_of_credentials(what: str, key: str, news: CredentialNews | None) -> None:
    assert credential_news_of(told(what, kind=what.partition(".")[0], key=key, vault="vlt_1")) == news


def test_a_failure_that_names_no_vault_says_nothing() -> None:
    assert (
        credential_news_of(told("vault_credential.refresh_failed", kind="vault_credential", key="vcrd_1"))
        is None
    )
