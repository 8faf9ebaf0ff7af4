"""What `doctor` tells of processes that run elsewhere: their roles, what waits for them, and canaries. Reads only."""

from __future__ import annotations

from collections import defaultdict
from typing import Final, Literal

from sqlalchemy import Connection

from hub.checks import REPORTS
from hub.progress import TOPICS
from hub.settings import Settings
from storage import canaries, outbox, workers
from storage.workers import Worker

MISSED_REPORTS: Final = 6
State = Literal["ok", "warn", "fail"]


def findings(connection: Connection, *, settings: Settings) -> list[tuple[State, str, str]]:
    """(state, about, detail) of each role of each process of the last hour, of each queue and of each canary."""
    found = workers.living(connection)
    silence = max(30.0, settings.stuck_seconds / REPORTS * MISSED_REPORTS)
    fresh = {one.role for one in found if one.seen_ago < silence}
    told: list[tuple[State, str, str]] = [_role(one, fresh, silence=silence) for one in found]
    told += _queues(connection, fresh, stuck=settings.stuck_seconds)
    told += _canaries(connection, fresh, stuck=settings.stuck_seconds)
    return told


def _role(worker: Worker, fresh: set[str], *, silence: float) -> tuple[State, str, str]:
    who = f"{worker.role} of {worker.instance}"
    if worker.seen_ago >= silence:
        detail = f"{who} was last heard of {worker.seen_ago:.0f} s ago: it died, or its whole process hangs"
        if worker.role in fresh or not fresh:
            return "warn", "role", detail
        return "fail", "role", f"{detail}; no other {worker.role} is there: start one"
    if worker.note:
        return "fail", "role", f"{who} is stuck: {worker.note}; restart it, and keep its log"
    if worker.progress_ago >= silence:
        detail = f"{who} got nothing done for {worker.progress_ago:.0f} s; restart it, and keep its log"
        return "fail", "role", detail
    return "ok", "role", f"{who} is at work"


def _queues(connection: Connection, fresh: set[str], *, stuck: float) -> list[tuple[State, str, str]]:
    oldest = outbox.oldest(connection)
    count, _ = outbox.depth(connection)
    if not oldest:
        return [("ok", "outbox", "no message waits")]
    roles = {topic: role for role, topic in TOPICS.items()}
    found: dict[State, list[str]] = defaultdict(list)
    for topic, age in sorted(oldest.items()):
        role = roles.get(topic, "")
        todo = f"look at the {role}" if role in fresh else f"no {role} runs: start one"
        late = age >= stuck
        state: State = ("fail" if fresh else "warn") if late else "ok"
        found[state].append(f"the oldest for {topic} is {age:.0f} s old" + (f"; {todo}" if late else ""))
    worst: State = "fail" if found["fail"] else "warn" if found["warn"] else "ok"
    return [(worst, "outbox", f"{count} messages wait: " + ", ".join(found[worst]))]


def _canaries(connection: Connection, fresh: set[str], *, stuck: float) -> list[tuple[State, str, str]]:
    told: list[tuple[State, str, str]] = []
    for one in canaries.standing(connection):
        last = "none came through in the last hour" if one.came_ago is None else f"{one.came_ago:.0f} s ago"
        if one.waits < stuck:
            told.append(
                ("ok", "canary", f"connection {one.connection}: the last that came through was {last}")
            )
            continue
        where = "is stored, and no router had it" if one.stored else "could not be stored"
        detail = (
            f"connection {one.connection}: one has been out for {one.waits:.0f} s, {where}; the last: {last}"
        )
        told.append(("fail" if fresh else "warn", "canary", detail))
    return told
