"""Judging whether a process makes progress: from what was seen of it to the lines of `/readyz`. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from storage.canaries import Standing

REPORTS: Final = 9
"""Looks at the database in that time. With one of them and the longest pause of a part (a run's heartbeat) the time
until a wedge shows stays below a minute; a test adds it up."""
CLOCK_WARN_SECONDS: Final = 5.0
CLOCK_FAIL_SECONDS: Final = 60.0
"""Slack signs for 300 s, to either side; half of that and a slow network are no margin. Leases run on the database's
clock and do not mind."""


@dataclass(frozen=True, slots=True)
class Check:
    """One line of `/readyz`."""

    name: str
    ok: bool
    detail: str
    warn: bool = False
    """Well enough to serve, but somebody should look."""


@dataclass(frozen=True, slots=True)
class Beat:
    """When a part of a role last came round, and how long it may rest in between."""

    at: float
    every: float = 0.0


@dataclass(slots=True)
class Standstill:
    """Since when the same thing is the first in its queue. A queue that is long but moves is no standstill."""

    first: str | None = None
    since: float = 0.0

    def saw(self, first: str | None, *, now: float) -> None:
        """A look at the queue. None: it is empty, or its head is not ours to take."""
        if first != self.first:
            self.first, self.since = first, now

    def age(self, now: float) -> float:
        """Seconds for which nothing moved; 0 where nothing waits."""
        return now - self.since if self.first is not None else 0.0


@dataclass(slots=True)
class Seen:
    """What was seen of one role of this process. Times are this process's monotonic clock."""

    began: float
    beats: dict[str, Beat] = field(default_factory=dict)
    taken_at: float | None = None
    """When it last finished a batch of messages."""
    in_hand: dict[int, float] = field(default_factory=dict)
    """Batches that it has begun and not finished: since when."""
    due: Standstill = field(default_factory=Standstill)
    """Rows that are due, which it looks for by itself."""


def recent(name: str, at: float, *, now: float, what: str, stuck: float) -> Check:
    """Whether something that happens all the time happened lately. `at` 0: never."""
    if not at:
        return Check(name, ok=False, detail=f"{what} never")
    return Check(name, now - at < stuck, f"{what} {now - at:.0f} s ago")


def messages(waiting: Mapping[str, float], *, stuck: float) -> Check:
    """Whether what this process consumes comes round. Other roles' topics are other processes' business."""
    if not waiting:
        return Check("messages", ok=True, detail="none waits for the roles of this process")
    topic, age = max(waiting.items(), key=lambda item: item[1])
    return Check("messages", age < stuck, f"oldest message not consumed is {age:.0f} s old, of {topic}")


def role(
    name: str,
    seen: Seen,
    *,
    now: float,
    stuck: float,
    topic: str = "",
    waits: float = 0.0,
    full: bool = False,
) -> Check:
    """Whether a role gets something done, as far as there is something to do.

    `waits`: age of the oldest message of `topic`, which it consumes. `full`: it has all it can hold, and need not
    claim more.
    """
    late = {part: now - beat.at for part, beat in seen.beats.items() if now - beat.at >= stuck + beat.every}
    if late:
        part = max(late, key=lambda one: late[one])
        return Check(name, ok=False, detail=f"its part {part!r} last came round {late[part]:.0f} s ago")
    if seen.in_hand and now - min(seen.in_hand.values()) >= stuck:
        held = now - min(seen.in_hand.values())
        return Check(name, ok=False, detail=f"it has had the same batch of {topic} in hand for {held:.0f} s")
    idle = now - (seen.taken_at if seen.taken_at is not None else seen.began)
    if waits >= stuck and idle >= stuck:
        detail = f"it took no message for {idle:.0f} s; the oldest of {topic} is {waits:.0f} s old"
        return Check(name, ok=False, detail=detail)
    if full:
        return Check(name, ok=True, detail="it has all that it can hold at once")
    if seen.due.age(now) >= stuck:
        detail = (
            f"{seen.due.first} has been due for {seen.due.age(now):.0f} s or more, and it does not claim it"
        )
        return Check(name, ok=False, detail=detail)
    if seen.beats:
        last = now - max(beat.at for beat in seen.beats.values())
        return Check(name, ok=True, detail=f"last looked for work {last:.0f} s ago")
    return Check(
        name, ok=True, detail=f"last took messages {idle:.0f} s ago" if waits else "nothing waits for it"
    )


def ingress(waits: float, *, stuck: float) -> Check:
    """Whether deliveries that came in get stored. `waits`: seconds for the one that waits longest."""
    detail = (
        f"a delivery has waited {waits:.0f} s to be stored" if waits else "no delivery waits to be stored"
    )
    return Check("ingress", waits < stuck, detail)


def outbox(swept: Beat | None, due: Standstill, *, now: float, stuck: float) -> Check:
    """Whether this process publishes what waits in the outbox."""
    if swept is not None and now - swept.at >= stuck + swept.every:
        return Check("outbox", ok=False, detail=f"last swept {now - swept.at:.0f} s ago")
    if due.age(now) >= stuck:
        detail = f"{due.first} has been due for {due.age(now):.0f} s or more, and is not published"
        return Check("outbox", ok=False, detail=detail)
    return Check("outbox", ok=True, detail="what waits is published")


def canary(standings: Sequence[Standing], roles: Collection[str], *, stuck: float) -> Check:
    """Whether canaries come through. It fails in the process whose role leaves one lying, and is told by the others:
    an ingress that stores webhooks must go on getting them."""
    late = [one for one in standings if one.waits >= stuck]
    if not late:
        ages = [one.came_ago for one in standings if one.came_ago is not None]
        detail = f"the last came through {max(ages):.0f} s ago" if ages else "none was sent in the last hour"
        return Check("canary", ok=True, detail=detail)
    worst = max(late, key=lambda one: one.waits)
    where = "is stored, and no router had it" if worst.stored else "could not be stored"
    detail = f"that of {worst.connection} has been out for {worst.waits:.0f} s: it {where}"
    ours = any(("router" if one.stored else "ingress") in roles for one in late)
    return Check("canary", not ours, detail, warn=not ours)


def clock(differences: Mapping[str, float]) -> Check:
    """Whether this machine's clock can be trusted. `differences`: seconds by which it is ahead of each other clock."""
    if not differences:
        return Check("clock", ok=True, detail="no other clock to compare with yet")
    other, ahead = max(differences.items(), key=lambda item: abs(item[1]))
    detail = f"{abs(ahead):.1f} s {'ahead of' if ahead > 0 else 'behind'} {other}"
    if abs(ahead) < CLOCK_WARN_SECONDS:
        return Check("clock", ok=True, detail=detail)
    detail += "; Slack's signatures hold for minutes: set both by NTP"
    return Check("clock", abs(ahead) < CLOCK_FAIL_SECONDS, detail, warn=abs(ahead) < CLOCK_FAIL_SECONDS)
