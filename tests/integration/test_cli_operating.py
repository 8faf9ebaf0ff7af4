"""`events`, `runs`, `why`: the same story from the database and from a running hub's API, on both engines."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import hub_story as story
import pytest
from api_service import TOKEN, served
from command_line import Ran, triggerhub
from sqlalchemy import Connection

from hub.api_models import EventDetail, EventSummary, RunSummary
from hub.api_views import EventFilter
from hub.commands.operating import gather
from hub.commands.why import story as tell
from hub.records import Records, RecordsError
from hub.remote_records import remote_records
from hub.run_views import RunFilter
from hub.stored_records import StoredRecords
from schemas.dispatch import Limits
from storage import claims, runs
from storage.conversations import run_id_of
from storage.database import Database
from storage.tables import RunStatus


class Operator:
    """Runs commands against one database, and again through its API: both must tell the same."""

    def __init__(self, folder: Path, database_url: str, api_url: str) -> None:
        self._folder = folder
        self._stored = {"TRIGGERHUB_DATABASE_URL": database_url}
        self._remote = {"TRIGGERHUB_URL": api_url, "TRIGGERHUB_API_TOKEN": TOKEN}

    async def run(self, *arguments: str) -> Ran:
        stored, remote = await asyncio.gather(
            *(
                asyncio.to_thread(triggerhub, *arguments, folder=self._folder, env=env)
                for env in (self._stored, self._remote)
            )
        )
        assert stored == remote
        assert stored.calm
        return stored

    async def once(self, *arguments: str, remote: bool) -> Ran:
        env = self._remote if remote else self._stored
        return await asyncio.to_thread(triggerhub, *arguments, folder=self._folder, env=env)


class Both:
    """What the commands read, from the database and from the API: both must tell the same."""

    def __init__(self, stored: Records, remote: Records) -> None:
        self._stored = stored
        self._remote = remote

    async def events(self, wanted: EventFilter, *, limit: int = 50) -> list[EventSummary]:
        stored = await gather(lambda size, at: self._stored.events(wanted, limit=size, cursor=at), limit)
        remote = await gather(lambda size, at: self._remote.events(wanted, limit=size, cursor=at), limit)
        assert stored == remote
        return stored

    async def runs(self, wanted: RunFilter) -> tuple[RunSummary, ...]:
        stored = await self._stored.runs(wanted, limit=50, cursor=None)
        assert stored == await self._remote.runs(wanted, limit=50, cursor=None)
        return stored.items

    async def event(self, given: str) -> EventDetail:
        stored = await self._stored.event(given)
        assert stored == await self._remote.event(given)
        return stored

    async def refusal(self, given: str, because: str = "") -> str:
        told = []
        for records in (self._stored, self._remote):
            with pytest.raises(RecordsError) as refused:
                await records.event(given)
            told.append(str(refused.value))
        assert told[0] == told[1], because
        return told[0]


@pytest.fixture
async def operator(database: Database, database_url: str, tmp_path: Path) -> AsyncIterator[Operator]:
    await database.write(story.tell)
    async with served(database) as url:
        yield Operator(tmp_path, database_url, url)


@pytest.fixture
async def both(database: Database) -> AsyncIterator[Both]:
    await database.write(story.tell)
    async with served(database) as url, remote_records(url, token=TOKEN) as remote:
        yield Both(StoredRecords(database), remote)


async def test_events_are_listed_newest_first_and_filtered(both: Both) -> None:
    everything = await both.events(EventFilter())
    assert {event.id for event in everything} == {
        story.ANSWERED,
        story.UNASKED,
        story.WAITING,
        story.UNTAKEN,
        story.OWN,
        story.QUEUED,
    }
    times = [(event.received_at, event.id) for event in everything]
    assert times == sorted(times, reverse=True)

    async def ids(wanted: EventFilter) -> set[str]:
        return {event.id for event in await both.events(wanted)}

    assert await ids(EventFilter(kind="issue.*")) == {story.UNASKED, story.WAITING}
    assert await ids(EventFilter(kind="issue.opened")) == {story.WAITING}
    assert await ids(EventFilter(connection="acme-slack")) == set()
    assert len(await ids(EventFilter(connection="acme-github", subject="acme/checkout#7"))) == 6
    assert [event.id for event in await both.events(EventFilter(), limit=2)] == [
        event.id for event in everything[:2]
    ]


async def test_runs_are_filtered(both: Both) -> None:
    async def ids(wanted: RunFilter) -> list[str]:
        return [run.id for run in await both.runs(wanted)]

    assert set(await ids(RunFilter())) == {story.RUN, story.QUEUED_RUN}
    assert await ids(RunFilter(status="succeeded", rule="answer")) == [story.RUN]
    assert await ids(RunFilter(connection="other")) == []
    assert len(await ids(RunFilter(connection="acme-github", subject="acme/checkout#7"))) == 2
    assert await ids(RunFilter(rule="answered")) == []


async def test_lists_are_tables(operator: Operator) -> None:
    table = await operator.run("events", "list", "--kind", "issue.*")
    assert (table.code, table.err) == (0, "")
    headings, *rows = table.out.splitlines()
    assert headings.split() == ["event", "received", "connection", "kind", "subject", "rules"]
    assert {row.split()[0]: row.split()[-1] for row in rows} == {
        story.UNASKED: "matched",
        story.WAITING: "waiting",
    }
    runs_table = await operator.run("runs", "list", "--status", "succeeded")
    assert [line.split()[0] for line in runs_table.out.splitlines()] == ["run", story.RUN]
    none = await operator.run("runs", "list", "--rule", "other")
    assert (none.code, none.out, none.err) == (0, "", "none\n")
    wrong = await operator.run("runs", "list", "--status", "runing")
    assert wrong.code == 2
    assert "did you mean 'running'?" in wrong.err


async def test_an_event_is_shown_without_its_control_characters(operator: Operator) -> None:
    ran = await operator.run("events", "show", story.ANSWERED)
    assert ran.code == 0
    assert "\x1b" not in ran.out
    assert "ada (member)" in ran.out
    assert "Why is the total wrong?" in ran.out
    told = (await operator.run("events", "show", story.ANSWERED, "--json")).json()
    assert told["event"]["data"]["subject"]["title"] == f"{story.ESCAPE}Wrong total"
    assert told["delivery"]["outcome"] == "handled"


async def test_why_tells_the_whole_chain(operator: Operator) -> None:
    ran = await operator.run("why", story.ANSWERED)
    assert ran.code == 0
    lines = ran.out.splitlines()
    assert "by ada (trust member)" in lines[0]
    assert any(line.startswith("answer: matched: every clause holds (dispatch dsp_aa11)") for line in lines)
    assert any(
        line.startswith("only-bugs: no match: the condition is false") and '"bug" in event.labels' in line
        for line in lines
    )
    assert any(line.startswith("old-rule: suppressed by enabled:") for line in lines)
    assert any(
        f"run {story.RUN} is succeeded" in line and "sesn_1" in line and "$0.42" in line for line in lines
    )
    assert any(story.POSTED_URL in line and "posted" in line for line in lines)
    assert any("refused" in line and "channel_not_found" in line for line in lines)


@pytest.mark.parametrize(
    ("event_id", "said"),
    [
        (story.UNASKED, "No rule was asked"),
        (story.WAITING, "waits for the router"),
        (story.UNTAKEN, "dispatch dsp_dd44 has waited for a runner"),
        (story.UNTAKEN, "follow-up"),
        (story.OWN, f"suppressed by loop: our own post ({story.RUN}:reply)"),
        (story.QUEUED, f"run {story.QUEUED_RUN} is queued, no session yet"),
    ],
)
async def test_why_tells_why_nothing_was_posted(both: Both, event_id: str, said: str) -> None:
    assert said in "\n".join(tell(await both.event(event_id)))


async def test_a_beginning_of_an_id_is_enough_and_a_wrong_one_names_the_nearest(both: Both) -> None:
    assert (await both.event("evt_aa")).id == story.ANSWERED
    several = await both.refusal("evt_bb22")
    assert story.UNASKED in several
    assert story.WAITING in several
    assert f"near it: {story.ANSWERED}" in await both.refusal("evt_aa11aa11aa11ffff")
    assert "`triggerhub events list`" in await both.refusal("evt_0000")
    assert "`triggerhub events list`" in await both.refusal("EVT_AA11", "letter case counts")
    assert "…" in await both.refusal("evt_" + "9" * 150)


async def test_an_unknown_event_ends_with_1(operator: Operator) -> None:
    ran = await operator.run("why", "evt_aa11aa11aa11ffff")
    assert (ran.code, ran.out) == (1, "")
    assert f"near it: {story.ANSWERED}" in ran.err


async def test_a_run_is_shown_with_receipts(operator: Operator) -> None:
    ran = await operator.run("runs", "show", "run_aa")
    assert ran.code == 0
    for said in (
        "succeeded",
        "sesn_1",
        "$0.42",
        "version 3",
        story.POSTED_URL,
        "channel_not_found",
        "subtracted twice",
    ):
        assert said in ran.out
    assert (await operator.run("runs", "show", "run_zz")).code == 1


async def test_a_run_that_came_of_what_another_opened_says_so(operator: Operator, database: Database) -> None:
    assert "came of" not in (await operator.run("runs", "show", "run_aa")).out
    one = story.dispatch(story.event(story.UNTAKEN), "ee55")
    deep = one.model_copy(update={"root": story.ANSWERED, "depth": 2})
    await database.write(runs.take_dispatch, deep, deep.model_dump_json().encode())
    ran = await operator.run("runs", "show", run_id_of(deep.id))
    assert f"came of       {story.ANSWERED}, 2 deep" in ran.out


async def test_cancel(operator: Operator, database: Database, *, remote: bool) -> None:
    ran = await operator.once("runs", "cancel", story.QUEUED_RUN, remote=remote)
    assert (ran.code, ran.err) == (0, "")
    assert "was waiting and is cancelled" in ran.out
    shown = await StoredRecords(database).run(story.QUEUED_RUN)
    assert (shown.status, shown.stop_reason) == ("cancelled", "cancelled")
    again = await operator.run("runs", "cancel", story.QUEUED_RUN)
    assert again.code == 1
    assert "has ended already (cancelled)" in again.err
    one = story.dispatch(story.event(story.UNTAKEN), "dd44")
    await database.write(runs.take_dispatch, one, one.model_dump_json().encode())
    [claim] = await database.write(claims.claim_runs, owner="box", limit=1, lease=60.0)
    active = await operator.once("runs", "cancel", claim.run_id, "--json", remote=remote)
    assert active.json() == {"id": claim.run_id, "status_before": RunStatus.CREATING.value}
    assert await database.read(runs.stop_wanted, [claim.run_id]) == {claim.run_id: "cancelled"}


async def test_a_budget_is_raised(operator: Operator, database: Database, *, remote: bool) -> None:
    bounded = story.dispatch(story.event(story.UNTAKEN), "dd55").model_copy(
        update={"limits": Limits(budget_cents=250)}
    )
    await database.write(runs.take_dispatch, bounded, bounded.model_dump_json().encode())
    run_id = run_id_of(bounded.id)
    ran = await operator.once("runs", "budget", run_id, "--usd", "7.50", remote=remote)
    assert (ran.code, ran.err) == (0, "")
    assert f"{run_id} may spend $7.50 now, up from $2.50" in ran.out
    lower = await operator.run("runs", "budget", run_id, "--usd", "7.50")
    assert lower.code == 1
    assert "is $7.50: name more than that" in lower.err
    free = await operator.run("runs", "budget", story.QUEUED_RUN, "--usd", "7.50")
    assert "has no budget" in free.err
    gone = await operator.run("runs", "budget", "run_zz", "--usd", "7.50")
    assert gone.code == 1
    for wrong in ("0", "-1", "a lot", "1.005"):
        refused = await operator.once("runs", "budget", run_id, f"--usd={wrong}", remote=remote)
        assert refused.code == 2, wrong
        assert "is not an amount of US dollars" in refused.err


async def test_pages_are_joined(both: Both, database: Database) -> None:
    def many(connection: Connection) -> None:
        for number in range(230):
            story.store(connection, story.event(f"evt_many{number:04}"))

    await database.write(many)
    found = await both.events(EventFilter(), limit=232)
    assert len(found) == len({event.id for event in found}) == 232


async def test_a_wrong_token_and_a_wrong_address(
    operator: Operator, database: Database, tmp_path: Path
) -> None:
    del operator
    async with served(database) as url:
        refused = await asyncio.to_thread(triggerhub, "runs", "list", "--url", url, folder=tmp_path)
        assert refused.code == 1
        assert "TRIGGERHUB_API_TOKEN" in refused.err
    gone = await asyncio.to_thread(triggerhub, "runs", "list", "--url", url, folder=tmp_path)
    assert gone.code == 1
    assert "no hub answers" in gone.err
    for address in ("nonsense", "http://", "ftp://example.com"):
        none = await asyncio.to_thread(triggerhub, "runs", "list", "--url", address, folder=tmp_path)
        assert none.code == 1
        assert "is not an address" in none.err
        assert none.calm


async def test_on_loopback_no_token_is_needed(database: Database, tmp_path: Path) -> None:
    await database.write(story.tell)
    async with served(database, token=None) as url:
        ran = await asyncio.to_thread(triggerhub, "runs", "list", "--json", "--url", url, folder=tmp_path)
    assert (ran.code, ran.err) == (0, "")
    assert len(ran.json()) == 2


def test_no_database_is_told_and_none_is_made(tmp_path: Path) -> None:
    ran = triggerhub("events", "list", folder=tmp_path)
    assert (ran.code, ran.out) == (1, "")
    assert "there is no database at .triggerhub/hub.db" in ran.err
    assert ran.calm
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    (tmp_path / "hub.db").write_text(
        "this is not SQLite, and it is long enough to be read as a header\n" * 40
    )
    ran = triggerhub("events", "list", folder=tmp_path, env={"TRIGGERHUB_DATABASE_URL": "sqlite:///hub.db"})
    assert ran.code == 1
    assert "`triggerhub doctor`" in ran.err
    assert ran.calm
