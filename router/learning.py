"""What an event teaches of how subjects hang together. Pure.

Text from outside names whatever its author likes. It proves a link only where the rule lets that author start the
agent anyway; what anybody else names is kept as a claim, for people to see, and routes nothing. A system's words
are nobody's: an alert quotes whatever a stranger made fail.
"""

from __future__ import annotations

from router.engine import trust_of
from router.rules import CompiledRule
from schemas import references
from schemas.event import Event
from schemas.references import How
from storage.links import OURS, Link

_BUILDS = frozenset({"ci.completed", "push", "pr.opened", "pr.updated"})
_QUIET = frozenset({"ci.completed"})
"""Their text is a program's log: it names anything."""


def links(event: Event, rule: CompiledRule) -> tuple[Link, ...]:
    """The links that an event on a subject of one of `rule`'s conversations shows."""
    data = event.data
    own = references.of_subject(event.connector, data.subject.key, data.subject.url, bare_keys=True)
    trust = trust_of(data.actor)
    trusted = data.actor.is_self or (trust in rule.who and trust != "system")
    by = OURS if data.actor.is_self else trust
    found: dict[str, tuple[How, bool]] = {}
    for name in _of_payload(event):
        found.setdefault(name, ("payload", True))
    for name in _of_branch(event):
        found.setdefault(name, ("branch", True))
    if data.kind not in _QUIET:
        branch = references.branch_named(event)
        in_branch = references.in_branch(branch) if branch else ()
        for one in (*in_branch, *references.in_text(data.text)):
            found.setdefault(one.name, (one.how, trusted))
    return tuple(
        Link(
            reference=name,
            how=how,
            connection=event.connection,
            subject=event.subject,
            proven=proven,
            by=by,
            evidence=event.id,
        )
        for name, (how, proven) in found.items()
        if name not in own
    )


def _of_payload(event: Event) -> list[str]:
    """Subjects that the vendor itself says are related, such as the pull requests that Sentry knows of an issue."""
    if event.data.kind in _BUILDS:
        return []
    found = []
    for link in event.data.links[: references.MAX_REFERENCES]:
        name = references.of_url(link) if "://" in link else references.of_key(link) if "#" in link else None
        if name is not None:
            found.append(name)
    return found


def _of_branch(event: Event) -> list[str]:
    """The repository's own branch and its commit: by them a build is recognised that names no pull request."""
    branch, repository = references.branch_named(event), event.data.subject.container
    if not branch or not repository or event.data.kind not in _BUILDS:
        return []
    found = [references.of_branch(repository, branch)]
    sha = event.data.address.get("head_sha")
    if sha and event.data.kind != "ci.completed":
        found.append(references.of_key(f"{repository}@{sha}"))
    return found
