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
)
"""What the Managed Agents service does to its clients."""

VENDOR_FAULTS: Final[tuple[dict[str, Any], ...]] = (
    {"mode": "rate_limit", "seconds": 1},
    {"mode": "commit_then_status", "method": "POST", "status": 500},
    {"mode": "commit_then_cut", "method": "POST"},
    {"mode": "commit_then_hang", "method": "POST"},
    {"mode": "status", "status": 502},
    {"mode": "status", "status": 503, "headers": {"retry-after": "1"}},
    {"mode": "cut"},
    {"mode": "hang"},
    {"mode": "delay", "seconds": 0.7},
)
"""What GitHub, Jira, Sentry and Slack do: `rate_limit` is each vendor's own shape, GitHub's a 403."""


@dataclass(frozen=True, slots=True)
class Act:
    """One thing done to a set-up, `pause` seconds after the one before it was over."""

    kind: str
    """`kill`, `freeze`, `disk`, `lock`, `fault` or `streams`."""
    target: str = ""
    pause: float = 0.0
    seconds: float = 0.0
    fields: dict[str, Any] = field(default_factory=dict)


def schedule(setup: SetUp, *, seed: int, kills: int) -> list[Act]:
    """Acts with exactly `kills` kills among them; those that replace a life for a full disk count as kills too."""
    return list(_acts(setup, random.Random(f"{setup.name}-{seed}"), kills))  # noqa: S311 - reproducible


def _acts(setup: SetUp, chance: random.Random, kills: int) -> Iterator[Act]:
    left = kills
    while left > 0:
        for _ in range(chance.randint(0, 3)):
            yield _fault(chance)
        dice = chance.random()
        pause = chance.uniform(0.05, 1.6)
        if dice < 0.05:
            yield Act("freeze", chance.choice(setup.freezable), pause, seconds=chance.uniform(0.5, 4.0))
        elif dice < 0.09 and setup.name == "embedded":
            yield Act("lock", "database", pause, seconds=chance.uniform(0.5, 4.0))
        elif dice < 0.12 and setup.name == "embedded" and left >= 2:
            yield Act("disk", "hub", pause, seconds=chance.uniform(1.0, 3.0))
            left -= 2
        else:
            names, weights = zip(*setup.killable.items(), strict=True)
            yield Act("kill", chance.choices(names, weights)[0], pause)
            left -= 1


def _fault(chance: random.Random) -> Act:
    times = chance.randint(1, 4)
    if chance.random() < 0.08:
        return Act("streams", "anthropic", fields={"do": chance.choice(("cut", "mute", "end"))})
    if chance.random() < 0.55:
        chosen = {**chance.choice(SERVICE_FAULTS), "service": "anthropic"}
        return Act("fault", "anthropic", fields={**chosen, "times": times, "skip": chance.randint(0, 3)})
    vendor = chance.choice(("github", "jira", "sentry", "slack"))
    chosen = {**chance.choice(VENDOR_FAULTS), "service": vendor}
    if chosen["mode"].endswith("hang"):
        times = 1
    return Act("fault", vendor, fields={**chosen, "times": times, "skip": chance.randint(0, 3)})
