"""Names of subjects as they stand in texts, links and branches, in one form that can be compared.

Pure. A reference says which subject is meant, never that whoever wrote it may be believed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal
from urllib.parse import parse_qs, urlsplit

from schemas.event import Event

How = Literal["origin", "posted", "branch", "key", "url", "remote_link", "payload"]
"""How a link was learnt."""

MAX_TEXT: Final = 60_000
MAX_REFERENCES: Final = 20
"""Of one text: a changelog is no list of conversations."""
MAX_REFERENCE: Final = 400

_URL: Final = re.compile(r"https?://[^\s<>\"'`|\\]{1,1000}")
_JIRA_KEY: Final = re.compile(r"(?<![A-Za-z0-9_-])([A-Z][A-Z0-9_]{1,9}-[1-9][0-9]{0,8})(?![A-Za-z0-9_])")
_BRANCH_KEY: Final = re.compile(r"(?:^|[/_-])([A-Za-z][A-Za-z0-9]{1,9}-[1-9][0-9]{0,8})(?=$|[/_-])")
_NUMBERED: Final = re.compile(
    r"(?<![A-Za-z0-9_./-])([A-Za-z0-9][A-Za-z0-9-]{0,38}/[A-Za-z0-9._-]{1,100}#[1-9][0-9]{0,18})\b"
)
_ISSUE_PATH: Final = re.compile(r"^/([^/]+/[^/]+)/(?:issues|pull|pulls)/([1-9][0-9]{0,18})(?:/|$)")
_BROWSE_PATH: Final = re.compile(r"/browse/([A-Z][A-Z0-9_]{1,9}-[1-9][0-9]{0,8})/?$")
_SENTRY_PATH: Final = re.compile(r"/issues/([1-9][0-9]{0,18})(?:/|$)")
_SLACK_PATH: Final = re.compile(r"^/archives/([A-Z0-9]{2,40})/p([0-9]{7,20})$")
_MICROSECONDS: Final = 6


@dataclass(frozen=True, slots=True)
class Reference:
    """A subject that a text names."""

    name: str
    how: How


def branch_of(run_id: str) -> str:
    """The branch a run pushes to: derived, so that a second attempt finds the first one's work."""
    return f"triggerhub/{run_id.removeprefix('run_')[:12]}"


def of_branch(repository: str, branch: str) -> str:
    """A branch of a repository."""
    return f"branch:{repository.lower()}:{branch.removeprefix('refs/heads/')}"[:MAX_REFERENCE]


def of_key(key: str) -> str:
    """A subject by its key: `owner/repo#12`, `owner/repo@<sha>`, `KEY-1`."""
    return f"key:{key if _JIRA_KEY.fullmatch(key) else key.lower()}"[:MAX_REFERENCE]


def of_url(url: str) -> str | None:
    """The subject that an address shows; None where it is the address of none."""
    try:
        parts = urlsplit(url.rstrip(".,;:!?)]}*_"))
        host = (parts.hostname or "").removeprefix("www.")
    except ValueError:
        return None
    if found := _SLACK_PATH.match(parts.path):
        threads = parse_qs(parts.query).get("thread_ts", [])
        digits = found[2]
        own = f"{digits[:-_MICROSECONDS]}.{digits[-_MICROSECONDS:]}"
        return f"slack:{found[1]}/{threads[0] if threads else own}"[:MAX_REFERENCE]
    if found := _BROWSE_PATH.search(parts.path):
        return f"url:{host}/browse/{found[1]}"[:MAX_REFERENCE]
    is_sentry = "sentry" in host or parts.path.startswith("/organizations/")
    if is_sentry and (found := _SENTRY_PATH.search(parts.path)):
        return f"sentry:{found[1]}"
    if found := _ISSUE_PATH.match(parts.path):
        return f"url:{host}/{found[1].lower()}#{found[2]}"[:MAX_REFERENCE]
    return None


def in_text(text: str) -> tuple[Reference, ...]:
    """The subjects that a text names, in order, at most MAX_REFERENCES."""
    found: dict[str, Reference] = {}
    for name, how in _named(text[:MAX_TEXT]):
        found.setdefault(name, Reference(name, how))
        if len(found) >= MAX_REFERENCES:
            break
    return tuple(found.values())


def _named(text: str) -> Iterator[tuple[str, How]]:
    for match in _URL.finditer(text):
        name = of_url(match[0])
        if name is not None:
            yield name, "url"
    bare = _URL.sub(" ", text)
    for match in _NUMBERED.finditer(bare):
        yield of_key(match[1]), "key"
    for match in _JIRA_KEY.finditer(bare):
        yield of_key(match[1]), "key"


def in_branch(branch: str) -> tuple[Reference, ...]:
    """The issue keys in a branch's name, such as that of `fix/SHOP-7-rounding`."""
    keys = dict.fromkeys(found.upper() for found in _BRANCH_KEY.findall(branch[:MAX_REFERENCE]))
    return tuple(Reference(of_key(key), "branch") for key in keys if _JIRA_KEY.fullmatch(key))


def of_event(event: Event, *, bare_keys: bool) -> frozenset[str]:
    """Every name under which the event's subject may have been linked.

    A branch counts only where the payload proves that it is the repository's own: a fork may name its branches as
    it likes. A commit counts for builds and pushes: anybody may open a pull request of somebody else's commit.
    `bare_keys`: whether `KEY-1` alone is unmistakable, because at most one Jira connection is configured.
    """
    data = event.data
    names = set(of_subject(event.connector, data.subject.key, data.subject.url, bare_keys=bare_keys))
    repository = data.subject.container or ""
    branch = branch_named(event)
    if branch and repository:
        names.add(of_branch(repository, branch))
    sha = data.address.get("head_sha")
    if sha and repository and data.kind in {"ci.completed", "push"}:
        names.add(of_key(f"{repository}@{sha}"))
    if data.kind == "ci.completed":
        names |= {of_key(link) for link in data.links if "#" in link and "://" not in link}
    return frozenset(names)


def of_subject(connector: str, key: str, url: str | None, *, bare_keys: bool) -> frozenset[str]:
    """Every name of a subject by itself."""
    names: set[str] = set()
    address = of_url(url) if url else None
    if address is not None:
        names.add(address)
    if connector == "sentry":
        names.add(f"sentry:{key}"[:MAX_REFERENCE])
    elif connector == "slack":
        names.add(f"slack:{key.partition('/')[2]}"[:MAX_REFERENCE])
    elif connector != "jira" or bare_keys:
        names.add(of_key(key))
    return frozenset(names)


def branch_named(event: Event) -> str | None:
    """The branch of this repository that the event is about, where it is about one."""
    address = event.data.address
    if event.data.kind == "push":
        ref = address.get("ref", "")
        return ref.removeprefix("refs/heads/") if ref.startswith("refs/heads/") else None
    return address.get("own_branch")
