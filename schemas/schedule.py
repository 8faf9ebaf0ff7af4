"""The event that a schedule makes, and its names. They are a public contract, like those of every event."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import Final

from schemas.event import Actor, Event, EventData, Subject

SOURCE: Final = "triggerhub/schedule"
TYPE: Final = "triggerhub.schedule.fired"
CONNECTION: Final = SOURCE
"""No connection of a configuration can have this name: there is nowhere to answer to."""
_BETWEEN: Final = "@"


def schedule_event(rule: str, *, at: float, cron: str, timezone: str, local: str, missed: int) -> Event:
    """The event of one firing. Its id is derived from rule and time, so that many processes make one.

    `at` is the scheduled time in seconds since the epoch, `local` the same for people. `missed` firings before it
    were left out. Changing the id breaks deduplication.
    """
    moment = datetime.fromtimestamp(at, UTC)
    digest = hashlib.sha256(f"schedule\n{rule}\n{int(at)}".encode()).hexdigest()
    key = f"{rule}{_BETWEEN}{moment:%Y-%m-%dT%H:%MZ}"
    return Event(
        id=f"evt_{digest[:32]}",
        source=SOURCE,
        type=TYPE,
        subject=key,
        time=moment,
        connection=CONNECTION,
        data=EventData(
            kind="other",
            actor=Actor(login="schedule", trust="system"),
            subject=Subject(kind="schedule", key=key, title=f"{rule} at {local}"),
            payload={
                "rule": rule,
                "scheduled_at": local,
                "cron": cron,
                "timezone": timezone,
                "missed": missed,
            },
        ),
    )


def scheduled_rule(event: Event) -> str | None:
    """The rule that a firing is for; None for every other event."""
    if event.type != TYPE or event.source != SOURCE:
        return None
    return event.data.subject.key.partition(_BETWEEN)[0]
