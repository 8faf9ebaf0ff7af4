"""From the first released schema with its data to today's: everything is read, and what was unfinished is finished.

Holds for whatever migrations are added: nothing here names one.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from crash.stage import Stage, stage
from services.schema import differences
from sqlalchemy import Connection, inspect, text
from sqlmodel import SQLModel
from upgrades import rows_of_0001 as old

from hub import api_views, letter_views, run_views
from hub.api_views import EventFilter
from hub.letter_views import LetterFilter
from hub.run_views import RunFilter
from runner.messages import work_message
from runner.service import make_client
from sandbox.server import Sandbox
from schemas.dispatch import Dispatch
from schemas.result import Receipt
from storage import dead_letters, migrate, workers
from storage.database import Database
from storage.migrate import upgrade_connection
from storage.results import settled_results
from storage.routing import made_by_us
from storage.states import RUN_TERMINAL
from storage.tables import (
    DeadLetterRow,
    EventRow,
    LetterStatus,
    OutboxRow,
    ReplayRow,
    ResultRow,
    ResultStatus,
    RunRow,
    RunStatus,
    VerdictRow,
)

pytestmark = pytest.mark.timeout(120)


def first_release(connection: Connection) -> None:
    """The schema that was released as 0001."""
    upgrade_connection(connection, "0001")


def columns(connection: Connection) -> dict[str, set[str]]:
    look = inspect(connection)
    return {
        name: {column["name"] for column in look.get_columns(name)}
        for name in look.get_table_names()
        if name != "alembic_version"
    }


@pytest.fixture
async def released(empty_url: str, open_database_at: Callable[[str], Database]) -> Database:
    """A database at 0001, with data."""
    database = open_database_at(empty_url)
    await database.write(first_release)
    return database


async def test_the_written_rows_are_all_of_the_first_release(released: Database) -> None:
    written: dict[str, set[str]] = {}
    for name, row in old.rows(time.time()):
        written.setdefault(name, set(row))
        assert written[name] == set(row)
    assert written == await released.read(columns)
    assert {status.value for status in RunStatus} >= set(old.RUN_STATUSES)
    assert {status.value for status in ResultStatus} >= set(old.RESULT_STATUSES)
    assert {status.value for status in LetterStatus} >= set(old.LETTER_STATUSES)


async def test_data_survives_the_upgrade_and_the_schema_is_the_models(released: Database) -> None:
    await released.write(lambda c: old.insert(c, old.rows(time.time())))
    before = await released.read(everything)
    await migrate.upgrade(released)
    assert await released.read(migrate.current) == migrate.head()
    assert await released.read(differences) == []
    after = await released.read(everything)
    for name, rows in before.items():
        assert [{key: row[key] for key in rows[0]} for row in after[name]] == rows, name


async def test_an_old_process_can_go_on_writing_while_a_roll_out_lasts(released: Database) -> None:
    """What 0.1.0 inserts names the columns of 0001 only: on a newer schema that must still be a whole row."""
    await migrate.upgrade(released)
    await released.write(lambda c: old.insert(c, old.rows(time.time())))
    assert len((await released.read(everything))["run"]) == len(old.RUN_STATUSES)


async def test_today_s_queries_read_yesterday_s_rows(released: Database) -> None:
    await released.write(lambda c: old.insert(c, old.rows(time.time())))
    await migrate.upgrade(released)
    runs = await released.read(run_views.run_page, RunFilter(), limit=100, after=None)
    assert {run.status for run in runs.items} == set(old.RUN_STATUSES)
    for run in runs.items:
        assert (await released.read(run_views.run, run.id)).rule == "github-mention-reply"
    events = await released.read(api_views.events, EventFilter(), limit=100, after=None)
    assert len(events.items) == len(old.RUN_STATUSES) + 3
    for event in events.items:
        await released.read(api_views.event, event.id)
    letters = await released.read(letter_views.letters, LetterFilter(), limit=100, after=None)
    assert {letter.status for letter in letters.items} == set(old.LETTER_STATUSES)
    settled = (await released.read(settled_results, [old.run_id("reporting")]))[old.run_id("reporting")]
    assert {one.receipt for one in settled} == {Receipt(url=old.RECEIPT_URL, artefact="comment:1"), None}
    ours = await released.read(made_by_us, connection_name="acme-github", artefact="comment:1")
    assert ours == f"{old.run_id('reporting')}:comment:posted"
    assert [worker.instance for worker in await released.read(workers.living)] == [old.OWNER]


def everything(connection: Connection) -> dict[str, list[dict[str, Any]]]:
    """All rows of the tables of 0001, in the order of their first columns."""
    names = dict.fromkeys(name for name, _ in old.rows(0.0))
    keys = {
        name: sorted(inspect(connection).get_pk_constraint(name)["constrained_columns"]) for name in names
    }
    found: dict[str, list[dict[str, Any]]] = {}
    for name in names:
        order = ", ".join(f'"{key}"' for key in keys[name])
        rows = connection.execute(text(f'SELECT * FROM "{name}" ORDER BY {order}')).mappings()  # noqa: S608 - our own names
        found[name] = [{key: _plain(value) for key, value in row.items()} for row in rows]
    return found


def _plain(value: Any) -> Any:
    return bytes(value) if isinstance(value, memoryview) else value


async def sessions_of(sandbox: Sandbox) -> dict[str, old.Session]:
    """At the service, what the runs that are under way have there: a session each, and the work where it was sent."""
    client = make_client(api_key="sandbox-key", base_url=sandbox.anthropic_url, max_connections=5)
    try:
        agent = await client.beta.agents.create(name="of-0.1.0", model="claude-sonnet-5-5")
        environment = await client.beta.environments.create(name="of-0.1.0", config={"type": "cloud"})
        found: dict[str, old.Session] = {}
        for name in old.SESSIONS:
            session = await client.beta.sessions.create(
                agent=agent.id,
                environment_id=environment.id,
                metadata={"triggerhub_run": old.run_id(name)},
                budget={"type": "limit", "max_list_cost": {"amount": "75", "currency": "USD"}},
            )
            found[name] = old.Session(session.id)
            if name != "sending":
                dispatch = Dispatch.model_validate(old.dispatch(old.number(name)))
                work: Any = work_message(dispatch, old.run_id(name))
                sent: Any = await client.beta.sessions.events.send(session.id, events=[work])
                found[name] = old.Session(session.id, sent.data[0].id)
        return found
    finally:
        await client.close()


async def test_what_was_unfinished_is_finished(released: Database, empty_url: str, tmp_path: Path) -> None:
    async def leave_behind(sandbox: Sandbox) -> None:
        sessions = await sessions_of(sandbox)
        await released.write(lambda c: old.insert(c, old.rows(time.time(), sessions=sessions)))

    async with stage(tmp_path, before=leave_behind, database_url=empty_url) as running:
        dead = f"triggerhub.events/3/{old.letter_number('dead')}/0a0b0c0d"
        await running.hub.database.write(dead_letters.retry, dead)
        await running.until(lambda: quiet(running), seconds=20)
        await runs_ended(running)
        await results_settled(running)
        await letters_settled(running)
        replays = await running.rows(ReplayRow, event_id=f"evt_{old.number(old.REPLAYED):032d}")
        assert all(replay["routed_at"] is not None for replay in replays)
        assert await running.rows(EventRow, routed_at=None) == []
        assert await running.hub.database.read(differences) == []
    assert set(SQLModel.metadata.tables) >= {name for name, _ in old.rows(0.0)}


async def quiet(running: Stage) -> bool:
    """Nothing waits any more. A message that nobody needs would be there for ever."""
    runs = await running.rows(RunRow)
    ended = all(RunStatus(run["status"]) in RUN_TERMINAL for run in runs)
    return ended and not await running.rows(OutboxRow)


async def runs_ended(running: Stage) -> None:
    runs = {run["id"]: run for run in await running.rows(RunRow)}
    expected = dict.fromkeys(old.RUN_STATUSES, "succeeded")
    expected |= {
        "stopping": "cancelled",
        "failed": "failed",
        "timed_out": "timed_out",
        "cancelled": "cancelled",
    }
    assert {name: runs[old.run_id(name)]["status"] for name in old.RUN_STATUSES} == expected
    for name in (old.UNTAKEN,):
        assert runs[old.run_id(name)]["status"] == "succeeded"
    for name in (old.UNROUTED, old.REPLAYED):
        [run] = [run for run in runs.values() if run["event_id"] == f"evt_{old.number(name):032d}"]
        assert run["status"] == "succeeded"
    for name in ("sending", "running"):
        work = [one for one in running.agents.work if one.metadata["triggerhub_run"] == old.run_id(name)]
        assert len(work) == 1, f"the session of the {name} run got its work once"


async def results_settled(running: Stage) -> None:
    rows = await running.rows(ResultRow, run_id=old.run_id("reporting"))
    status = {row["slot"].partition(":")[2]: row["status"] for row in rows}
    assert status == dict.fromkeys(old.RESULT_STATUSES, "posted") | {"refused": "refused"}
    made = sorted(one.slot for one in running.made(old.run_id("reporting")))
    assert made == ["comment:pending", "comment:posting", "comment:ready"], "each once, and nothing twice"


async def letters_settled(running: Stage) -> None:
    letters = {row["id"].split("/")[2]: row["status"] for row in await running.rows(DeadLetterRow)}
    assert letters == {
        str(old.letter_number("dead")): "retried",
        str(old.letter_number("retrying")): "retried",
        str(old.letter_number("retried")): "retried",
        str(old.letter_number("dropped")): "dropped",
    }
    for status in ("dead", "retrying"):
        verdicts = await running.rows(VerdictRow, event_id=f"evt_{old.letter_number(status):032d}")
        assert "matched" in {verdict["outcome"] for verdict in verdicts}
