"""Rule matching against its limit (design §6): 10,000 rules, at most 10 candidates, a payload of 5 kB.

Run as `python -m benchmarks.rule_matching`. Prints each figure beside its limit and exits 1 if one is missed.
The second limit compares two rule sets in the same run, so it holds on any machine.
"""

from __future__ import annotations

import gc
import json
import statistics
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from pydantic import BaseModel, ConfigDict

from router.engine import RuleSet
from router.loading import load_documents
from schemas.event import Actor, Event, EventData, Subject

LIMIT_MICROSECONDS = 150.0
LIMIT_GROWTH = 1.25
CANDIDATES = 10
ROUNDS = 15
EVENTS_PER_ROUND = 400


class _Connection(BaseModel):
    model_config = ConfigDict(extra="allow")
    source: str


def sample_event() -> Event:
    """A Sentry-like alert whose payload is about 5 kB of JSON."""
    frames = [
        {"filename": f"checkout/step_{i}.py", "function": f"step_{i}", "lineno": 10 * i, "vars": {"cart": i}}
        for i in range(50)
    ]
    payload: dict[str, Any] = {
        "action": "triggered",
        "data": {
            "issue": {"level": "error", "title": "KeyError: 'total'"},
            "event": {"exception": {"values": [{"stacktrace": {"frames": frames}}]}},
        },
    }
    return Event(
        id="evt_bench",
        source="sentry/acme",
        type="sentry.alert.fired",
        subject="4711",
        time=datetime(2026, 1, 2, tzinfo=UTC),
        connection="acme-sentry",
        data=EventData(
            kind="alert.fired",
            actor=Actor(id="sentry", trust="system"),
            subject=Subject(kind="alert", key="4711", container="checkout"),
            text="KeyError: 'total'",
            labels=("error",),
            payload=payload,
        ),
    )


def rule_set(others: int) -> RuleSet:
    """CANDIDATES rules that the event reaches, half of which match, and `others` that cannot match it."""
    rules = [
        {
            "name": f"candidate-{i}",
            "match": {
                "source": "sentry",
                "kind": ["alert.fired", "issue.opened"],
                "if": f'event.subject.container == "checkout" && event.payload.data.issue.level == "{level}"'
                f" && event.labels.size() < {100 + i}",
            },
            "agent": "fixer",
            "prompt": "Repair it.",
        }
        for i, level in ((i, "error" if i % 2 else "warning") for i in range(CANDIDATES))
    ]
    kinds = ("issue.opened", "comment.*", "push", "ci.completed")
    rules += [
        {
            "name": f"other-{i}",
            "match": {
                "source": "github",
                "kind": kinds[i % len(kinds)],
                "container": f"acme/repo-{i}",
                "if": f'event.text.contains("word {i}")',
            },
            "agent": "fixer",
            "prompt": "Look into it.",
        }
        for i in range(others)
    ]
    config = {
        "version": 1,
        "connections": {"acme-sentry": {"source": "sentry"}, "acme-github": {"source": "github"}},
        "environments": {"python": {"config": {"type": "cloud"}}},
        "agents": {"fixer": {"model": "m", "environment": "python"}},
        "rules": rules,
    }
    models: Mapping[str, type[BaseModel]] = {"sentry": _Connection, "github": _Connection}
    data = json.dumps(config).encode()  # JSON is YAML
    _, loaded = load_documents([("benchmark.yaml", data)], connection_models=models, output_specs={})
    return loaded


def measure(rules: RuleSet, event: Event) -> float:
    """Microseconds per event, over one round."""
    started = time.perf_counter()
    for _ in range(EVENTS_PER_ROUND):
        rules.match(event)
    return (time.perf_counter() - started) / EVENTS_PER_ROUND * 1e6


def main() -> int:
    event = sample_event()
    size = len(json.dumps(event.data.payload))
    started = time.perf_counter()
    many = rule_set(10_000 - CANDIDATES)
    loading = time.perf_counter() - started
    few = rule_set(100 - CANDIDATES)
    verdicts = many.match(event)
    assert len(verdicts) == CANDIDATES
    assert sum(verdict.matched for verdict in verdicts) == CANDIDATES // 2
    gc.freeze()
    measure(many, event)  # warm up
    slow, fast = [], []
    for _ in range(ROUNDS):  # by turns, so that a busy machine slows both
        slow.append(measure(many, event))
        fast.append(measure(few, event))
    cost, growth = statistics.median(slow), min(slow) / min(fast)
    print(f"rule matching: {len(many)} rules, {CANDIDATES} candidates, payload {size} bytes")
    print(_line("per event, µs", cost, LIMIT_MICROSECONDS))
    print(_line("10,000 rules to 100, times", growth, LIMIT_GROWTH))
    print(f"  {'loading 10,000 rules, s':28}{loading:9.2f}")
    return 0 if cost <= LIMIT_MICROSECONDS and growth <= LIMIT_GROWTH else 1


def _line(name: str, figure: float, limit: float) -> str:
    return f"  {name:28}{figure:9.2f}   limit {limit:7.2f}   {'ok' if figure <= limit else 'MISSED'}"


if __name__ == "__main__":
    sys.exit(main())
