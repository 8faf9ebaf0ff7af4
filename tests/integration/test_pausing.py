"""The switch end to end: the router suppresses what is paused, and commands and API tell the same."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from typing import Any

import httpx
from command_line import triggerhub
from router_samples import event, rule, rule_set
from services.facts import make_delivery
from sqlalchemy import select

from hub import api
from hub.broker import Taken
from hub.server import serving
from hub.settings import Settings
from router.subscriber import Router, Rules
from schemas.event import Event
from schemas.result import Result
from storage import pauses, queries
from storage.database import Database
from storage.deliveries import store_deliveries
from storage.rows import table
from storage.tables import ResultRow

BUGS = rule(name="bugs", team="shop", match={"source": "github", "kind": "issue.opened"})
OTHERS = rule(name="others", match={"source": "github", "kind": "issue.opened"})


async def route(
    database: Database, found: Event, *rules: dict[str, Any]
) -> dict[str, tuple[str, str | None]]:
    """Store an event and route it; outcome and clause by rule."""
    incoming = make_delivery(found.id, found)
    await database.write(store_deliveries, [incoming])

    def quiet(messages: Any) -> None:
        del messages

    body = found.model_dump_json().encode()
    router = Router(Rules(rule_set(*(rules or (BUGS, OTHERS)))), database, announce=quiet)
    await router.take([Taken(Event.model_validate_json(body), body)])
    rows = await database.read(queries.verdict_rows, found.id)
    return {row["rule"]: (row["outcome"], row["clause"]) for row in rows}


async def test_a_paused_rule_starts_nothing_not_even_by_a_follow_up(database: Database) -> None:
    first = event()
    assert {one for one, _ in (await route(database, first)).values()} == {"matched"}
    await database.write(pauses.pause, "team", "shop", by="api", reason=None)
    again = first.model_copy(update={"id": "evt_again"})
    assert await route(database, again) == {"bugs": ("suppressed", "paused"), "others": ("matched", None)}
    data = first.data.model_copy(update={"kind": "comment.created", "text": "and this?"})
    said = first.model_copy(update={"id": "evt_said", "type": "github.comment.created", "data": data})
    found = await route(database, said)
    assert found["bugs"] == ("suppressed", "paused")
    assert found["others"] == ("matched", "follow_up")


async def notes(database: Database) -> list[tuple[str, str]]:
    """Subject and words of what people were told."""
    rows = table(ResultRow)
    bodies = await database.read(lambda c: c.execute(select(rows.c.body).order_by(rows.c.id)).scalars().all())
    told = [Result.model_validate_json(body) for body in bodies]
    return [(one.origin.subject.key, str(one.arguments["text"])) for one in told]


async def test_people_are_told_once_that_what_they_ask_is_paused(database: Database) -> None:
    await database.write(pauses.pause, "all", "", by="api", reason=None)

    async def said(number: int, **more: Any) -> None:
        found = event(**more)
        found = found.model_copy(update={"id": f"evt_{number:04}"})
        assert set((await route(database, found)).values()) == {("suppressed", "paused")}

    await said(1, trust="system")
    await said(2, trust="member", is_bot=True)
    await said(3, trust="outsider")
    assert await notes(database) == []
    await said(4)
    await said(5)
    ((where, words),) = await notes(database)
    assert where == "acme/checkout#12"
    assert "is paused by a person" in words
    assert "`triggerhub replay evt_0004`" in words
    await database.write(pauses.resume, "all", "")
    await database.write(pauses.pause, "rule", "bugs", by="api", reason=None)
    await database.write(pauses.pause, "rule", "others", by="api", reason=None)
    await said(6)
    assert len(await notes(database)) == 2


async def test_who_asks_a_paused_rule_for_nothing_is_told_nothing(database: Database) -> None:
    await database.write(pauses.pause, "team", "shop", by="api", reason=None)
    elsewhere = rule(name="bugs", team="shop", match={"source": "github", "container": "acme/other"})
    assert await route(database, event(), elsewhere) == {"bugs": ("suppressed", "paused")}
    asked = event().model_copy(update={"id": "evt_silent"})
    assert await route(database, asked, {**BUGS, "report": "none"}) == {"bugs": ("suppressed", "paused")}
    assert await notes(database) == []


async def test_commands_and_api(database: Database, database_url: str, tmp_path: Path) -> None:
    env = {"TRIGGERHUB_DATABASE_URL": database_url}

    async def command(*arguments: str, **more: str) -> Any:
        return await asyncio.to_thread(triggerhub, *arguments, folder=tmp_path, env={**env, **more})

    assert (await command("pause")).out == "nothing is paused\n"
    stopped = await command("pause", "--rule", "bugs", "--reason", "too many")
    assert stopped.code == 0
    assert stopped.out.startswith("the rule bugs is paused since ")
    assert "because: too many" in stopped.out
    both = await command("pause", "--rule", "bugs", "--all")
    assert (both.code, "choose one of" in both.err) == (2, True)
    settings = Settings(api_token=None)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        app = api.build(database, Rules(rule_set(BUGS, OTHERS)), settings, host="127.0.0.1")
        async with serving(app, listener) as server, asyncio.TaskGroup() as tasks:
            tasks.create_task(server.serve(sockets=[listener]))
            url = f"http://127.0.0.1:{listener.getsockname()[1]}"
            async with httpx.AsyncClient(base_url=f"{url}/api/v1", trust_env=False) as client:
                items = (await client.get("/pauses")).json()["items"]
                assert [(one["scope"], one["name"]) for one in items] == [("rule", "bugs")]
                wrong = await client.post("/pauses", json={"scope": "rule", "name": "bug"})
                assert (wrong.status_code, wrong.json()["near"]) == (404, ["bugs"])
                for bad in (
                    {"scope": "all", "name": "x"},
                    {"scope": "team"},
                    {"scope": "agent", "name": "x"},
                ):
                    assert (await client.post("/pauses", json=bad)).status_code == 422
                made = await client.post("/pauses", json={"scope": "team", "name": "shop", "reason": "r"})
                assert (made.status_code, made.json()["by"]) == (200, "api")
            gone = await command("resume", "--rule", "bugs", TRIGGERHUB_URL=url)
            assert gone.out == "the rule bugs goes on\n"
            late = await command("resume", "--rule", "bugs", TRIGGERHUB_URL=url)
            assert late.code == 1
            assert "the rule bugs is not paused; paused is the team shop" in late.err
            server.should_exit = True
