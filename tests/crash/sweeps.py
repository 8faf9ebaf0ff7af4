"""No state without a sweeper: what the database may hold at any instant, and how late a sweep may be.

`lost` may be asked at any moment, also while everything is being killed: each committed state must be one that some
sweep finds. `overdue` is for quiet times. Neither asks a hub.
"""

# ruff: noqa: S608 - the queries are put together from constants of this program
from __future__ import annotations

from typing import Final

from sqlalchemy import Connection, text

from schemas.topics import DISPATCHES, EVENTS, RESULTS, TOPICS
from storage.clock import read_clock
from storage.states import RESULT_TERMINAL, RUN_TERMINAL
from storage.tables import ACTIVE_RUN, LetterStatus, ResultStatus, RunStatus

_ENDED: Final = ", ".join(f"'{status.value}'" for status in RUN_TERMINAL)
_SETTLED: Final = ", ".join(f"'{status.value}'" for status in RESULT_TERMINAL)


def _announced(topic: str, ref: str) -> str:
    return f"EXISTS (SELECT 1 FROM outbox WHERE outbox.topic = '{topic}' AND outbox.ref = {ref})"


_BURIED: Final = f"""EXISTS (
  SELECT 1 FROM dead_letter WHERE dead_letter.ref = {{ref}}
  AND dead_letter.status IN ('{LetterStatus.DEAD.value}', '{LetterStatus.RETRYING.value}')
)"""
_RETRY_ROWS: Final = ", ".join(f"'{spec.dead_letter}'" for spec in TOPICS)

LOST: Final[dict[str, str]] = {
    "an event that is not routed and not announced": f"""
        SELECT event.id FROM event WHERE event.routed_at IS NULL
        AND NOT {_announced(EVENTS.name, "event.id")} AND NOT {_BURIED.format(ref="event.id")}""",
    "a dispatch without a run that is not announced": f"""
        SELECT dispatch.id FROM dispatch
        WHERE NOT EXISTS (SELECT 1 FROM run WHERE run.dispatch_id = dispatch.id)
        AND NOT {_announced(DISPATCHES.name, "dispatch.id")} AND NOT {_BURIED.format(ref="dispatch.id")}""",
    "a pending result that is not announced": f"""
        SELECT result.id FROM result WHERE result.status = '{ResultStatus.PENDING.value}'
        AND NOT {_announced(RESULTS.name, "result.id")} AND NOT {_BURIED.format(ref="result.id")}""",
    "a replay that waits and is not announced": f"""
        SELECT replay.event_id FROM replay WHERE replay.routed_at IS NULL
        AND NOT {_announced(EVENTS.name, "replay.event_id")} AND NOT {_BURIED.format(ref="replay.event_id")}""",
    "a dead letter that is retried and not announced": f"""
        SELECT dead_letter.id FROM dead_letter WHERE dead_letter.status = '{LetterStatus.RETRYING.value}'
        AND NOT EXISTS (
          SELECT 1 FROM outbox WHERE outbox.ref = dead_letter.id AND outbox.topic IN ({_RETRY_ROWS})
        )""",
    "a message about nothing": f"""
        SELECT outbox.ref FROM outbox WHERE
        (outbox.topic = '{EVENTS.name}' AND NOT EXISTS (SELECT 1 FROM event WHERE event.id = outbox.ref))
        OR (outbox.topic = '{DISPATCHES.name}'
            AND NOT EXISTS (SELECT 1 FROM dispatch WHERE dispatch.id = outbox.ref))
        OR (outbox.topic = '{RESULTS.name}' AND NOT EXISTS (SELECT 1 FROM result WHERE result.id = outbox.ref))""",
    "a run at work that no lease will give back": f"""
        SELECT run.id FROM run WHERE run.{ACTIVE_RUN} AND run.lease_until IS NULL""",
    "a run that waits or ended, under a lease": f"""
        SELECT run.id FROM run
        WHERE run.status IN ('{RunStatus.QUEUED.value}', {_ENDED}) AND run.lease_owner IS NOT NULL""",
    "a post under way that no lease will give back": f"""
        SELECT result.id FROM result
        WHERE result.status = '{ResultStatus.POSTING.value}' AND result.lease_until IS NULL""",
    "a post that waits or is settled, under a lease": f"""
        SELECT result.id FROM result
        WHERE result.status IN ('{ResultStatus.READY.value}', {_SETTLED}) AND result.lease_owner IS NOT NULL""",
}
"""What to say of rows, and the query that finds them: nothing in the program would ever look at them again."""

OVERDUE: Final[dict[str, str]] = {
    "a message that no sweep published": "SELECT outbox.ref FROM outbox WHERE outbox.due_at < :late",
    "a queued run that nobody claimed": f"""
        SELECT run.id FROM run WHERE run.status = '{RunStatus.QUEUED.value}' AND run.due_at < :late
        AND run.updated_at < :late
        AND NOT EXISTS (
          SELECT 1 FROM run AS other WHERE other.conversation = run.conversation AND other.id <> run.id
          AND (other.{ACTIVE_RUN} OR other.status = '{RunStatus.QUEUED.value}' OR other.ended_at > :late)
        )""",
    "a run whose lease ran out": f"""
        SELECT run.id FROM run WHERE run.{ACTIVE_RUN} AND run.lease_until < :late AND run.due_at < :late""",
    "a post that nobody claimed": f"""
        SELECT result.id FROM result
        WHERE result.status = '{ResultStatus.READY.value}' AND result.due_at < :late""",
    "a post whose lease ran out": f"""
        SELECT result.id FROM result
        WHERE result.status = '{ResultStatus.POSTING.value}' AND result.lease_until < :late""",
}
"""The same for rows that some sweep should have taken before `:late`."""


def lost(connection: Connection) -> list[str]:
    """Rows that nothing would find again. Empty at every instant, or work is lost for good."""
    return _found(connection, LOST)


def overdue(connection: Connection, *, late: float) -> list[str]:
    """Rows that should have been taken by their sweep more than `late` seconds ago."""
    return _found(connection, OVERDUE, late=read_clock(connection) - late)


def _found(connection: Connection, queries: dict[str, str], **values: float) -> list[str]:
    return [
        f"{what}: {row[0]}"
        for what, query in queries.items()
        for row in connection.execute(text(query), values)
    ]
