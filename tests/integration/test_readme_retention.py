"""The statements that docs/operations.md gives for old events, run on PostgreSQL."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from pages import ROOT, blocks
from services.postgres import Postgres
from sqlalchemy import Connection, select, text

from storage.database import Database
from storage.rows import insert_new, table
from storage.tables import DispatchRow, EventRow, RunRow, RunStatus

YEARS = 400 * 24 * 3600.0


def fill(
    connection: Connection, name: str, *, at: float, routed: bool = True, ended: bool | None = None
) -> None:
    """An event received at `at`; `ended` is None without a run."""
    event = {
        "id": name,
        "connection": "acme",
        "connector": "github",
        "kind": "ping",
        "subject": "acme",
        "time": at,
        "received_at": at,
        "body": b"{}",
        "routed_at": at if routed else None,
        "matched": 0,
    }
    insert_new(connection, EventRow, [event])
    if ended is None:
        return
    dispatch = {
        "id": name,
        "event_id": name,
        "rule": "a",
        "conversation": name,
        "body": b"{}",
        "created_at": at,
    }
    insert_new(connection, DispatchRow, [dispatch])
    run = {
        "id": name,
        "dispatch_id": name,
        "event_id": name,
        "rule": "a",
        "agent": "a",
        "conversation": name,
        "status": (RunStatus.SUCCEEDED if ended else RunStatus.RUNNING).value,
        "attempts": 0,
        "due_at": at,
        "fence": 0,
        "created_at": at,
        "updated_at": at,
        "ended_at": at if ended else None,
    }
    insert_new(connection, RunRow, [run])


@pytest.mark.postgres
async def test_only_what_is_old_and_finished_goes(
    postgres: Postgres, postgres_template: str, open_database_at: Callable[[str], Database]
) -> None:
    (block,) = blocks(ROOT / "docs" / "operations.md", "sql")
    url = await postgres.create_database(template=postgres_template)
    database = open_database_at(url)
    old, new = time.time() - YEARS, time.time()

    def story(connection: Connection) -> tuple[list[str], list[str]]:
        fill(connection, "new", at=new, ended=True)
        fill(connection, "old-without-run", at=old)
        fill(connection, "old-and-ended", at=old, ended=True)
        fill(connection, "old-and-running", at=old, ended=False)
        fill(connection, "old-and-waiting", at=old, routed=False)
        for statement in block.text.split(";"):
            if statement.strip():
                connection.execute(text(statement))
        events, dispatches = table(EventRow), table(DispatchRow)
        return (
            sorted(connection.execute(select(events.c.id)).scalars()),
            sorted(connection.execute(select(dispatches.c.id)).scalars()),
        )

    events, dispatches = await database.write(story)
    assert events == ["new", "old-and-running", "old-and-waiting"]
    assert dispatches == ["new", "old-and-running"]
