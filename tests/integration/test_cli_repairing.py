"""`dlq` and `replay`, from the database alone and through a running hub's API, on both engines."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import httpx
import hub_story as story
import pytest
from api_service import TOKEN, served
from command_line import COMMAND, Ran, environment, triggerhub

from hub.commands.dlq import SHOWN, readable
from schemas.topics import EVENTS
from storage import dead_letters, outbox, replays
from storage.database import Database
from storage.dead_letters import DeadLetter, bury
from storage.routing import RecordedVerdict, record_routing

BINARY = DeadLetter(
    id="triggerhub.events/4/1/ffffffff", topic=EVENTS.name, key=None, value=b"\xff\x00\x01", reason="not JSON"
)


class Person:
    """Types commands, with nothing at hand but the database's URL, or but a hub's."""

    def __init__(self, folder: Path, database: Database, *, stored: Mapping[str, str], url: str) -> None:
        self.folder, self.database, self.url = folder, database, url
        self.stored = dict(stored)
        self.remote = {"TRIGGERHUB_URL": url, "TRIGGERHUB_API_TOKEN": TOKEN}

    async def types(self, *arguments: str, remote: bool = False) -> Ran:
        ran = await asyncio.to_thread(
            triggerhub, *arguments, folder=self.folder, env=self.remote if remote else self.stored
        )
        assert ran.calm
        return ran

    async def types_twice(self, *arguments: str) -> Ran:
        """What only reads tells the same both ways."""
        one, two = await asyncio.gather(self.types(*arguments), self.types(*arguments, remote=True))
        assert one == two
        return one


@pytest.fixture
async def person(database: Database, database_url: str, tmp_path: Path) -> AsyncIterator[Person]:
    await database.write(story.tell)
    await database.write(bury, BINARY)
    async with served(database) as url:
        yield Person(tmp_path, database, stored={"TRIGGERHUB_DATABASE_URL": database_url}, url=url)


async def swept(database: Database) -> list[str]:
    """What would be published now, but for what waits in the story itself."""
    waiting = {story.WAITING, "dsp_dd44"}
    return [one.ref for one in await database.write(outbox.sweep) if one.ref not in waiting]


async def test_letters_are_listed_and_shown(person: Person) -> None:
    listed = await person.types_twice("dlq", "list")
    assert listed.code == 0
    headings, *rows = listed.out.splitlines()
    assert headings.split() == ["letter", "died", "status", "reason"]
    assert {row.split()[0] for row in rows} == {story.LETTER, BINARY.id}
    none = await person.types("dlq", "list", "--status", "dropped", "--topic", EVENTS.name)
    assert (none.code, none.out, none.err) == (0, "", "none\n")
    wrong = await person.types("dlq", "list", "--status", "deed")
    assert (wrong.code, "did you mean 'dead'?" in wrong.err) == (2, True)
    shown = await person.types_twice("dlq", "show", story.LETTER[:-4])
    assert shown.code == 0
    fields = dict(line.split(None, 1) for line in shown.out.splitlines()[:9] if " " in line)
    assert (fields["topic"], fields["partition"], fields["offset"]) == ("triggerhub.events", "3", "17")
    assert (fields["key"], fields["reason"]) == ("acme/checkout#7", "id: Field required")
    assert '{"specversion": "1.0", "note": "\u00e9"}' in shown.out
    binary = await person.types("dlq", "show", BINARY.id)
    assert "in hex:\nff0001" in binary.out


async def test_raw_bytes_go_out_as_they_are(person: Person, *, remote: bool) -> None:
    done = await asyncio.create_subprocess_exec(
        *[*COMMAND, "dlq", "show", BINARY.id, "--raw"],
        env=environment(person.remote if remote else person.stored),
        cwd=person.folder,
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await done.communicate()
    assert (done.returncode, out) == (0, BINARY.value)


async def test_letters_are_retried(person: Person, *, remote: bool) -> None:
    ran = await person.types("dlq", "retry", story.LETTER, "no-such", remote=remote)
    assert ran.code == 1
    assert ran.out == f"{story.LETTER} is on its way to {EVENTS.name} again\n"
    assert "`triggerhub dlq list` shows what there is" in ran.err
    assert await swept(person.database) == [story.LETTER]
    again = await person.types("dlq", "retry", story.LETTER, remote=remote)
    assert (again.code, "is already on its way" in again.out) == (0, True)
    everything = await person.types("dlq", "retry", "--all", "--json", remote=remote)
    assert [(one["id"], one["status_before"]) for one in everything.json()] == [(BINARY.id, "dead")]
    # On a slow machine the first one is due once more by now.
    assert set(await swept(person.database)) - {story.LETTER} == {BINARY.id}
    nothing = await person.types("dlq", "retry", "--all", remote=remote)
    assert (nothing.code, nothing.err) == (0, "no letter is dead\n")
    await person.database.write(dead_letters.settle_retry, story.LETTER)
    late = await person.types("dlq", "retry", story.LETTER, remote=remote)
    assert (late.code, "was retried before" in late.err) == (1, True)


@pytest.mark.parametrize("arguments", [(), ("x", "--all")])
def test_retry_wants_letters_or_all(arguments: tuple[str, ...], tmp_path: Path) -> None:
    ran = triggerhub("dlq", "retry", *arguments, folder=tmp_path)
    assert (ran.code, ran.out) == (2, "")
    assert "--all" in ran.err


async def test_a_letter_is_dropped_with_a_reason(person: Person, *, remote: bool) -> None:
    for arguments in ((), ("--reason", "  ")):
        assert (await person.types("dlq", "drop", BINARY.id, *arguments, remote=remote)).code == 2
    ran = await person.types("dlq", "drop", BINARY.id, "--reason", "a test of mine", remote=remote)
    assert (ran.code, ran.out) == (0, f"{BINARY.id} was dead and is dropped\n")
    shown = await person.types("dlq", "show", BINARY.id)
    assert "because     a test of mine" in shown.out
    unknown = await person.types("dlq", "drop", "no-such", "--reason", "x", remote=remote)
    assert (unknown.code, "no dead letter is called 'no-such'" in unknown.err) == (1, True)


async def test_an_event_is_replayed_and_why_tells(person: Person, *, remote: bool) -> None:
    asked = await person.types(
        "replay", story.ANSWERED[:8], "--again", "--reason", "the rule was wrong", remote=remote
    )
    assert asked.code == 0
    assert asked.out.startswith(f"replay 1 of {story.ANSWERED} waits for the router\n")
    assert "a second session may do the same work" in asked.err
    assert await swept(person.database) == [story.ANSWERED]
    told = await person.types_twice("why", story.ANSWERED)
    assert "dispatching again what was dispatched before, because: the rule was wrong." in told.out
    assert f"by {'api' if remote else 'command:'}" in told.out
    assert "It waits for the router" in told.out
    twice = await person.types("replay", story.ANSWERED, remote=remote)
    assert (twice.code, "still waits for the router" in twice.err) == (1, True)
    waiting = await person.database.read(replays.waiting, story.ANSWERED)
    assert waiting is not None
    verdict = RecordedVerdict(
        rule="answer", outcome="suppressed", clause="replay", seen="dsp_aa11", reason="dispatched before"
    )
    await person.database.write(record_routing, story.ANSWERED, [verdict], replay=waiting)
    told = await person.types_twice("why", story.ANSWERED)
    assert "  answer: suppressed by replay: dispatched before (dsp_aa11)." in told.out
    assert "answer: matched: every clause holds" in told.out  # the first time is not forgotten
    second = await person.types("replay", story.ANSWERED, "--json", remote=remote)
    assert (second.err, second.json()["number"], second.json()["again"]) == ("", 2, False)


async def test_what_cannot_be_replayed_is_told(person: Person, *, remote: bool) -> None:
    unrouted = await person.types("replay", story.WAITING, remote=remote)
    assert (unrouted.code, "not routed a first time" in unrouted.err) == (1, True)
    unknown = await person.types("replay", "evt_0000", remote=remote)
    assert (unknown.code, "`triggerhub events list`" in unknown.err) == (1, True)


async def test_the_api_refuses_what_it_does_not_know(person: Person) -> None:
    headers = {"authorization": f"Bearer {TOKEN}"}
    async with httpx.AsyncClient(base_url=f"{person.url}/api/v1", headers=headers) as http:
        replay = f"/events/{story.ANSWERED}/replay"
        assert (await http.post(replay, json={"agian": True})).status_code == 422
        assert (await http.post(f"/dead-letters/{BINARY.id}/drop")).status_code == 422
        assert (await http.post(f"/dead-letters/{BINARY.id}/drop", json={"reason": " "})).status_code == 422
        assert (await http.post(replay)).status_code == 202
        assert (await http.post(replay)).status_code == 409
        for path in (replay, f"/dead-letters/{BINARY.id}/retry"):
            refused = await http.post(path, headers={"authorization": "Bearer wrong"})
            assert refused.status_code == 401
        assert await swept(person.database) == [story.ANSWERED]
        encoded = await http.get(f"/dead-letters/{BINARY.id.replace('/', '%2F')}")
        assert encoded.json()["value_base64"] == "/wAB"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (b'{"a": 1}', ('{"a": 1}', "as JSON")),
        (b"plain words", ("plain words", "as text")),
        (b"\x1b[31m", ("1b 5b33316d", "in hex")),
        (b"\xff", ("ff", "in hex")),
        (b"[" * 3 * SHOWN, ("[" * 3 * SHOWN, "as text")),
    ],
)
def test_bytes_are_shown_as_what_they_are(value: bytes, shown: tuple[str, str]) -> None:
    assert readable(value) == shown
