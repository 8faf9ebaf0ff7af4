"""Whether an `approve` of the configuration can work: its connections exist, its place is one, its content is fixed.

Reports, never raises.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from router.problems import Location, quote, unknown
from router.shapes import Finding, validate
from schemas.policy.approval import ApprovalPolicy, AskAt, NamedVoters

COMMENT: Final = "comment"
"""Where comments can go, people can be asked."""


def findings(
    policy: ApprovalPolicy,
    place: Location,
    *,
    connections: Mapping[str, str | None],
    specs: Mapping[str, Mapping[str, Any]],
) -> Iterator[Finding]:
    """What is wrong with a policy that has the right shape. `connections`: source by name."""
    for index, entry in enumerate(policy.by):
        if isinstance(entry, NamedVoters) and entry.connection not in connections:
            yield Finding(
                (*place, "by", index, "connection"), unknown("connection", entry.connection, connections)
            )
    if not isinstance(policy.ask, AskAt):
        return
    name, at = policy.ask.connection, (*place, "ask")
    if name not in connections:
        yield Finding((*at, "connection"), unknown("connection", name, connections))
        return
    source = connections[name]
    spec = specs.get(source or "", {}).get(COMMENT)
    if source is None:
        return
    if spec is None:
        yield Finding((*at, "connection"), f"nobody can be asked at the {source} connection {quote(name)}")
        return
    _, wrong = validate(spec.target, policy.ask.target)
    yield from (Finding((*at, *found.location), found.message) for found in wrong)
    if not wrong and not policy.ask.target:
        fields = ", ".join(spec.target.model_fields)
        yield Finding(at, f"the connection alone is no address: add what names the place (of {fields})")


def content_findings(output: str, options: Mapping[str, Any]) -> Iterator[Finding]:
    """What people would approve must be what is posted: a branch can change after they looked."""
    if output == "open_pull_request" and options.get("source") != "patch":
        msg = (
            "people would approve the name of a branch, whose commits may change afterwards: add source: patch, so "
            "that they approve the change itself"
        )
        yield Finding(("approve",), msg)
