"""Dispatches, grants and short waits for tests of the runner. Holds no expectations."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

from connectors.github.connector import CONNECTOR
from runner.timing import Timing
from schemas.dispatch import Dispatch, Grant, Limits, Repository
from schemas.event import Actor, Event, EventData, Subject

REPOSITORY: Final = "acme/checkout"
QUICK: Final = Timing(
    heartbeat=0.5,
    stop_poll=0.05,
    follow_up_poll=0.05,
    claim_poll=0.05,
    result_poll=0.05,
    first_delay=0.02,
    max_delay=0.2,
    tries=4,
    longest_wait=2.0,
    give_back=0.05,
    max_give_back=0.2,
    settle=(0.0, 0.1, 0.1),
    status_lag=0.2,
    calm=3.0,
    open_stream=3.0,
    stream_silence=5.0,
    quiet=5.0,
    max_quiet=20.0,
    after_interrupt=0.05,
    interrupt_again=1.0,
    stop_patience=3.0,
    upkeep_grace=0.0,
    token_least=0.1,
)
"""The same rules with shorter waits."""


def grant(output: str = "comment", name: str | None = None, **fields: Any) -> Grant:
    """A grant of a GitHub output. Without `connection` it goes to the origin."""
    spec = CONNECTOR.outputs[output]
    values: dict[str, Any] = {
        "connection": None,
        "input_schema": spec.arguments.model_json_schema(),
        **fields,
    }
    return Grant(name=name or output, output=output, **values)


PULL_REQUEST: Final = grant(
    "open_pull_request", connection="acme-github", target={"repository": REPOSITORY, "draft": True}
)
MOUNT: Final = Repository(connection="acme-github", name=REPOSITORY, branch="main")


def dispatch_of(number: int = 12, *, n: int = 0, scenario: str = "", **fields: Any) -> Dispatch:
    """A dispatch about issue `number`; `n` tells those of one conversation apart."""
    key = f"{REPOSITORY}#{number}"
    event = Event(
        id=f"evt_{number}_{n}",
        source="github/acme",
        type="github.issue.opened",
        subject=key,
        time=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        connection="acme-github",
        data=EventData(
            kind="issue.opened",
            actor=Actor(id="5", login="octo-dev", trust="member"),
            subject=Subject(
                kind="issue",
                key=key,
                url=f"https://github.com/{REPOSITORY}/issues/{number}",
                title=f"Wrong total {number}",
                container=REPOSITORY,
            ),
            text=f"The total of order {number} is wrong.",
            payload={"number": number},
        ),
    )
    values: dict[str, Any] = {
        "id": f"dsp_{number}_{n}",
        "rule": "fix-it",
        "agent": "fixer",
        "environment": "python",
        "conversation": f"fix-it:{key}",
        "prompt": f"Find the cause and say it. [sandbox: {scenario}]"
        if scenario
        else "Find the cause and say it.",
        "event": event,
        **fields,
    }
    return Dispatch(**values)


def limits(**fields: Any) -> Limits:
    """Bounds of a run."""
    return Limits(**fields)
