"""What concerns a repository or an installation as a whole: pushes, App installations, pings, and the unknown
rest.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from connectors.base import Fact
from connectors.body import epoch, get, id_at, text_at, time_at
from connectors.github.actors import app_of, read_actor
from connectors.github.changes import value
from connectors.github.mentions import read_mentions
from connectors.github.payloads import Delivery, Ignored, Reading, Unsupported, items
from connectors.github.subjects import (
    BRANCH,
    account_of,
    address,
    commit,
    fact_key,
    labels_of,
    number_of,
    numbered,
    place,
    repository_name,
    safe_key,
    title,
    visibility_of,
    words,
)
from schemas.event import Kind, Subject, Trust

MERGE_QUEUE: Final = "refs/heads/gh-readonly-queue/"
MAX_REPOSITORIES: Final = 1000
_INSTALLATION: Final[Mapping[str, Kind]] = {
    "created": "install.added",
    "unsuspend": "install.added",
    "added": "install.added",
    "deleted": "install.removed",
    "suspend": "install.removed",
    "removed": "install.removed",
}
_NEED_WRITE: Final = frozenset(
    {"repository_dispatch", "release", "deployment", "deployment_status", "repository"}
)
"""Events without a kind of their own that only somebody with write access can cause."""


def read_push(delivery: Delivery) -> Reading:
    """`push`: new commits on a branch or a new tag. Pushing needs write access."""
    name, ref = repository_name(delivery.body), text_at(delivery.body, "ref")
    if name is None or ref is None:
        return Unsupported("push without repository.full_name or ref")
    if ref.startswith(MERGE_QUEUE):
        return Ignored("a push of the merge queue to its own branch")
    if get(delivery.body, "deleted") is True:
        return Ignored("the push deletes the branch or tag")
    before, after = text_at(delivery.body, "before"), text_at(delivery.body, "after")
    message = text_at(delivery.body, "head_commit", "message")
    head = text_at(delivery.body, "head_commit", "id") or after
    home = text_at(delivery.body, "repository", "html_url")
    url = text_at(delivery.body, "compare")
    subject = Subject(
        kind="branch" if ref.startswith(BRANCH) else "tag",
        key=safe_key(f"{name}@{ref.removeprefix(BRANCH)}"),
        url=f"{home}/tree/{ref.removeprefix(BRANCH).removeprefix('refs/tags/')}" if home else None,
        title=title(message.partition("\n")[0]) if message else None,
        container=safe_key(name),
    )
    pushed_at = id_at(delivery.body, "repository", "pushed_at")
    return Fact(
        kind="push",
        actor=read_actor(delivery, otherwise="collaborator"),
        subject=subject,
        # Pushing back and forth repeats (before, after); the repository's push time tells the pushes apart.
        key=fact_key("push", id_at(delivery.body, "repository", "id") or name, ref, before, after, pushed_at),
        account=account_of(delivery.body),
        occurred_at=epoch(get(delivery.body, "repository", "pushed_at"))
        or time_at(delivery.body, "head_commit", "timestamp"),
        text=words(message),
        changed={"head": value(None if _is_zero(before) else before, after)},
        visibility=visibility_of(delivery.body),
        links=tuple(link for link in (url, f"{name}@{head}" if head else None) if link),
        address=address(delivery, head_sha=head, ref=ref),
    )


def read_installation(delivery: Delivery) -> Reading:
    """`installation` and `installation_repositories`: the App came, went, or sees other repositories."""
    if delivery.action == "new_permissions_accepted":
        return Ignored("the App's permissions were accepted; its repositories are the same")
    kind = _INSTALLATION.get(delivery.action)
    ident = id_at(delivery.body, "installation", "id")
    if kind is None or ident is None:
        return Unsupported(f"no reader for {delivery.name} of this shape")
    account = account_of(delivery.body)
    added = _names(delivery, "repositories_added")
    removed = _names(delivery, "repositories_removed")
    if delivery.event == "installation":
        added, removed = (_names(delivery, "repositories"), []) if kind == "install.added" else ([], added)
    return Fact(
        kind=kind,
        actor=read_actor(delivery, otherwise=_installer(delivery)),
        subject=Subject(
            kind="installation",
            key=safe_key(f"installations/{ident}"),
            url=text_at(delivery.body, "installation", "html_url"),
            title=title(account),
            container=account or None,
        ),
        # An installation is made and deleted once; the rest may repeat, and is sent to the App alone.
        key=fact_key(
            delivery.name, ident, None if delivery.action in {"created", "deleted"} else delivery.key
        ),
        account=account,
        changed={"repositories": {"added": added, "removed": removed}},
        address=address(delivery),
    )


def read_ping(delivery: Delivery) -> Reading:
    """`ping`: GitHub tries a new hook. Making one needs administration rights."""
    return Fact(
        kind="ping",
        actor=read_actor(delivery, otherwise="collaborator"),
        subject=place(delivery),
        key=fact_key("ping", id_at(delivery.body, "hook_id"), delivery.key),
        account=account_of(delivery.body),
        text=words(text_at(delivery.body, "zen")),
        visibility=visibility_of(delivery.body),
        address=address(delivery),
    )


def read_other(delivery: Delivery) -> Fact:
    """Anything without a kind of its own, so that nothing is lost. The actor is trusted only for what he
    wrote.

    No field of it is known to name the fact, so the delivery does; all hooks of one event share its
    identifier (GitHub docs, REST "repository webhook deliveries", field `guid`).
    """
    body = delivery.body
    written = next(
        (
            part
            for name in ("comment", "review", "discussion", "issue", "pull_request")
            if (part := delivery.part(name))
        ),
        {},
    )
    return Fact(
        kind="other",
        actor=read_actor(
            delivery,
            wrote=written,
            otherwise="collaborator" if delivery.event in _NEED_WRITE else "unknown",
            apps=(app_of(written),) if delivery.action == "created" else (),
        ),
        subject=_subject(delivery),
        key=fact_key("other", delivery.name, delivery.key),
        account=account_of(body),
        text=words(text_at(written, "body")),
        labels=labels_of(written),
        mentions=read_mentions(words(text_at(written, "body"))),
        visibility=visibility_of(body),
        address=address(delivery, number=_number(delivery)),
    )


def _subject(delivery: Delivery) -> Subject:
    for name, kind in (("issue", "issue"), ("pull_request", "pr")):
        found = numbered(delivery, delivery.part(name), kind)
        if found:
            return found
    discussion = delivery.part("discussion")
    repository, number = repository_name(delivery.body), number_of(discussion)
    if repository and number:
        return Subject(
            kind="discussion",
            key=safe_key(f"{repository}/discussions/{number}"),
            url=text_at(discussion, "html_url"),
            title=title(text_at(discussion, "title")),
            container=safe_key(repository),
        )
    sha = text_at(delivery.body, "sha") or text_at(delivery.body, "deployment", "sha")
    return (commit(delivery, sha) if sha else None) or place(delivery)


def _number(delivery: Delivery) -> str | None:
    return number_of(delivery.part("issue")) or number_of(delivery.part("pull_request"))


def _names(delivery: Delivery, field: str) -> list[str]:
    names = (text_at(repository, "full_name") for repository in items(delivery.body, field))
    return [safe_key(name) for name in names if name][:MAX_REPOSITORIES]


def _installer(delivery: Delivery) -> Trust:
    """Installing on an account needs to own it or to administer the repositories."""
    account = id_at(delivery.body, "installation", "account", "id")
    is_owner = account is not None and account == id_at(delivery.body, "sender", "id")
    return "owner" if is_owner else "collaborator"


def _is_zero(sha: str | None) -> bool:
    return sha is None or not sha.strip("0")
