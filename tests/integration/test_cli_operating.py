"""`events`, `runs`, `why`: the same story from the database and from a running hub's API, on both engines."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import hub_story as story
import pytest
from command_line import Ran, triggerhub

from hub import api
from hub.server import serving
from hub.settings import Settings
from router.engine import RuleSet
from router.subscriber import Rules
from storage import runs
from storage.database import Database
from storage.tables import RunStatus

TOKEN = "tok-0123456789"


@asynccontextmanager
async def served(database: Database, *, token: str | None = TOKEN) -> AsyncIterator[str]:
    """The JSON API alone, over HTTP."""
    settings = Settings(api_token=token)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        app = api.build(database, Rules(RuleSet([])), settings, host="127.0.0.1")
        async with asyncio.TaskGroup() as tasks, serving(app, listener) as server:
            tasks.create_task(server.serve(sockets=[listener]))
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"


class Operator:
    """Runs commands against one database, and again through its API: both must tell the same."""

    def __init__(self, folder: Path, database_url: str, api_url: str) -> None:
        self._folder = folder
        self._stored = {"TRIGGERHUB_DATABASE_URL": database_url}
        self._remote = {"TRIGGERHUB_URL": api_url, "TRIGGERHUB_API_TOKEN": TOKEN}

    async def run(self, *arguments: str) -> Ran:
        stored = await asyncio.to_thread(triggerhub, *arguments, folder=self._folder, env=self._stored)
        remote = await asyncio.to_thread(triggerhub, *arguments, folder=self._folder, env=self._remote)
        assert stored == remote
        assert stored.calm
        return stored

    async def once(self, *arguments: str, remote: bool) -> Ran:
        env = self._remote if remote else self._stored
        return await asyncio.to_thread(triggerhub, *arguments, folder=self._folder, env=env)


@pytest.fixture
async def operator(database: Database, database_url: str, tmp_path: Path) -> AsyncIterator[Operator]:
    await database.write(story.tell)
    async with served(database) as url:
        yield Operator(tmp_path, database_url, url)


async def test_events_are_listed_newest_first_and_filtered(operator: Operator) -> None:
    everything = (await operator.run("events", "list", "--json")).json()
    assert {event["id"] for event in everything} == {
        story.ANSWERED,
        story.UNASKED,
        story.WAITING,
        story.UNTAKEN,
        story.OWN,
        story.QUEUED,
    }
    times = [(event["received_at"], event["id"]) for event in everything]
    assert times == sorted(times, reverse=True)

    async def ids(*arguments: str) -> set[str]:
        return {event["id"] for event in (await operator.run("events", "list", "--json", *arguments)).json()}

    assert await ids("--kind", "issue.*") == {story.UNASKED, story.WAITING}
    assert await ids("--kind", "issue.opened") == {story.WAITING}
    assert await ids("--connection", "acme-slack") == set()
    assert len(await ids("--subject", "acme/checkout#7")) == 6
    newest = await operator.run("events", "list", "--limit", "2", "--json")
    assert [event["id"] for event in newest.json()] == [event["id"] for event in everything[:2]]
    table = await operator.run("events", "list")
    assert len(table.out.splitlines()) == 7
    assert "waiting" in table.out


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
async def test_why_tells_why_nothing_was_posted(operator: Operator, event_id: str, said: str) -> None:
    ran = await operator.run("why", event_id)
    assert ran.code == 0
    assert said in ran.out


async def test_a_beginning_of_an_id_is_enough_and_a_wrong_one_names_the_nearest(operator: Operator) -> None:
    assert (await operator.run("why", "evt_aa")).out == (await operator.run("why", story.ANSWERED)).out
    several = await operator.run("why", "evt_bb22")
    assert (several.code, several.out) == (1, "")
    assert story.UNASKED in several.err
    assert story.WAITING in several.err
    near = await operator.run("why", "evt_aa11aa11aa11ffff")
    assert (near.code, near.out) == (1, "")
    assert f"near it: {story.ANSWERED}" in near.err
    nothing = await operator.run("why", "evt_0000")
    assert nothing.code == 1
    assert "`triggerhub events list`" in nothing.err


async def test_runs_are_listed_and_shown_with_receipts(operator: Operator) -> None:
    everything = (await operator.run("runs", "list", "--json")).json()
    assert {run["id"] for run in everything} == {story.RUN, story.QUEUED_RUN}
    done = (await operator.run("runs", "list", "--status", "succeeded", "--rule", "answer", "--json")).json()
    assert [run["id"] for run in done] == [story.RUN]
    assert (await operator.run("runs", "list", "--connection", "other", "--json")).json() == []
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
    wrong = await operator.run("runs", "list", "--status", "runing")
    assert wrong.code == 2
    assert "did you mean 'running'?" in wrong.err
    unknown = await operator.run("runs", "show", "run_zz")
    assert unknown.code == 1


@pytest.mark.parametrize("remote", [False, True], ids=["database", "api"])
async def test_cancel(operator: Operator, database: Database, *, remote: bool) -> None:
    ran = await operator.once("runs", "cancel", story.QUEUED_RUN, remote=remote)
    assert (ran.code, ran.err) == (0, "")
    assert "was waiting and is cancelled" in ran.out
    [shown] = (await operator.run("runs", "list", "--status", "cancelled", "--json")).json()
    assert (shown["id"], shown["stop_reason"]) == (story.QUEUED_RUN, "cancelled")
    again = await operator.run("runs", "cancel", story.QUEUED_RUN)
    assert again.code == 1
    assert "has ended already (cancelled)" in again.err
    assert (await operator.run("runs", "cancel", "run_zz")).code == 1
    one = story.dispatch(story.event(story.UNTAKEN), "dd44")
    await database.write(runs.take_dispatch, one, one.model_dump_json().encode())
    [claim] = await database.write(runs.claim_runs, owner="box", limit=1, lease=60.0)
    active = await operator.once("runs", "cancel", claim.run_id, "--json", remote=remote)
    assert active.json() == {"id": claim.run_id, "status_before": RunStatus.CREATING.value}
    assert await database.read(runs.stop_wanted, [claim.run_id]) == {claim.run_id: "cancelled"}


async def test_pages_are_joined(operator: Operator, database: Database) -> None:
    def many(connection: object) -> None:
        for number in range(230):
            story.store(connection, story.event(f"evt_many{number:04}"))  # type: ignore[arg-type]  # a connection

    await database.write(many)
    found = (await operator.run("events", "list", "--limit", "232", "--json")).json()
    assert len(found) == len({event["id"] for event in found}) == 232


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
