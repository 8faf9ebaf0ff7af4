"""The switch end to end: the router suppresses what is paused, and commands and API tell the same."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from typing import Any

import httpx
from command_line import triggerhub
from router_samples import event, rule, rule_set
from services.facts import make_incoming_event

from hub import api
from hub.broker import Taken
from hub.server import serving
from hub.settings import Settings
from router.subscriber import Router, Rules
from schemas.event import Event
from storage import pauses, queries
from storage.database import Database
from storage.deliveries import Incoming, store_deliveries

BUGS = rule(name="bugs", team="shop", match={"source": "github", "kind": "issue.opened"})
OTHERS = rule(name="others", match={"source": "github", "kind": "issue.opened"})


async def route(database: Database, found: Event) -> dict[str, tuple[str, str | None]]:
    """Store an event and route it; outcome and clause by rule."""
    incoming = Incoming(
        id=f"acme-github:{found.id}",
        connection="acme-github",
        outcome="handled",
        body_hash="0" * 64,
        body_size=1,
        events=[make_incoming_event(found)],
    )
    await database.write(store_deliveries, [incoming])

    def quiet(messages: Any) -> None:
        del messages

    body = found.model_dump_json().encode()
    router = Router(Rules(rule_set(BUGS, OTHERS)), database, announce=quiet)
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
