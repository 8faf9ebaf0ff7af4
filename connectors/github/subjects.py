"""Names of things at GitHub: keys, containers, visibility, addresses. Must not look at what happened."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Final

from connectors.body import get, id_at, text_at
from connectors.github.payloads import Delivery, items
from schemas.event import Subject, Visibility

MAX_KEY: Final = 500
MAX_TITLE: Final = 1000
MAX_TEXT: Final = 200_000
"""GitHub stops at 65,536 characters for bodies; commit messages have no such limit."""
MAX_LABELS: Final = 100
BRANCH: Final = "refs/heads/"


def repository_name(body: object) -> str | None:
    """`owner/repo`, else None (installations and organisation events have no repository)."""
    return text_at(body, "repository", "full_name")


def account_of(body: object) -> str:
    """The organisation or user whose webhook this is; empty where the payload names none."""
    for path in (
        ("repository", "owner", "login"),
        ("organization", "login"),
        ("installation", "account", "login"),
        ("repository", "owner", "name"),
    ):
        found = text_at(body, *path)
        if found:
            return safe_key(found)
    return safe_key((repository_name(body) or "").partition("/")[0])


def visibility_of(body: object) -> Visibility:
    """Public only where nothing in the payload says otherwise: `internal` counts as private."""
    repository = get(body, "repository")
    shown = get(repository, "visibility")
    is_public = get(repository, "private") is False and (shown is None or shown == "public")
    return "public" if is_public else "private"


def invited_only(body: object) -> bool:
    """True where only invited people can act at all: a private repository, not one that a whole enterprise
    reads.
    """
    repository = get(body, "repository")
    shown = get(repository, "visibility")
    return get(repository, "private") is True and (shown is None or shown == "private")


def safe_key(key: str) -> str:
    """A key without control characters and within the limit; what is cut is replaced by its hash."""
    if len(key) <= MAX_KEY and key.isprintable():
        return key
    clean = "".join("\ufffd" if ord(char) < ord(" ") else char for char in key)
    if len(clean) <= MAX_KEY:
        return clean
    return f"{clean[: MAX_KEY - 20]}~{hashlib.sha256(clean.encode()).hexdigest()[:16]}"


def number_of(thing: object) -> str | None:
    """The number of an issue, pull request or alert, as digits."""
    found = id_at(thing, "number")
    return found if found and found.isascii() and found.isdigit() and len(found) < len("1" * 20) else None


def numbered(delivery: Delivery, thing: Mapping[str, Any], kind: str) -> Subject | None:
    """Issue or pull request `owner/repo#12`; None where the repository or number is missing."""
    name, number = repository_name(delivery.body), number_of(thing)
    if name is None or number is None:
        return None
    return Subject(
        kind=kind,
        key=safe_key(f"{name}#{number}"),
        url=text_at(thing, "html_url"),
        title=title(text_at(thing, "title")),
        container=safe_key(name),
    )


def commit(delivery: Delivery, sha: str, *, heading: str | None = None) -> Subject | None:
    """A commit, `owner/repo@<sha>`."""
    name = repository_name(delivery.body)
    if name is None:
        return None
    home = text_at(delivery.body, "repository", "html_url")
    return Subject(
        kind="commit",
        key=safe_key(f"{name}@{sha}"),
        url=f"{home}/commit/{sha}" if home else None,
        title=title(heading),
        container=safe_key(name),
    )


def place(delivery: Delivery) -> Subject:
    """The widest subject that the payload names: repository, organisation, installation, or the event."""
    body = delivery.body
    name = repository_name(body)
    if name:
        return Subject(
            kind="repository",
            key=safe_key(name),
            url=text_at(body, "repository", "html_url"),
            title=title(text_at(body, "repository", "description")),
            container=safe_key(name),
        )
    account = account_of(body)
    installation = id_at(body, "installation", "id")
    if installation:
        return Subject(
            kind="installation",
            key=safe_key(f"installations/{installation}"),
            url=text_at(body, "installation", "html_url"),
            title=title(account),
            container=account or None,
        )
    if account:
        return Subject(kind="organization", key=account, title=title(account), container=account)
    hook = id_at(body, "hook_id")
    return Subject(kind="hook", key=safe_key(f"hooks/{hook}" if hook else f"events/{delivery.event}"))


def address(delivery: Delivery, **extra: str | None) -> dict[str, str]:
    """What a reply needs beyond the subject. Names are read by the poster."""
    known = {
        "repository": repository_name(delivery.body),
        "installation": id_at(delivery.body, "installation", "id"),
        **extra,
    }
    return {name: value[:MAX_KEY] for name, value in known.items() if value}


def labels_of(thing: object) -> tuple[str, ...]:
    """Names of the labels on an issue or pull request."""
    names = (text_at(label, "name") for label in items(thing, "labels"))
    return tuple(name[:MAX_TITLE] for name in names if name)[:MAX_LABELS]


def title(text: str | None) -> str | None:
    """A title within bounds, or None."""
    return text[:MAX_TITLE] if text else None


def words(text: str | None) -> str:
    """A human's text within bounds."""
    return (text or "")[:MAX_TEXT]


def fact_key(name: str, *parts: object) -> str:
    """The semantic key: the fact itself, the same through a repository hook, an App and a redelivery.

    Changing how it is built breaks deduplication.
    """
    return json.dumps([name, *parts], separators=(",", ":"), sort_keys=True, default=str)
