"""The seeded schedule of everything that goes wrong. The same seed gives the same schedule."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from crash.setups import SetUp

SERVICE_FAULTS: Final[tuple[dict[str, Any], ...]] = (
    {"mode": "rate_limit", "path": "/v1/sessions", "method": "POST", "seconds": 1},
    {"mode": "rate_limit", "path": "/v1/sessions*", "seconds": 1},
    {"mode": "status", "path": "/v1/sessions*", "status": 429},  # without Retry-After
    {"mode": "status", "path": "/v1/sessions*", "status": 529},
    {"mode": "commit_then_status", "path": "/v1/sessions", "method": "POST", "status": 500},
    {"mode": "commit_then_status", "path": "/v1/sessions/*/events", "method": "POST", "status": 500},
    {"mode": "commit_then_cut", "path": "/v1/sessions", "method": "POST"},
    {"mode": "commit_then_cut", "path": "/v1/sessions/*/events", "method": "POST"},
    {"mode": "status", "path": "/v1/sessions/*/events", "method": "POST", "status": 502},
    {"mode": "cut", "path": "/v1/*"},
    {"mode": "cut_stream", "path": "/v1/sessions/*/events/stream", "after": 2},
    {"mode": "cut_stream", "path": "/v1/sessions/*/events/stream", "after": 7},
    {"mode": "delay", "path": "/v1/sessions*", "seconds": 0.5},
    {"mode": "hang", "path": "/v1/sessions*", "times": 1},
    {"mode": "commit_then_hang", "path": "/v1/sessions", "method": "POST", "times": 1},
    {"mode": "commit_then_hang", "path": "/v1/sessions/*/events", "method": "POST", "times": 1},
)
"""What the Managed Agents service does to its clients. What hangs is answered never, or later than the client waits."""

VENDOR_FAULTS: Final[tuple[dict[str, Any], ...]] = (
    {"mode": "rate_limit", "seconds": 1},
    {"mode": "commit_then_status", "method": "POST", "status": 500},
    {"mode": "commit_then_cut", "method": "POST"},
    {"mode": "commit_then_hang", "method": "POST", "times": 1},
    {"mode": "status", "status": 502},
    {"mode": "status", "status": 503, "headers": {"retry-after": "1"}},
    {"mode": "cut"},
    {"mode": "hang", "times": 1},
    {"mode": "delay", "seconds": 0.7},
    {"mode": "delay", "seconds": 3.0, "times": 1},
)
"""What GitHub, Jira, Sentry and Slack do: `rate_limit` is each vendor's own shape, GitHub's a 403."""


KILLS: Final = {"kill": 1, "away": 1, "disk": 2}
"""SIGKILLs in an act of each kind."""


@dataclass(frozen=True, slots=True)
class Act:
    """One thing done to a set-up, `pause` seconds after the one before it was over."""

    kind: str
    """`kill`, `away`, `freeze`, `hold`, `disk`, `lock`, `fault` or `streams`. No schedule has `hold`: the broker is
    stopped until it is killed, so that what is committed meanwhile is published by nobody."""
    target: str = ""
    pause: float = 0.0
    seconds: float = 0.0
    fields: dict[str, Any] = field(default_factory=dict)


def schedule(setup: SetUp, *, seed: int, kills: int) -> list[Act]:
    """Acts with exactly `kills` kills among them; whatever ends a life by SIGKILL counts, such as one on a full disk."""
    return list(_acts(setup, random.Random(f"{setup.name}-{seed}"), kills))  # noqa: S311 - reproducible


def _acts(setup: SetUp, chance: random.Random, kills: int) -> Iterator[Act]:
    left = kills
    while left > 0:
        for _ in range(chance.randint(0, 3)):
            yield _fault(chance)
        act = _hurt(setup, chance, left)
        left -= KILLS.get(act.kind, 0)
        yield act


def _hurt(setup: SetUp, chance: random.Random, left: int) -> Act:
    dice = chance.random()
    pause = chance.uniform(0.05, 1.6)
    if dice < 0.05:
        return Act("freeze", chance.choice(setup.services), pause, seconds=chance.uniform(0.5, 4.0))
    if dice < 0.09:
        # Longer than any lease of the harness: somebody else has its work when it wakes.
        return Act("freeze", chance.choice(setup.workers), pause, seconds=chance.uniform(6.0, 10.0))
    if dice < 0.13:
        return Act("away", chance.choice(setup.services), pause, seconds=chance.uniform(1.0, 5.0))
    if dice < 0.16 and setup.name == "embedded":
        return Act("lock", "database", pause, seconds=chance.uniform(0.5, 4.0))
    if dice < 0.19 and setup.name == "embedded" and left >= KILLS["disk"]:
        return Act("disk", "hub", pause, seconds=chance.uniform(1.0, 3.0))
    names, weights = zip(*setup.killable.items(), strict=True)
    return Act("kill", chance.choices(names, weights)[0], pause)


def _fault(chance: random.Random) -> Act:
    if chance.random() < 0.08:
        return Act("streams", "anthropic", fields={"do": chance.choice(("cut", "mute", "end"))})
    service, faults = "anthropic", SERVICE_FAULTS
    if chance.random() > 0.55:
        service, faults = chance.choice(("github", "jira", "sentry", "slack")), VENDOR_FAULTS
    asked = {"times": chance.randint(1, 4), "skip": chance.randint(0, 3), **chance.choice(faults)}
    return Act("fault", service, fields={**asked, "service": service})
