"""From a verified GitHub request to facts: the table from event name to reader. Must not read a clock."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from connectors.base import Fact, Identity, Normalised, Outcome, Request
from connectors.github.alerts import read_alert
from connectors.github.ci import read_check_run, read_check_suite, read_status, read_workflow_run
from connectors.github.issues import read_commit_comment, read_issue, read_issue_comment
from connectors.github.mentions import read_mentions
from connectors.github.payloads import Delivery, Ignored, Reading, Unsupported, read_delivery
from connectors.github.pulls import read_pull, read_review, read_review_comment, read_review_thread
from connectors.github.repositories import read_installation, read_other, read_ping, read_push
from connectors.shown import as_shown

_READERS: Final[Mapping[str, Callable[[Delivery], Reading]]] = {
    "issues": read_issue,
    "issue_comment": read_issue_comment,
    "commit_comment": read_commit_comment,
    "pull_request": read_pull,
    "pull_request_review": read_review,
    "pull_request_review_comment": read_review_comment,
    "pull_request_review_thread": read_review_thread,
    "check_run": read_check_run,
    "check_suite": read_check_suite,
    "workflow_run": read_workflow_run,
    "status": read_status,
    "push": read_push,
    "dependabot_alert": read_alert,
    "code_scanning_alert": read_alert,
    "secret_scanning_alert": read_alert,
    "installation": read_installation,
    "installation_repositories": read_installation,
    "ping": read_ping,
}
_NOTHING: Final[Mapping[str, str]] = {
    "workflow_job": "a job's end is told by the workflow_run and the check_run it belongs to",
    "workflow_dispatch": "the run that it starts is told by workflow_run",
    "create": "a new branch or tag is told by push",
    "delete": "a deleted branch or tag has nothing to work on",
    "label": "the definition of a label changed, on no issue",
    "merge_group": "the checks that the merge queue asks for report by themselves",
}
"""Events that are known and deliberately nothing, with the reason."""


def normalise(request: Request, *, identity: Identity) -> Normalised:
    """Read one delivery. Raises UnreadableError where it cannot be decoded, and nothing else."""
    delivery = read_delivery(request, identity=identity)
    reading = _read(delivery)
    match reading:
        case Fact():
            # A commit's message is no Markdown: it is shown as it stands.
            is_plain = reading.kind == "push"
            fact = reading if is_plain else as_shown(reading, mentions=read_mentions, footnotes=True)
            return _normalised(delivery, Outcome.HANDLED, fact=fact)
        case Ignored():
            return _normalised(delivery, Outcome.IGNORED, reason=reading.reason)
        case Unsupported():
            return _normalised(
                delivery, Outcome.UNSUPPORTED, fact=read_other(delivery), reason=reading.reason
            )


def _read(delivery: Delivery) -> Reading:
    nothing = _NOTHING.get(delivery.event)
    if nothing is not None:
        return Ignored(nothing)
    reader = _READERS.get(delivery.event)
    return reader(delivery) if reader else Unsupported(f"no reader for {delivery.event}")


def _normalised(
    delivery: Delivery, outcome: Outcome, *, fact: Fact | None = None, reason: str | None = None
) -> Normalised:
    return Normalised(
        outcome=outcome,
        delivery_key=delivery.key,
        facts=(fact,) if fact else (),
        payload=delivery.body,
        reason=reason,
    )
