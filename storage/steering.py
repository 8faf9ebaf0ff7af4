"""What commands from a thread ask of a conversation: its runs, what they cost, and who is to do it again."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, and_, func, select

from schemas.dispatch import Dispatch
from storage import caps
from storage.clock import read_clock
from storage.rows import table
from storage.tables import ConversationRow, DispatchRow, EventRow, RunRow, RunStatus


@dataclass(frozen=True, slots=True)
class RunFacts:
    """One run as a command sees it. Cents; seconds since the epoch."""

    id: str
    rule: str
    conversation: str
    status: RunStatus
    created_at: float
    started_at: float | None
    waits_for: str | None
    held: str | None
    team: str | None
    cost_cents: int | None


def is_delivered(connection: Connection, event_id: str) -> bool:
    """Whether the event came through a connection of ours, which proved its sender. Other programs prove nobody."""
    rows = table(EventRow)
    query = select(rows.c.id).where(and_(rows.c.id == event_id, rows.c.delivery_id.is_not(None)))
    return connection.execute(query).first() is not None


def runs_of(connection: Connection, conversation: str, *, limit: int = 20) -> list[RunFacts]:
    """Runs of a conversation, the newest first. Those that were told in another run count as part of that."""
    rows = table(RunRow)
    query = (
        select(*(rows.c[name] for name in RunFacts.__dataclass_fields__))
        .where(and_(rows.c.conversation == conversation, rows.c.status != RunStatus.JOINED.value))
        .order_by(rows.c.created_at.desc(), rows.c.id)
        .limit(limit)
    )
    return [
        RunFacts(**{**row, "status": RunStatus(row["status"])})
        for row in connection.execute(query).mappings()
    ]


def run_of(connection: Connection, run_id: str) -> RunFacts | None:
    """One run."""
    rows = table(RunRow)
    query = select(*(rows.c[name] for name in RunFacts.__dataclass_fields__)).where(rows.c.id == run_id)
    row = connection.execute(query).mappings().one_or_none()
    return None if row is None else RunFacts(**{**row, "status": RunStatus(row["status"])})


def held_until(connection: Connection, run: RunFacts) -> float | None:
    """When what a queued run is held by ends by itself at the earliest."""
    if run.held is None:
        return None
    now = read_clock(connection)
    return caps.held_until(connection, run.held, rule=run.rule, team=run.team, now=now)


def cost_of(connection: Connection, conversation: str) -> tuple[int, int]:
    """What the ended runs of a conversation cost in all, and how many they are. Cents."""
    rows = table(RunRow)
    mine = and_(rows.c.conversation == conversation, rows.c.cost_cents.is_not(None))
    cents, count = connection.execute(
        select(func.coalesce(func.sum(rows.c.cost_cents), 0), func.count()).where(mine)
    ).one()
    return int(cents), int(count)


def origin_of(connection: Connection, conversation: str) -> tuple[str, str] | None:
    """Rule of a conversation, and the connection where it began."""
    rows = table(ConversationRow)
    query = select(rows.c.rule, rows.c.connection).where(rows.c.key == conversation)
    row = connection.execute(query).one_or_none()
    return None if row is None else (str(row.rule), str(row.connection))


def dispatch_of(connection: Connection, run_id: str) -> Dispatch | None:
    """What a run was to do."""
    rows, dispatches = table(RunRow), table(DispatchRow)
    query = (
        select(dispatches.c.body).join(rows, rows.c.dispatch_id == dispatches.c.id).where(rows.c.id == run_id)
    )
    body = connection.execute(query).scalar_one_or_none()
    return None if body is None else Dispatch.model_validate_json(body)
