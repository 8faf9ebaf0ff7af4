"""Invented follow-ups for tests of the runner, and what sessions were told. Asserts nothing."""

from __future__ import annotations

from typing import Any, Literal

from runner_samples import dispatch_of
from runner_world import Bench

from schemas.dispatch import Dispatch
from schemas.event import Event, Kind, Visibility


def said(
    text: str,
    *,
    n: int,
    manner: Literal["steer", "queue", "interrupt"] = "steer",
    gather: float = 0.05,
    number: int = 12,
    at: int | None = None,
    kind: Kind = "comment.created",
    visibility: Visibility = "private",
    scenario: str = "scenario=happy",
    **fields: Any,
) -> Dispatch:
    """A comment in the conversation about issue `number`, written on the issue or pull request `at`."""
    found = dispatch_of(number, n=n, follow_up=True, manner=manner, gather_seconds=gather, scenario=scenario)
    subject = found.event.data.subject
    if at is not None:
        key = f"acme/checkout#{at}"
        url = f"https://github.com/acme/checkout/pull/{at}"
        subject = subject.model_copy(update={"key": key, "url": url, "kind": "pr"})
    data = found.event.data.model_copy(
        update={"kind": kind, "text": text, "subject": subject, "visibility": visibility}
    )
    event: Event = found.event.model_copy(
        update={"data": data, "type": f"github.{kind}", "subject": subject.key}
    )
    return found.model_copy(update={"event": event, **fields})


def told(runner: Bench, run_id: str) -> list[str]:
    """Texts of the messages with the run's marker, with everything attached to them."""
    return [
        " ".join(str(block) for block in event["content"])
        for session in runner.agents
        for event in [*session.history.events, *session.history.queue]
        if event["type"] == "user.message" and event["content"][0]["text"].startswith(f"Run: {run_id}\n")
    ]
